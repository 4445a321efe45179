import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';

/** Longest that messages wait for the time to become known, ms: long enough for a time server on a fresh connection. */
const WAIT_MS_MAX = 30_000;
/** How often the clock is asked meanwhile, ms. */
const LOOK_EVERY_MS = 500;

/**
 * Holds messages back at the start until the time is known, so that their stamps are right when they leave; not for long,
 * since there may be no time server at all, and stamps say what they are worth.
 */
export class TimeWait {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #ended: () => void;
  readonly #until: number;
  #timer: Timer | null = null;
  #waiting = false;

  /** Begins at once, from the monotonic time `since`. Calls `ended` once when it is over, unless it was over before. */
  constructor(clock: Clock, since: number, log: Logger, ended: () => void) {
    this.#clock = clock;
    this.#log = log;
    this.#ended = ended;
    this.#until = since + WAIT_MS_MAX;
    if (clock.known() || clock.monotonic() >= this.#until) return;
    this.#waiting = true;
    log.info(`the time is not known yet: messages wait for it, ${WAIT_MS_MAX / 1000} s at the most`);
    this.#timer = clock.every(LOOK_EVERY_MS, () => this.#look());
  }

  /** Whether messages are held back. */
  get waiting(): boolean {
    return this.#waiting;
  }

  /** Asks no more; what is held back stays so. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #look(): void {
    const known = this.#clock.known();
    if (!known && this.#clock.monotonic() < this.#until) return;
    this.stop();
    this.#waiting = false;
    if (known) this.#log.info('the time is known: messages are sent');
    else this.#log.warn('the time is still not known: messages are sent and say so (clock: unknown)');
    this.#ended();
  }
}
