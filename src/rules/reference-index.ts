import type { Fields } from '../query/value.ts';
import type { Account } from './account.ts';
import type { GroupKey } from './group-key.ts';
import type { JoinPlan } from './join.ts';
import { matchKey } from './match-key.ts';
import type { ReferenceTable } from './reference-table.ts';
import type { Row } from './row.ts';

const NONE: readonly Row[] = [];

/** The rows of a table by what a join finds them by; made again when the table has others. */
export class ReferenceIndex {
  readonly #table: ReferenceTable;
  readonly #keys: JoinPlan['keys'];
  readonly #account: Account;
  #indexed: readonly Fields[] | null = null;
  #index = new Map<GroupKey, Row[]>();

  constructor(table: ReferenceTable, { keys }: Pick<JoinPlan, 'keys'>, account: Account) {
    this.#table = table;
    this.#keys = keys;
    this.#account = account;
  }

  /** In the table's order. */
  find(key: GroupKey): readonly Row[] {
    return key === null ? NONE : (this.#index.get(key) ?? NONE);
  }

  /** Looks whether the table has other rows. */
  refresh(): void {
    if (this.#table.rows !== this.#indexed) this.#build(this.#table.rows);
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
      return matchKey(this.#keys.map(({ right }) => right(row)));
    } catch (error) {
      this.#account.dropped(error);
      return null;
    }
  }
}
