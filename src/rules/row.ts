import type { Fields, Value } from '../query/value.ts';

/** A moment: whole microseconds since 1970, UTC. Safe as a number until the year 2255. */
export type Micros = number;

/** An event on its way through a query: of one source, or of several once they are joined. */
export interface Row {
  /** Its timestamp by the policies for late and unordered events. */
  readonly time: Micros;
  /** By the order of FROM and its JOINs (and then APPLYs); null where an outer join found nothing. */
  readonly sources: readonly (Fields | null)[];
  /** What analytic functions found for it, by their number in the select; empty when there are none. */
  readonly analytic: readonly Value[];
  /**
   * Only behind a join, where `time` is not that of each source any more: the timestamps of the sources, null for one that has none
   * (nothing was found for it, or it is a reference table). A later join may be bound to any of them.
   */
  readonly times?: readonly (Micros | null)[];
}

/** A part of a running query. Rows come to it in the order of time; what it makes of them goes to where it was told when it was made. */
export interface Operator {
  /** A row; never one that is earlier than the last, nor than what was said by {@link advance}. */
  row(row: Row): void;
  /** Nothing earlier than this, nor of this very moment, comes any more: what was due by then is given out, and this is passed on. */
  advance(to: Micros): void;
}

/** What an operator remembers between rows, and how it is kept through a restart. */
export interface Stateful {
  /** All that it remembers, as `query/state.ts` can write it. Cheap when there is little. */
  save(): Saved;
  /** Takes up what {@link save} gave, in place of what it remembers. */
  load(saved: Saved): void;
  /** How much that is. */
  readonly held: Held;
}

export type Saved = Value;

export interface Held {
  readonly windows: number;
  readonly groups: number;
  /** Estimated bytes. */
  readonly bytes: number;
}
