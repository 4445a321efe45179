import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import type { SystemdNotifier } from './systemd.ts';

/** A commit that has been under way for so long is not going to end, ms: a slow card takes seconds, not minutes. */
const COMMIT_MS_MAX = 60_000;

/** What the watchdog looks at. */
export interface Watched {
  status(): { readonly spool: { readonly commitUnderWayMs: number } };
}

/**
 * Tells systemd that we are alive, as long as that is true: the event loop turns (or this would not run) and commits make
 * progress. A commit that fails is progress: the spool says so and tries again. One that never ends is not.
 */
export class Watchdog {
  readonly #watched: Watched;
  readonly #notifier: SystemdNotifier | null;
  readonly #clock: Clock;
  readonly #log: Logger;
  #timer: Timer | null = null;
  #stuck = false;

  constructor(watched: Watched, notifier: SystemdNotifier | null, clock: Clock, log: Logger) {
    this.#watched = watched;
    this.#notifier = notifier;
    this.#clock = clock;
    this.#log = log;
  }

  start(): void {
    const everyMs = this.#notifier?.watchdogIntervalMs ?? null;
    if (everyMs === null) return;
    this.#feed();
    this.#timer = this.#clock.every(everyMs, () => this.#feed());
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #feed(): void {
    const stuck = this.#watched.status().spool.commitUnderWayMs > COMMIT_MS_MAX;
    if (stuck && !this.#stuck) this.#log.fatal('a commit does not end: the watchdog is not fed any more');
    this.#stuck = stuck;
    if (!stuck) this.#notifier?.watchdog();
  }
}
