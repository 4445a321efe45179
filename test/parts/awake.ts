/** How often it looks at the time, and what it takes a look that comes late for at the most, ms. */
const LOOK_EVERY_MS = 10;
const LOOK_MS_MAX = 50;

/**
 * Time in which this process ran, for upper bounds on what other processes or timers take: while the machine stands still, as a
 * virtual one does whose processor others have, none passes. Not for what keeps the event loop of this process itself.
 */
export class Awake {
  #ms = 0;
  #last = performance.now();
  readonly #timer = setInterval(() => this.#look(), LOOK_EVERY_MS).unref();

  /** Since it was made, ms. */
  get ms(): number {
    this.#look();
    return this.#ms;
  }

  /** As {@link ms}; it goes no further. */
  stop(): number {
    clearInterval(this.#timer);
    return this.ms;
  }

  #look(): void {
    const now = performance.now();
    this.#ms += Math.min(now - this.#last, LOOK_MS_MAX);
    this.#last = now;
  }
}
