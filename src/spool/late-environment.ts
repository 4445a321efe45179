import { closeSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DATA_FILE } from '../store/data-file.ts';
import { Environment, type Change, type EnvironmentOptions, type Reader } from '../store/environment.ts';
import { PageFile } from '../store/page-file.ts';
import { StoreError, storeError } from '../store/store-error.ts';

/** Page size of an environment that is not there yet, bytes: only estimates rest on it. */
const PAGE_BYTES = 4096;
/** Pages that LMDB uses in a file with nothing in it. */
const META_PAGES = 2;

/** The store of a spool: open, or waiting for a medium that can be written. */
export type Medium = Environment | LateEnvironment;

export interface LateOptions extends Omit<EnvironmentOptions, 'mapBytes' | 'readOnly'> {
  /** Asked when it is opened: a part of the medium cannot be reckoned before. */
  readonly mapBytes: () => number;
}

/** What a medium says that cannot be written: not what a program may not do that runs as the wrong user (EACCES). */
const UNWRITABLE = new RegExp(
  [
    ...['EROFS', 'EIO', 'ENOSPC', 'EDQUOT', 'EPERM', 'EUCLEAN', 'ENODEV', 'ENXIO'].map((code) => `\\b${code}\\b`),
    'Read-only file system|Input/output error|No space left on device|Disk quota exceeded|Operation not permitted',
    'Structure needs cleaning|No such device',
  ].join('|'),
);

/** Whether something failed because the medium cannot be written, or not even read. */
export function unwritable(error: unknown): boolean {
  return error instanceof Error && UNWRITABLE.test(error.message);
}

/** Reads what is not there. */
const NOTHING: Reader = {
  get: () => null,
  ceiling: () => null,
  below: () => null,
  scan: () => undefined,
  scanHeads: () => undefined,
  livePages: () => ({ live: META_PAGES, pageBytes: PAGE_BYTES }),
};

/**
 * An environment on a medium that could not be written when it was to be opened. What lies there is read without LMDB;
 * each write tries again to open it, and once that succeeds it is an {@link Environment} like any other. It must find
 * there what it read before: otherwise it stays shut, and {@link strange}.
 */
export class LateEnvironment {
  readonly directory: string;
  readonly #path: string;
  readonly #options: LateOptions;
  readonly #guard: Buffer | null;
  #expected: Buffer | null = null;
  #file: PageFile | null = null;
  #opened: Environment | null = null;
  #strange: StoreError | null = null;

  /** `guard`: the key of a value that every commit changes; null where it does not matter what lies there. */
  constructor(options: LateOptions, guard: Buffer | null) {
    this.directory = options.directory;
    this.#path = join(options.directory, DATA_FILE);
    this.#options = options;
    this.#guard = guard;
  }

  /** Reads from what lies there from now on. Throws StoreError, `absent` when there is nothing. */
  look(): void {
    const file = PageFile.open(this.#path);
    try {
      if (this.#guard !== null) this.#expected = file.get(this.#guard);
      this.#file = file;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** As if nothing were there: what is cannot be used. */
  lookAway(): void {
    this.#file?.close();
    this.#file = null;
    this.#expected = null;
  }

  /** What is open by now; null while the medium cannot be written. */
  get opened(): Environment | null {
    return this.#opened;
  }

  /** The medium can be written, and what lies there is not what was read at first: only a new start can use it. */
  get strange(): StoreError | null {
    return this.#strange;
  }

  get pageBytes(): number {
    return (this.#opened ?? this.#file)?.pageBytes ?? PAGE_BYTES;
  }

  /** See {@link Environment.read}. */
  read<T>(look: (reader: Reader) => T): T {
    return this.#opened === null ? look(this.#file ?? NOTHING) : this.#opened.read(look);
  }

  /** See {@link Environment.write}. */
  async write(changes: readonly Change[]): Promise<void> {
    return this.open().write(changes);
  }

  /** See {@link Environment.fill}. */
  async fill(bytes: number): Promise<void> {
    return this.open().fill(bytes);
  }

  /** See {@link Environment.recreate}. */
  async recreate(copied?: (bytes: number) => void): Promise<void> {
    return this.open().recreate(copied);
  }

  /** See {@link Environment.stretch}. */
  stretch(mapBytes: number): void {
    this.#opened?.stretch(mapBytes);
  }

  get displaced(): Environment['displaced'] {
    return this.#opened?.displaced ?? 'no';
  }

  fileBytes(): number {
    return (this.#opened ?? this.#file)?.fileBytes() ?? 0;
  }

  usedPages(): number {
    return (this.#opened ?? this.#file)?.usedPages() ?? META_PAGES;
  }

  async close(): Promise<void> {
    this.lookAway();
    await this.#opened?.close();
  }

  /** Opens it, if it is not. Throws StoreError while the medium cannot be written. */
  open(): Environment {
    if (this.#opened !== null) return this.#opened;
    if (this.#strange !== null) throw this.#strange;
    try {
      makeFolder(this.directory);
      tryToWrite(this.#path);
    } catch (error) {
      throw storeError(error, this.directory);
    }
    if (!this.#isAsExpected()) {
      const why = 'it can be written again, and holds another spool than could be read at the start';
      this.#strange = new StoreError('other', `${this.directory}: ${why}`);
      throw this.#strange;
    }
    const { mapBytes, ...options } = this.#options;
    this.#opened = Environment.open({ ...options, mapBytes: mapBytes() });
    this.lookAway();
    return this.#opened;
  }

  #isAsExpected(): boolean {
    if (this.#guard === null) return true;
    let found: Buffer | null = null;
    try {
      const file = PageFile.open(this.#path);
      try {
        found = file.get(this.#guard);
      } finally {
        file.close();
      }
    } catch (error) {
      // What is damaged is set aside by a start that finds it.
      if (!(error instanceof StoreError) || error.fault !== 'absent') return false;
    }
    return found === null ? this.#expected === null : this.#expected?.equals(found) === true;
  }
}

/** The environment that is open. Throws StoreError when none is yet. */
export function opened(medium: Medium): Environment {
  if (medium instanceof Environment) return medium;
  if (medium.opened === null) throw new StoreError('read-only', `${medium.directory} could not be written so far`);
  return medium.opened;
}

/** Makes a folder and those above it. Node's own way calls a medium that is read-only ENOENT. */
export function makeFolder(path: string): void {
  try {
    mkdirSync(path, { mode: 0o750 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && statSync(path).isDirectory()) return;
    if (code !== 'ENOENT' || dirname(path) === path) throw error;
    makeFolder(dirname(path));
    mkdirSync(path, { mode: 0o750 });
  }
}

/** Throws when a file cannot be written that is there. Changes nothing. */
function tryToWrite(path: string): void {
  try {
    closeSync(openSync(path, 'r+'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
