import { statfsSync } from 'node:fs';

/** Share of the quota that live pages may fill: the file settles at 1.04-1.07 times what is live (measured). */
const LIVE_SHARE = 0.9;
/** Pages that always stay free, so that LMDB can delete when all else is full: without any it wedges. */
const RESERVE_PAGES_MIN = 128;
const RESERVE_SHARE = 0.02;
/** How often the filesystem is asked for its free space, ms; and whenever our own file has grown. */
const FREE_SPACE_EVERY_MS = 1000;
/** We stop growing by this share of it before the floor: pages that a commit frees are of use only to the next but one. */
const FLOOR_MARGIN_SHARE = 0.03;

export type Amount = { readonly bytes: number } | { readonly percent: number };

export interface QuotaOptions {
  readonly directory: string;
  readonly quota: Amount;
  readonly keepFree: Amount;
  /** Bytes under `dataDir` that are not the spool's. */
  readonly others: () => number;
}

/** How much the spool may hold: the quota, and less where other programs have filled the disk. */
export class Quota {
  readonly #options: QuotaOptions;
  #askedAt = -Infinity;
  #askedFor = 0;
  #freeBytes = Infinity;
  #keepFreeBytes = 0;
  #totalBytes = 0;

  constructor(options: QuotaOptions) {
    this.#options = options;
  }

  /** The quota in bytes; a percentage is of the filesystem that holds the spool. */
  get bytes(): number {
    const { quota } = this.#options;
    if ('bytes' in quota) return quota.bytes;
    this.#ask();
    return Math.floor((this.#totalBytes * quota.percent) / 100);
  }

  /** Pages that live data may fill now, given the pages it fills and how long the file is. */
  pagesAllowed(now: number, live: number, pageBytes: number, fileBytes: number): number {
    const total = Math.floor((this.bytes - this.#options.others()) / pageBytes);
    const reserve = Math.max(RESERVE_PAGES_MIN, Math.ceil(total * RESERVE_SHARE));
    const soft = Math.floor(total * LIVE_SHARE) - reserve;
    if (now - this.#askedAt >= FREE_SPACE_EVERY_MS || fileBytes !== this.#askedFor) {
      this.#ask();
      this.#askedAt = now;
      this.#askedFor = fileBytes;
    }
    if (this.#freeBytes >= this.#keepFreeBytes * (1 + FLOOR_MARGIN_SHARE)) return soft;
    // The disk is short of room: stay within the file as it is, which need not grow for that.
    return Math.min(soft, Math.max(live, Math.floor((fileBytes / pageBytes) * LIVE_SHARE) - reserve));
  }

  #ask(): void {
    try {
      const fs = statfsSync(this.#options.directory);
      this.#totalBytes = fs.blocks * fs.bsize;
      this.#freeBytes = fs.bavail * fs.bsize;
      const { keepFree } = this.#options;
      this.#keepFreeBytes = 'bytes' in keepFree ? keepFree.bytes : (this.#totalBytes * keepFree.percent) / 100;
    } catch {
      // A filesystem that cannot be asked says so on the next write; until then the quota alone holds.
      this.#freeBytes = Infinity;
    }
  }
}
