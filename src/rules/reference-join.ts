import type { Fields } from '../query/value.ts';
import type { Account } from './account.ts';
import type { JoinPlan } from './join.ts';
import { pairOf } from './join.ts';
import type { GroupKey } from './group-key.ts';
import { matchKey } from './match-key.ts';
import type { ReferenceTable } from './reference-table.ts';
import type { Micros, Operator, Row } from './row.ts';

/** At least one key. */
export type ReferencePlan = Pick<JoinPlan, 'kind' | 'keys' | 'condition'>;

const NONE: readonly Row[] = [];

/**
 * JOIN with a reference table: each row of the stream with all rows of the table that match it at this moment, in the table's order.
 * It keeps its time and waits for nothing.
 */
export class ReferenceJoin implements Operator {
  readonly #plan: ReferencePlan;
  readonly #table: ReferenceTable;
  readonly #downstream: Operator;
  readonly #account: Account;
  #indexed: readonly Fields[] | null = null;
  #index = new Map<GroupKey, Row[]>();

  constructor(plan: ReferencePlan, table: ReferenceTable, downstream: Operator, account: Account) {
    this.#plan = plan;
    this.#table = table;
    this.#downstream = downstream;
    this.#account = account;
  }

  row(row: Row): void {
    if (this.#table.rows !== this.#indexed) this.#build(this.#table.rows);
    let pairs: Row[];
    try {
      pairs = this.#find(row)
        .map((other) => pairOf(row, other, row.time, null))
        .filter((pair) => this.#plan.condition === null || this.#plan.condition(pair));
    } catch (error) {
      this.#account.dropped(error);
      return;
    }
    for (const pair of pairs) this.#downstream.row(pair);
    if (pairs.length === 0 && this.#plan.kind === 'left') this.#downstream.row(pairOf(row, null, row.time));
  }

  advance(to: Micros): void {
    this.#downstream.advance(to);
  }

  #find(row: Row): readonly Row[] {
    const key = matchKey(this.#plan.keys.map(({ left }) => left(row)));
    return key === null ? NONE : (this.#index.get(key) ?? NONE);
  }

  #build(rows: readonly Fields[]): void {
    this.#indexed = rows;
    this.#index = new Map();
    for (const fields of rows) {
      const row: Row = { time: 0, sources: [fields], analytic: [] };
      const key = this.#keyOf(row);
      if (key === null) continue;
      const same = this.#index.get(key);
      if (same) same.push(row);
      else this.#index.set(key, [row]);
    }
  }

  /** Null for a row of the table that nothing can match. */
  #keyOf(row: Row): GroupKey {
    try {
      return matchKey(this.#plan.keys.map(({ right }) => right(row)));
    } catch (error) {
      this.#account.dropped(error);
      return null;
    }
  }
}
