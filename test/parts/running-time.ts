/** How often the time is looked at, ms. */
const LOOK_EVERY_MS = 20;
/** A look that comes later than this was not late for want of a processor alone, ms. */
const STILL_MS_MIN = 200;

/**
 * Time for bounds on what others do in it, without that in which the whole machine stood still (a virtual one may, for seconds):
 * nobody could do anything then. End it with {@link stop}.
 */
export class RunningTime {
  #ms = 0;
  #last = performance.now();
  readonly #timer = setInterval(() => this.#look(), LOOK_EVERY_MS);

  /** Since it was made, ms. */
  get ms(): number {
    this.#look();
    return this.#ms;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const now = performance.now();
    const passed = now - this.#last;
    this.#last = now;
    this.#ms += passed < STILL_MS_MIN ? passed : LOOK_EVERY_MS;
  }
}
