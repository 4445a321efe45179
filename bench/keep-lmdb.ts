import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { SystemClock } from '../src/clock/system-clock.ts';
import { RecordKeeper } from './keeper.ts';
import { appendZeros } from './zeros.ts';

/** node-lmdb as its README uses it: a key for each message, transactions in the thread. */

const MAP_BYTES = 2 ** 30;

/** The part of node-lmdb 0.10.1 that we use; what `src/store/` declares of it commits on another thread only. */
interface Lmdb {
  readonly Env: new () => LmdbEnv;
}
interface LmdbEnv {
  open(options: { path: string; mapSize: number; maxDbs: number }): void;
  openDbi(options: { name: null; create: true; keyIsBuffer: true }): LmdbDatabase;
  beginTxn(options?: { readOnly: true }): LmdbTransaction;
  close(): void;
}
interface LmdbDatabase {
  stat(
    transaction: LmdbTransaction,
  ): Readonly<Record<'pageSize' | 'treeBranchPageCount' | 'treeLeafPageCount' | 'overflowPages', number>>;
  close(): void;
}
interface LmdbTransaction {
  putBinary(database: LmdbDatabase, key: Buffer, value: Buffer): void;
  getBinary(database: LmdbDatabase, key: Buffer): Buffer | null;
  del(database: LmdbDatabase, key: Buffer): void;
  commit(): void;
  abort(): void;
}

const lmdb = createRequire(import.meta.url)('node-lmdb') as Lmdb;

export class LmdbKeeper extends RecordKeeper {
  readonly #env = new lmdb.Env();
  readonly #database: LmdbDatabase;
  #first = 1;
  #next = 1;

  /** The file is filled with zeros up to `fileBytes` first, as Holdfast does with its own. */
  constructor(folder: string, clock: SystemClock, fileBytes: number) {
    super(clock);
    mkdirSync(folder, { recursive: true });
    this.#env.open({ path: folder, mapSize: MAP_BYTES, maxDbs: 1 });
    this.#database = this.#env.openDbi({ name: null, create: true, keyIsBuffer: true });
    appendZeros(join(folder, 'data.mdb'), fileBytes);
  }

  commit(): Promise<void> {
    const transaction = this.#env.beginTxn();
    for (const record of this.waiting) transaction.putBinary(this.#database, keyOf(this.#next++), record);
    transaction.commit();
    this.waiting = [];
    return Promise.resolve();
  }

  deliver(count: number): Promise<void> {
    const transaction = this.#env.beginTxn();
    for (let n = 0; n < count; n++) {
      const key = keyOf(this.#first++);
      if (transaction.getBinary(this.#database, key) === null) throw new Error('a message is not there');
      transaction.del(this.#database, key);
    }
    transaction.commit();
    return Promise.resolve();
  }

  heldBytes(): number {
    const transaction = this.#env.beginTxn({ readOnly: true });
    const stat = this.#database.stat(transaction);
    transaction.abort();
    return (stat.treeBranchPageCount + stat.treeLeafPageCount + stat.overflowPages) * stat.pageSize;
  }

  close(): Promise<void> {
    this.#database.close();
    this.#env.close();
    return Promise.resolve();
  }
}

function keyOf(seq: number): Buffer {
  const key = Buffer.alloc(8);
  key.writeUIntBE(seq, 2, 6);
  return key;
}
