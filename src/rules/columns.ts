import type { Expression, Item } from '../query/ast.ts';
import { compile, type Evaluate, type Scope } from '../query/compile.ts';
import { hasField, setField } from '../query/field.ts';
import { isRecord, type Fields, type Value } from '../query/value.ts';

/** Columns that are made from an R. */
export type Columns<R> = (row: R) => Fields;

/**
 * What a select's list makes. Of names that are equal without case the leftmost stays; those within one record are its own. `SELECT *`
 * of one source gives the very event. `all` finds what a `*` opens; `rewritten` gives an expression as it is to be worked out.
 */
export function columns<R>(
  items: readonly Item[],
  scope: Scope<R>,
  all: (item: Item & { kind: 'all' }) => readonly Evaluate<R>[],
  rewritten: (expression: Expression) => Expression = (expression) => expression,
): Columns<R> {
  const whole = items.length === 1 && items[0]!.kind === 'all' ? all(items[0]!) : [];
  if (whole.length === 1) {
    const read = whole[0]!;
    return (row) => {
      const value = read(row);
      return isRecord(value) ? value : {};
    };
  }
  if (items.every((item) => item.kind === 'value')) return named(items, scope, rewritten);

  const parts = items.map((item): ((row: R, into: Record<string, Value>) => void) => {
    if (item.kind === 'value') {
      const evaluate = compile(rewritten(item.expression), scope);
      return (row, into) => {
        const value = evaluate(row);
        if (!hasField(into, item.name)) setField(into, item.name, value);
      };
    }
    const records = all(item);
    return (row, into) => {
      for (const read of records) {
        const record = read(row);
        if (!isRecord(record)) continue;
        const taken = new Set(Object.keys(into).map((name) => name.toLowerCase()));
        for (const name of Object.keys(record)) {
          if (taken.size === 0 || !taken.has(name.toLowerCase())) setField(into, name, record[name]!);
        }
      }
    };
  });
  return (row) => {
    const made: Record<string, Value> = {};
    for (const part of parts) part(row, made);
    return made;
  };
}

function named<R>(
  items: readonly (Item & { kind: 'value' })[],
  scope: Scope<R>,
  rewritten: (expression: Expression) => Expression,
): Columns<R> {
  const names: string[] = [];
  const values: Evaluate<R>[] = [];
  for (const { name, expression } of items) {
    const evaluate = compile(rewritten(expression), scope);
    if (names.includes(name)) continue;
    names.push(name);
    values.push(evaluate);
  }
  const plain = !names.includes('__proto__');
  return (row) => {
    const made: Record<string, Value> = {};
    for (let index = 0; index < names.length; index++) {
      if (plain) made[names[index]!] = values[index]!(row);
      else setField(made, names[index]!, values[index]!(row));
    }
    return made;
  };
}
