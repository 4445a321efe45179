/** Reads within one short transaction. Everything it returns is a copy and may be kept. */
export interface Reader {
  get(key: Buffer): Buffer | null;
  /** The first entry at or after `key`. */
  ceiling(key: Buffer): Entry | null;
  /** The last entry before `key`. */
  below(key: Buffer): Entry | null;
  /** Walks entries from `key` upwards until `visit` returns false. */
  scan(key: Buffer, visit: (entry: Entry) => boolean): void;
  /**
   * The same with only the first `bytes` of each value, and how many it has: of a block on pages of its own no more than
   * the first is read.
   */
  scanHeads(key: Buffer, bytes: number, visit: (entry: Entry, valueBytes: number) => boolean): void;
  /** Pages holding live data, exactly, the two meta pages included; the free list is not in it. */
  livePages(): { readonly live: number; readonly pageBytes: number };
}

export interface Entry {
  readonly key: Buffer;
  readonly value: Buffer;
}
