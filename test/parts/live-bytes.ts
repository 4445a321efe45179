import { readFileSync } from 'node:fs';
import { PAGE_HEADER_BYTES, word, WORD_BYTES, type Tree } from '../../src/store/page.ts';
import type { PageFile } from '../../src/store/page-file.ts';

/** Some bytes of a data file that mean something. */
export interface Live {
  readonly what: string;
  readonly at: number;
  readonly bytes: number;
  /**
   * Whether a bit of it may flip without any reader or writer noticing: a key in a branch, while what is below lies on the same
   * sides of it; the transaction that freed some pages, while it stays between its neighbours, since after an opening nobody
   * looks at older commits; a free list's length, while the pages that it names are within it.
   */
  readonly loose: boolean;
}

const TREE_BYTES = 8 + 5 * WORD_BYTES;
const NODE_BYTES = 8;

/**
 * All bytes of a data file that mean something to LMDB or to us, found by a walk that knows the format but checks nothing.
 * Left out, since nobody reads them: free pages; what is free in a page, the byte behind an odd node, and the rest of a
 * value's last page; `pad` in a page's header (only for databases of equally long duplicates); in the header of a meta
 * page all but its number and flags; the size of the map in a meta page (each opening names its own); counts and roots in the
 * older meta page; the key of a branch's first node; the rest of a free list that is shorter than its record.
 */
export function liveBytes(file: PageFile): Live[] {
  const live: Live[] = [];
  const all = readFileSync(file.path);
  const { pageBytes, meta } = file;
  const add = (what: string, at: number, bytes: number, loose = false) => void live.push({ what, at, bytes, loose });

  const metas = (number: number) => {
    const at = number * pageBytes;
    const from = at + PAGE_HEADER_BYTES;
    const trees = from + 8 + 2 * WORD_BYTES;
    add('meta number', at, WORD_BYTES);
    add('meta flags', at + WORD_BYTES + 2, 2);
    add('meta magic, version and address', from, 8 + WORD_BYTES);
    add('transaction', trees + 2 * TREE_BYTES + WORD_BYTES, WORD_BYTES);
    if (meta.transaction % 2 === number) {
      add('trees', trees, 2 * TREE_BYTES);
      add('last page', trees + 2 * TREE_BYTES, WORD_BYTES);
    } else {
      add('page size and flags', trees, 6);
      add('pad and flags', trees + TREE_BYTES, 6);
    }
  };

  const value = (page: number, bytes: number, what: string) => {
    const at = page * pageBytes;
    add(`${what}: number`, at, WORD_BYTES);
    add(`${what}: flags and pages`, at + WORD_BYTES + 2, 6);
    if (what === 'free list') freeList(at + PAGE_HEADER_BYTES);
    else add(what, at + PAGE_HEADER_BYTES, bytes);
  };

  const freeList = (at: number) => add('free list', at, (1 + word(all, at)) * WORD_BYTES);

  const walk = (number: number, what: string) => {
    const at = number * pageBytes;
    const leaf = all.readUInt16LE(at + WORD_BYTES + 2) === 2;
    const count = (all.readUInt16LE(at + WORD_BYTES + 4) - PAGE_HEADER_BYTES) / 2;
    add(`${what}: page number`, at, WORD_BYTES);
    add(`${what}: flags, bounds and offsets`, at + WORD_BYTES + 2, 6 + 2 * count);
    for (let index = 0; index < count; index++) {
      const node = at + all.readUInt16LE(at + PAGE_HEADER_BYTES + 2 * index);
      const keyBytes = all.readUInt16LE(node + 6);
      const behind = node + NODE_BYTES + keyBytes;
      if (!leaf) {
        add(`${what}: node of a branch`, node, NODE_BYTES);
        if (index > 0) add(`${what}: key in a branch`, node + NODE_BYTES, keyBytes, true);
        walk(all.readUInt32LE(node), what);
        continue;
      }
      const bytes = all.readUInt32LE(node);
      const own = all.readUInt16LE(node + 4) === 1;
      add(`${what}: length`, node, 4, what === 'free list');
      add(`${what}: node`, node + 4, 4);
      add(`${what}: key`, node + NODE_BYTES, keyBytes, what === 'free list');
      if (own) {
        add(`${what}: place of a value`, behind, WORD_BYTES);
        value(word(all, behind), bytes, what);
      } else if (what === 'free list') freeList(behind);
      else add(`${what}: value`, behind, bytes);
    }
  };

  const tree = ({ root }: Tree, what: string) => {
    if (root !== null) walk(root, what);
  };
  metas(0);
  metas(1);
  tree(meta.main, 'spool');
  tree(meta.free, 'free list');
  return live;
}
