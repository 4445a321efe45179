import type { Accumulator } from '../query/aggregates.ts';
import type { Value } from '../query/value.ts';
import type { Account } from './account.ts';
import { addTo, argsBytes, groupBytes, type Aggregated, type Group } from './group.ts';
import { groupKey, type GroupKey } from './group-key.ts';
import type { Micros, Saved } from './row.ts';
import type { Arrival } from './arrival.ts';
import type { OpenWindow } from './window.ts';

/** What an event in the window costs, bytes, beside what the aggregates were given of it. */
const ENTRY_BYTES = 120;

type Args = readonly (readonly Value[])[];

/** An event in the window. */
interface Entry {
  readonly time: Micros;
  readonly args: Args;
  readonly group: Sliding;
  readonly bytes: number;
}

interface Sliding {
  /** Grows with each group that is seen. */
  readonly order: number;
  readonly key: GroupKey;
  readonly keys: readonly Value[];
  readonly bytes: number;
  readonly aggregates: readonly Accumulator[];
  entries: Entry[];
  /** How many at the front of `entries` have left. */
  left: number;
}

/**
 * The window that ends at each moment at which its content changes, for each group by itself: (t - size, t]. A result for each
 * moment at which events have entered or left, and none once it is empty.
 * Aggregates take back exactly what leaves (see query/aggregates.ts), so no error of rounding gathers.
 */
export class SlidingWindow implements OpenWindow {
  readonly #size: Micros;
  readonly #aggregated: readonly Aggregated[];
  readonly #account: Account;
  readonly #groups = new Map<GroupKey, Sliding>();
  /** All events in the window in the order in which they came, and so will leave. */
  #entries: Entry[] = [];
  #left = 0;
  /** Groups that an event has entered at `#enteredAt`. */
  readonly #entered = new Set<Sliding>();
  #enteredAt: Micros = Infinity;
  #order = 0;
  next: Micros = Infinity;

  constructor(size: Micros, aggregated: readonly Aggregated[], account: Account) {
    this.#size = size;
    this.#aggregated = aggregated;
    this.#account = account;
  }

  add({ time, key, keys, args }: Arrival): boolean {
    const known = this.#groups.get(key);
    const groupCost = known === undefined ? groupBytes(keys, this.#aggregated.length) : 0;
    let bytes = ENTRY_BYTES;
    for (const values of args) bytes += argsBytes(values);
    if (!this.#account.take(known === undefined ? 1 : 0, known === undefined ? 1 : 0, groupCost + bytes)) return false;
    const group = known ?? this.#made(key, [...keys], groupCost);
    const kept = args.map((values) => [...values]);
    this.#entries.push(this.#into(group, time, kept, bytes));
    if (known === undefined) this.#groups.set(key, group);
    this.#entered.add(group);
    this.#enteredAt = time;
    this.#plan();
    return true;
  }

  close(give: (group: Group) => void): void {
    const at = this.next;
    const changed = new Set(this.#enteredAt === at ? this.#entered : []);
    if (this.#enteredAt === at) {
      this.#entered.clear();
      this.#enteredAt = Infinity;
    }
    while (this.#left < this.#entries.length && this.#entries[this.#left]!.time + this.#size === at) {
      const entry = this.#entries[this.#left++]!;
      this.#leave(entry);
      changed.add(entry.group);
    }
    if (this.#left > 1000 || this.#left === this.#entries.length) {
      this.#entries.splice(0, this.#left);
      this.#left = 0;
    }
    this.#plan();
    const ordered = changed.size > 1 ? [...changed].sort((a, b) => a.order - b.order) : changed;
    for (const group of ordered) {
      if (group.left < group.entries.length) give(group);
      else this.#forget(group);
    }
  }

  save(): Saved {
    const groups = [...this.#groups.values()].map((group): Saved => [
      group.keys,
      group.order,
      this.#entered.has(group),
      group.entries.slice(group.left).map(({ time, args }) => [time, args]),
    ]);
    return [this.#order, this.#enteredAt === Infinity ? null : this.#enteredAt, groups];
  }

  load(saved: Saved): void {
    for (const group of this.#groups.values()) this.#forget(group);
    this.#entered.clear();
    const [order, enteredAt, groups] = saved as [number, number | null, [Value[], number, boolean, [number, Args][]][]];
    this.#enteredAt = enteredAt ?? Infinity;
    const entries: Entry[] = [];
    for (const [keys, number, entered, events] of groups) {
      this.#order = number;
      const cost = groupBytes(keys, this.#aggregated.length);
      const group = this.#made(groupKey(keys), keys, cost);
      this.#groups.set(group.key, group);
      let bytes = cost;
      for (const [time, args] of events) {
        const size = args.reduce((sum, values) => sum + argsBytes(values), ENTRY_BYTES);
        bytes += size;
        entries.push(this.#into(group, time, args, size));
      }
      this.#account.give(-1, -1, -bytes);
      if (entered) this.#entered.add(group);
    }
    this.#order = order;
    this.#entries = entries.sort((a, b) => a.time - b.time);
    this.#left = 0;
    this.#plan();
  }

  #made(key: GroupKey, keys: readonly Value[], bytes: number): Sliding {
    const aggregates = this.#aggregated.map((one) => one.create(true));
    return { order: this.#order++, key, keys, bytes, aggregates, entries: [], left: 0 };
  }

  #into(group: Sliding, time: Micros, args: Args, bytes: number): Entry {
    addTo(group.aggregates, args);
    const entry: Entry = { time, args, group, bytes };
    group.entries.push(entry);
    return entry;
  }

  #leave({ group, args, bytes }: Entry): void {
    this.#account.give(0, 0, bytes);
    group.left++;
    for (let index = 0; index < args.length; index++) group.aggregates[index]!.remove(args[index]!);
    if (group.left > 1000 || group.left === group.entries.length) {
      group.entries.splice(0, group.left);
      group.left = 0;
    }
  }

  #forget(group: Sliding): void {
    this.#groups.delete(group.key);
    this.#account.give(1, 1, group.bytes);
    for (const entry of group.entries.slice(group.left)) this.#account.give(0, 0, entry.bytes);
  }

  #plan(): void {
    const first = this.#entries[this.#left];
    this.next = Math.min(this.#enteredAt, first === undefined ? Infinity : first.time + this.#size);
  }
}
