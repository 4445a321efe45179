import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import type { Message, Stored } from '../message/message.ts';
import type { Entry, Reader } from '../store/environment.ts';
import type { Amendments } from './amendments.ts';
import { BlockBuilder, BlockDamaged, decodeBlock } from './block.ts';
import type { Books } from './books.ts';
import { NOBODY } from './child-accounts.ts';
import { deadLetterKey, isDeadLetter, keySeq } from './keys.ts';
import type { Bookkeeper } from './bookkeeper.ts';
import { pagesOf } from './pages.ts';

/** Dead letters kept; beyond it, and when the quota is used up, the oldest are dropped. */
const DEAD_LETTERS_MAX = 1000;
/** Pages of new ones that one commit may carry in any case: the file's reserve has room for twice as many. */
const PAGES_A_COMMIT_MIN = 64;
/** Dead letters dropped at once to make room. */
const DROPPED_AT_ONCE = 64;
/** The property that says why. */
const REASON = 'dead-letter-reason';
/** The property that holds its number: a key by itself is in no checksum. */
const NUMBER = 'dead-letter-number';

/** A message that the upstream will never take, with the number by which one names it. */
export interface DeadLetter {
  readonly number: number;
  readonly reason: string;
  readonly stored: Stored;
}

/** Whether a dead letter lies under its own number; those of format 1 do not say. */
export function liesInPlace(number: number, { message }: Stored): boolean {
  return (message.properties?.[NUMBER] ?? String(number)) === String(number);
}

/** Whether it lies, or lay, among the dead letters; of format 1 nobody can tell. */
export function isLetter({ properties }: Message): boolean {
  return properties?.[NUMBER] !== undefined && properties[REASON] !== undefined;
}

/** What is let go without anybody's order is said at once, and then no more often than this, ms. */
const SAID_EVERY_MS = 60_000;

export interface DeadLettersParts {
  readonly books: Books;
  readonly bookkeeper: Bookkeeper;
  readonly amendments: Amendments;
  readonly pageBytes: number;
  readonly read: <T>(look: (reader: Reader) => T) => T;
  /** Pages that are left between what is live and what the file may come to. */
  readonly pagesLeft: () => number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Messages that the upstream refused for good: kept apart, so that they hold up nobody, until somebody decides or room is wanted. */
export class DeadLetters {
  readonly #parts: DeadLettersParts;
  /** Those that were on their way to the medium when the newest came. */
  #fresh: (Pick<DeadLetter, 'number' | 'stored'> & { readonly pages: number })[] = [];

  /** Those let go of which nothing has been said yet, by their numbers. */
  #unsaid: { first: number; last: number; count: number } | null = null;
  #saidAt = -Infinity;
  #timer: Timer | null = null;

  constructor(parts: DeadLettersParts) {
    this.#parts = parts;
  }

  /** Lays a message apart with the reason; it is on the medium with the next commit. */
  add(stored: Stored, reason: string): void {
    const { books, bookkeeper, amendments, pageBytes } = this.#parts;
    bookkeeper.deadLetter(stored.lane, stored.message.source.child);
    if (books.ledger.deadLetters > DEAD_LETTERS_MAX) this.#discardOldest(1);
    const number = books.nextDeadLetter++;
    const properties = { ...stored.message.properties, [REASON]: reason, [NUMBER]: String(number) };
    const builder = new BlockBuilder(stored.lane);
    builder.add(stored.seq, { ...stored.message, properties }, Infinity);
    const { value } = builder.cut(stored.epoch);
    const pages = pagesOf(value.length, pageBytes);
    amendments.put(deadLetterKey(number), value, -pages);
    this.#fresh.push({ number, stored, pages });
    this.#keepWithinACommit();
  }

  /** What their blocks leave free is of no use to the commit that lays them apart: the file would outgrow the quota. */
  #keepWithinACommit(): void {
    const { amendments, pagesLeft } = this.#parts;
    this.#fresh = this.#fresh.filter(({ number }) => amendments.puts(deadLetterKey(number)));
    let pages = this.#fresh.reduce((sum, fresh) => sum + fresh.pages, 0);
    if (pages <= PAGES_A_COMMIT_MIN) return;
    const most = Math.max(PAGES_A_COMMIT_MIN, pagesLeft() / 2);
    while (pages > most) {
      const oldest = this.#fresh.shift()!;
      pages -= oldest.pages;
      this.#letGo(oldest);
    }
  }

  /** Room is wanted: the oldest go. */
  makeRoom(): void {
    this.#discardOldest(DROPPED_AT_ONCE);
  }

  /** The numbers of all, oldest first, also of those that cannot be read. */
  numbers(): number[] {
    return [...this.#all()].map(({ number }) => number);
  }

  /** All that can be read, oldest first, or those with these numbers. */
  list(numbers?: ReadonlySet<number>): DeadLetter[] {
    const found: DeadLetter[] = [];
    for (const { number, reason, stored } of this.#all()) {
      if (stored !== null && numbers?.has(number) !== false) found.push({ number, reason, stored });
    }
    return found;
  }

  /** Lets all of them go, or those with these numbers; returns how many. */
  discardAll(numbers?: ReadonlySet<number>): number {
    let count = 0;
    for (const letter of this.#all()) {
      if (numbers?.has(letter.number) === false) continue;
      this.discard(letter);
      count++;
    }
    return count;
  }

  /**
   * Takes one out so that it can be sent again: without the reason, and pending once more. Null when it is not there any more:
   * since it was listed it may have been taken out already, or let go.
   */
  revive({ number, stored }: DeadLetter): Stored | null {
    const { amendments, bookkeeper, read } = this.#parts;
    const key = deadLetterKey(number);
    if (read((reader) => amendments.ceiling(reader, key))?.key.equals(key) !== true) return null;
    bookkeeper.revived(stored.lane, stored.message.source.child);
    amendments.delete(key, 0);
    const { [REASON]: _reason, [NUMBER]: _number, ...properties } = stored.message.properties ?? {};
    return { ...stored, message: { ...stored.message, properties } };
  }

  /** Lets one go. Its gap was reported when it became a dead letter. */
  discard(letter: Pick<DeadLetter, 'number'> & { readonly stored: Stored | null }): void {
    const { amendments, bookkeeper, pageBytes } = this.#parts;
    const { stored } = letter;
    bookkeeper.discarded(stored?.lane ?? 10, stored?.message.source.child ?? NOBODY);
    amendments.delete(deadLetterKey(letter.number), pagesOf(stored?.message.body.length ?? 0, pageBytes));
  }

  #discardOldest(count: number): void {
    let left = count;
    for (const letter of this.#all()) {
      if (left-- <= 0) return;
      this.#letGo(letter);
    }
  }

  /** Lets one go that nobody has decided on. */
  #letGo(letter: Parameters<DeadLetters['discard']>[0]): void {
    this.discard(letter);
    const { number } = letter;
    const { first = number, count = 0 } = this.#unsaid ?? {};
    this.#unsaid = { first, last: number, count: count + 1 };
    const { clock } = this.#parts;
    if (clock.monotonic() < this.#saidAt + SAID_EVERY_MS) {
      this.#timer ??= clock.after(SAID_EVERY_MS, () => this.say());
      return;
    }
    // What goes together is said together.
    this.#saidAt = clock.monotonic();
    clock.soon(() => this.say());
  }

  /** Says what has been let go and was not said yet. */
  say(): void {
    this.#timer?.cancel();
    this.#timer = null;
    if (this.#unsaid === null) return;
    this.#saidAt = this.#parts.clock.monotonic();
    const why = `more than ${DEAD_LETTERS_MAX} are not kept, and fewer where their room is wanted`;
    this.#parts.log.warn(this.#unsaid, `the oldest dead letters were let go, counted as discarded: ${why}`);
    this.#unsaid = null;
  }

  /** One after the other, so that only one is in memory; each may be taken out before the next is asked for. */
  *#all(): Generator<FoundLetter, void, void> {
    const { read, amendments } = this.#parts;
    for (let number = 0; ;) {
      const entry = read((reader) => amendments.ceiling(reader, deadLetterKey(number + 1)));
      if (entry === null || !isDeadLetter(entry.key)) return;
      number = keySeq(entry.key);
      yield letterOf(entry);
    }
  }
}

/** A dead letter as it lies there; its message is null when it cannot be read. */
export type FoundLetter = Omit<DeadLetter, 'stored'> & { readonly stored: Stored | null };

function letterOf({ key, value }: Entry): FoundLetter {
  const number = keySeq(key);
  try {
    const stored = decodeBlock(value).messages[0]!;
    return { number, reason: stored.message.properties?.[REASON] ?? '', stored };
  } catch (error) {
    if (!(error instanceof BlockDamaged)) throw error;
    return { number, reason: 'it cannot be read', stored: null };
  }
}

/** The dead letters on the medium behind number `after`, oldest first, until their bodies come to `bytesMax`. */
export function lettersIn(reader: Reader, after: number, bytesMax: number): FoundLetter[] {
  const found: FoundLetter[] = [];
  let bytes = 0;
  reader.scan(deadLetterKey(after + 1), (entry) => {
    if (!isDeadLetter(entry.key) || bytes >= bytesMax) return false;
    const letter = letterOf(entry);
    found.push(letter);
    bytes += letter.stored?.message.body.length ?? 0;
    return true;
  });
  return found;
}
