import type { Evaluate } from '../query/compile.ts';
import type { Value } from '../query/value.ts';
import type { Account } from './account.ts';
import type { Columns } from './columns.ts';
import type { Sink } from './fan-out.ts';
import type { Group } from './group.ts';
import { groupKey } from './group-key.ts';
import type { Micros, Operator, Row, Saved } from './row.ts';
import type { Arrival } from './arrival.ts';
import type { OpenWindow } from './window.ts';

/** What a result of a window is worked out from. */
export interface Result {
  readonly group: Group;
  readonly end: Micros;
  /** By `Window('id', ...)`; null without one. */
  readonly windowId: string | null;
}

/** What a GROUP BY is made of, compiled. */
export interface Grouped {
  readonly where: ((row: Row) => boolean) | null;
  readonly keys: readonly Evaluate<Row>[];
  /** What each aggregate takes of a row, and whether it can. */
  readonly args: readonly (readonly Evaluate<Row>[])[];
  readonly checks: readonly ((values: readonly Value[]) => void)[];
  /** By the number of each window. */
  readonly partitions: readonly (readonly Evaluate<Row>[])[];
  readonly having: ((result: Result) => boolean) | null;
  readonly columns: Columns<Result>;
}

export interface GroupingWindow {
  readonly id: string | null;
  readonly open: OpenWindow;
}

/** A select with GROUP BY: puts rows into its windows, and gives out what they come to when they close. */
export class Grouping implements Operator {
  readonly #grouped: Grouped;
  readonly #windows: readonly GroupingWindow[];
  readonly #next: Sink;
  readonly #account: Account;
  /** The row at hand; used again and again, since the windows copy what they keep. */
  readonly #keys: Value[];
  readonly #args: Value[][];
  readonly #partitions: Value[][];
  #due: Micros = Infinity;

  constructor(grouped: Grouped, windows: readonly GroupingWindow[], next: Sink, account: Account) {
    this.#grouped = grouped;
    this.#windows = windows;
    this.#next = next;
    this.#account = account;
    this.#keys = grouped.keys.map(() => null);
    this.#args = grouped.args.map((args) => args.map(() => null));
    this.#partitions = grouped.partitions.map((partition) => partition.map(() => null));
  }

  get due(): Micros {
    return this.#due;
  }

  row(row: Row): void {
    if (this.#due < row.time) this.#closeUpTo(row.time - 1);
    try {
      if (this.#grouped.where !== null && !this.#grouped.where(row)) return;
      fill(this.#keys, this.#grouped.keys, row);
      for (let index = 0; index < this.#args.length; index++) {
        fill(this.#args[index]!, this.#grouped.args[index]!, row);
        this.#grouped.checks[index]!(this.#args[index]!);
      }
      for (let index = 0; index < this.#partitions.length; index++) {
        fill(this.#partitions[index]!, this.#grouped.partitions[index]!, row);
      }
    } catch (error) {
      this.#account.dropped(error);
      return;
    }
    this.#add({
      time: row.time,
      key: groupKey(this.#keys),
      keys: this.#keys,
      args: this.#args,
      partitions: this.#partitions,
    });
  }

  advance(to: Micros): void {
    if (this.#due <= to) this.#closeUpTo(to);
    this.#next.advance(to);
  }

  save(): Saved {
    return this.#windows.map(({ open }) => open.save());
  }

  load(saved: Saved): void {
    for (const [index, state] of (saved as Saved[]).entries()) this.#windows[index]!.open.load(state);
    this.#plan();
  }

  #add(arrival: Arrival): void {
    let roomForAll = true;
    for (const { open } of this.#windows) {
      if (!open.add(arrival)) roomForAll = false;
      if (open.next < this.#due) this.#due = open.next;
    }
    if (!roomForAll) this.#account.counters.bounded++;
  }

  /** One moment after the other, and at each the windows in the order in which they were written. */
  #closeUpTo(to: Micros): void {
    while (this.#due <= to && this.#due !== Infinity) {
      const end = this.#due;
      for (const { id, open } of this.#windows) {
        while (open.next === end) open.close((group) => this.#give({ group, end, windowId: id }));
      }
      this.#plan();
    }
  }

  #give(result: Result): void {
    let body;
    try {
      if (this.#grouped.having !== null && !this.#grouped.having(result)) return;
      body = this.#grouped.columns(result);
    } catch (error) {
      this.#account.dropped(error);
      return;
    }
    this.#next.emit(result.end, body);
  }

  #plan(): void {
    let due = Infinity;
    for (const { open } of this.#windows) if (open.next < due) due = open.next;
    this.#due = due;
  }
}

function fill(into: Value[], from: readonly Evaluate<Row>[], row: Row): void {
  for (let index = 0; index < from.length; index++) into[index] = from[index]!(row);
}
