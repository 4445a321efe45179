import type { Clock } from '../clock/clock.ts';
import type { Change } from '../store/environment.ts';
import { pagesOf } from './pages.ts';

/** What a commit writes besides its values (tree, free list and meta pages, journal), measured on ext4: bytes. */
const COMMIT_BYTES = 18_000;
const PAGE_BYTES = 4096;
const DAY_MS = 86_400_000;
/** Budget that may be saved up for a burst, ms of it. */
const SAVED_MS_MAX = 3_600_000;
/** Longest that commits are put off to keep to the budget, ms: the age clock is to be written every minute anyway. */
const STRETCH_MS_MAX = 60_000;
/** A budget overdrawn by so many ms of it is not kept. */
const OVERDRAWN_MS_MAX = 600_000;
/** What a message takes on the medium besides its body, bytes, about. */
const MESSAGE_BYTES = 64;
/** What comes in is a rate after so long, ms. */
const INTAKE_MS_MIN = 60_000;
/** The device is asked this often at the most, ms. */
const DEVICE_EVERY_MS = 1000;

export interface WearFigures {
  readonly bytesPerDay: number;
  /** Since the start, for each byte of the bodies taken on; 0 when there were none. */
  readonly bytesPerPayloadByte: number;
  /** Counted by the block device, with everything that others write there; else estimated from what we wrote. */
  readonly measured: boolean;
  readonly budget: WearBudget | null;
}

export interface WearBudget {
  readonly bytesPerDay: number;
  /** Messages without a waiting sender are written this often now, ms. */
  readonly commitEveryMs: number;
  /** False: acknowledgements that must not wait cost more than the budget allows. */
  readonly kept: boolean;
}

/**
 * What the spool costs the card, and the budget for it. The estimate counts our own commits; where the block device can be
 * asked, its count is shown in place of it. Filling the file with zeros happens once and is left out of both.
 */
export class WearMeter {
  readonly #clock: Clock;
  readonly #device: () => number | null;
  readonly #since: number;
  readonly #deviceSince: number | null;
  #deviceBytes: number | null;
  #deviceAskedAt = -Infinity;
  #estimated = 0;
  #payload = 0;
  #messages = 0;
  #filled = 0;
  commits = 0;
  #budgetBytesPerDay: number | null;
  #saved: number;
  #savedAt: number;
  #usualCommitBytes = COMMIT_BYTES;

  /** `device`: bytes that the block device has been given so far, by anybody; null where it cannot be asked. */
  constructor(clock: Clock, device: () => number | null, budgetBytesPerDay: number | null) {
    this.#clock = clock;
    this.#device = device;
    this.#since = this.#savedAt = clock.monotonic();
    this.#deviceSince = this.#deviceBytes = device();
    this.#budgetBytesPerDay = budgetBytesPerDay;
    this.#saved = this.#rate * SAVED_MS_MAX;
  }

  /** Another budget begins like a new one: what was spent before is not held against it. */
  set budgetBytesPerDay(bytes: number | null) {
    if (bytes === this.#budgetBytesPerDay) return;
    this.#budgetBytesPerDay = bytes;
    this.#saved = this.#rate * SAVED_MS_MAX;
  }

  payload(bytes: number): void {
    this.#payload += bytes;
    this.#messages++;
  }

  /** What comes in and wants a place on the medium, bytes a day, since the start; null in its first minute. */
  get intakeBytesPerDay(): number | null {
    const elapsed = this.#clock.monotonic() - this.#since;
    if (elapsed < INTAKE_MS_MIN) return null;
    return Math.round(((this.#payload + this.#messages * MESSAGE_BYTES) / elapsed) * DAY_MS);
  }

  /** Zeros appended to the file. */
  filled(bytes: number): void {
    this.#filled += bytes;
  }

  committed(changes: readonly Change[]): void {
    this.commits++;
    let bytes = COMMIT_BYTES;
    for (const [, value] of changes) {
      if (value !== null && value.length > PAGE_BYTES / 2) bytes += pagesOf(value.length, PAGE_BYTES) * PAGE_BYTES;
    }
    this.#estimated += bytes;
    this.#usualCommitBytes += (bytes - this.#usualCommitBytes) / 16;
    this.#earn();
    this.#saved -= bytes;
  }

  /** How long messages without a waiting sender may wait for the medium, ms: `commitEveryMs`, or longer to keep to the budget. */
  stretched(commitEveryMs: number): number {
    if (this.#budgetBytesPerDay === null) return commitEveryMs;
    this.#earn();
    if (this.#saved > 0) return commitEveryMs;
    return Math.min(Math.max(commitEveryMs, this.#usualCommitBytes / this.#rate), STRETCH_MS_MAX);
  }

  /** Whether the budget has room for what is not strictly needed. */
  get atEase(): boolean {
    this.#earn();
    return this.#budgetBytesPerDay === null || this.#saved > 0;
  }

  figures(commitEveryMs: number): WearFigures {
    const elapsed = Math.max(1, this.#clock.monotonic() - this.#since);
    const measured = this.#measured();
    const bytes = measured ?? this.#estimated;
    return {
      bytesPerDay: Math.round((bytes / elapsed) * DAY_MS),
      bytesPerPayloadByte: this.#payload === 0 ? 0 : Math.round((bytes / this.#payload) * 100) / 100,
      measured: measured !== null,
      budget: this.#budget(commitEveryMs),
    };
  }

  #budget(commitEveryMs: number): WearBudget | null {
    if (this.#budgetBytesPerDay === null) return null;
    const stretched = Math.round(this.stretched(commitEveryMs));
    const kept = this.#saved > -this.#rate * OVERDRAWN_MS_MAX;
    return { bytesPerDay: this.#budgetBytesPerDay, commitEveryMs: stretched, kept };
  }

  #measured(): number | null {
    const now = this.#clock.monotonic();
    if (now - this.#deviceAskedAt >= DEVICE_EVERY_MS) {
      this.#deviceAskedAt = now;
      this.#deviceBytes = this.#device();
    }
    if (this.#deviceBytes === null || this.#deviceSince === null) return null;
    // What was written has not always reached the device yet.
    return Math.max(0, this.#deviceBytes - this.#deviceSince - this.#filled);
  }

  /** Bytes per ms. */
  get #rate(): number {
    return (this.#budgetBytesPerDay ?? 0) / DAY_MS;
  }

  #earn(): void {
    const now = this.#clock.monotonic();
    this.#saved = Math.min(this.#saved + (now - this.#savedAt) * this.#rate, this.#rate * SAVED_MS_MAX);
    this.#savedAt = now;
  }
}
