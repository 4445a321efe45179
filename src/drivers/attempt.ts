import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import type { Reading } from '../message/message.ts';
import type { Driver, DriverContext } from './driver.ts';

/** Longest that a driver may take to start and to stop, ms; after that it is given up. */
const START_MS_MAX = 30_000;
const STOP_MS_MAX = 5_000;

/** What an attempt tells. Nothing is told after it ended. */
export interface AttemptEvents {
  reading(reading: Reading): void;
  malformed(why: string, sample: Buffer | string, said?: boolean): void;
  finished(why: string): void;
  /** Told at most once. */
  failed(error: Error): void;
}

/**
 * One life of a driver, from create to stop. What it does after its end is ignored, its intervals end with it, and an
 * exception in one of its timers is its failure and not the process's.
 */
export class Attempt {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #events: AttemptEvents;
  readonly #intervals = new Set<Timer>();
  readonly #driver: Driver;
  #over = false;
  #failed = false;
  #interrupt = (): void => {};
  readonly #interrupted = new Promise<boolean>((resolve) => {
    this.#interrupt = () => resolve(false);
  });

  /** Throws what `create` throws. */
  constructor(
    child: string,
    create: (context: DriverContext) => Driver,
    clock: Clock,
    log: Logger,
    events: AttemptEvents,
    afterFailure = false,
  ) {
    this.#clock = clock;
    this.#log = log;
    this.#events = events;
    this.#driver = create({
      child,
      clock: this.#guardedClock(),
      log,
      afterFailure,
      emit: (reading) => {
        if (!this.#over) events.reading(reading);
      },
      malformed: (why, sample, said) => {
        if (!this.#over) events.malformed(why, sample, said);
      },
      finished: (why) => {
        if (!this.#over && !this.#failed) events.finished(why);
      },
      failed: (error) => this.#fail(error),
    });
  }

  get driver(): Driver {
    return this.#driver;
  }

  get failed(): boolean {
    return this.#failed;
  }

  /** Answers whether the driver runs. Never rejects: a start that rejects or hangs is told as `failed`. */
  async start(): Promise<boolean> {
    try {
      const started = this.#within(START_MS_MAX, () => this.#driver.start(), 'start');
      return await Promise.race([started, this.#interrupted]);
    } catch (error) {
      this.#fail(asError(error));
      return false;
    }
  }

  /** Makes `start` answer false at once if it has not answered yet, because a stop must not wait for a slow start. */
  interrupt(): void {
    this.#interrupt();
  }

  /** Never rejects, and takes no longer than {@link STOP_MS_MAX}. */
  async stop(): Promise<void> {
    try {
      if (!this.#failed) this.#driver.lastWords?.();
    } catch (error) {
      this.#log.error({ err: error }, 'what the driver had left was not told');
    }
    this.#over = true;
    try {
      await this.#within(STOP_MS_MAX, () => this.#driver.stop(), 'stop');
    } catch (error) {
      this.#log.error({ err: error }, 'driver could not be stopped and is abandoned');
    }
    for (const interval of this.#intervals) interval.cancel();
  }

  #fail(error: Error): void {
    if (this.#over || this.#failed) return;
    this.#failed = true;
    this.#interrupt();
    this.#events.failed(error);
  }

  /** Resolves with true when `act` does; rejects when it does or takes longer than `ms`. */
  async #within(ms: number, act: () => Promise<void>, what: string): Promise<boolean> {
    let timer: Timer | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = this.#clock.after(ms, () => reject(new Error(`driver did not ${what} within ${ms / 1000} s`)));
    });
    try {
      await Promise.race([act(), late]);
      return true;
    } finally {
      timer?.cancel();
    }
  }

  #guardedClock(): Clock {
    const clock = this.#clock;
    const guard = (fn: () => void) => (): void => {
      try {
        // A function that returns nothing may still be an async one.
        const result = fn() as unknown;
        if (result instanceof Promise) result.catch((error: unknown) => this.#fail(asError(error)));
      } catch (error) {
        this.#fail(asError(error));
      }
    };
    return {
      bootId: clock.bootId,
      wall: () => clock.wall(),
      monotonic: () => clock.monotonic(),
      known: () => clock.known(),
      soon: (fn) => clock.soon(guard(fn)),
      after: (ms, fn) => clock.after(ms, guard(fn)),
      every: (ms, fn) => {
        const interval = clock.every(ms, guard(fn));
        this.#intervals.add(interval);
        return interval;
      },
    };
  }
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
