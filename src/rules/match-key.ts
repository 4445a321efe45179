import { DateTime, Float, type Value } from '../query/value.ts';
import { groupKey, type GroupKey } from './group-key.ts';

/**
 * The key by which a join finds its other side: equal exactly when the values are, of equal type (the number 1 and the text '1' are not).
 * Null when there is none: NULL equals nothing, and records and arrays are not compared.
 */
export function matchKey(values: readonly Value[]): GroupKey {
  for (const value of values) {
    if (value === null || (typeof value === 'object' && !(value instanceof DateTime || value instanceof Float)))
      return null;
  }
  return groupKey(values);
}
