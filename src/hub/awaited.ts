import type { Clock, Timer } from '../clock/clock.ts';

/** Those who wait at once; beyond it nobody waits. */
const WAITING_MAX = 1000;

interface Waiting {
  readonly timer: Timer;
  readonly here: () => boolean;
  readonly resolve: () => void;
}

/** Callers that wait until a client is there and listens. */
export class Awaited {
  readonly #clock: Clock;
  readonly #waiting = new Set<Waiting>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves when `here` says so at a {@link look}, or time is up; at once when it does now, or too many wait. Never rejects. */
  until(here: () => boolean, secs: number): Promise<void> {
    if (secs <= 0 || this.#waiting.size >= WAITING_MAX || here()) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.#clock.after(secs * 1000, () => this.#end(waiting));
      const waiting: Waiting = { timer, here, resolve };
      this.#waiting.add(waiting);
    });
  }

  /** A client has come, or has subscribed to something. */
  look(): void {
    for (const waiting of this.#waiting) if (waiting.here()) this.#end(waiting);
  }

  /** Nobody will come any more. */
  end(): void {
    for (const waiting of this.#waiting) this.#end(waiting);
  }

  #end(waiting: Waiting): void {
    this.#waiting.delete(waiting);
    waiting.timer.cancel();
    waiting.resolve();
  }
}
