import type { Clock } from '../clock/clock.ts';
import type { Session } from './session.ts';

/** How long a SUBSCRIBE may go without an answer at first, ms; doubled each time that the same one goes without. */
const PATIENCE_MS = 60_000;
const PATIENCE_MS_MAX = 3_600_000;
/** In so many keepalives a probe that was sent behind the SUBSCRIBE has been answered, or the connection is given up. */
const KEEPALIVES = 2;

/**
 * Notices a broker that keeps the connection alive and leaves a SUBSCRIBE without an answer: nothing comes from above over such a
 * connection, and nobody would ever know.
 */
export class SubackWatch {
  readonly #clock: Clock;
  readonly #patienceMs: number;
  readonly #late: (session: Session, filters: readonly string[], secs: number) => void;
  /** What went without an answer last, and how often in a row. */
  #unanswered: { readonly filters: string; times: number } | null = null;

  constructor(
    clock: Clock,
    keepaliveSecs: number,
    late: (session: Session, filters: readonly string[], secs: number) => void,
  ) {
    this.#clock = clock;
    this.#patienceMs = Math.max(PATIENCE_MS, KEEPALIVES * keepaliveSecs * 1000);
    this.#late = late;
  }

  /** As {@link Session.subscribe}; tells when there is no answer for too long, and goes on waiting. */
  async subscribe(session: Session, filters: readonly string[], qos: 0 | 1): Promise<void> {
    const asked = filters.join('\n');
    const times = this.#unanswered?.filters === asked ? this.#unanswered.times : 0;
    const ms = Math.min(this.#patienceMs * 2 ** times, Math.max(this.#patienceMs, PATIENCE_MS_MAX));
    let late = false;
    const deadline = this.#clock.after(ms, () => {
      late = true;
      this.#unanswered = { filters: asked, times: Math.min(times + 1, 30) };
      this.#late(session, filters, Math.round(ms / 1000));
    });
    try {
      await session.subscribe(filters, qos);
      if (this.#unanswered?.filters === asked) this.#unanswered = null;
    } finally {
      if (!late) deadline.cancel();
    }
  }
}
