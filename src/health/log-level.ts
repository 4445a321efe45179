import type { Logger } from 'pino';
import type { LogLevelWord } from '../config/settings-from-above.ts';

/** At so many loggers those that are gone are looked for; after that at twice as many as were left. */
const SWEEP_AT = 256;

/**
 * How much is logged: what somebody asked for while it runs, else what settings from above say, else what the process was started
 * with. It reaches a logger and all that were made from it: pino gives each its own level, which stays as it was at that moment.
 */
export class LogLevel {
  /** What the process was started with. */
  readonly configured: LogLevelWord;
  #asked: LogLevelWord | null = null;
  #above: LogLevelWord | null = null;
  #loggers: WeakRef<Logger>[] = [];
  #sweepAt = SWEEP_AT;

  constructor(configured: LogLevelWord) {
    this.configured = configured;
  }

  get now(): LogLevelWord {
    return this.#asked ?? this.#above ?? this.configured;
  }

  /** A logger that follows from now on, for as long as anybody has it. */
  adopt(logger: Logger): void {
    logger.level = this.now;
    if (this.#loggers.length >= this.#sweepAt) {
      this.#loggers = this.#loggers.filter((each) => each.deref() !== undefined);
      this.#sweepAt = Math.max(SWEEP_AT, this.#loggers.length * 2);
    }
    this.#loggers.push(new WeakRef(logger));
  }

  /** Until the process ends; null: back to what it would be. */
  ask(level: LogLevelWord | null): void {
    this.#asked = level;
    this.#tell();
  }

  /** Settings from above; null: they say nothing of it. */
  fromAbove(level: LogLevelWord | null): void {
    this.#above = level;
    this.#tell();
  }

  #tell(): void {
    for (const each of this.#loggers) {
      const logger = each.deref();
      if (logger !== undefined) logger.level = this.now;
    }
  }
}
