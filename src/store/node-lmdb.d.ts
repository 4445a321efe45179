/**
 * The part of node-lmdb 0.10.1 that `store/` uses, typed as we use it: Buffers for keys and values, and nothing else.
 * The package's own types allow calls that bring the process down (see `environment.ts`).
 */
declare module 'node-lmdb' {
  namespace lmdb {
    interface Dbi {
      stat(txn: Txn): {
        pageSize: number;
        treeBranchPageCount: number;
        treeLeafPageCount: number;
        overflowPages: number;
      };
      close(): void;
    }
    interface Txn {
      getBinary(dbi: Dbi, key: Buffer): Buffer | null;
      abort(): void;
    }
    type Operation = [Dbi, Buffer] | [Dbi, Buffer, Buffer];
    class Env {
      open(options: {
        path: string;
        mapSize: number;
        maxDbs: number;
        maxReaders?: number;
        readOnly?: boolean;
        noMetaSync?: boolean;
        noReadAhead?: boolean;
      }): void;
      openDbi(options: { name: null; create: boolean; keyIsBuffer: true }): Dbi;
      beginTxn(options: { readOnly: true }): Txn;
      batchWrite(
        operations: Operation[],
        options: { keyIsBuffer: true; ignoreNotFound: true },
        done: (error: Error | null) => void,
      ): void;
      info(): { mapSize: number; lastPageNumber: number; lastTxnId: number };
      resize(mapSize: number): void;
      close(): void;
    }
    class Cursor {
      constructor(txn: Txn, dbi: Dbi);
      goToRange(key: Buffer): Buffer | null;
      goToLast(): Buffer | null;
      goToNext(): Buffer | null;
      goToPrev(): Buffer | null;
      getCurrentBinary(): Buffer;
      getCurrentBinaryUnsafe(): Buffer;
      close(): void;
    }
  }
  export default lmdb;
}
