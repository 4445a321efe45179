import { endianness } from 'node:os';

/*
 * The pages of an LMDB 0.9 data file (lmdb.h and mdb.c: MDB_page, MDB_node, MDB_meta, MDB_db), as far as the unnamed database
 * without duplicates uses them. All words are the machine's own size and order. Offsets within a page of 64-bit words:
 *
 *   header   0 number (word) | pad u16 | flags u16 | lower u16, upper u16; or, of a value's pages: how many, u32
 *   tree    16 offsets of the nodes, u16 each, in the order of their keys; free up to `upper`; from there the nodes, without a gap
 *   leaf     node: bytes of the value, low and high u16 | flags u16 | bytes of the key u16 | key | value, or the number of its first page
 *   branch   node: number of the page below, low, middle and high u16 | bytes of the key u16 | key
 *   value   16 the value, on as many pages as it takes
 *   meta    16 magic u32, version u32, address (word), size of the map (word), the free list's tree, the main tree, last page (word),
 *              transaction (word); a tree: pad u32 | flags u16 | depth u16 | branch, leaf and value pages, entries, root (words)
 *
 * Nodes begin at even offsets. The key of a branch's first node is not looked at.
 */
export const WORD_BYTES = process.arch === 'arm' || process.arch === 'ia32' ? 4 : 8;
export const PAGE_HEADER_BYTES = WORD_BYTES + 8;
/** Bytes from the start of a meta page that mean something. */
export const META_BYTES = PAGE_HEADER_BYTES + 8 + 2 * WORD_BYTES + 2 * (8 + 5 * WORD_BYTES) + 2 * WORD_BYTES;

const LITTLE = endianness() === 'LE';
const MAGIC = 0xbeefc0de;
const PAGE_BYTES_MIN = 512;
const PAGE_BYTES_MAX = 32_768;
const FLAGS_AT = WORD_BYTES + 2;
const LOWER_AT = WORD_BYTES + 4;
const UPPER_AT = WORD_BYTES + 6;
const NODE_HEADER_BYTES = 8;
/** Deepest tree that LMDB walks (its CURSOR_STACK). */
export const DEPTH_MAX = 32;

const BRANCH = 1;
const LEAF = 2;
const VALUE = 4;
const META = 8;
/** Flag of a node whose value has pages of its own; the others are for databases that we do not make. */
const BIG = 1;
/** Flag of the free list's tree: its keys are words, compared as numbers. */
export const INTEGER_KEYS = 8;

/** A page that is not what it should be. */
export class PageDamaged extends Error {
  constructor(number: number, why: string) {
    super(`page ${number} ${why}`);
    this.name = 'PageDamaged';
  }
}

function u16(bytes: Buffer, at: number): number {
  return LITTLE ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at);
}

function u32(bytes: Buffer, at: number): number {
  return LITTLE ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
}

/** A word as a number; one beyond 2^53 is no longer exact, and far beyond any page or transaction. */
export function word(bytes: Buffer, at: number): number {
  if (WORD_BYTES === 4) return u32(bytes, at);
  return LITTLE ? u32(bytes, at) + u32(bytes, at + 4) * 2 ** 32 : u32(bytes, at + 4) + u32(bytes, at) * 2 ** 32;
}

/** What a meta page says of one tree. */
export interface Tree {
  readonly pad: number;
  readonly flags: number;
  readonly depth: number;
  readonly branchPages: number;
  readonly leafPages: number;
  readonly valuePages: number;
  readonly entries: number;
  /** Null when the tree is empty. */
  readonly root: number | null;
}

/** A meta page. Transaction N writes page N % 2, so the newer of the two says where everything is. */
export interface Meta {
  /** Where it says it lies. */
  readonly number: number;
  readonly flags: number;
  readonly version: number;
  readonly address: number;
  readonly free: Tree;
  readonly main: Tree;
  readonly pageBytes: number;
  readonly lastPage: number;
  readonly transaction: number;
}

/** Whether the page's own header says that it is a meta page with this number. */
export function isMeta({ number, flags }: Meta, expected: number): boolean {
  return number === expected && flags === META;
}

/** Reads a meta page from its first {@link META_BYTES}; a string says why it is none. */
export function readMeta(page: Buffer): Meta | string {
  let at = PAGE_HEADER_BYTES;
  if (u32(page, at) !== MAGIC) return 'is not an LMDB file';
  const version = u32(page, at + 4);
  const address = word(page, at + 8);
  at += 8 + 2 * WORD_BYTES;
  const free = readTree(page, at);
  // The free list has no use for its first field: the page size stands there.
  const pageBytes = free.pad;
  if (pageBytes < PAGE_BYTES_MIN || pageBytes > PAGE_BYTES_MAX || (pageBytes & (pageBytes - 1)) !== 0)
    return `claims pages of ${pageBytes} bytes`;
  at += 8 + 5 * WORD_BYTES;
  const main = readTree(page, at);
  at += 8 + 5 * WORD_BYTES;
  const [number, flags] = [word(page, 0), u16(page, FLAGS_AT)];
  const [lastPage, transaction] = [word(page, at), word(page, at + WORD_BYTES)];
  return { number, flags, version, address, free, main, pageBytes, lastPage, transaction };
}

function readTree(page: Buffer, at: number): Tree {
  const field = (n: number) => word(page, at + 8 + n * WORD_BYTES);
  const root = page.subarray(at + 8 + 4 * WORD_BYTES, at + 8 + 5 * WORD_BYTES);
  return {
    pad: u32(page, at),
    flags: u16(page, at + 4),
    depth: u16(page, at + 6),
    branchPages: field(0),
    leafPages: field(1),
    valuePages: field(2),
    entries: field(3),
    root: root.every((byte) => byte === 255) ? null : field(4),
  };
}

/** Where a value is: in its leaf, or on pages of its own. */
export type Place =
  | { readonly bytes: number; readonly inline: Buffer }
  | { readonly bytes: number; readonly page: number };

/** A branch or a leaf of a tree, whose form has been checked. */
export class TreePage {
  readonly number: number;
  readonly leaf: boolean;
  /** Nodes. */
  readonly count: number;
  readonly #bytes: Buffer;

  /** Checks the page's form: everything but the order of the keys. Throws {@link PageDamaged}. */
  constructor(bytes: Buffer, number: number) {
    const damaged = (why: string) => new PageDamaged(number, why);
    if (word(bytes, 0) !== number) throw damaged(`says that it is page ${word(bytes, 0)}`);
    const flags = u16(bytes, FLAGS_AT);
    if (flags !== BRANCH && flags !== LEAF) throw damaged(`is no page of a tree (flags ${flags})`);
    const [lower, upper] = [u16(bytes, LOWER_AT), u16(bytes, UPPER_AT)];
    if (lower < PAGE_HEADER_BYTES + 2 || lower % 2 !== 0 || lower > upper || upper % 2 !== 0 || upper > bytes.length)
      throw damaged(`claims nodes up to ${lower} and from ${upper}`);
    this.number = number;
    this.leaf = flags === LEAF;
    this.count = (lower - PAGE_HEADER_BYTES) / 2;
    this.#bytes = bytes;
    this.#checkNodes(upper);
  }

  key(index: number): Buffer {
    const at = this.#node(index) + NODE_HEADER_BYTES;
    return this.#bytes.subarray(at, at + this.#keyBytes(index));
  }

  /** Of a branch: the page below. */
  child(index: number): number {
    const at = this.#node(index);
    const low = u32(this.#bytes, at);
    return WORD_BYTES === 4 ? low : low + u16(this.#bytes, at + 4) * 2 ** 32;
  }

  /** Of a leaf: the value, or where it is. */
  value(index: number): Place {
    const at = this.#node(index);
    const bytes = u32(this.#bytes, at);
    const from = at + NODE_HEADER_BYTES + this.#keyBytes(index);
    if (u16(this.#bytes, at + 4) === BIG) return { bytes, page: word(this.#bytes, from) };
    return { bytes, inline: this.#bytes.subarray(from, from + bytes) };
  }

  #node(index: number): number {
    return u16(this.#bytes, PAGE_HEADER_BYTES + 2 * index);
  }

  #keyBytes(index: number): number {
    return u16(this.#bytes, this.#node(index) + 6);
  }

  /** LMDB keeps the nodes together at the page's end: they fill it from `upper`, and no byte is in two. */
  #checkNodes(upper: number): void {
    const end = this.#bytes.length;
    const ends = new Map<number, number>();
    for (let index = 0; index < this.count; index++) {
      const at = this.#node(index);
      if (at < upper || at % 2 !== 0 || at + NODE_HEADER_BYTES > end || ends.has(at))
        throw new PageDamaged(this.number, `has a node at ${at}`);
      const length = NODE_HEADER_BYTES + this.#keyBytes(index) + (this.leaf ? this.#inlineBytes(at) : 0);
      ends.set(at, at + length + (length % 2));
    }
    let at = upper;
    for (let index = 0; index < this.count; index++) at = ends.get(at) ?? -1;
    if (at !== end) throw new PageDamaged(this.number, 'has nodes that do not fill it');
  }

  #inlineBytes(at: number): number {
    const flags = u16(this.#bytes, at + 4);
    if (flags !== 0 && flags !== BIG) throw new PageDamaged(this.number, `has a node with flags ${flags}`);
    return flags === BIG ? WORD_BYTES : u32(this.#bytes, at);
  }
}

/** Whether a page says that it is a leaf, or the first one of a value. */
export function isLeafOrValue(page: Buffer): 'leaf' | 'value' | null {
  const flags = u16(page, FLAGS_AT);
  if (flags === LEAF) return 'leaf';
  return flags === VALUE ? 'value' : null;
}

/** Reads the header of a value's first page: on how many pages it lies. Throws {@link PageDamaged}. */
export function valuePages(header: Buffer, number: number): number {
  if (word(header, 0) !== number) throw new PageDamaged(number, `says that it is page ${word(header, 0)}`);
  const flags = u16(header, FLAGS_AT);
  if (flags !== VALUE) throw new PageDamaged(number, `is no page of a value (flags ${flags})`);
  return u32(header, LOWER_AT);
}
