import { readdirSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { QUOTA_BYTES_MAX } from '../config/storage.ts';
import { WORD_BYTES } from '../store/page.ts';

/** Share of the quota that live pages may fill: the file settles at 1.04-1.07 times what is live (measured). */
const LIVE_SHARE = 0.9;
/** Share of the file that live pages may fill; the rest is what LMDB cannot use again yet. */
const FILE_SHARE = 0.93;
/** Share of the quota that the file is filled up to; the rest is for what LMDB may add to it all the same. */
const TARGET_SHARE = 0.95;
/**
 * Each time that LMDB lengthens the file beyond that (a value of several pages wants neighbouring ones, and free ones come to lie
 * apart), live pages may fill so much less ...
 */
const APART_SHARE = 0.98;
/** ... but not less than this. */
const LIVE_SHARE_MIN = 0.6;
/** Pages that always stay free, so that LMDB can delete when all else is full: without any it wedges. */
const RESERVE_PAGES_MIN = 128;
const RESERVE_SHARE = 0.02;
/** The file grows by this part of the quota at once ... */
const STEP_SHARE = 1 / 64;
/** ... within these bounds, bytes. */
const STEP_BYTES_MIN = 256 * 1024;
const STEP_BYTES_MAX = 4 * 2 ** 20;
/** How often the other files under `dataDir` are looked at, ms. */
const OTHERS_EVERY_MS = 10_000;

/** LMDB's address space, in quotas and beyond: it must never be what refuses, since with its map full it cannot delete either. */
const MAP = { quotas: 2, extraBytes: 128 * 2 ** 20 };
/** The same for a 32-bit program: the file keeps to the quota, but for the little that LMDB adds. */
const MAP_32 = { quotas: 1.125, extraBytes: 64 * 2 ** 20 };

export function mapBytesFor(quotaBytes: number): number {
  const { quotas, extraBytes } = WORD_BYTES === 4 ? MAP_32 : MAP;
  return Math.ceil(quotaBytes * quotas) + extraBytes;
}

export type Amount = { readonly bytes: number } | { readonly percent: number };

export interface QuotaSettings {
  readonly quota: Amount;
  readonly keepFree: Amount;
}

/**
 * How much the spool may hold, and how far its file may grow: the quota for everything under `dataDir`, and less where
 * other programs have filled the disk. The file grows by being filled with zeros ahead of need, never by LMDB itself: so a
 * commit finds its room in what we hold already, however full the disk is.
 */
export class Quota {
  readonly #dataDir: string;
  readonly #dataFile: string;
  #settings: QuotaSettings;
  #others = 0;
  #othersAskedAt = -Infinity;
  #totalBytes: number | null = null;
  #liveShare = LIVE_SHARE;
  #longest = 0;
  #held = false;

  /** `dataFile`: the spool's own file; everything else under `dataDir` counts as others'. */
  constructor(dataDir: string, dataFile: string, settings: QuotaSettings) {
    this.#dataDir = dataDir;
    this.#dataFile = dataFile;
    this.#settings = settings;
  }

  set settings(settings: QuotaSettings) {
    this.#settings = settings;
  }

  /** The quota in bytes, as far as there are addresses for it; a percentage is of the filesystem that holds the spool. */
  get bytes(): number {
    const { quota } = this.#settings;
    if ('bytes' in quota) return Math.min(quota.bytes, QUOTA_BYTES_MAX);
    this.#totalBytes ??= this.#filesystem()?.total ?? null;
    return Math.min(Math.floor(((this.#totalBytes ?? Infinity) * quota.percent) / 100), QUOTA_BYTES_MAX);
  }

  /** What the file may come to, bytes. */
  targetBytes(now: number): number {
    return Math.floor((this.bytes - this.#othersBytes(now)) * TARGET_SHARE);
  }

  /** Pages that live data may fill, in a file of so many bytes. */
  pagesAllowed(now: number, fileBytes: number, pageBytes: number): number {
    const total = Math.floor((this.bytes - this.#othersBytes(now)) / pageBytes);
    const reserve = reserveOf(total);
    const soft = Math.floor(total * this.#liveShare) - reserve;
    return Math.min(soft, Math.floor((fileBytes / pageBytes) * FILE_SHARE) - reserve);
  }

  /**
   * LMDB has used so many bytes of a file of so many by now. Where it has lengthened the file itself, beyond the target, it is
   * to come by with less. (A file that is longer than a lowered quota was filled when the quota was larger.)
   */
  used(now: number, bytes: number, fileBytes: number): void {
    if (bytes <= this.#longest) return;
    this.#longest = bytes;
    if (bytes < fileBytes || bytes <= this.targetBytes(now)) return;
    this.#liveShare = Math.max(LIVE_SHARE_MIN, this.#liveShare * APART_SHARE);
  }

  /**
   * Bytes by which the file is to grow so that `livePages` fit in it; 0 when they do, or when it must not. A step at a
   * time, ahead of need.
   */
  growth(now: number, livePages: number, fileBytes: number, pageBytes: number): number {
    const target = this.targetBytes(now);
    const reserve = reserveOf(Math.floor((this.bytes - this.#othersBytes(now)) / pageBytes));
    // Whole pages, as they are allowed in whole pages: a fraction too little would let something go.
    const needed = (Math.ceil((Math.ceil(livePages) + reserve) / FILE_SHARE) + 1) * pageBytes;
    this.#held = false;
    if (needed <= fileBytes) return 0;
    const step = Math.min(Math.max(this.bytes * STEP_SHARE, STEP_BYTES_MIN), STEP_BYTES_MAX);
    return this.#within(target, fileBytes, Math.max(step, needed - fileBytes), pageBytes);
  }

  /** The same towards the target, whatever is needed now: `bytes` at the most. */
  filling(now: number, fileBytes: number, bytes: number, pageBytes: number): number {
    return this.#within(this.targetBytes(now), fileBytes, bytes, pageBytes);
  }

  /** Whole pages of `wanted` that neither pass the target nor leave others less than `keepFree`. */
  #within(target: number, fileBytes: number, wanted: number, pageBytes: number): number {
    this.#held = false;
    const most = Math.min(wanted, target - fileBytes);
    if (most < pageBytes) return 0;
    this.#held = true;
    const filesystem = this.#filesystem();
    if (filesystem === null) return 0;
    const { keepFree } = this.#settings;
    const floor = 'bytes' in keepFree ? keepFree.bytes : (filesystem.total * keepFree.percent) / 100;
    const bytes = Math.floor(Math.min(most, filesystem.free - floor) / pageBytes) * pageBytes;
    this.#held = bytes <= 0;
    return Math.max(0, bytes);
  }

  /** The file should have grown when that was asked last, and others have left no room for it. */
  get held(): boolean {
    return this.#held;
  }

  #filesystem(): { readonly total: number; readonly free: number } | null {
    try {
      const { blocks, bavail, bsize } = statfsSync(this.#dataDir);
      return { total: blocks * bsize, free: bavail * bsize };
    } catch {
      // A filesystem that cannot be asked says why on the next write; until then the file does not grow.
      return null;
    }
  }

  /** Bytes under `dataDir` that are not the spool's. */
  #othersBytes(now: number): number {
    if (now - this.#othersAskedAt < OTHERS_EVERY_MS) return this.#others;
    this.#othersAskedAt = now;
    this.#others = bytesUnder(this.#dataDir, this.#dataFile);
    return this.#others;
  }

  /** A file under `dataDir` has come or gone. */
  othersChanged(): void {
    this.#othersAskedAt = -Infinity;
  }
}

function reserveOf(totalPages: number): number {
  return Math.max(RESERVE_PAGES_MIN, Math.ceil(totalPages * RESERVE_SHARE));
}

/** Bytes of all files in a folder and below, but for one. */
export function bytesUnder(folder: string, without?: string): number {
  let bytes = 0;
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (path === without) continue;
      if (entry.isDirectory()) bytes += bytesUnder(path, without);
      else bytes += statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    }
  } catch {
    // What went while we looked takes no room.
  }
  return bytes;
}
