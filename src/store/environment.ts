import { closeSync, mkdirSync, openSync, renameSync, rmSync, statSync, truncateSync } from 'node:fs';
import { open as openFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type lmdb from 'node-lmdb';
import { DATA_FILE, inspectDataFile } from './data-file.ts';
import { openLmdb, type EnvironmentOptions } from './lmdb.ts';
import { inPieces, pieceKey, WholeValues } from './pieces.ts';
import type { Reader } from './reader.ts';
import { ResidentPages } from './resident-pages.ts';
import { StoreError, storeError, writeError } from './store-error.ts';
import { TxnReader } from './txn-reader.ts';

export type { EnvironmentOptions } from './lmdb.ts';
export type { Entry, Reader } from './reader.ts';

/** Zeros appended to the data file in one write. */
const ZEROS = Buffer.alloc(256 * 1024);
/** What one transaction of a copy carries, bytes. */
const COPY_BYTES = 2 * 2 ** 20;
/** The folder in which a data file is made anew, beside the environment's own. */
const COPY_SUFFIX = '.new';
const LOCK_FILE = 'lock.mdb';

/** Looks after which the pages that they brought are let go of. */
const LOOKS_A_ROUND = 32;

/** One change: a put, or a delete when `value` is null (deleting what is not there is fine). */
export type Change = readonly [key: Buffer, value: Buffer | null];

/**
 * One LMDB environment and its one writer. Nobody else touches node-lmdb once it is open, because of what it does when misused
 * (all seen with 0.10.1): `close` during `batchWrite` is a SIGSEGV; a cursor closed twice, `openDbi` before `open`, or a
 * value that is no Buffer kill the process; `useWritemap` is a SIGBUS on a full disk; strings are stored as UTF-16.
 * Hence: Buffers only, the unnamed database only (a named one adds 4 KB to each commit), one batch in flight,
 * and `close` waits.
 */
export class Environment {
  readonly directory: string;
  readonly pageBytes: number;
  #options: EnvironmentOptions;
  #env: lmdb.Env;
  #dbi: lmdb.Dbi;
  /** Which file is open: a path can come to name another. */
  #file: { readonly dev: number; readonly ino: number };
  #writing: Promise<unknown> | null = null;
  #closed = false;
  /** LMDB has given it up; it is opened again when it is next needed. */
  #shut = false;
  /** And meanwhile it is open for reading only. */
  #looking = false;
  #fileBytes = 0;
  readonly #pins = new Set<() => void>();
  #looks = 0;
  /** Of which environment, as it is mapped. */
  #resident: { readonly env: lmdb.Env; readonly pages: ResidentPages } | null = null;

  private constructor(options: EnvironmentOptions) {
    this.directory = options.directory;
    this.#options = options;
    ({ env: this.#env, dbi: this.#dbi } = openLmdb(options));
    try {
      const { dev, ino } = statSync(join(this.directory, DATA_FILE));
      this.#file = { dev, ino };
      this.pageBytes = this.read((reader) => reader.livePages().pageBytes);
    } catch (error) {
      this.#env.close();
      throw storeError(error, this.directory);
    }
  }

  /** Opens or makes the environment. Throws {@link StoreError}: `damaged` when the data file must not be opened. */
  static open(options: EnvironmentOptions): Environment {
    const { directory, readOnly = false } = options;
    try {
      if (!readOnly) mkdirSync(directory, { recursive: true, mode: 0o750 });
    } catch (error) {
      throw storeError(error, directory);
    }
    const state = inspectDataFile(directory);
    if (state.kind === 'damaged') throw new StoreError('damaged', `${join(directory, DATA_FILE)} ${state.why}`);
    if (state.kind === 'unreadable') throw storeError(state.error, join(directory, DATA_FILE));
    if (state.kind === 'absent' && readOnly) throw new StoreError('absent', `there is no store in ${directory}`);
    rmSync(directory + COPY_SUFFIX, { recursive: true, force: true });
    return new Environment(options);
  }

  /**
   * Applies all changes in one transaction, on a thread of its own. Durable on the medium when it resolves (with
   * `strict`); when it rejects with a {@link StoreError}, none of them happened. One call at a time: a second one while
   * the first is under way is a bug of ours. The buffers must not change until then.
   */
  write(changes: readonly Change[]): Promise<void> {
    return this.#write(changes, false);
  }

  /** `raw`: the changes are pieces already. */
  #write(changes: readonly Change[], raw: boolean): Promise<void> {
    if (this.#closed) return Promise.reject(new StoreError('closed', 'the store is closed'));
    if (this.#options.readOnly === true) throw new Error('write to a store opened for reading');
    if (this.#writing !== null) throw new Error('two batches in flight');
    try {
      this.#reopen(true);
    } catch (error) {
      return Promise.reject(storeError(error, this.directory));
    }
    const operations: lmdb.Operation[] = [];
    try {
      for (const [key, value] of raw ? changes : this.#pieces(changes)) {
        operations.push(value === null ? [this.#dbi, key] : [this.#dbi, key, value]);
      }
    } catch (error) {
      return Promise.reject(storeError(error, this.directory));
    }
    const writing = new Promise<void>((resolve, reject) => {
      try {
        this.#env.batchWrite(operations, { keyIsBuffer: true, ignoreNotFound: true }, (error) => {
          this.#writing = null;
          if (error !== null && error !== undefined) {
            this.#closeAfterPanic();
            reject(writeError(error, this.directory));
          } else {
            this.#fillUp();
            resolve();
          }
        });
      } catch (error) {
        this.#writing = null;
        reject(storeError(error, this.directory));
      }
    });
    this.#writing = writing;
    return writing;
  }

  /** The changes with large values in pieces, and without the pieces of what they take the place of. */
  #pieces(changes: readonly Change[]): Change[] {
    const pieces: Change[] = [];
    /** Pieces that a value has by an earlier one of these changes. */
    const counts = new Map<string, number>();
    this.#txn((reader) =>
      reader.keys((ceiling) => {
        for (const [key, value] of changes) {
          const own = value === null ? [] : inPieces(key, value);
          let before = (counts.size > 0 && counts.get(key.toString('latin1'))) || 1;
          for (let next = pieceKey(key, before); ceiling(next)?.equals(next) === true; next = pieceKey(key, before)) {
            before++;
          }
          for (let number = Math.max(1, own.length); number < before; number++) {
            pieces.push([pieceKey(key, number), null]);
          }
          if (value === null) pieces.push([key, null]);
          else pieces.push(...own);
          if (own.length > 1) counts.set(key.toString('latin1'), own.length);
        }
      }),
    );
    return pieces;
  }

  /**
   * LMDB gives an environment up for good whose meta page could not be written (MDB_PANIC, for reads too); the files are as
   * they were before the commit, so opening it anew is all that is needed.
   */
  #closeAfterPanic(): void {
    if (this.#closed) return;
    try {
      this.#env.beginTxn({ readOnly: true }).abort();
    } catch {
      this.#unpin();
      this.#dbi.close();
      this.#env.close();
      this.#shut = true;
    }
  }

  /**
   * Opens what a panic has closed. On a medium that may not be written it can still be read: then it is opened for that, until
   * something is to be written. Throws StoreError while the medium does not let us.
   */
  #reopen(toWrite = false): void {
    if (!this.#shut || (this.#looking && !toWrite)) return;
    if (this.#looking) {
      this.#unpin();
      this.#dbi.close();
      this.#env.close();
      this.#looking = false;
    }
    try {
      ({ env: this.#env, dbi: this.#dbi } = openLmdb(this.#options));
      this.#shut = false;
    } catch (error) {
      if (toWrite) throw error;
      ({ env: this.#env, dbi: this.#dbi } = openLmdb({ ...this.#options, readOnly: true }));
      this.#looking = true;
    }
  }

  /** Runs `look` within one read transaction: synchronous and short, since an open one keeps freed pages from reuse. */
  read<T>(look: (reader: Reader) => T): T {
    if (this.#closed) throw new StoreError('closed', 'the store is closed');
    this.#reopen();
    return this.#txn((reader) => look(new WholeValues(reader)));
  }

  #txn<T>(look: (reader: TxnReader) => T): T {
    const txn = this.#env.beginTxn({ readOnly: true });
    try {
      return look(new TxnReader(txn, this.#dbi));
    } finally {
      txn.abort();
      if (++this.#looks >= LOOKS_A_ROUND) this.#letGo();
    }
  }

  /**
   * Keeps the newest commit from being written over until it is released, for another process, which reads the file without LMDB:
   * whoever opens it with LMDB while we write may undo a commit (docs/decisions/0022-nobody-else-opens-it.md).
   */
  pin(): () => void {
    this.#reopen();
    const txn = this.#env.beginTxn({ readOnly: true });
    const release = () => void (this.#pins.delete(release) && txn.abort());
    this.#pins.add(release);
    return release;
  }

  #unpin(): void {
    for (const release of this.#pins) release();
  }

  #letGo(): void {
    this.#looks = 0;
    if (this.#resident?.env !== this.#env)
      this.#resident = { env: this.#env, pages: new ResidentPages(join(this.directory, DATA_FILE)) };
    this.#resident.pages.letGo();
  }

  /** Length of the data file, bytes; as it was seen last while the path leads nowhere, or may not be followed. */
  fileBytes(): number {
    try {
      this.#fileBytes = statSync(join(this.directory, DATA_FILE)).size;
    } catch {
      // The next commit meets the same, and says it: how the spool is doing is asked just then.
    }
    return this.#fileBytes;
  }

  /** Pages from the file's start that LMDB has ever used. */
  usedPages(): number {
    this.#reopen();
    return this.#env.info().lastPageNumber + 1;
  }

  /**
   * Pages that a transaction took and gave back count as used and were never written; where they are the last ones, the
   * file ends before them, and would be taken for one that was cut short.
   */
  #fillUp(): void {
    const bytes = this.usedPages() * this.pageBytes;
    try {
      if (this.fileBytes() < bytes) truncateSync(join(this.directory, DATA_FILE), bytes);
    } catch {
      // The commit stands; should the next one not lengthen the file, it is looked at again after that.
    }
  }

  /**
   * Lengthens the data file by so many zeros. Durable when it resolves; rejects with a {@link StoreError}, and the file is
   * then longer by as much as there was room for. Takes its turn as a batch does. LMDB finds its pages in what is there
   * already: cheaper than lengthening the file with each commit (half the bytes, measured), and possible on a full disk.
   * Through O_APPEND, since LMDB may have lengthened it itself.
   */
  fill(bytes: number): Promise<void> {
    return this.#turn(async () => {
      const file = await openFile(join(this.directory, DATA_FILE), 'a');
      try {
        for (let left = bytes; left > 0; left -= ZEROS.length) {
          await file.appendFile(left < ZEROS.length ? ZEROS.subarray(0, left) : ZEROS);
        }
        await file.datasync();
      } finally {
        await file.close();
      }
    });
  }

  /** Gives LMDB at least so much address space: a raised quota needs it. Not while a batch is under way. */
  stretch(mapBytes: number): void {
    this.#reopen();
    // Should the file be made anew, it is opened with no less.
    this.#options = { ...this.#options, mapBytes: Math.max(mapBytes, this.#options.mapBytes) };
    if (this.#env.info().mapSize >= mapBytes) return;
    // LMDB takes its map away before it makes the new one, and runs on without any when it cannot: a SIGSEGV. A filesystem
    // that has given up refuses both, to map a file and to open it.
    closeSync(openSync(join(this.directory, DATA_FILE), 'r'));
    this.#unpin();
    this.#env.resize(mapBytes);
    this.#resident = null;
  }

  /** Whether the path names another file by now, or none: what we write is nowhere then. */
  get displaced(): 'no' | 'gone' | 'other filesystem' {
    const found = statSync(join(this.directory, DATA_FILE), { throwIfNoEntry: false });
    if (found?.ino === this.#file.ino && found.dev === this.#file.dev) return 'no';
    let up = this.directory;
    while (statSync(up, { throwIfNoEntry: false }) === undefined && dirname(up) !== up) up = dirname(up);
    return statSync(up).dev === this.#file.dev ? 'gone' : 'other filesystem';
  }

  /**
   * Makes the data file anew with what is live: as small as it can be, or where it was when it was taken away. Takes its
   * turn as a batch does, and needs room for the copy beside the old file. Nothing is lost at any moment: the copy takes
   * the old file's name when it is whole and on the medium. `copied` is told how many bytes are done.
   */
  recreate(copied: (bytes: number) => void = () => undefined): Promise<void> {
    return this.#turn(async () => {
      const place = this.directory + COPY_SUFFIX;
      rmSync(place, { recursive: true, force: true });
      mkdirSync(place, { recursive: true, mode: 0o750 });
      const copy = Environment.open({ ...this.#options, directory: place });
      let whole = false;
      try {
        await this.#copyTo(copy, copied);
        whole = true;
      } finally {
        await copy.close();
        // Half a copy is of use to nobody, least of all on a full disk.
        if (!whole) rmSync(place, { recursive: true, force: true });
      }
      this.#unpin();
      this.#dbi.close();
      this.#env.close();
      try {
        mkdirSync(this.directory, { recursive: true, mode: 0o750 });
        rmSync(join(this.directory, LOCK_FILE), { force: true });
        renameSync(join(place, DATA_FILE), join(this.directory, DATA_FILE));
        rmSync(place, { recursive: true, force: true });
      } finally {
        ({ env: this.#env, dbi: this.#dbi } = openLmdb(this.#options));
        const { dev, ino } = statSync(join(this.directory, DATA_FILE));
        this.#file = { dev, ino };
      }
      const folder = await openFile(this.directory, 'r');
      try {
        await folder.sync();
      } finally {
        await folder.close();
      }
    });
  }

  async #copyTo(copy: Environment, copied: (bytes: number) => void): Promise<void> {
    let from: Buffer = Buffer.alloc(1);
    let done = 0;
    for (;;) {
      const changes: Change[] = [];
      let bytes = 0;
      this.#reopen();
      this.#txn((reader) =>
        reader.scan(from, Infinity, ({ key, value }) => {
          changes.push([key, value]);
          bytes += value.length;
          return bytes < COPY_BYTES;
        }),
      );
      if (changes.length === 0) return;
      await copy.#write(changes, true);
      copied((done += bytes));
      // The next possible key: the same with a zero byte behind it.
      from = Buffer.concat([changes.at(-1)![0], Buffer.alloc(1)]);
    }
  }

  /** One thing at a time happens to the file. */
  async #turn(act: () => Promise<void>): Promise<void> {
    if (this.#closed) throw new StoreError('closed', 'the store is closed');
    if (this.#writing !== null) throw new Error('two batches in flight');
    const writing = act();
    this.#writing = writing;
    try {
      await writing;
    } catch (error) {
      throw writeError(error, this.directory);
    } finally {
      this.#writing = null;
    }
  }

  /** Waits for the batch in flight, then closes. May be called twice. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // The batch's own caller hears of its error; here it only matters that it has ended.
    await this.#writing?.catch(() => undefined);
    if (this.#shut && !this.#looking) return;
    this.#unpin();
    this.#dbi.close();
    this.#env.close();
  }
}
