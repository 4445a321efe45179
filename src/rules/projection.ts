import type { Account } from './account.ts';
import type { Columns } from './columns.ts';
import type { Sink } from './fan-out.ts';
import type { Micros, Operator, Row } from './row.ts';

/** A select without GROUP BY: each row that its conditions let through, as its list makes it. Remembers nothing. */
export class Projection implements Operator {
  readonly #where: ((row: Row) => boolean) | null;
  readonly #columns: Columns<Row>;
  readonly #next: Sink;
  readonly #account: Account;

  constructor(where: ((row: Row) => boolean) | null, columns: Columns<Row>, next: Sink, account: Account) {
    this.#where = where;
    this.#columns = columns;
    this.#next = next;
    this.#account = account;
  }

  row(row: Row): void {
    let body;
    try {
      if (this.#where !== null && !this.#where(row)) return;
      body = this.#columns(row);
    } catch (error) {
      this.#account.dropped(error);
      return;
    }
    this.#next.emit(row.time, body);
  }

  advance(to: Micros): void {
    this.#next.advance(to);
  }
}
