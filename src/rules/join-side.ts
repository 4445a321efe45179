import { Fifo } from './fifo.ts';
import type { GroupKey } from './group-key.ts';
import type { Micros, Row } from './row.ts';

/** A row of one side of a join that rows of the other side may still match. */
export interface Kept {
  readonly row: Row;
  /** Null: it matches nothing, and only waits to be given out alone. */
  readonly key: GroupKey;
  /** The last moment at which a row of the other side may match it. */
  readonly until: Micros;
  readonly bytes: number;
  /** By the order in which they were kept. */
  readonly number: number;
  matched: boolean;
}

const NONE: readonly Kept[] = [];

/** The rows of one side that wait for their matches: found by key, in the order in which they came, and dropped when their time is over. */
export class JoinSide {
  readonly #byKey = new Map<GroupKey, Kept[]>();
  /** By `until`, and then as they came. */
  readonly #byEnd = new Fifo<Kept>();
  #number = 0;
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** The first `until`; Infinity when nothing is kept. */
  get firstEnd(): Micros {
    return this.#byEnd.first?.until ?? Infinity;
  }

  keep(row: Row, key: GroupKey, until: Micros, bytes: number, matched = false): void {
    const kept: Kept = { row, key, until, bytes, number: this.#number++, matched };
    this.#bytes += bytes;
    this.#byEnd.insert(kept, (other) => other.until > until);
    if (key === null) return;
    const same = this.#byKey.get(key);
    if (same) same.push(kept);
    else this.#byKey.set(key, [kept]);
  }

  /** Those of this key, oldest first. */
  find(key: GroupKey): readonly Kept[] {
    return (key === null ? undefined : this.#byKey.get(key)) ?? NONE;
  }

  /** Takes out and gives the next one that ends before `moment`; undefined when there is none. */
  takeEnded(moment: Micros): Kept | undefined {
    const kept = this.#byEnd.first;
    if (kept === undefined || kept.until >= moment) return undefined;
    this.#byEnd.shift();
    this.#bytes -= kept.bytes;
    if (kept.key !== null) this.#forget(kept, kept.key);
    return kept;
  }

  /** All of them, in the order in which they came. */
  all(): readonly Kept[] {
    return this.#byEnd.toArray().sort((a, b) => a.number - b.number);
  }

  clear(): void {
    this.#byKey.clear();
    this.#byEnd.clear();
    this.#bytes = 0;
  }

  #forget(kept: Kept, key: GroupKey): void {
    const same = this.#byKey.get(key) as Kept[];
    if (same.length === 1) this.#byKey.delete(key);
    else same.splice(same.indexOf(kept), 1);
  }
}
