import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { join } from 'node:path';
import { DATA_FILE, readWhole } from '../store/data-file.ts';
import { PageFile } from '../store/page-file.ts';
import { StoreError, storeError } from '../store/store-error.ts';

/** Share of the quota that a quarantined spool may take: more would leave the living one too little room. */
const SHARE_MAX = 0.5;
/** What is read at once where a file's zeros are looked for, and to what it is cut: whole pages of any size. */
const STEP_BYTES = 64 * 1024;

/**
 * Where a spool lies that could not be used, `dataDir/quarantine/spool`, and beside it, as `fresh`, the one that follows it for as
 * long as it is being made. There is a `spool` in `dataDir` only when that is done: so a start that finds none of it, and these
 * two, goes on with what the one before it began.
 */
export class Quarantine {
  readonly #dataDir: string;
  readonly #place: string;
  /** The folder of the spool that was set aside. */
  readonly #aside: string;
  /** The folder of the one that follows it. */
  readonly fresh: string;
  readonly #progress: () => void;

  /** `progress` is called while something takes long. */
  constructor(dataDir: string, progress: () => void = () => undefined) {
    this.#dataDir = dataDir;
    this.#progress = progress;
    this.#place = join(dataDir, 'quarantine');
    this.#aside = join(this.#place, 'spool');
    this.fresh = join(this.#place, 'fresh');
  }

  /** The file that was set aside. */
  get file(): string {
    return join(this.#aside, DATA_FILE);
  }

  /** A spool was set aside, and the one that follows it is not done. */
  get unfinished(): boolean {
    return existsSync(this.#aside) && existsSync(this.fresh) && !existsSync(this.#living);
  }

  get #living(): string {
    return join(this.#dataDir, 'spool');
  }

  /** Moves the spool here. At most one is kept: the newest says most about what is wrong with the medium. Throws StoreError. */
  setAside(): void {
    try {
      rmSync(this.#place, { recursive: true, force: true });
      mkdirSync(this.fresh, { recursive: true, mode: 0o750 });
      syncNames(this.#place);
      renameSync(this.#living, this.#aside);
      syncNames(this.#dataDir, this.#place);
    } catch (error) {
      throw storeError(error, this.#place);
    }
  }

  /** The fresh spool is whole: it takes the place of the old one. */
  finish(): void {
    renameSync(this.fresh, this.#living);
    syncNames(this.#dataDir, this.#place);
  }

  /** Forgets what there is of a fresh one. */
  beginAnew(): void {
    rmSync(this.fresh, { recursive: true, force: true });
    mkdirSync(this.fresh, { recursive: true, mode: 0o750 });
  }

  /** Bytes of the file that was set aside; 0 when there is none. */
  get bytes(): number {
    return statSync(this.file, { throwIfNoEntry: false })?.size ?? 0;
  }

  /** Whether it may be kept beside a spool that has so large a quota. */
  mayStay(quotaBytes: number): boolean {
    return this.bytes <= quotaBytes * SHARE_MAX;
  }

  /** Deletes it; false when there is none. */
  remove(): boolean {
    const there = existsSync(this.#place) && !this.unfinished;
    if (there) rmSync(this.#place, { recursive: true, force: true });
    return there;
  }

  /** Cuts off the zeros that the file was filled up with: they hold nothing, and are most of many a spool. */
  trim(): void {
    const used = usedBytes(this.file);
    const fd = openSync(this.file, 'r');
    let bytes: number;
    try {
      bytes = fstatSync(fd).size;
      const buffer = Buffer.alloc(STEP_BYTES);
      while (bytes > used) {
        this.#progress();
        const at = Math.max(0, Math.ceil(bytes / STEP_BYTES) - 1) * STEP_BYTES;
        const read = buffer.subarray(0, readWhole(fd, buffer, at));
        if (read.some((byte) => byte !== 0)) break;
        bytes = at;
      }
    } catch (error) {
      // What cannot be read stays as it is.
      if (storeError(error, this.file).fault !== 'io') throw error;
      return;
    } finally {
      closeSync(fd);
    }
    this.cut(Math.max(bytes, used));
  }

  /** Cuts the file off behind so many bytes, if it is longer. */
  cut(bytes: number): void {
    const whole = Math.ceil(bytes / STEP_BYTES) * STEP_BYTES;
    if (whole < this.bytes) truncateSync(this.file, whole);
  }
}

/** Bytes that LMDB has ever used of a file, as far as it can say. */
function usedBytes(path: string): number {
  try {
    const file = PageFile.open(path, () => undefined);
    try {
      return file.usedPages() * file.pageBytes;
    } finally {
      file.close();
    }
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    return 0;
  }
}

function syncNames(...folders: string[]): void {
  for (const folder of folders) {
    const fd = openSync(folder, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }
}
