import type { Apply } from '../query/ast.ts';
import { compile, type Evaluate, type Scope } from '../query/compile.ts';
import { DateTime, type Fields, Float, type Value, ValueError } from '../query/value.ts';
import type { Account } from './account.ts';
import type { Micros, Operator, Row } from './row.ts';
import type { Named } from './scope.ts';

/** Most rows that one event may become through all APPLYs of a select. */
const ROWS_MAX = 100_000;

export interface ApplyPlan {
  readonly outer: boolean;
  readonly open: (row: Row) => readonly Fields[];
}

/** `scope` knows the sources before this APPLY, in the order of the row. Throws QueryProblem. */
export function planApply(apply: Apply, scope: Scope<Row>): ApplyPlan {
  const argument: Evaluate<Row> = compile(apply.argument, scope);
  const opened = apply.function === 'getarrayelements' ? elementsOf : propertiesOf;
  return { outer: apply.kind === 'outer', open: (row) => opened(argument(row)) };
}

/** What the rest of the select knows an APPLY as. */
export function appliedAs(apply: Apply): Named {
  return { alias: apply.alias, given: true, applied: true, columns: COLUMNS[apply.function] };
}

const COLUMNS: Readonly<Record<Apply['function'], ReadonlySet<string>>> = {
  getarrayelements: new Set(['arrayindex', 'arrayvalue']),
  getrecordproperties: new Set(['propertyname', 'propertyvalue']),
};

/** `ArrayIndex` from 0 and `ArrayValue`. */
function elementsOf(value: Value): readonly Fields[] {
  if (value === null) return [];
  if (!Array.isArray(value)) throw new ValueError('GetArrayElements needs an array');
  return (value as readonly Value[]).map((element, index) => ({ ArrayIndex: index, ArrayValue: element }));
}

/** `PropertyName` and `PropertyValue`, in the order of the record. */
function propertiesOf(value: Value): readonly Fields[] {
  if (value === null) return [];
  const record = typeof value === 'object' && !Array.isArray(value);
  if (!record || value instanceof DateTime || value instanceof Float) {
    throw new ValueError('GetRecordProperties needs a record');
  }
  return Object.entries(value as Fields).map(([name, property]) => ({ PropertyName: name, PropertyValue: property }));
}

/**
 * All APPLYs of a select, one after the other: a row for each element or property, at the time of the event. CROSS drops a row that has
 * none, OUTER keeps it with NULL. An event that would become more than {@link ROWS_MAX} rows is dropped whole.
 */
export class Applies implements Operator {
  readonly #plans: readonly ApplyPlan[];
  readonly #downstream: Operator;
  readonly #account: Account;

  constructor(plans: readonly ApplyPlan[], downstream: Operator, account: Account) {
    this.#plans = plans;
    this.#downstream = downstream;
    this.#account = account;
  }

  row(row: Row): void {
    let rows: readonly Row[] = [row];
    try {
      for (const plan of this.#plans) rows = spread(rows, plan);
    } catch (error) {
      this.#account.dropped(error);
      return;
    }
    for (const one of rows) this.#downstream.row(one);
  }

  advance(to: Micros): void {
    this.#downstream.advance(to);
  }
}

function spread(rows: readonly Row[], { open, outer }: ApplyPlan): readonly Row[] {
  const all: Row[] = [];
  for (const row of rows) {
    const parts = open(row);
    if (all.length + Math.max(parts.length, 1) > ROWS_MAX)
      throw new ValueError(`APPLY would make more than ${ROWS_MAX} rows of an event`);
    for (const part of parts) all.push({ ...row, sources: [...row.sources, part] });
    if (parts.length === 0 && outer) all.push({ ...row, sources: [...row.sources, null] });
  }
  return all;
}
