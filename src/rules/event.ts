import type { DateTime, Fields } from '../query/value.ts';
import type { ReferenceTable } from './reference-table.ts';
import type { Micros } from './row.ts';

/*
 * What goes into a running query, what comes out of it, and what it is told when it is made.
 */

export interface EngineOptions {
  /** The query's text. */
  readonly script: string;
  /** How far events may come out of order, and be waited for. */
  readonly outOfOrderMs?: number;
  /** How much later than it happened an event may be accepted; -1 is any time. An input that says nothing for long goes on by this much behind. */
  readonly lateArrivalMs?: number;
  /** What becomes of events that are later than that, or out of order by more: their time is moved, or they are dropped. */
  readonly onLate?: 'adjust' | 'drop';
  /** Events that come so much before they happened are dropped. */
  readonly earlyMs?: number;
  /** An input that has been silent for so long no longer holds back what waits for it. */
  readonly idleMs?: number;
  readonly limits?: Partial<Limits>;
  /** Tables that the query joins, by the names that it knows them by. */
  readonly references?: Readonly<Record<string, ReferenceTable>>;
}

/** The most that one query may remember. */
export interface Limits {
  /** Windows that are open at a time. */
  readonly windows: number;
  /** Groups in them, all together. */
  readonly groups: number;
  /** Estimated. */
  readonly bytes: number;
}

export interface InputEvent {
  readonly fields: Fields;
  /** When the gateway accepted it, on its steady timeline; never less than that of an earlier event or tick. */
  readonly arrival: Micros;
  /** False while nobody knows the time: `arrival` then says only how much later than others it came, and is held against no event's own time. */
  readonly arrivalKnown: boolean;
}

export interface OutputEvent {
  /** As the query spells it. */
  readonly output: string;
  /** The end of the window, or the time of the row. */
  readonly time: DateTime;
  readonly body: Fields;
  /** The same time as text: RFC 3339 with milliseconds, and further digits where they are needed. */
  readonly window: string;
  /**
   * 0, 1, ... within that output and that time (with `TIMESTAMP BY .. OVER` there are gaps); the same in every replay, so that module,
   * output, window and this name a command.
   */
  readonly n: number;
  /** The number of the select that made it, in the order of the script: orders what has equal time. */
  readonly select: number;
}

export interface Counters {
  /** Events that were fed, and events that came out. */
  in: number;
  out: number;
  /** Accepted too late after they happened (moved or dropped). */
  late: number;
  /** Accepted too long before they happened (dropped). */
  early: number;
  /** Earlier than what had been passed on (moved or dropped). */
  unordered: number;
  /** Events, or results of windows, that could not be worked out: no timestamp, a wrong type, a failed CAST. */
  dropped: number;
  /** Events that found no room within the limits. */
  bounded: number;
}
