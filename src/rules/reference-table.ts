import type { Fields } from '../query/value.ts';

/** A table that rows are looked up in. */
export interface ReferenceTable {
  /** The same array as long as nothing has changed; never changed in place. */
  readonly rows: readonly Fields[];
}
