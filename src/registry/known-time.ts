import type { Clock, Timer } from '../clock/clock.ts';

/** How often the time is kept while it is known, ms: each costs the card a commit. */
const KEEP_EVERY_MS = 6 * 3_600_000;
const NAME = 'known-time';

/** Where it is kept: the state environment. */
export interface KnownTimeStore {
  get(name: string): unknown;
  put(name: string, value: unknown): Promise<void>;
}

/**
 * The latest time that has certainly passed: when this program was built, or the last that a clock showed that was known. A
 * board without a real-time clock and without a time server judges dates by it.
 */
export class KnownTime {
  readonly #clock: Clock;
  readonly #store: KnownTimeStore;
  #lowest: number;
  #timer: Timer | null = null;
  #keptAt = -Infinity;

  /** `builtAt`: wall ms. */
  constructor(clock: Clock, store: KnownTimeStore, builtAt: number) {
    this.#clock = clock;
    this.#store = store;
    const kept = store.get(NAME);
    this.#lowest = Math.max(builtAt, typeof kept === 'number' ? kept : 0);
  }

  /** Whether {@link now} is the time, and not just one that has passed. */
  get known(): boolean {
    return this.#clock.known();
  }

  /** Wall ms: what the clock shows when it is known, else the latest time that has certainly passed. */
  now(): number {
    if (!this.#clock.known()) return this.#lowest;
    const wall = this.#clock.wall();
    this.#lowest = Math.max(this.#lowest, wall);
    return wall;
  }

  /** Keeps it from now on. */
  start(): void {
    if (this.#timer !== null) return;
    const keep = () => {
      const monotonic = this.#clock.monotonic();
      if (!this.#clock.known() || monotonic - this.#keptAt < KEEP_EVERY_MS) return;
      this.#keptAt = monotonic;
      // A medium that takes nothing is said by others; the next time it may.
      this.#store.put(NAME, this.now()).catch(() => (this.#keptAt = -Infinity));
    };
    keep();
    this.#timer = this.#clock.every(60_000, keep);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }
}
