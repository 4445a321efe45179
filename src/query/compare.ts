import { compareMoments, parseIso } from './datetime.ts';
import { encodeState } from './state.ts';
import { DateTime, Float, typeName, ValueError, type Value } from './value.ts';

/*
 * Comparison. Numbers of both kinds compare by their exact values; a bit compares with a number as 0 or 1; ISO text compares with
 * a datetime as the moment that it names; text compares by its UTF-16 units, with case. All else cannot be compared.
 */

/** Less than, equal to, more than 0, as `a` is. Neither may be NULL. Throws ValueError when their types cannot be compared. */
export function compare(a: Value, b: Value): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a === 'string' && typeof b === 'string') return a < b ? -1 : a > b ? 1 : 0;
  const left = numeric(a);
  const right = numeric(b);
  if (left !== null && right !== null) return left < right ? -1 : left > right ? 1 : 0;
  if (a instanceof DateTime || b instanceof DateTime) {
    const from = typeof a === 'string' ? parseIso(a) : a;
    const to = typeof b === 'string' ? parseIso(b) : b;
    if (from instanceof DateTime && to instanceof DateTime) return compareMoments(from, to);
  }
  throw new ValueError(`${typeName(a)} cannot be compared with ${typeName(b)}`);
}

function numeric(value: Value): number | bigint | null {
  switch (typeof value) {
    case 'number':
    case 'bigint':
      return value;
    case 'boolean':
      return value ? 1 : 0;
    default:
      return value instanceof Float ? value.value : null;
  }
}

/** `=`; NULL when one of them is NULL. */
export function equal(a: Value, b: Value): boolean | null {
  return a === null || b === null ? null : compare(a, b) === 0;
}

/** The order of ORDER BY: NULL first, then numbers, then datetimes. Only for what {@link sortable} gave. */
export function order(a: Value, b: Value): number {
  return rank(a) - rank(b) || (a === null ? 0 : compare(a, b));
}

function rank(value: Value): number {
  return value === null ? 0 : value instanceof DateTime ? 2 : 1;
}

/** What ORDER BY may sort by, ISO text as a datetime. Throws ValueError for other text, bits, records and arrays. */
export function sortable(value: Value): Value {
  if (value === null || typeof value === 'number' || typeof value === 'bigint') return value;
  if (value instanceof Float || value instanceof DateTime) return value;
  const moment = typeof value === 'string' ? parseIso(value) : null;
  if (moment === null)
    throw new ValueError(`ORDER BY takes bigint, float and datetime, and this is ${typeName(value)}`);
  return moment;
}

/**
 * A text that two values have in common exactly when they are the same group: numbers by value whatever their type, NULL as a value like
 * any other, records and arrays by all that is in them.
 */
export function distinctKey(value: Value): string {
  if (typeof value === 'string') return `s${value}`;
  if (typeof value === 'number') return `${value}`;
  // Beyond 2^53 a double is written with fewer digits than the whole number that it is.
  if (value instanceof Float) return `${Number.isSafeInteger(value.value) ? value.value : BigInt(value.value)}`;
  return typeof value === 'bigint' ? `${value}` : encodeState(value);
}
