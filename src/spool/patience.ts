/** Longest that an acknowledgement waits for company before its commit begins, ms. */
const WAIT_MS_MAX = 20;
/** A wait ends early when nothing has come for this long, ms, at the least ... */
const QUIET_MS_MIN = 1;
/** ... or for this many times the usual gap between messages. */
const QUIET_GAPS = 4;
/** Messages that a wait must gather on average to be worth it. */
const WORTH_WAITING_FOR = 0.25;
/** While waits are not worth it, one commit in so many waits all the same, to see whether that has changed. */
const PROBE_EVERY = 64;

/**
 * Decides how long a commit with waiting acknowledgements holds out for more messages. A commit costs the card the same
 * whatever it holds, so company is worth waiting for; but a child that sends its next message only after its PUBACK gains
 * nothing from a wait, and pays for it with its rate. So waiting is tried, and kept up only where it gathers something.
 * All times in ms of one monotonic clock.
 */
export class Patience {
  #gathered = 1;
  #quickCommits = 0;
  #gapMs = WAIT_MS_MAX;
  #lastArrival = -Infinity;
  #waitingSince: number | null = null;
  #arrivedAtStart = 0;
  #arrived = 0;

  /** A message came whose sender waits for its acknowledgement. */
  arrival(now: number): void {
    const gap = Math.min(now - this.#lastArrival, WAIT_MS_MAX);
    this.#gapMs += (gap - this.#gapMs) / 8;
    this.#lastArrival = now;
    this.#arrived++;
  }

  /** How long to wait from now until asking again; 0: commit now. */
  waitMs(now: number): number {
    if (this.#waitingSince === null) {
      if (this.#gathered < WORTH_WAITING_FOR && ++this.#quickCommits < PROBE_EVERY) return 0;
      this.#quickCommits = 0;
      this.#waitingSince = now;
      this.#arrivedAtStart = this.#arrived;
    }
    const quietMs = Math.min(Math.max(QUIET_MS_MIN, QUIET_GAPS * this.#gapMs), WAIT_MS_MAX);
    const left = Math.min(this.#waitingSince + WAIT_MS_MAX, this.#lastArrival + quietMs) - now;
    return left > 0 ? left : 0;
  }

  /** The commit begins; what came since the wait began is what the wait was worth. */
  committed(): void {
    if (this.#waitingSince === null) return;
    this.#gathered += (this.#arrived - this.#arrivedAtStart - this.#gathered) / 4;
    this.#waitingSince = null;
  }
}
