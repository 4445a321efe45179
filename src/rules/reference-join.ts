import type { Account } from './account.ts';
import type { JoinPlan } from './join.ts';
import { pairOf } from './join.ts';
import { matchKey } from './match-key.ts';
import type { ReferenceIndex } from './reference-index.ts';
import type { Micros, Operator, Row } from './row.ts';

/** At least one key. */
export type ReferencePlan = Pick<JoinPlan, 'kind' | 'keys' | 'condition'>;

/**
 * JOIN with a reference table: each row of the stream with all rows of the table that match it at this moment, in the table's order.
 * It keeps its time and waits for nothing.
 */
export class ReferenceJoin implements Operator {
  readonly #plan: ReferencePlan;
  readonly #index: ReferenceIndex;
  readonly #downstream: Operator;
  readonly #account: Account;

  constructor(plan: ReferencePlan, index: ReferenceIndex, downstream: Operator, account: Account) {
    this.#plan = plan;
    this.#index = index;
    this.#downstream = downstream;
    this.#account = account;
  }

  row(row: Row): void {
    this.#index.refresh();
    let pairs: Row[];
    try {
      pairs = this.#find(row)
        .map((other) => pairOf(row, other, row.time, null))
        .filter((pair) => this.#passes(pair));
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

  /** What cannot be worked out is no match: a row of the table with a mistake takes nothing from the others. */
  #passes(pair: Row): boolean {
    try {
      return this.#plan.condition === null || this.#plan.condition(pair);
    } catch (error) {
      this.#account.dropped(error);
      return false;
    }
  }

  #find(row: Row): readonly Row[] {
    return this.#index.find(matchKey(this.#plan.keys.map(({ left }) => left(row))));
  }
}
