import type { Table, TypeName } from '../query/ast.ts';
import { parseIso } from '../query/datetime.ts';
import { getField } from '../query/field.ts';
import { typeName, type Fields, type Value } from '../query/value.ts';

/**
 * What an event must be like by CREATE TABLE: each column NULL or of its type. Nothing is converted; a float may be a whole number, and
 * a datetime ISO 8601 text, since JSON has no other. Says what does not fit, or null.
 */
export function schemaOf({ name, columns }: Table): (fields: Fields) => string | null {
  return (fields) => {
    for (const column of columns) {
      const value = getField(fields, column.name);
      if (!fits(value, column.type)) return `${column.name} of ${name} is ${typeName(value)}, not ${column.type}`;
    }
    return null;
  };
}

function fits(value: Value, type: TypeName): boolean {
  const is = typeName(value);
  if (is === 'NULL' || is === type) return true;
  if (type === 'float') return is === 'bigint';
  return type === 'datetime' && typeof value === 'string' && parseIso(value) !== null;
}
