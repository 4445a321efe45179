/*
 * Values of the query language. A type belongs to each value, not to a column:
 *
 *   NULL       null (a missing field is NULL too)
 *   bigint     number that is whole and safe; bigint beyond +-(2^53 - 1), within 64 bits
 *   float      number that is not whole; Float when the value is whole (20.0), so that 20.0 / 8 stays 2.5 and 20 / 8 is 2
 *   nvarchar   string
 *   datetime   DateTime
 *   bit        boolean
 *   record     Fields: an object as JSON.parse makes it; only its own properties count
 *   array      array
 */
export type Value = null | number | bigint | Float | string | DateTime | boolean | Fields | readonly Value[];

export interface Fields {
  readonly [name: string]: Value;
}

/** A float whose value is a whole number. */
export class Float {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }

  toJSON(): number {
    return this.value;
  }
}

/** A moment in UTC, to 100 ns. */
export class DateTime {
  /** Whole milliseconds since 1970, rounded down. */
  readonly ms: number;
  /** Units of 100 ns beyond them, 0 to 9,999. */
  readonly ticks: number;

  constructor(ms: number, ticks = 0) {
    this.ms = ms;
    this.ticks = ticks;
  }

  /** As the reference writes it: always 7 digits of a second's fraction. */
  toString(): string {
    return `${new Date(this.ms).toISOString().slice(0, -1)}${String(this.ticks).padStart(4, '0')}Z`;
  }

  toJSON(): string {
    return this.toString();
  }
}

/** A failed CAST, a wrong type, a division by zero: the event is dropped and counted. */
export class ValueError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ValueError';
  }
}

/** What a value is called in the language; `NULL` for null. */
export type ValueType = 'NULL' | 'bigint' | 'float' | 'nvarchar(max)' | 'datetime' | 'bit' | 'record' | 'array';

export function typeName(value: Value): ValueType {
  switch (typeof value) {
    case 'number':
      return Number.isInteger(value) ? 'bigint' : 'float';
    case 'bigint':
      return 'bigint';
    case 'string':
      return 'nvarchar(max)';
    case 'boolean':
      return 'bit';
    default:
      if (value === null) return 'NULL';
      if (value instanceof Float) return 'float';
      if (value instanceof DateTime) return 'datetime';
      return Array.isArray(value) ? 'array' : 'record';
  }
}

export function isRecord(value: Value): value is Fields {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Float) &&
    !(value instanceof DateTime)
  );
}

export function isArray(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

/** A float as it is held: wrapped when it is whole. Throws when it is not finite: the language has no infinity. */
export function float(value: number): Value {
  if (!Number.isInteger(value)) {
    if (Number.isFinite(value)) return value;
    throw new ValueError('the result is beyond float');
  }
  return new Float(value);
}

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

/** A bigint as it is held: a number where that is exact. Throws beyond 64 bits. */
export function integer(value: bigint): number | bigint {
  const narrow = Number(value);
  if (Number.isSafeInteger(narrow)) return narrow;
  if (value < INT64_MIN || value > INT64_MAX) throw new ValueError('the result is beyond bigint, which has 64 bits');
  return value;
}

/** The number of a bigint or a float, rounded to a double; null when it is no number. */
export function toNumber(value: Value): number | null {
  if (typeof value === 'number') return value;
  if (value instanceof Float) return value.value;
  return typeof value === 'bigint' ? Number(value) : null;
}
