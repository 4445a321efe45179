import type { Clock } from '../clock/clock.ts';
import type { Change } from '../store/environment.ts';
import { pagesOf } from './evictor.ts';

/** What a commit writes besides its blocks (tree, free list and meta pages, journal), measured on ext4: bytes. */
const COMMIT_BYTES = 18_000;
const PAGE_BYTES = 4096;
const DAY_MS = 86_400_000;

/** An estimate of what the spool costs the card; says of itself that it is not measured. */
export class WearEstimate {
  readonly #clock: Clock;
  readonly #since: number;
  #bytes = 0;
  #payload = 0;
  commits = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#since = clock.monotonic();
  }

  payload(bytes: number): void {
    this.#payload += bytes;
  }

  committed(changes: readonly Change[]): void {
    this.commits++;
    this.#bytes += COMMIT_BYTES;
    for (const [, value] of changes) {
      if (value !== null && value.length > PAGE_BYTES / 2)
        this.#bytes += pagesOf(value.length, PAGE_BYTES) * PAGE_BYTES;
    }
  }

  figures(): { bytesPerDay: number; bytesPerPayloadByte: number; measured: boolean } {
    const elapsed = Math.max(1, this.#clock.monotonic() - this.#since);
    return {
      bytesPerDay: Math.round((this.#bytes / elapsed) * DAY_MS),
      bytesPerPayloadByte: this.#payload === 0 ? 0 : Math.round((this.#bytes / this.#payload) * 100) / 100,
      measured: false,
    };
  }
}
