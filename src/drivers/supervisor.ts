import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import type { Reading } from '../message/message.ts';
import { Attempt, type AttemptEvents } from './attempt.ts';
import { Backoff, type BackoffLimits } from './backoff.ts';
import type { CommandResult } from '../commands/commands.ts';
import type { Driver, DriverContext } from './driver.ts';
import { MalformedInput } from './malformed.ts';

/** A driver that ran this long was healthy: its next failure waits as briefly as a first one. */
const HEALTHY_AFTER_MS = 60_000;
/** How often the same failure is worth a line in the log, ms. */
const SAME_ERROR_EVERY_MS = 600_000;
const BACKOFF: BackoffLimits = { minMs: 1_000, maxMs: 60_000 };

export type DriverState = 'starting' | 'running' | 'waiting' | 'finished' | 'stopped';

/** How a wired child is doing. Times are wall milliseconds since 1970. */
export interface DriverSnapshot {
  readonly id: string;
  readonly kind: string;
  /** `waiting`: it failed and will be started again; `finished`: it has nothing more to read, but takes commands. */
  readonly state: DriverState;
  readonly since: number;
  readonly readings: number;
  readonly malformed: number;
  /** Starts after the first one, whether after a failure or on request. */
  readonly restarts: number;
  readonly lastReadingAt: number | null;
  /** The latest failure, also when it is over. */
  readonly lastError: string | null;
  readonly retryInMs: number | null;
}

export interface DriverSupervisorOptions {
  readonly child: string;
  readonly kind: string;
  /** Makes a driver; called for each start, so that a driver need not survive its own failure. */
  readonly create: (context: DriverContext) => Driver;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onReading: (child: string, reading: Reading) => void;
  readonly backoff?: BackoffLimits;
  /** The process that had the child before ended without stopping it. */
  readonly afterCrash?: () => boolean;
  /** Jitter, in [0, 1). */
  readonly random?: () => number;
}

/**
 * Keeps the driver of one child running: whatever goes wrong in there, it is stopped and started again after a backoff, and
 * never takes the process down. Overlapping calls of start, stop and restart happen one after the other.
 */
export class DriverSupervisor {
  readonly #options: DriverSupervisorOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #backoff: Backoff;
  readonly #malformed: MalformedInput;
  #attempt: Attempt | undefined;
  /** What the latest call asked for: a stop that was called waits for no start that stands before it in turn. */
  #wanted = false;
  #state: DriverState = 'stopped';
  #since: number;
  #runningSince: number | undefined;
  /** What ran last was not stopped as one should be. */
  #afterFailure = false;
  #starts = 0;
  #readings = 0;
  #lastReadingAt: number | null = null;
  #heardAt: number | null = null;
  #lastError: string | null = null;
  #loggedAt = -Infinity;
  #retry: { readonly timer: Timer; readonly at: number } | undefined;
  /** The calls before this one, done or not. */
  #before: Promise<void> = Promise.resolve();

  constructor(options: DriverSupervisorOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#log = options.log.child({ child: options.child });
    this.#backoff = new Backoff(options.backoff ?? BACKOFF, options.random ?? Math.random);
    this.#malformed = new MalformedInput(options.clock, this.#log);
    this.#since = options.clock.wall();
  }

  /** Resolves when the first attempt to start succeeded or failed; never rejects. Does nothing when started already. */
  start(): Promise<void> {
    this.#wanted = true;
    return this.#inTurn(async () => {
      if (this.#state === 'stopped') await this.#start();
    });
  }

  /** Resolves when the driver is stopped, or abandoned after 5 s. Readings that come later are ignored. */
  stop(): Promise<void> {
    this.#wanted = false;
    this.#attempt?.interrupt();
    return this.#inTurn(async () => {
      await this.#end('stopped');
      this.#malformed.flush();
    });
  }

  /** Stops what runs or waits, and starts at once. */
  restart(): Promise<void> {
    this.#wanted = true;
    this.#attempt?.interrupt();
    return this.#inTurn(async () => {
      await this.#end('stopped');
      this.#backoff.reset();
      await this.#start();
    });
  }

  /** Hands a command to the driver; answers 503 when it does not run, 500 when it throws. Never rejects. */
  async command(name: string, payload: unknown, id?: string): Promise<CommandResult> {
    const driver = this.#state === 'running' || this.#state === 'finished' ? this.#attempt?.driver : undefined;
    const { child } = this.#options;
    if (driver === undefined) {
      const because = this.#state === 'waiting' && this.#lastError !== null ? `: ${this.#lastError}` : '';
      return { status: 503, payload: { error: `${child} is ${this.#state}${because}` } };
    }
    if (driver.command === undefined) return { status: 404, payload: { error: `${child} takes no commands` } };
    try {
      return await driver.command(name, payload, id);
    } catch (error) {
      this.#log.error({ err: error, command: name }, 'command failed');
      return { status: 500, payload: { error: error instanceof Error ? error.message : String(error) } };
    }
  }

  /** When the last reading came, monotonic ms: how long ago that is no jump of the wall clock changes. Null: none came yet. */
  get heardAt(): number | null {
    return this.#heardAt;
  }

  snapshot(): DriverSnapshot {
    return {
      id: this.#options.child,
      kind: this.#options.kind,
      state: this.#state,
      since: this.#since,
      readings: this.#readings,
      malformed: this.#malformed.count,
      restarts: Math.max(0, this.#starts - 1),
      lastReadingAt: this.#lastReadingAt,
      lastError: this.#lastError,
      retryInMs: this.#retry === undefined ? null : Math.max(0, Math.round(this.#retry.at - this.#clock.monotonic())),
    };
  }

  async #start(): Promise<void> {
    if (!this.#wanted) return;
    this.#enter('starting');
    if (this.#starts++ === 0) this.#afterFailure = this.#options.afterCrash?.() ?? false;
    let attempt: Attempt;
    try {
      const events: AttemptEvents = {
        reading: (reading) => this.#read(reading),
        malformed: (why, sample, said) => this.#malformed.add(why, sample, said),
        finished: (why) => {
          this.#enter('finished');
          this.#log.info(`finished: ${why}`);
        },
        // While it starts, the failure is dealt with below, when the start has settled.
        failed: (error) => {
          this.#note(error);
          if (this.#state !== 'starting') void this.#inTurn(() => this.#recover(attempt));
        },
      };
      const { child, create } = this.#options;
      attempt = new Attempt(child, create, this.#clock, this.#log, events, this.#afterFailure);
    } catch (error) {
      this.#note(error instanceof Error ? error : new Error(String(error)));
      this.#wait();
      return;
    }
    this.#attempt = attempt;
    const started = await attempt.start();
    // Asked again, since it may have failed right after it started.
    if (started && !attempt.failed) {
      this.#runningSince = this.#clock.monotonic();
      // A driver with little to say may have finished already.
      if (this.#state === 'starting') this.#enter('running');
      this.#log.info(this.#state);
    } else if (attempt.failed) await this.#recover(attempt);
    // Otherwise it was interrupted, by a stop that comes next.
  }

  /** Stops a failed attempt and sets the time of the next, unless something else ended it meanwhile. */
  async #recover(attempt: Attempt): Promise<void> {
    if (attempt !== this.#attempt) return;
    const ranMs = this.#clock.monotonic() - (this.#runningSince ?? Infinity);
    if (ranMs >= HEALTHY_AFTER_MS) this.#backoff.reset();
    await this.#end('waiting');
    this.#wait();
  }

  #wait(): void {
    const ms = this.#backoff.next();
    this.#enter('waiting');
    const retry = {
      at: this.#clock.monotonic() + ms,
      timer: this.#clock.after(ms, () => {
        void this.#inTurn(async () => {
          if (this.#retry !== retry) return;
          this.#retry = undefined;
          await this.#start();
        });
      }),
    };
    this.#retry = retry;
  }

  /** Ends whatever goes on: the attempt, or the wait for the next. */
  async #end(state: DriverState): Promise<void> {
    this.#retry?.timer.cancel();
    this.#retry = undefined;
    const attempt = this.#attempt;
    this.#attempt = undefined;
    this.#runningSince = undefined;
    if (this.#state !== state) this.#enter(state);
    if (attempt !== undefined) this.#afterFailure = attempt.failed;
    await attempt?.stop();
  }

  #read(reading: Reading): void {
    this.#readings++;
    this.#lastReadingAt = this.#clock.wall();
    this.#heardAt = this.#clock.monotonic();
    try {
      this.#options.onReading(this.#options.child, reading);
    } catch (error) {
      this.#log.error({ err: error }, 'a reading was not taken');
    }
  }

  /** Logs a failure; the same one again (a port that stays unplugged, each 5 s) only now and then. */
  #note(error: Error): void {
    const now = this.#clock.monotonic();
    const again = error.message === this.#lastError && now - this.#loggedAt < SAME_ERROR_EVERY_MS;
    this.#lastError = error.message;
    if (!again) this.#loggedAt = now;
    this.#log[again ? 'debug' : 'warn']({ err: error }, 'driver failed');
  }

  #enter(state: DriverState): void {
    this.#state = state;
    this.#since = this.#clock.wall();
  }

  #inTurn(act: () => Promise<void>): Promise<void> {
    const done = this.#before.then(act);
    // What `act` calls does not reject; if it does, that is a bug of ours that must not stop the calls after it.
    this.#before = done.catch((error: unknown) => this.#log.error({ err: error }, 'driver supervision failed'));
    return this.#before;
  }
}
