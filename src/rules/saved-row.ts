import type { Fields } from '../query/value.ts';
import type { Micros, Row, Saved } from './row.ts';

/** A row as it stands in a checkpoint. */
export function saveRow(row: Row): Saved {
  return [row.time, row.sources, row.analytic, row.times ?? null];
}

/** What {@link saveRow} made. */
export function loadRow(saved: Saved): Row {
  const [time, sources, analytic, times] = saved as readonly [
    Micros,
    readonly (Fields | null)[],
    readonly Saved[],
    readonly (Micros | null)[] | null,
  ];
  return times === null ? { time, sources, analytic } : { time, sources, analytic, times };
}
