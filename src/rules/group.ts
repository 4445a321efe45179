import type { Accumulator } from '../query/aggregates.ts';
import { sizeOf } from '../query/aggregates/accumulator.ts';
import type { Value } from '../query/value.ts';
import type { Account } from './account.ts';
import { groupKey, type GroupKey } from './group-key.ts';
import type { Saved } from './row.ts';
import type { Arrival } from './arrival.ts';

/** What a group costs, bytes, and each of its aggregates. */
const GROUP_BYTES = 300;
const AGGREGATE_BYTES = 150;
/** What an aggregate may need for a row, bytes, beside the row's values. */
const KEPT_BYTES = 100;

/** How an aggregate of the select is made. */
export interface Aggregated {
  /** `removable`: rows can be taken back, the oldest first. */
  create(removable?: boolean): Accumulator;
  /** Whether it may remember more than a few numbers. */
  readonly grows: boolean;
}

/** The events of one window with equal keys. */
export interface Group {
  readonly keys: readonly Value[];
  readonly aggregates: readonly Accumulator[];
}

/** Groups by their keys, those first that were seen first; held against the limits. */
export class Groups {
  readonly #aggregated: readonly Aggregated[];
  readonly #account: Account;
  readonly #groups = new Map<GroupKey, Group>();
  readonly #grows: boolean;
  #bytes = 0;

  constructor(aggregated: readonly Aggregated[], account: Account) {
    this.#aggregated = aggregated;
    this.#account = account;
    this.#grows = aggregated.some(({ grows }) => grows);
  }

  /** Puts a row into its group, which may be new. False when there is no room for it. */
  add(arrival: Arrival): boolean {
    let group = this.#groups.get(arrival.key);
    const isNew = group === undefined;
    let bytes = isNew ? groupBytes(arrival.keys, this.#aggregated.length) : 0;
    const most = this.#grows ? this.#growth(arrival.args) : 0;
    bytes += most;
    if (bytes > 0 && !this.#account.take(0, isNew ? 1 : 0, bytes)) return false;
    group ??= { keys: [...arrival.keys], aggregates: this.#aggregated.map((one) => one.create()) };
    const before = this.#grows ? this.#kept(group) : 0;
    addTo(group.aggregates, arrival.args);
    this.#bytes += bytes;
    if (this.#grows) {
      // The row may have been no news to an aggregate, or have taken the place of another.
      const spare = most - (this.#kept(group) - before);
      this.#bytes -= spare;
      this.#account.give(0, 0, spare);
    }
    if (isNew) this.#groups.set(arrival.key, group);
    return true;
  }

  each(give: (group: Group) => void): void {
    for (const group of this.#groups.values()) give(group);
  }

  /** Forgets all of them. */
  release(): void {
    this.#account.give(0, this.#groups.size, this.#bytes);
    this.#groups.clear();
    this.#bytes = 0;
  }

  save(): Saved {
    return [this.#bytes, ...[...this.#groups.values()].map(({ keys, aggregates }) => [keys, saveAll(aggregates)])];
  }

  load(saved: Saved): void {
    const [bytes, ...groups] = saved as [number, ...[Value[], Saved[]][]];
    this.#bytes = bytes;
    for (const [keys, states] of groups) {
      const aggregates = this.#aggregated.map((one, index) => {
        const accumulator = one.create();
        accumulator.load(states[index]!);
        return accumulator;
      });
      this.#groups.set(groupKey(keys), { keys, aggregates });
    }
    this.#account.give(0, -groups.length, -bytes);
  }

  /** The most that its aggregates may need for a row, bytes. */
  #growth(args: Arrival['args']): number {
    let bytes = 0;
    for (let index = 0; index < args.length; index++) {
      if (this.#aggregated[index]!.grows) bytes += KEPT_BYTES + argsBytes(args[index]!);
    }
    return bytes;
  }

  /** What its aggregates have, bytes. */
  #kept({ aggregates }: Group): number {
    let bytes = 0;
    for (let index = 0; index < aggregates.length; index++) {
      if (this.#aggregated[index]!.grows) bytes += aggregates[index]!.bytes;
    }
    return bytes;
  }
}

/** Gives each aggregate its part of a row. */
export function addTo(aggregates: readonly Accumulator[], args: Arrival['args']): void {
  for (let index = 0; index < aggregates.length; index++) aggregates[index]!.add(args[index]!);
}

export function groupBytes(keys: readonly Value[], aggregates: number): number {
  return GROUP_BYTES + aggregates * AGGREGATE_BYTES + argsBytes(keys);
}

/** About what values cost, bytes. */
export function argsBytes(values: readonly Value[]): number {
  let bytes = 16;
  for (const value of values) bytes += sizeOf(value);
  return bytes;
}

function saveAll(aggregates: readonly Accumulator[]): Saved[] {
  return aggregates.map((accumulator) => accumulator.save());
}
