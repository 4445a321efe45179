import type { Clock } from './clock.ts';

/** What is kept with every commit, so that age goes on after a restart. */
export interface AgeMark {
  /** Age when it was written, ms. */
  readonly age: number;
  /**
   * Wall time then, ms: as the clock said while it was known, else the last that was known and what has passed since, as far
   * as age counts it. null when nobody had ever set the clock.
   */
  readonly wall: number | null;
  /** The time off before the run that made it has not been added: its clock was never known. */
  readonly owes?: true;
  /** The boot and its monotonic time then, ms; absent in marks of 0.1. */
  readonly boot?: string;
  readonly monotonic?: number;
}

/**
 * Longest time off that is believed, ms: a synchronised clock that says more is wrong, or was when the mark was made. A
 * gateway may lie on a shelf for years; 10 of them are a clock that jumped (decisions/0005-time-off.md).
 */
const OFF_MS_MAX = 10 * 365.25 * 86_400_000;
/** How long a clock may go on saying so before it is the mark that is not believed, ms. Then nothing is added. */
const WAITED_OUT_MS = 86_400_000;

/**
 * How long the gateway has been accountable for its messages, ms. Time to live is measured in it, not in wall time: it
 * runs with the monotonic clock, so a wall-clock jump expires nothing and keeps nothing alive. What passed between two runs
 * is added once: at once and from the monotonic clock when the machine did not boot in between, otherwise when wall time is
 * known and was known before. It is the difference of two walls, so that is the only moment at which a wrong clock could
 * count: a difference below zero adds nothing, one beyond {@link OFF_MS_MAX} is waited out until the clock says better.
 *
 * Linux's CLOCK_MONOTONIC stands still while the machine is suspended, so that time is not counted; boards that run a
 * gateway do not suspend.
 */
export class AgeClock {
  readonly #clock: Clock;
  #base: number;
  #since: number;
  /** Wall time at `#since` if the gateway had not been off, until the time off has been added. */
  #offSince: number | null;
  /** The last wall time that was known in this run, as it would be at monotonic 0. */
  #known: number | null = null;

  constructor(clock: Clock, last: AgeMark | null) {
    this.#clock = clock;
    this.#base = last?.age ?? 0;
    this.#since = clock.monotonic();
    this.#offSince = last?.wall ?? null;
    if (last?.boot !== clock.bootId || last.monotonic === undefined || last.monotonic > this.#since) return;
    const away = this.#since - last.monotonic;
    this.#base += away;
    if (last.wall === null) return;
    if (last.owes === true) {
      this.#offSince = last.wall + away;
    } else {
      // All is counted. A wall that jumped while we were away must not be taken for time off.
      this.#offSince = null;
      this.#known = last.wall - last.monotonic;
    }
  }

  /** Age now, ms. Never runs backwards. */
  now(): number {
    const elapsed = this.#clock.monotonic() - this.#since;
    if (this.#offSince !== null && this.#clock.known()) {
      const off = this.#clock.wall() - elapsed - this.#offSince;
      if (off <= OFF_MS_MAX || elapsed > WAITED_OUT_MS) {
        this.#offSince = null;
        if (off > 0 && off <= OFF_MS_MAX) this.#base += off;
      }
    }
    return this.#base + elapsed;
  }

  mark(): AgeMark {
    const age = this.now();
    const monotonic = this.#clock.monotonic();
    const here = { boot: this.#clock.bootId, monotonic };
    if (this.#offSince !== null) {
      return { age, wall: this.#offSince + monotonic - this.#since, owes: true, ...here };
    }
    if (this.#clock.known()) this.#known = this.#clock.wall() - monotonic;
    return { age, wall: this.#known === null ? null : this.#known + monotonic, ...here };
  }
}
