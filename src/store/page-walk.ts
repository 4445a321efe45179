import type { StoreError } from './store-error.ts';
import { DEPTH_MAX, WORD_BYTES, word, type Tree, type TreePage } from './page.ts';

/** Compares two keys as LMDB keeps them in a tree. */
export type KeyOrder = (a: Buffer, b: Buffer) => number;

export const keyOrder: KeyOrder = (a, b) => Buffer.compare(a, b);
export const wordOrder: KeyOrder = (a, b) => word(a, 0) - word(b, 0);

/** Longest key (MDB_MAXKEYSIZE). */
const KEY_BYTES_MAX = 511;

/** What a walk reads from. */
export interface Pages {
  treePage(number: number): TreePage;
  /** Throws the StoreError for a page that is damaged in this way. */
  damaged(number: number, why: string): never;
}

export interface Walker {
  /** Each entry in turn; false ends the walk. */
  readonly visit: (page: TreePage, index: number, key: Buffer) => boolean;
  /** A page that is not what it should be, with all that is below it; the walk goes on behind it, unless this throws. */
  readonly damaged: (error: StoreError) => void;
  /** Each page before what is in it, `above` of them above it; false leaves it out. May throw as {@link Pages.damaged} does. */
  readonly enter?: (number: number, above: number) => boolean;
}

/** The keys that may be below a branch's node: from `low` on and before `high`; null for no bound. */
interface Bounds {
  readonly low: Buffer | null;
  readonly high: Buffer | null;
}

/** A walk over one tree in the order of its keys, or against it, which holds every page against those above it. */
export class Walk {
  readonly #pages: Pages;
  readonly #tree: Tree;
  readonly #order: KeyOrder;
  readonly #integers: boolean;
  readonly #walker: Walker;

  constructor(pages: Pages, tree: Tree, order: KeyOrder, walker: Walker) {
    this.#pages = pages;
    this.#tree = tree;
    this.#order = order;
    this.#integers = order === wordOrder;
    this.#walker = walker;
  }

  /** All entries from `from` upwards. */
  up(from: Buffer | null): void {
    if (this.#tree.root !== null) this.#up(this.#tree.root, 0, { low: null, high: null }, from);
  }

  /** All entries before `before`, downwards. */
  down(before: Buffer): void {
    if (this.#tree.root !== null) this.#down(this.#tree.root, 0, { low: null, high: null }, before);
  }

  #up(number: number, above: number, bounds: Bounds, from: Buffer | null): boolean {
    const page = this.#read(number, above, bounds);
    if (page === null) return true;
    for (let index = 0; index < page.count; index++) {
      if (page.leaf) {
        const key = page.key(index);
        if (from !== null && this.#order(key, from) < 0) continue;
        if (!this.#walker.visit(page, index, key)) return false;
      } else {
        const below = this.#below(page, index, bounds);
        if (from !== null && below.high !== null && this.#order(below.high, from) <= 0) continue;
        if (!this.#up(page.child(index), above + 1, below, from)) return false;
      }
    }
    return true;
  }

  #down(number: number, above: number, bounds: Bounds, before: Buffer): boolean {
    const page = this.#read(number, above, bounds);
    if (page === null) return true;
    for (let index = page.count - 1; index >= 0; index--) {
      if (page.leaf) {
        const key = page.key(index);
        if (this.#order(key, before) >= 0) continue;
        if (!this.#walker.visit(page, index, key)) return false;
      } else {
        const below = this.#below(page, index, bounds);
        if (below.low !== null && this.#order(below.low, before) >= 0) continue;
        if (!this.#down(page.child(index), above + 1, below, before)) return false;
      }
    }
    return true;
  }

  /** The page, or null when it is to be left out. */
  #read(number: number, above: number, bounds: Bounds): TreePage | null {
    try {
      if (this.#walker.enter !== undefined && !this.#walker.enter(number, above)) return null;
      if (above >= DEPTH_MAX) this.#pages.damaged(number, 'lies deeper than any tree');
      const page = this.#pages.treePage(number);
      if (page.leaf !== (above === this.#tree.depth - 1))
        this.#pages.damaged(number, `is ${page.leaf ? 'a leaf' : 'a branch'} with ${above} pages above it`);
      this.#checkKeys(page, bounds);
      return page;
    } catch (error) {
      this.#walker.damaged(error as StoreError);
      return null;
    }
  }

  #below(page: TreePage, index: number, { low, high }: Bounds): Bounds {
    return {
      low: index === 0 ? low : page.key(index),
      high: index + 1 < page.count ? page.key(index + 1) : high,
    };
  }

  /** Strictly ascending, and within what the pages above say. */
  #checkKeys(page: TreePage, { low, high }: Bounds): void {
    let before = low;
    // Nobody looks at the key of a branch's first node.
    for (let index = page.leaf ? 0 : 1; index < page.count; index++) {
      const key = page.key(index);
      const fits = this.#integers ? key.length === WORD_BYTES : key.length > 0 && key.length <= KEY_BYTES_MAX;
      if (!fits) this.#pages.damaged(page.number, `has a key of ${key.length} bytes`);
      if (before !== null) {
        const order = this.#order(before, key);
        // A leaf may begin with the very key that the branch above it names.
        if (order > 0 || (order === 0 && !(page.leaf && index === 0)))
          this.#pages.damaged(page.number, 'has keys that are not in order');
      }
      before = key;
    }
    if (before !== null && high !== null && page.count > 0 && this.#order(before, high) >= 0)
      this.#pages.damaged(page.number, 'has keys that belong behind it');
  }
}
