import lmdb from 'node-lmdb';
import type { Entry, Reader } from './reader.ts';

/** What one read transaction of LMDB sees. */
export class TxnReader implements Reader {
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
    this.#walk(key, (at, cursor) => visit({ key: at, value: cursor.getCurrentBinary() }));
  }

  scanHeads(key: Buffer, bytes: number, visit: (entry: Entry, valueBytes: number) => boolean): void {
    this.#walk(key, (at, cursor) => {
      // A view of the map, copied before anything else happens: used later it would be a SIGSEGV.
      const view = cursor.getCurrentBinaryUnsafe();
      return visit({ key: at, value: Buffer.from(view.subarray(0, bytes)) }, view.length);
    });
  }

  #walk(key: Buffer, visit: (at: Buffer, cursor: lmdb.Cursor) => boolean): void {
    const cursor = new lmdb.Cursor(this.#txn, this.#dbi);
    try {
      for (let at = cursor.goToRange(key); at !== null; at = cursor.goToNext()) {
        if (!visit(Buffer.from(at), cursor)) return;
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
