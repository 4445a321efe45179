import { encodeState } from '../query/state.ts';
import { DateTime, Float, type Value } from '../query/value.ts';

/** What a Map finds a group by. */
export type GroupKey = string | number | bigint | boolean | null;

/** Equal for values of one group: equal numbers whatever their type, else equal type and value; NULL is a value like any other. */
export function groupKey(values: readonly Value[]): GroupKey {
  if (values.length === 1) return single(values[0]!);
  let key = '';
  for (const value of values) {
    const part = single(value);
    const text = String(part);
    // With the length before it no text can look like the border between two.
    key += `${typeof part} ${text.length} ${text}`;
  }
  return key;
}

/** Texts that a query never sees stand before what is no primitive, and before a text that begins like them. */
function single(value: Value): GroupKey {
  if (typeof value === 'string') return value.startsWith('\u0000') ? `\u0000s${value}` : value;
  if (typeof value !== 'object' || value === null) return value;
  // Whole beyond 2^53, where an equal bigint is no number; within, a bigint is one.
  if (value instanceof Float) return Number.isSafeInteger(value.value) ? value.value : BigInt(value.value);
  if (value instanceof DateTime) return `\u0000d${value.ms}.${value.ticks}`;
  return `\u0000j${encodeState(value)}`;
}
