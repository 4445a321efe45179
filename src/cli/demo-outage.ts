import type { Place } from './demo-arrivals.ts';
import { plural, secondsText } from './demo-text.ts';

/** One time without a network, from the cut until everything that was kept has arrived. Times are monotonic, ms. */
export class Outage {
  readonly cutAt: number;
  restoredAt: number | null = null;
  caughtUpAt: number | null = null;
  /** Messages that waited in the spool when the network came back. */
  kept = 0;
  /** The last of them, in each lane. */
  until: readonly Place[] = [];
  /** The most that one of them took from being measured to arriving, ms. */
  oldestMs = 0;
  inOrder = true;
  readonly #outOfOrderBefore: number;

  constructor(now: number, outOfOrderBefore: number) {
    this.cutAt = now;
    this.#outOfOrderBefore = outOfOrderBefore;
  }

  restored(now: number, kept: number, until: readonly Place[]): void {
    this.restoredAt = now;
    this.kept = Math.max(this.kept, kept);
    this.until = until;
  }

  /** Before all had arrived: it is still the same outage. */
  cutAgain(): void {
    this.restoredAt = null;
  }

  caughtUp(now: number, outOfOrder: number): void {
    this.caughtUpAt = now;
    this.inOrder = outOfOrder === this.#outOfOrderBefore;
  }

  get ms(): number | null {
    return this.restoredAt === null ? null : Math.round(this.restoredAt - this.cutAt);
  }

  /** How long after the network's return the last of them came, ms; null when it has not. */
  get arrivedInMs(): number | null {
    return this.restoredAt === null || this.caughtUpAt === null ? null : Math.round(this.caughtUpAt - this.restoredAt);
  }

  /** What happened, for people. */
  get story(): string {
    if (this.ms === null) return 'an outage that has not ended';
    const what = `outage of ${secondsText(this.ms)}`;
    if (this.kept === 0) return `${what}: nothing had to wait`;
    const kept = `${what}: ${plural(this.kept, 'reading')} ${this.kept === 1 ? 'was' : 'were'} kept`;
    if (this.arrivedInMs === null) return `${kept}, not all have arrived yet`;
    const order = this.inOrder ? 'in order' : 'NOT in order';
    return `${kept}, all arrived within ${secondsText(Math.max(100, this.arrivedInMs))} of the network's return, ${order}`;
  }
}
