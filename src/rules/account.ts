import { ValueError, type Fields } from '../query/value.ts';
import type { Counters, Limits } from './event.ts';
import type { Held, Micros } from './row.ts';

/** The most that a query remembers when nothing else is said. */
const LIMITS: Limits = { windows: 10_000, groups: 100_000, bytes: 16 * 2 ** 20 };

/** What one running query counts, and what it holds against its limits. All of its parts share it. */
export class Account {
  readonly counters: Counters = { in: 0, out: 0, late: 0, early: 0, unordered: 0, dropped: 0, bounded: 0 };
  /** What was wrong with the first event that was dropped. */
  firstFault: string | null = null;
  /** Which event that was; null when it was no event but a result. */
  firstFaulty: Fields | null = null;
  /** The event that is being worked on; null while it is time that passes. */
  at: Fields | null = null;
  /** How far the times of events have been ahead of their arrivals, of any source, while nobody knew the time; null when that never was. */
  skew: Micros | null = null;
  readonly limits: Limits;
  #windows = 0;
  #groups = 0;
  #bytes = 0;

  constructor(limits: Partial<Limits> = {}) {
    this.limits = { ...LIMITS, ...limits };
  }

  /** An event that could not be worked out. Rethrows what is not the event's fault. */
  dropped(error: unknown, event: Fields | null = this.at): void {
    if (!(error instanceof ValueError)) throw error;
    this.counters.dropped++;
    if (this.firstFault !== null) return;
    this.firstFault = error.message;
    this.firstFaulty = event;
  }

  /** Takes room for so much more; false, and nothing is taken, when there is none. */
  take(windows: number, groups: number, bytes: number): boolean {
    if (
      (windows > 0 && this.#windows + windows > this.limits.windows) ||
      (groups > 0 && this.#groups + groups > this.limits.groups) ||
      this.#bytes + bytes > this.limits.bytes
    ) {
      return false;
    }
    this.give(-windows, -groups, -bytes);
    return true;
  }

  /** Gives room back. */
  give(windows: number, groups: number, bytes: number): void {
    this.#windows -= windows;
    this.#groups -= groups;
    this.#bytes -= bytes;
  }

  /** Nothing is held any more. */
  clear(): void {
    this.give(this.#windows, this.#groups, this.#bytes);
  }

  get held(): Held {
    return { windows: this.#windows, groups: this.#groups, bytes: this.#bytes };
  }
}
