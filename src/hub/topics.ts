import { isFilter as isWellFormed } from '../dialects/topic-filter.ts';
import { FILTER_BYTES_MAX, LEVELS_MAX } from './limits.ts';

/** How many levels a topic or a filter has. */
export function levels(name: string): number {
  let count = 1;
  for (let at = name.indexOf('/'); at >= 0; at = name.indexOf('/', at + 1)) count++;
  return count;
}

/** Whether a filter is one, within our limits. */
export function isFilter(filter: string): boolean {
  return Buffer.byteLength(filter) <= FILTER_BYTES_MAX && levels(filter) <= LEVELS_MAX && isWellFormed(filter);
}
