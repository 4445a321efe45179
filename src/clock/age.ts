import type { Clock } from './clock.ts';

/** What is kept with every commit, so that age goes on after a restart. */
export interface AgeMark {
  /** Age when it was written, ms. */
  readonly age: number;
  /** Wall time then, ms, or null when nobody had set the clock. */
  readonly wall: number | null;
}

/**
 * How long the gateway has been accountable for its messages, ms. Time to live is measured in it, not in wall time: it
 * runs with the monotonic clock, so a wall-clock jump expires nothing and keeps nothing alive. The time the gateway was off
 * is added once, when wall time is known and was known when the last mark was made.
 */
export class AgeClock {
  readonly #clock: Clock;
  #base: number;
  #since: number;
  /** Wall time of the last mark of the run before, until the time off has been added. */
  #offSince: number | null;

  constructor(clock: Clock, last: AgeMark | null) {
    this.#clock = clock;
    this.#base = last?.age ?? 0;
    this.#since = clock.monotonic();
    this.#offSince = last?.wall ?? null;
  }

  /** Age now, ms. Never runs backwards. */
  now(): number {
    const elapsed = this.#clock.monotonic() - this.#since;
    if (this.#offSince !== null && this.#clock.known()) {
      const off = this.#clock.wall() - elapsed - this.#offSince;
      this.#offSince = null;
      if (off > 0) this.#base += off;
    }
    return this.#base + elapsed;
  }

  mark(): AgeMark {
    return { age: this.now(), wall: this.#clock.known() ? this.#clock.wall() : null };
  }
}
