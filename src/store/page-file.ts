import { closeSync, fstatSync, openSync } from 'node:fs';
import { META_VERSION, cutShort, readMetas, readWhole } from './data-file.ts';
import type { Entry, Reader } from './reader.ts';
import { PAGE_HEADER_BYTES, PageDamaged, TreePage, valuePages, type Meta, type Place, type Tree } from './page.ts';
import { keyOrder, Walk } from './page-walk.ts';
import { WholeValues, type Entries } from './pieces.ts';
import { StoreError, storeError } from './store-error.ts';

/** Values up to this are read together with the header of their first page, bytes. */
const ONE_READ_BYTES_MAX = 2 ** 20;

/** Pages by which a file that somebody writes to may be too short for a moment: more than a commit takes. */
const GROWING_PAGES_MAX = 65_536;

type Metas = readonly [Meta | string, Meta | string];

/**
 * An environment's data file, read without LMDB: by pread, never mapped, without a lock file. So it can be read on a medium
 * that may not be written, an I/O error is an exception and not the end of the process, and so is a damaged page. What it
 * sees is the newest commit at the time of {@link PageFile.refresh}; beside a process that writes, that stays whole only
 * while a read transaction (of any process) keeps its pages from reuse.
 *
 * A page that is not what it should be, or cannot be read, is a StoreError `damaged` or `io`; with `complain` it is told
 * there instead, and a scan goes on behind it.
 */
export class PageFile implements Reader {
  readonly path: string;
  readonly #fd: number;
  readonly #complain: ((error: StoreError) => void) | null;
  readonly #growing: boolean;
  readonly #progress: () => void;
  /** What lies in it, with large values put together. */
  readonly #whole: Reader = new WholeValues(this.#entries());
  #metas: Metas;
  #meta: Meta;

  private constructor(
    path: string,
    fd: number,
    complain: ((error: StoreError) => void) | null,
    growing: boolean,
    progress: () => void,
  ) {
    this.path = path;
    this.#fd = fd;
    this.#complain = complain;
    this.#growing = growing;
    this.#progress = progress;
    this.#metas = this.#readMetas();
    this.#meta = this.#newest(this.#metas);
  }

  /**
   * Throws StoreError: `absent` when there is none, `damaged` when neither meta page is one. `growing`: somebody writes to it,
   * who lengthens it after a commit where the commit did not need its last pages. `progress` is called with each read.
   */
  static open(
    path: string,
    complain: ((error: StoreError) => void) | null = null,
    growing = false,
    progress: () => void = () => undefined,
  ): PageFile {
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch (error) {
      throw storeError(error, path);
    }
    try {
      if (fstatSync(fd).size === 0) throw new StoreError('absent', `there is nothing in ${path}`);
      return new PageFile(path, fd, complain, growing, progress);
    } catch (error) {
      closeSync(fd);
      throw storeError(error, path);
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** Looks at the newest commit from now on. */
  refresh(): void {
    this.#metas = this.#readMetas();
    this.#meta = this.#newest(this.#metas);
  }

  /** Whether something was committed since {@link refresh}. */
  moved(): boolean {
    return this.#newest(this.#readMetas()).transaction !== this.#meta.transaction;
  }

  get meta(): Meta {
    return this.#meta;
  }

  /** Both meta pages, as they were then; a string says why one is none. */
  get metas(): Metas {
    return this.#metas;
  }

  get pageBytes(): number {
    return this.#meta.pageBytes;
  }

  /** Length of the file, bytes. */
  fileBytes(): number {
    return fstatSync(this.#fd).size;
  }

  /** Pages from the file's start that LMDB has ever used. */
  usedPages(): number {
    return this.#meta.lastPage + 1;
  }

  /** The used pages that can be there: of a file that was cut short, not all. */
  pagesThere(): number {
    const there = Math.ceil(this.fileBytes() / this.pageBytes);
    return Math.min(this.usedPages(), there + (this.#growing ? GROWING_PAGES_MAX : 0));
  }

  get(key: Buffer): Buffer | null {
    return this.#whole.get(key);
  }

  ceiling(key: Buffer): Entry | null {
    return this.#whole.ceiling(key);
  }

  below(key: Buffer): Entry | null {
    return this.#whole.below(key);
  }

  scan(key: Buffer, visit: (entry: Entry) => boolean): void {
    this.#whole.scan(key, visit);
  }

  /** The same, with only the first `headBytes` of each value: of a value with pages of its own no more is read. */
  scanHeads(key: Buffer, headBytes: number, visit: (entry: Entry, valueBytes: number) => boolean): void {
    this.#whole.scanHeads(key, headBytes, visit);
  }

  /** Whether each page of the tree can be walked; without it, a scan misses what is below one that cannot. Reads no values. */
  walkable(): boolean {
    let whole = true;
    const damaged = () => {
      whole = false;
    };
    new Walk(this, this.#meta.main, keyOrder, { visit: () => true, damaged }).up(null);
    return whole;
  }

  livePages(): { readonly live: number; readonly pageBytes: number } {
    const { branchPages, leafPages, valuePages: own } = this.#meta.main;
    return { live: 2 + branchPages + leafPages + own, pageBytes: this.pageBytes };
  }

  /** Reads and checks one page of a tree. Throws StoreError. */
  treePage(number: number): TreePage {
    const bytes = this.bytesOf(number, this.pageBytes);
    return this.checked(() => new TreePage(bytes, number));
  }

  /** On how many pages the value lies that begins on this one. Throws StoreError. */
  valuePages(number: number): number {
    const header = this.bytesOf(number, PAGE_HEADER_BYTES);
    return this.checked(() => valuePages(header, number));
  }

  /** The first `bytes` of the value at `place`. Throws StoreError. */
  value(place: Place, bytes = place.bytes): Buffer {
    if ('inline' in place) return Buffer.from(place.inline.subarray(0, bytes));
    const pages = Math.ceil((PAGE_HEADER_BYTES + place.bytes) / this.pageBytes);
    if (place.page + pages > this.usedPages()) this.damaged(place.page, `is to hold ${pages} pages of a value`);
    const holds = (said: number) => {
      if (said < pages) this.damaged(place.page, `claims ${said} pages for a value of ${pages}`);
    };
    // A length that is nonsense must not cost as much memory as it says.
    if (bytes > ONE_READ_BYTES_MAX) holds(this.valuePages(place.page));
    const read = this.bytesOf(place.page, PAGE_HEADER_BYTES + Math.min(bytes, place.bytes));
    holds(this.checked(() => valuePages(read, place.page)));
    return read.subarray(PAGE_HEADER_BYTES);
  }

  /** So many bytes from the start of a page on, as they are. Throws StoreError. */
  bytesOf(number: number, bytes: number): Buffer {
    const buffer = Buffer.allocUnsafeSlow(bytes);
    let read = 0;
    try {
      this.#progress();
      if (number < this.usedPages()) read = readWhole(this.#fd, buffer, number * this.pageBytes);
    } catch (error) {
      throw storeError(error, `${this.path}: page ${number}`);
    }
    if (read < bytes) this.damaged(number, 'lies beyond the end of the file');
    return buffer;
  }

  damaged(number: number, why: string): never {
    throw this.#storeError(new PageDamaged(number, why));
  }

  checked<T>(check: () => T): T {
    try {
      return check();
    } catch (error) {
      throw this.#storeError(error);
    }
  }

  #storeError(error: unknown): unknown {
    return error instanceof PageDamaged ? new StoreError('damaged', `${this.path}: ${error.message}`) : error;
  }

  #walk(tree: Tree, visit: (page: TreePage, index: number, key: Buffer) => boolean): Walk {
    return new Walk(this, tree, keyOrder, { visit, damaged: (error) => this.#tell(error) });
  }

  /** What lies in it, entry by entry. */
  #entries(): Entries {
    const scan: Entries['scan'] = (from, bytes, visit) => {
      this.#walk(this.#meta.main, (page, index, at) => {
        const place = page.value(index);
        const entry = this.#entry(at, place, bytes);
        return entry === null || visit(entry, 'inline' in place ? place.inline.length : place.bytes);
      }).up(from);
    };
    return {
      scan,
      get: (key) => {
        let found: Buffer | null = null;
        scan(key, Infinity, (entry) => {
          if (entry.key.equals(key)) found = entry.value;
          return false;
        });
        return found;
      },
      below: (key) => {
        let found: Entry | null = null;
        this.#walk(this.#meta.main, (page, index, at) => {
          found = this.#entry(at, page.value(index), Infinity);
          return found === null;
        }).down(key);
        return found;
      },
      livePages: () => this.livePages(),
    };
  }

  #entry(key: Buffer, place: Place, bytes: number): Entry | null {
    try {
      return { key: Buffer.from(key), value: this.value(place, Math.min(bytes, place.bytes)) };
    } catch (error) {
      this.#tell(error);
      return null;
    }
  }

  /** Complains where complaints are wanted; throws where they are not. */
  #tell(error: unknown): void {
    if (this.#complain === null || !(error instanceof StoreError)) throw error;
    this.#complain(error);
  }

  #readMetas(): Metas {
    try {
      return readMetas(this.#fd);
    } catch (error) {
      throw storeError(error, this.path);
    }
  }

  #newest([first, second]: Metas): Meta {
    const sound = [first, second].filter((meta) => typeof meta !== 'string');
    const known = sound.filter(({ version }) => version === META_VERSION);
    if (known.length === 0) {
      if (sound.length === 2) throw new Error(`LMDB format ${sound[0]!.version} is newer than this program's`);
      throw new StoreError('damaged', `${this.path} ${typeof first === 'string' ? first : 'has no meta page'}`);
    }
    const newest = known.toSorted((a, b) => b.transaction - a.transaction)[0]!;
    const short = cutShort(this.fileBytes(), newest);
    if (short !== null && !this.#growing) {
      const error = new StoreError('damaged', `${this.path} ${short}`);
      if (this.#complain === null) throw error;
      this.#complain(error);
    }
    return newest;
  }
}
