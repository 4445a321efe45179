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
  /** Resets by the rule meanwhile, and those of them whose messages have come. */
  resets = 0;
  resetsArrived = 0;
  /** From the first to the last of them, ms: when they were given, and when they came. */
  resetsGivenOverMs = 0;
  resetsArrivedOverMs = 0;
  #firstResetAt = 0;
  #firstResetCameAt = 0;
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

  resetGiven(now: number): void {
    if (this.resets++ === 0) this.#firstResetAt = now;
    this.resetsGivenOverMs = Math.round(now - this.#firstResetAt);
  }

  resetCame(now: number): void {
    if (this.resetsArrived++ === 0) this.#firstResetCameAt = now;
    this.resetsArrivedOverMs = Math.round(now - this.#firstResetCameAt);
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
    const kept = `${what}: ${plural(this.kept, 'message')} ${this.kept === 1 ? 'was' : 'were'} kept`;
    if (this.arrivedInMs === null) return `${kept}, not all have arrived yet`;
    const order = this.inOrder ? 'in order' : 'NOT in order';
    const within = atLeastTenth(this.arrivedInMs);
    return `${kept}, all arrived within ${within} of the network's return, ${order}${this.#resetsStory}`;
  }

  get #resetsStory(): string {
    if (this.resetsArrived === 0) return '';
    if (this.resetsArrived === 1) return '; 1 of them a reset by the rule';
    const over = `given over ${secondsText(this.resetsGivenOverMs)}, arrived within ${atLeastTenth(this.resetsArrivedOverMs)}`;
    return `; ${this.resetsArrived} of them resets by the rule, ${over}`;
  }
}

/** Nothing takes no time. */
function atLeastTenth(ms: number): string {
  return secondsText(Math.max(100, ms));
}
