import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';

/** After a line in the log the next one is this far off, ms: whoever sends what is refused may send it again and again. */
const SAID_EVERY_MS = 60_000;
/** Addressees that are named in a line which stands for many. */
const NAMED_MAX = 10;
/** Longest reason in the log, characters: an answer of a driver may stand in it. */
const WHY_MAX = 200;

/**
 * Why a message from above is refused for good: its child's mailbox has no room, nobody of that name takes messages, its body is over
 * the limit, it cannot be understood, it has expired, or whoever had to carry it out at once could not.
 */
export const REASONS = ['full', 'unknown', 'too-large', 'malformed', 'expired', 'failed'] as const;
export type Reason = (typeof REASONS)[number];

/** A message from above that is refused for good: it is acknowledged, and does not come again. */
export interface Rejection {
  /** For whom it was: a child's id, or `child/module`. */
  readonly child: string;
  readonly reason: Reason;
  /** For people. */
  readonly why: string;
}

/** Counts what is refused for good, and says it: the first at once, and what follows within a minute at its end, in one line. */
export class Rejections {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #counts: Record<Reason, number> = {
    full: 0,
    unknown: 0,
    'too-large': 0,
    malformed: 0,
    expired: 0,
    failed: 0,
  };
  /** What has not been said yet, by addressee and reason, and what is of more addressees than are named. */
  readonly #unsaid = new Map<string, number>();
  #unnamed = 0;
  #minute: Timer | null = null;

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Since the start. */
  get counts(): Readonly<Record<Reason, number>> {
    return { ...this.#counts };
  }

  add({ child, reason, why }: Rejection): void {
    this.#counts[reason]++;
    if (this.#minute === null) {
      this.#log.warn({ child, reason }, `a message from above is refused: ${why.slice(0, WHY_MAX)}`);
      this.#minute = this.#clock.after(SAID_EVERY_MS, () => this.#over());
      return;
    }
    const key = `${child}: ${reason}`;
    const before = this.#unsaid.get(key);
    if (before === undefined && this.#unsaid.size >= NAMED_MAX) this.#unnamed++;
    else this.#unsaid.set(key, (before ?? 0) + 1);
  }

  /** What has not been said yet is said now. */
  stop(): void {
    this.#minute?.cancel();
    this.#minute = null;
    this.#say();
  }

  #over(): void {
    this.#minute = null;
    if (this.#say()) this.#minute = this.#clock.after(SAID_EVERY_MS, () => this.#over());
  }

  /** False: there was nothing. */
  #say(): boolean {
    if (this.#unsaid.size === 0) return false;
    const parts = [...this.#unsaid].map(([key, count]) => `${key}, ${count}`);
    if (this.#unnamed > 0) parts.push(`others, ${this.#unnamed}`);
    const count = [...this.#unsaid.values()].reduce((sum, each) => sum + each, this.#unnamed);
    this.#unsaid.clear();
    this.#unnamed = 0;
    this.#log.warn({ count }, `more messages from above were refused: ${parts.join('; ')}`);
    return true;
  }
}
