import lmdb from 'node-lmdb';
import type { Entries } from './pieces.ts';
import type { Entry } from './reader.ts';

/** What one read transaction of LMDB sees, entry by entry. */
export class TxnReader implements Entries {
  readonly #txn: lmdb.Txn;
  readonly #dbi: lmdb.Dbi;

  constructor(txn: lmdb.Txn, dbi: lmdb.Dbi) {
    this.#txn = txn;
    this.#dbi = dbi;
  }

  get(key: Buffer): Buffer | null {
    return this.#txn.getBinary(this.#dbi, key);
  }

  below(key: Buffer): Entry | null {
    return this.#with((cursor) => {
      const at = cursor.goToRange(key) === null ? cursor.goToLast() : cursor.goToPrev();
      return at === null ? null : { key: Buffer.from(at), value: cursor.getCurrentBinary() };
    });
  }

  scan(key: Buffer, bytes: number, visit: (entry: Entry, valueBytes: number) => boolean): void {
    this.#with((cursor) => {
      for (let at = cursor.goToRange(key); at !== null; at = cursor.goToNext()) {
        const own = Buffer.from(at);
        // A view of the map, copied before anything else happens: used later it would be a SIGSEGV.
        const view = cursor.getCurrentBinaryUnsafe();
        if (!visit({ key: own, value: Buffer.from(view.subarray(0, bytes)) }, view.length)) return;
      }
    });
  }

  /** Looks for keys alone, by one cursor. */
  keys<T>(look: (ceiling: (key: Buffer) => Buffer | null) => T): T {
    return this.#with((cursor) => look((key) => cursor.goToRange(key)));
  }

  livePages(): { readonly live: number; readonly pageBytes: number } {
    const stat = this.#dbi.stat(this.#txn);
    const live = 2 + stat.treeBranchPageCount + stat.treeLeafPageCount + stat.overflowPages;
    return { live, pageBytes: stat.pageSize };
  }

  #with<T>(act: (cursor: lmdb.Cursor) => T): T {
    const cursor = new lmdb.Cursor(this.#txn, this.#dbi);
    try {
      return act(cursor);
    } finally {
      cursor.close();
    }
  }
}
