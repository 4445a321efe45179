import { sizeOf } from '../query/aggregates/accumulator.ts';
import type { Row } from './row.ts';

/** What V8 spends, about, on a row with its lists and its place where it is kept. */
const ROW_BYTES = 200;

/** About how many bytes a row takes with all that hangs on it. */
export function rowWeight(row: Row): number {
  let bytes = ROW_BYTES;
  for (const source of row.sources) bytes += sizeOf(source);
  for (const value of row.analytic) bytes += sizeOf(value);
  return bytes;
}
