import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';

/** Without any acknowledgement for so long, with something in flight, the broker is said to be stalled, ms. */
export const STALLED_AFTER_MS = 60_000;
const LOOK_EVERY_MS = 10_000;

/**
 * Notices a broker that keeps the connection alive and acknowledges nothing. It is not left for that: a broker that is busy
 * would only get busier, and what is in flight would come to it twice.
 */
export class Stall {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #inFlight: () => number;
  #timer: Timer | null = null;
  /** The last acknowledgement, or when there last was nothing to acknowledge. */
  #movedAt: number;
  #said = false;

  constructor(clock: Clock, log: Logger, inFlight: () => number) {
    this.#clock = clock;
    this.#log = log;
    this.#inFlight = inFlight;
    this.#movedAt = clock.monotonic();
  }

  sessionBegan(): void {
    this.#moved();
    this.#timer = this.#clock.every(LOOK_EVERY_MS, () => this.#look());
  }

  sessionEnded(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#said = false;
  }

  /** Something is sent after a time in which nothing was in flight. */
  began(): void {
    this.#movedAt = this.#clock.monotonic();
  }

  acknowledged(): void {
    this.#moved();
  }

  /** For how long nothing has been acknowledged, s; null while that is nothing to speak of. */
  get secs(): number | null {
    if (this.#timer === null || this.#inFlight() === 0) return null;
    const ms = this.#clock.monotonic() - this.#movedAt;
    return ms < STALLED_AFTER_MS ? null : Math.floor(ms / 1000);
  }

  #moved(): void {
    this.#movedAt = this.#clock.monotonic();
    if (!this.#said) return;
    this.#said = false;
    this.#log.info('the upstream acknowledges again');
  }

  #look(): void {
    const { secs } = this;
    if (secs === null || this.#said) return;
    this.#said = true;
    this.#log.warn(
      { inFlight: this.#inFlight(), secs },
      'the upstream keeps the connection and acknowledges nothing: messages are kept',
    );
  }
}
