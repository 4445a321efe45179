/** Dead letters that are taken up at once: as many as may be in memory together. */
const AT_ONCE = 64;

/** Has the dead letters: the spool. */
export interface LettersKeeper {
  readonly deadLetterNumbers: readonly number[];
  retryDeadLetters(numbers: ReadonlySet<number>): Promise<unknown>;
  dropDeadLetters(numbers: ReadonlySet<number>): Promise<unknown>;
}

export type LetterOrder = 'retry' | 'drop';

/** What became of an order about dead letters, by their numbers. */
export interface LettersDone {
  readonly done: readonly number[];
  /** There are none of these numbers, or they cannot be read and so not be sent. */
  readonly failed: readonly number[];
}

/** Sends dead letters again or lets them go; all of them where `numbers` is null. What is done is on the medium. */
export async function orderLetters(
  keeper: LettersKeeper,
  order: LetterOrder,
  numbers: readonly number[] | null,
): Promise<LettersDone> {
  const there = keeper.deadLetterNumbers;
  const asked = [...new Set(numbers ?? there)];
  const known = asked.filter((number) => there.includes(number));
  for (let at = 0; at < known.length; at += AT_ONCE) {
    const some = new Set(known.slice(at, at + AT_ONCE));
    await (order === 'retry' ? keeper.retryDeadLetters(some) : keeper.dropDeadLetters(some));
  }
  const left = keeper.deadLetterNumbers;
  const done = known.filter((number) => !left.includes(number));
  return { done, failed: asked.filter((number) => !done.includes(number)) };
}
