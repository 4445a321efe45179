import { Complaints } from './complaints.ts';
import {
  INTEGER_KEYS,
  isMeta,
  PAGE_HEADER_BYTES,
  word,
  WORD_BYTES,
  type Meta,
  type Tree,
  type TreePage,
} from './page.ts';
import { PageFile } from './page-file.ts';
import { keyOrder, Walk, wordOrder } from './page-walk.ts';
import { StoreError } from './store-error.ts';

const USED = 1;
const FREE = 2;

export interface CheckOptions {
  /**
   * Whether to read the header of each value that has pages of its own: one small read for each, which on a slow medium is
   * what the check mostly costs. Without it only the trees' own pages are read. Default true.
   */
  readonly valueHeaders?: boolean;
}

/**
 * Holds all pages of the newest commit against each other: both trees, in full and in order; every page used once or free
 * once; all counts as the meta page has them. Values are not read, but for the header of their first page. What a value
 * says is its owner's to check.
 */
export function checkPages(file: PageFile, complaints: Complaints, options: CheckOptions = {}): void {
  new PageCheck(file, complaints, options.valueHeaders ?? true).run();
}

/** {@link checkPages} of a file that nobody writes to. Throws StoreError `absent` when there is none. */
export function checkFile(path: string, options: CheckOptions = {}): Complaints {
  const complaints = new Complaints();
  try {
    const file = PageFile.open(path, (error) => complaints.add(error.message));
    try {
      checkPages(file, complaints, options);
    } finally {
      file.close();
    }
  } catch (error) {
    if (!(error instanceof StoreError) || error.fault === 'absent') throw error;
    complaints.add(error.message);
  }
  return complaints;
}

class PageCheck {
  readonly #file: PageFile;
  readonly #complaints: Complaints;
  readonly #valueHeaders: boolean;
  /** For each page of the file: 0, {@link USED} or {@link FREE}. */
  readonly #pages: Uint8Array;
  #whole = true;

  constructor(file: PageFile, complaints: Complaints, valueHeaders: boolean) {
    this.#file = file;
    this.#complaints = complaints;
    this.#valueHeaders = valueHeaders;
    // A last page beyond the file's end has been complained of when it was opened.
    this.#pages = new Uint8Array(file.pagesThere());
  }

  run(): void {
    const { free, main, transaction } = this.#file.meta;
    this.#checkMetas();
    this.#pages.fill(USED, 0, 2);
    this.#tree(main, keyOrder, 'the main tree', () => undefined);
    const lists: Buffer[] = [];
    let newest = 0;
    let freed: Buffer = Buffer.alloc(0);
    this.#tree(free, wordOrder, 'the free list', (page, index, key) => {
      newest = word(key, 0);
      freed = this.#file.value(page.value(index));
      lists.push(freed);
    });
    for (const list of lists) this.#free(list);
    if (newest > transaction) this.#add(`the newest commit is ${transaction}, and pages were freed by ${newest}`);
    else if (this.#whole && free.entries > 0) this.#checkSuccession(newest === transaction ? freed : Buffer.alloc(0));
    // With a part of a tree out of sight, what it holds would be missed in vain.
    if (!this.#whole) return;
    const lost = this.#pages.indexOf(0);
    if (lost !== -1) this.#add(`page ${lost} is neither in use nor free`);
  }

  #checkMetas(): void {
    const metas = this.#file.metas;
    metas.forEach((meta, number) => {
      if (typeof meta === 'string') this.#add(`meta page ${number} ${meta}`);
      else this.#checkMeta(meta, number);
    });
    const [first, second] = metas;
    if (typeof first === 'string' || typeof second === 'string') return;
    // Both are written with transaction 0 when the file is made.
    const apart = Math.abs(first.transaction - second.transaction);
    const fresh = first.transaction + second.transaction === 0;
    if (!fresh && (apart !== 1 || first.transaction % 2 !== 0))
      this.#add(`the meta pages are of transactions ${first.transaction} and ${second.transaction}`);
    if (first.pageBytes !== second.pageBytes)
      this.#add(`the meta pages claim pages of ${first.pageBytes} and ${second.pageBytes} bytes`);
  }

  /**
   * Every commit makes a new root and frees the one before it, under its own number. Where the older meta page's root is not
   * among what the newest commit freed, one of them lies about which commit it is of: LMDB would take the wrong one.
   */
  #checkSuccession(freed: Buffer): void {
    const { transaction, main } = this.#file.meta;
    const older = this.#file.metas.find((meta) => typeof meta !== 'string' && meta.transaction !== transaction);
    if (older === undefined || typeof older === 'string') return;
    const { root } = older.main;
    if (root === null || main.root === null) return;
    for (let at = WORD_BYTES; at < freed.length; at += WORD_BYTES) if (word(freed, at) === root) return;
    this.#add(`commit ${transaction} does not follow the one of the other meta page, ${older.transaction}`);
  }

  #checkMeta(meta: Meta, number: number): void {
    const says = (what: string) => this.#add(`meta page ${number} ${what}`);
    if (!isMeta(meta, number)) says(`says that it is page ${meta.number} with flags ${meta.flags}`);
    if (meta.version !== 1) says(`claims LMDB format ${meta.version}`);
    if (meta.address !== 0) says('wants a fixed address');
    if (meta.free.flags !== INTEGER_KEYS) says(`claims flags ${meta.free.flags} for the free list`);
    if (meta.main.flags !== 0 || meta.main.pad !== 0) says(`claims flags ${meta.main.flags} for the main tree`);
  }

  /** Walks one tree; `each` may throw a StoreError about an entry. */
  #tree(
    tree: Tree,
    order: typeof keyOrder,
    name: string,
    each: (page: TreePage, index: number, key: Buffer) => void,
  ): void {
    const found = { branchPages: 0, leafPages: 0, valuePages: 0, entries: 0 };
    let whole = true;
    const damaged = (error: unknown) => {
      if (!(error instanceof StoreError)) throw error;
      this.#complaints.add(error.message);
      whole = this.#whole = false;
    };
    const visit = (page: TreePage, index: number, key: Buffer) => {
      found.entries++;
      try {
        found.valuePages += this.#value(page, index);
        each(page, index, key);
      } catch (error) {
        damaged(error);
      }
      return true;
    };
    const enter = (number: number, above: number) => {
      this.#take(number, 1, USED);
      if (above === tree.depth - 1) found.leafPages++;
      else found.branchPages++;
      return true;
    };
    new Walk(this.#file, tree, order, { visit, damaged, enter }).up(null);
    if (tree.root === null && tree.depth !== 0) this.#add(`${name} has no root and a depth of ${tree.depth}`);
    // What was not seen cannot be counted.
    if (!whole) return;
    for (const what of ['branchPages', 'leafPages', 'valuePages', 'entries'] as const) {
      if (what === 'valuePages' && !this.#valueHeaders) continue;
      if (found[what] !== tree[what])
        this.#add(`${name} has ${found[what]} ${COUNTED[what]}, and the meta page says ${tree[what]}`);
    }
  }

  /** Takes the pages of a value; returns how many. */
  #value(page: TreePage, index: number): number {
    const place = page.value(index);
    if ('inline' in place) return 0;
    const needed = Math.ceil((PAGE_HEADER_BYTES + place.bytes) / this.#file.pageBytes);
    const pages = this.#valueHeaders ? this.#file.valuePages(place.page) : needed;
    if (pages < needed) this.#file.damaged(place.page, `claims ${pages} pages for a value of ${needed}`);
    this.#take(place.page, pages, USED);
    return pages;
  }

  /** Pages that are free: how many, then their numbers, in falling order. */
  #free(list: Buffer): void {
    const count = list.length < WORD_BYTES ? Infinity : word(list, 0);
    if (list.length % WORD_BYTES !== 0 || (count + 1) * WORD_BYTES > list.length) {
      this.#add(`the free list claims ${count} pages in ${list.length} bytes`);
      this.#whole = false;
      return;
    }
    let before = Infinity;
    for (let n = 1; n <= count; n++) {
      const number = word(list, n * WORD_BYTES);
      if (number >= before) this.#add(`the free list has page ${number} out of order`);
      before = number;
      try {
        this.#take(number, 1, FREE);
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        this.#complaints.add(error.message);
      }
    }
  }

  /** Marks pages as used or free. Throws StoreError for what is neither a page nor without a mark. */
  #take(number: number, pages: number, mark: number): void {
    if (number + pages > this.#pages.length)
      this.#file.damaged(
        number,
        `lies beyond the ${number + pages > this.#file.usedPages() ? 'last page' : 'end of the file'}`,
      );
    for (let n = number; n < number + pages; n++) {
      if (this.#pages[n] === mark) this.#file.damaged(n, mark === USED ? 'is in use twice' : 'is free twice');
      if (this.#pages[n] !== 0) this.#file.damaged(n, 'is in use, and free');
      this.#pages[n] = mark;
    }
  }

  #add(what: string): void {
    this.#complaints.add(`${this.#file.path}: ${what}`);
  }
}

const COUNTED = {
  branchPages: 'branch pages',
  leafPages: 'leaf pages',
  valuePages: 'pages of values',
  entries: 'entries',
} as const;
