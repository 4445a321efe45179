import { isRecord, type Fields, type Value } from './value.ts';

/*
 * Fields are found as they are spelled, and without regard to case when none is spelled so (the first such field counts).
 * Records come from strangers: `constructor`, `__proto__` and their like are fields only where the record has them itself.
 */

const INHERITED = new Set(Object.getOwnPropertyNames(Object.prototype));

/** A field of a record; NULL when it has none of that name, and when `record` is no record. */
export function getField(record: Value, name: string): Value {
  return isRecord(record) ? find(record, name, name.toLowerCase(), INHERITED.has(name)) : null;
}

/** Puts a field into a record that is being made. A plain assignment would do, but for `__proto__`. */
export function setField(record: Record<string, Value>, name: string, value: Value): void {
  if (name === '__proto__') {
    Object.defineProperty(record, name, { value, writable: true, enumerable: true, configurable: true });
  } else {
    record[name] = value;
  }
}

/** What follows a path of names from a value; an empty path is the value itself. */
export function pathReader(path: readonly string[]): (from: Value) => Value {
  const [first, second, ...rest] = path.map(fieldReader);
  if (first === undefined) return (from) => from;
  if (second === undefined) return first;
  if (rest.length === 0) return (from) => second(first(from));
  return (from) => {
    let value = second(first(from));
    for (const read of rest) value = read(value);
    return value;
  };
}

/** Like {@link getField} for one name and many records. */
function fieldReader(name: string): (record: Value) => Value {
  const lower = name.toLowerCase();
  const inherited = INHERITED.has(name);
  return (record) => {
    if (typeof record !== 'object' || record === null) return null;
    if (!inherited) {
      // Nothing that has a type of its own (Float, DateTime, array) gets here: their members are not fields.
      const value = (record as Fields)[name];
      if (value !== undefined) return isRecord(record) ? value : null;
    }
    return isRecord(record) ? find(record, name, lower, inherited) : null;
  };
}

function find(record: Fields, name: string, lower: string, inherited: boolean): Value {
  if (inherited ? Object.hasOwn(record, name) : record[name] !== undefined) return record[name]!;
  for (const own in record) {
    if (own.length === name.length && own.toLowerCase() === lower && Object.hasOwn(record, own)) return record[own]!;
  }
  return null;
}
