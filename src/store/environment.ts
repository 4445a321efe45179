import { mkdirSync, statfsSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import lmdb from 'node-lmdb';
import { DATA_FILE, inspectDataFile } from './data-file.ts';
import { StoreError, storeError } from './store-error.ts';

/** With less than this free a filesystem counts as full. */
const FULL_BYTES = 2 ** 20;

/** One change: a put, or a delete when `value` is null (deleting what is not there is fine). */
export type Change = readonly [key: Buffer, value: Buffer | null];

export interface EnvironmentOptions {
  readonly directory: string;
  /** Address space given to LMDB. Far above what we let the file grow to, so that LMDB itself never refuses. */
  readonly mapBytes: number;
  /** `relaxed` saves one flush a commit; a power cut may then undo the last commit (never corrupt it). */
  readonly durability: 'strict' | 'relaxed';
  /** For tools that look at a stopped or running gateway's files from another process. */
  readonly readOnly?: boolean;
}

/** Reads within one short transaction. Everything it returns is a copy and may be kept. */
export interface Reader {
  get(key: Buffer): Buffer | null;
  /** The first entry at or after `key`. */
  ceiling(key: Buffer): Entry | null;
  /** The last entry before `key`. */
  below(key: Buffer): Entry | null;
  /** Walks entries from `key` upwards until `visit` returns false. */
  scan(key: Buffer, visit: (entry: Entry) => boolean): void;
  /** Pages holding live data, exactly, the two meta pages included; the free list is not in it. */
  livePages(): { readonly live: number; readonly pageBytes: number };
}

export interface Entry {
  readonly key: Buffer;
  readonly value: Buffer;
}

/**
 * One LMDB environment and its one writer. The only file that touches node-lmdb, because of what it does when misused
 * (all seen with 0.10.1): `close` during `batchWrite` is a SIGSEGV; a cursor closed twice, `openDbi` before `open`, or a
 * value that is no Buffer kill the process; `useWritemap` is a SIGBUS on a full disk; strings are stored as UTF-16.
 * Hence: Buffers only, the unnamed database only (a named one adds 4 KB to each commit), one batch in flight,
 * and `close` waits.
 */
export class Environment {
  readonly directory: string;
  readonly #env: lmdb.Env;
  readonly #dbi: lmdb.Dbi;
  readonly #readOnly: boolean;
  readonly #pageBytes: number;
  #writing: Promise<void> | null = null;
  #closed = false;

  private constructor(directory: string, env: lmdb.Env, dbi: lmdb.Dbi, readOnly: boolean) {
    this.directory = directory;
    this.#env = env;
    this.#dbi = dbi;
    this.#readOnly = readOnly;
    this.#pageBytes = this.read((reader) => reader.livePages().pageBytes);
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
    const env = new lmdb.Env();
    try {
      env.open({
        path: directory,
        // Twice a file that is larger than it should be: a lowered quota must leave room to delete in.
        mapSize: Math.max(options.mapBytes, state.kind === 'sound' ? state.bytes * 2 : 0),
        maxDbs: 1,
        maxReaders: 32,
        readOnly,
        noMetaSync: options.durability === 'relaxed',
        noReadAhead: true,
      });
    } catch (error) {
      throw storeError(error, directory);
    }
    try {
      return new Environment(
        directory,
        env,
        env.openDbi({ name: null, create: !readOnly, keyIsBuffer: true }),
        readOnly,
      );
    } catch (error) {
      env.close();
      throw storeError(error, directory);
    }
  }

  /**
   * Applies all changes in one transaction, on a thread of its own. Durable on the medium when it resolves (with
   * `strict`); when it rejects with a {@link StoreError}, none of them happened. One call at a time: a second one while
   * the first is under way is a bug of ours. The buffers must not change until then.
   */
  write(changes: readonly Change[]): Promise<void> {
    if (this.#closed) return Promise.reject(new StoreError('closed', 'the store is closed'));
    if (this.#readOnly) throw new Error('write to a store opened for reading');
    if (this.#writing !== null) throw new Error('two batches in flight');
    const operations: lmdb.Operation[] = [];
    for (const [key, value] of changes) {
      operations.push(value === null ? [this.#dbi, key] : [this.#dbi, key, value]);
    }
    const writing = new Promise<void>((resolve, reject) => {
      try {
        this.#env.batchWrite(operations, { keyIsBuffer: true, ignoreNotFound: true }, (error) => {
          this.#writing = null;
          if (error !== null && error !== undefined) reject(writeError(error, this.directory));
          else {
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

  /** Runs `look` within one read transaction: synchronous and short, since an open one keeps freed pages from reuse. */
  read<T>(look: (reader: Reader) => T): T {
    if (this.#closed) throw new StoreError('closed', 'the store is closed');
    const txn = this.#env.beginTxn({ readOnly: true });
    try {
      return look(new TxnReader(txn, this.#dbi));
    } finally {
      txn.abort();
    }
  }

  /** Length of the data file, bytes. */
  fileBytes(): number {
    return statSync(join(this.directory, DATA_FILE)).size;
  }

  /** Pages from the file's start that LMDB has ever used. */
  usedPages(): number {
    return this.#env.info().lastPageNumber + 1;
  }

  /**
   * Pages that a transaction took and gave back count as used and were never written; where they are the last ones, the
   * file ends before them, and would be taken for one that was cut short.
   */
  #fillUp(): void {
    const bytes = this.usedPages() * this.#pageBytes;
    try {
      if (this.fileBytes() < bytes) truncateSync(join(this.directory, DATA_FILE), bytes);
    } catch {
      // The commit stands; should the next one not lengthen the file, it is looked at again after that.
    }
  }

  /** Waits for the batch in flight, then closes. May be called twice. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // The batch's own caller hears of its error; here it only matters that it has ended.
    await this.#writing?.catch(() => undefined);
    this.#dbi.close();
    this.#env.close();
  }
}

/** A disk that becomes full shows as a short write first, which LMDB calls an I/O error: that is not what a user can act on. */
function writeError(error: unknown, directory: string): StoreError {
  const found = storeError(error, directory);
  if (found.fault !== 'io') return found;
  const { bavail, bsize } = statfsSync(directory);
  if (bavail * bsize >= FULL_BYTES) return found;
  return new StoreError('full', `${directory}: No space left on device`);
}

class TxnReader implements Reader {
  readonly #txn: lmdb.Txn;
  readonly #dbi: lmdb.Dbi;

  constructor(txn: lmdb.Txn, dbi: lmdb.Dbi) {
    this.#txn = txn;
    this.#dbi = dbi;
  }

  get(key: Buffer): Buffer | null {
    return this.#txn.getBinary(this.#dbi, key);
  }

  ceiling(key: Buffer): Entry | null {
    return this.#at((cursor) => cursor.goToRange(key));
  }

  below(key: Buffer): Entry | null {
    return this.#at((cursor) => (cursor.goToRange(key) === null ? cursor.goToLast() : cursor.goToPrev()));
  }

  scan(key: Buffer, visit: (entry: Entry) => boolean): void {
    const cursor = new lmdb.Cursor(this.#txn, this.#dbi);
    try {
      for (let at = cursor.goToRange(key); at !== null; at = cursor.goToNext()) {
        if (!visit({ key: Buffer.from(at), value: cursor.getCurrentBinary() })) return;
      }
    } finally {
      cursor.close();
    }
  }

  livePages(): { readonly live: number; readonly pageBytes: number } {
    const stat = this.#dbi.stat(this.#txn);
    const live = 2 + stat.treeBranchPageCount + stat.treeLeafPageCount + stat.overflowPages;
    return { live, pageBytes: stat.pageSize };
  }

  #at(move: (cursor: lmdb.Cursor) => Buffer | null): Entry | null {
    const cursor = new lmdb.Cursor(this.#txn, this.#dbi);
    try {
      const at = move(cursor);
      return at === null ? null : { key: Buffer.from(at), value: cursor.getCurrentBinary() };
    } finally {
      cursor.close();
    }
  }
}
