import { DateTime, Float, isRecord, type Fields, type Value } from './value.ts';

/*
 * Fields are found as they are spelled, and without regard to case when none is spelled so (the first such field counts).
 * Records come from strangers: `constructor`, `__proto__` and their like are fields only where the record has them itself.
 */

const INHERITED = new Set(Object.getOwnPropertyNames(Object.prototype));

/** A field of a record; NULL when it has none of that name, and when `record` is no record. */
export function getField(record: Value, name: string): Value {
  return isRecord(record) ? find(record, name, name.toLowerCase(), INHERITED.has(name)) : null;
}

/** Whether a record has a field of that name, in whatever case. */
export function hasField(record: Fields, name: string): boolean {
  if (Object.hasOwn(record, name)) return true;
  const lower = name.toLowerCase();
  return Object.keys(record).some((own) => own.length === name.length && own.toLowerCase() === lower);
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

const MOMENT = new DateTime(0);
const FLOAT = new Float(0);

/** Whether something with a name of this sort may be other than a field of a record: a member of its class, or inherited. */
function isMember(name: string): boolean {
  return [Object.prototype, Array.prototype, MOMENT, FLOAT].some((owner) => name in owner) || /^\d+$/.test(name);
}

/** Like {@link getField} for one name and many records. */
function fieldReader(name: string): (record: Value) => Value {
  const lower = name.toLowerCase();
  const inherited = INHERITED.has(name);
  const search = (record: Value): Value => (isRecord(record) ? find(record, name, lower, inherited) : null);
  if (isMember(name)) return search;
  return (record) => {
    if (typeof record !== 'object' || record === null) return null;
    // Nothing but a record has anything of that name, and it has it itself.
    const value = (record as Fields)[name];
    return value === undefined ? search(record) : value;
  };
}

function find(record: Fields, name: string, lower: string, inherited: boolean): Value {
  if (inherited ? Object.hasOwn(record, name) : record[name] !== undefined) return record[name]!;
  for (const own in record) {
    if (own.length === name.length && own.toLowerCase() === lower && Object.hasOwn(record, own)) return record[own]!;
  }
  return null;
}
