import type { Clock } from '../clock/clock.ts';

/** Capacity that is not used is saved up for so long, s. */
const BURST_SECS = 1;

/** Bounds of sending; one that is absent does not bound. */
export interface RateLimit {
  readonly messagesPerSec?: number | undefined;
  /** Of PUBLISH packets, as they are before TLS and TCP wrap them. */
  readonly bytesPerSec?: number | undefined;
}

/**
 * How fast messages may be sent: a token bucket for each bound, which holds what a second allows. In any T seconds at most
 * (T + 1 s) x rate is sent. What is larger than a second's worth goes when the bucket is full, and is then waited for; so
 * does what may not wait ({@link charge} without {@link waitMs}).
 */
export class Rate {
  readonly #clock: Clock;
  readonly #messages: Bucket;
  readonly #bytes: Bucket;

  constructor({ messagesPerSec = Infinity, bytesPerSec = Infinity }: RateLimit, clock: Clock) {
    this.#clock = clock;
    this.#messages = new Bucket(messagesPerSec, clock.monotonic());
    this.#bytes = new Bucket(bytesPerSec, clock.monotonic());
  }

  /** Whether the size of a message matters. */
  get countsBytes(): boolean {
    return this.#bytes.perSec !== Infinity;
  }

  /** How long until one message of `bytes` may go, ms; 0: now. */
  waitMs(bytes: number): number {
    const now = this.#clock.monotonic();
    return Math.max(this.#messages.waitMs(1, now), this.#bytes.waitMs(bytes, now));
  }

  /** One message of `bytes` has been sent. */
  charge(bytes: number): void {
    const now = this.#clock.monotonic();
    this.#messages.charge(1, now);
    this.#bytes.charge(bytes, now);
  }
}

class Bucket {
  readonly perSec: number;
  readonly #size: number;
  #level: number;
  #at: number;

  constructor(perSec: number, now: number) {
    this.perSec = perSec;
    this.#size = perSec * BURST_SECS;
    this.#level = this.#size;
    this.#at = now;
  }

  waitMs(amount: number, now: number): number {
    if (this.perSec === Infinity) return 0;
    this.#fill(now);
    const missing = Math.min(amount, this.#size) - this.#level;
    // Filling adds fractions: without a grain of tolerance the last billionth would be waited for.
    return missing <= this.#size * 1e-9 ? 0 : (missing / this.perSec) * 1000;
  }

  charge(amount: number, now: number): void {
    if (this.perSec === Infinity) return;
    this.#fill(now);
    this.#level -= amount;
  }

  #fill(now: number): void {
    this.#level = Math.min(this.#size, this.#level + ((now - this.#at) / 1000) * this.perSec);
    this.#at = now;
  }
}
