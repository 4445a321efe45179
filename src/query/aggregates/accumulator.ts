import { DateTime, Float, typeName, ValueError, type Value } from '../value.ts';

/** What an aggregate has of the rows of one group so far. */
export interface Accumulator {
  /** The values of one row, for the aggregate's inputs in turn; they have passed {@link Aggregate.check}. Does not keep the array. Never throws. */
  add(values: readonly Value[]): void;
  /**
   * Takes back the row that was added first among those that are there. The result then is the very same as if only the others had been
   * added. Only when it was made removable.
   */
  remove(values: readonly Value[]): void;
  /** Throws ValueError when the rows have no such result: numbers among texts, a sum beyond 64 bits. */
  result(): Value;
  save(): Value;
  /** Takes up what {@link save} gave, in place of what it has. */
  load(saved: Value): void;
  /** Estimated bytes that it holds. */
  readonly bytes: number;
}

/** Of the accumulators of numbers alone. */
export const SMALL = 64;

/** Estimated bytes that a value holds in memory. */
export function sizeOf(value: Value): number {
  if (typeof value === 'string') return 24 + 2 * value.length;
  if (typeof value !== 'object' || value === null) return 8;
  if (value instanceof Float || value instanceof DateTime) return 32;
  let size = 32;
  if (Array.isArray(value)) {
    for (const element of value as readonly Value[]) size += 8 + sizeOf(element);
  } else {
    for (const field of Object.values(value)) size += 16 + sizeOf(field);
  }
  return size;
}

/** Floats of more than this are refused: sums of them could leave what a double holds. */
const FLOAT_MAX = 1e300;

/** Throws ValueError unless the value is a number, or NULL. */
export function checkNumber(value: Value, name: string, most = FLOAT_MAX): void {
  if (value === null || typeof value === 'bigint') return;
  const number = value instanceof Float ? value.value : value;
  if (typeof number !== 'number')
    throw new ValueError(`${name} takes bigint and float, and this is ${typeName(value)}`);
  if (Math.abs(number) > most) throw new ValueError(`${name} takes no float beyond ${most}`);
}
