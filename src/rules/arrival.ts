import type { Value } from '../query/value.ts';
import type { GroupKey } from './group-key.ts';
import type { Micros } from './row.ts';

/** A row as a window sees it. */
export interface Arrival {
  readonly time: Micros;
  readonly key: GroupKey;
  readonly keys: readonly Value[];
  /** What each aggregate is to be given; the lists are used again for the next row. */
  readonly args: readonly (readonly Value[])[];
  /** By the number of each window: the partition of its sessions; empty for windows of other kinds. */
  readonly partitions: readonly (readonly Value[])[];
}
