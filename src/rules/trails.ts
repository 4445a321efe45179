import { sizeOf } from '../query/aggregates/accumulator.ts';
import type { Value } from '../query/value.ts';
import type { Account } from './account.ts';
import { Fifo } from './fifo.ts';
import { groupKey, type GroupKey } from './group-key.ts';
import type { Held, Micros, Saved } from './row.ts';

/** What V8 spends, about, on a trail with its lists and its place in the map, and on an entry beside its values. */
const TRAIL_BYTES = 300;
const ENTRY_BYTES = 100;

/** Something that happened, and what is remembered of it. */
export interface Entry {
  readonly time: Micros;
  readonly values: readonly Value[];
}

/** What is remembered of one partition, oldest first. `memo` is what whoever uses it makes of the entries. */
export interface Trail<M> {
  readonly keys: readonly Value[];
  readonly entries: Fifo<Entry>;
  readonly memo: M;
  /** When its last entry happened. */
  last: Micros;
}

export interface TrailShape<M> {
  /** How long an entry counts: one that is exactly so old still does. */
  readonly duration: Micros;
  /** How many of a partition are kept at most. */
  readonly length: number;
  readonly memo: () => M;
  /** An entry of this memo is gone. */
  readonly gone: (memo: M, entry: Entry) => void;
}

/** Entries in the order of time, by partition, as long as they count. */
export class Trails<M> {
  readonly #shape: TrailShape<M>;
  readonly #account: Account;
  /** Whichever had an entry last stands last. */
  readonly #byKey = new Map<GroupKey, Trail<M>>();
  #bytes = 0;
  /** No partition is over before this. */
  #nextOver: Micros = -Infinity;

  constructor(shape: TrailShape<M>, account: Account) {
    this.#shape = shape;
    this.#account = account;
  }

  get held(): Held {
    return { windows: 0, groups: this.#byKey.size, bytes: this.#bytes };
  }

  /** What counts of a partition for somebody at `time`; undefined when nothing was ever remembered of it, or all is over. */
  at(keys: readonly Value[], time: Micros): Trail<M> | undefined {
    const trail = this.#byKey.get(groupKey(keys));
    if (trail === undefined) return undefined;
    while ((trail.entries.first?.time ?? Infinity) < time - this.#shape.duration) this.#shift(trail);
    return trail;
  }

  /** What an entry more would take: groups and bytes. */
  cost(keys: readonly Value[], values: readonly Value[]): { readonly groups: number; readonly bytes: number } {
    const bytes = entryBytes(values);
    return this.#byKey.has(groupKey(keys)) ? { groups: 0, bytes } : { groups: 1, bytes: bytes + trailBytes(keys) };
  }

  /** Its {@link cost} has been taken from the account. */
  add(keys: readonly Value[], entry: Entry): Trail<M> {
    const key = groupKey(keys);
    let trail = this.#byKey.get(key);
    if (trail === undefined) {
      trail = { keys, entries: new Fifo(), memo: this.#shape.memo(), last: entry.time };
      this.#bytes += trailBytes(keys);
    } else {
      this.#byKey.delete(key);
    }
    this.#byKey.set(key, trail);
    this.#bytes += entryBytes(entry.values);
    trail.entries.push(entry);
    trail.last = entry.time;
    if (trail.entries.length > this.#shape.length) this.#shift(trail);
    return trail;
  }

  /** Forgets the partitions that count for nobody after `to`. */
  advance(to: Micros): void {
    if (to < this.#nextOver) return;
    for (const [key, trail] of this.#byKey) {
      if (trail.last + this.#shape.duration > to) {
        this.#nextOver = trail.last + this.#shape.duration;
        return;
      }
      while (trail.entries.length > 0) this.#shift(trail);
      this.#byKey.delete(key);
      this.#bytes -= trailBytes(trail.keys);
      this.#account.give(0, 1, trailBytes(trail.keys));
    }
  }

  save(): Saved {
    return [...this.#byKey.values()].map(({ keys, entries, last }) => [
      keys,
      last,
      entries.toArray().map(({ time, values }) => [time, values]),
    ]);
  }

  /** `remember` makes the memo of the entries again, one by one. */
  load(saved: Saved, remember: (memo: M, entry: Entry) => void): void {
    type SavedTrail = readonly [readonly Value[], Micros, readonly (readonly [Micros, readonly Value[]])[]];
    this.#account.give(0, this.#byKey.size, this.#bytes);
    this.#byKey.clear();
    this.#bytes = 0;
    this.#nextOver = -Infinity;
    for (const [keys, last, entries] of saved as unknown as readonly SavedTrail[]) {
      const trail: Trail<M> = { keys, entries: new Fifo(), memo: this.#shape.memo(), last };
      this.#byKey.set(groupKey(keys), trail);
      this.#bytes += trailBytes(keys);
      for (const [time, values] of entries) {
        trail.entries.push({ time, values });
        this.#bytes += entryBytes(values);
        remember(trail.memo, { time, values });
      }
    }
    this.#account.give(0, -this.#byKey.size, -this.#bytes);
  }

  #shift(trail: Trail<M>): void {
    const entry = trail.entries.shift() as Entry;
    const bytes = entryBytes(entry.values);
    this.#bytes -= bytes;
    this.#account.give(0, 0, bytes);
    this.#shape.gone(trail.memo, entry);
  }
}

function trailBytes(keys: readonly Value[]): number {
  return TRAIL_BYTES + sizeOf(keys);
}

function entryBytes(values: readonly Value[]): number {
  return ENTRY_BYTES + sizeOf(values);
}
