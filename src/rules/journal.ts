import { RecordBuffer, RecordReader } from '../message/binary.ts';
import type { Message } from '../message/message.ts';
import { contentOf, enclosed, RecordUnreadable } from './envelope.ts';
import type { Micros } from './row.ts';

/** One input of a module's query. */
export interface Target {
  readonly module: string;
  readonly hash: string;
  readonly input: string;
}

/** A message that modules were fed, and when. */
export interface Fed {
  readonly message: Message;
  /** On the rules' timeline. */
  readonly arrival: Micros;
  /** The time was known. */
  readonly known: boolean;
  readonly targets: readonly Target[];
}

/*
 * A block of the journal, in an envelope:
 *
 *   targets: count varint, then module | hash | input, each: length varint, UTF-8
 *   lists: count varint, then each: count varint, the targets' numbers varint
 *   entries up to the end: list's number varint | 1 if the time was known, else 0 varint | arrival us varint | priority varint | message
 *
 * Each message once, and each list of modules that are fed together once.
 */

/** `fed` is not empty. */
export function encodeJournal(fed: readonly Fed[]): Buffer {
  const targets = new Map<string, { readonly number: number; readonly target: Target }>();
  const lists = new Map<string, { readonly number: number; readonly numbers: readonly number[] }>();
  const listOf = fed.map((entry) => {
    const numbers = entry.targets.map((target) => {
      const name = JSON.stringify([target.module, target.hash, target.input]);
      let known = targets.get(name);
      if (known === undefined) targets.set(name, (known = { number: targets.size, target }));
      return known.number;
    });
    const name = numbers.join();
    let list = lists.get(name);
    if (list === undefined) lists.set(name, (list = { number: lists.size, numbers }));
    return list.number;
  });
  const buffer = new RecordBuffer(16 * 1024);
  buffer.varint(targets.size);
  for (const { target } of targets.values()) {
    buffer.text(target.module);
    buffer.text(target.hash);
    buffer.text(target.input);
  }
  buffer.varint(lists.size);
  for (const { numbers } of lists.values()) {
    buffer.varint(numbers.length);
    for (const number of numbers) buffer.varint(number);
  }
  fed.forEach(({ message, arrival, known }, n) => {
    buffer.varint(listOf[n]!);
    buffer.varint(known ? 1 : 0);
    buffer.varint(Math.max(0, arrival));
    buffer.varint(message.priority);
    buffer.message(message);
  });
  return enclosed(buffer.view());
}

/** Reads what {@link encodeJournal} made. Throws {@link RecordUnreadable}. */
export function decodeJournal(record: Buffer): Fed[] {
  try {
    const reader = new RecordReader(contentOf(record));
    const targets = times(reader.varint(), () => ({
      module: reader.text(),
      hash: reader.text(),
      input: reader.text(),
    }));
    const lists = times(reader.varint(), () => times(reader.varint(), () => targets[reader.varint()]!));
    const fed: Fed[] = [];
    while (!reader.done) {
      const list = lists[reader.varint()];
      if (list === undefined || list.includes(undefined!)) throw new RecordUnreadable('it names nobody');
      const known = reader.varint() === 1;
      const arrival = reader.varint();
      fed.push({ targets: list, known, arrival, message: reader.message(reader.varint()) });
    }
    return fed;
  } catch (error) {
    if (error instanceof RecordUnreadable) throw error;
    throw new RecordUnreadable((error as Error).message);
  }
}

function times<T>(count: number, make: () => T): T[] {
  const made: T[] = [];
  for (let n = 0; n < count; n++) made.push(make());
  return made;
}
