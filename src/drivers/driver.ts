import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import type { CommandResult } from '../commands/commands.ts';
import type { Reading } from '../message/message.ts';

/** A driver's side of the world: everything it may do besides its own hardware. */
export interface DriverContext {
  readonly child: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** The driver, or the process that had it before, ended without a proper stop. */
  readonly afterFailure?: boolean;
  /** Hands over one reading. Never throws; what becomes of it is not the driver's business. */
  emit(reading: Reading): void;
  /**
   * One piece of input that made no sense: counted, and sampled in the log unless it was `said` there already. `sample` is
   * shortened by the receiver.
   */
  malformed(why: string, sample: Buffer | string, said?: boolean): void;
  /** The hardware went away or misbehaved: the driver is stopped and started again after a backoff. */
  failed(error: Error): void;
  /** There is nothing more to read, by design (a simulated sensor's message limit). */
  finished(why: string): void;
}

/** Reads one wired child. `start` acts, `stop` undoes all that start did, also after a failure; both may be called again. */
export interface Driver {
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Called just before a `stop` that is no failure's: the last chance to emit. */
  lastWords?(): void;
  /** `id`: the same when a command comes a second time; absent where the sender gives none. */
  command?(name: string, payload: unknown, id?: string): Promise<CommandResult>;
}
