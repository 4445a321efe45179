import { compile, condition, type Scope } from '../../src/query/compile.ts';
import { pathReader } from '../../src/query/field.ts';
import { printBody } from '../../src/query/body-json.ts';
import { parseExpression } from '../../src/query/parser-expressions.ts';
import type { Fields, Value } from '../../src/query/value.ts';

/** Names are fields of the one record; there are no aggregates. */
export const fieldsOnly: Scope<Fields> = {
  field(path) {
    const read = pathReader(path);
    return (row) => read(row);
  },
  call: () => null,
};

/** The value of an expression for a record. */
export function valueOf(text: string, row: Fields = {}): Value {
  return compile(parseExpression(text), fieldsOnly)(row);
}

/** The same as JSON, in which 3.0 is a float and 3 is a bigint. */
export function shown(text: string, row: Fields = {}): string {
  return printBody(valueOf(text, row));
}

export function holds(text: string, row: Fields = {}): boolean {
  return condition(parseExpression(text), fieldsOnly)(row);
}
