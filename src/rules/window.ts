import type { Arrival } from './arrival.ts';
import type { Group } from './group.ts';
import type { Micros, Saved } from './row.ts';

/**
 * One window of a GROUP BY, over all groups. Rows come in the order of time, and everything that was due before a row has been
 * closed when it comes.
 */
export interface OpenWindow {
  /** The end of what closes first; Infinity when nothing is open. */
  readonly next: Micros;
  /** False when there was no room for it. */
  add(arrival: Arrival): boolean;
  /** Gives out each group of what ends at `next`, those first that were seen first, and forgets what is over. */
  close(give: (group: Group) => void): void;
  save(): Saved;
  load(saved: Saved): void;
}

/** The end of the window that `time` belongs to, of windows that end at each multiple of `size` after `offset`, from 1970 on. */
export function endOf(time: Micros, size: Micros, offset: Micros): Micros {
  // By the remainder, which is exact where a quotient would be rounded.
  const beyond = (time - offset) % size;
  return beyond > 0 ? time - beyond + size : time - beyond;
}
