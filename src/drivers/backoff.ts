/** Bounds of the wait between a failure and the next attempt, ms. */
export interface BackoffLimits {
  readonly minMs: number;
  readonly maxMs: number;
}

/**
 * Exponential backoff with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015), but never below
 * `minMs`: many children of one hub that failed together do not come back together, and none spins.
 */
export class Backoff {
  readonly #limits: BackoffLimits;
  readonly #random: () => number;
  #failures = 0;

  constructor(limits: BackoffLimits, random: () => number) {
    this.#limits = limits;
    this.#random = random;
  }

  /** One more failure: how long to wait, ms. */
  next(): number {
    const { minMs, maxMs } = this.#limits;
    this.#failures = Math.min(this.#failures + 1, 30);
    const ceiling = Math.min(maxMs, minMs * 2 ** this.#failures);
    return Math.round(minMs + this.#random() * (ceiling - minMs));
  }

  reset(): void {
    this.#failures = 0;
  }
}
