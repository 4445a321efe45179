import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { endianness } from 'node:os';
import { join } from 'node:path';

/** The file in which LMDB keeps an environment. */
export const DATA_FILE = 'data.mdb';

// LMDB 0.9 (lmdb.h, mdb.c): a page header of 16 bytes, then MDB_meta. All words are the machine's own size and order.
const PAGE_HEADER_BYTES = 16;
const MAGIC = 0xbeefc0de;
const META_VERSION = 1;

/** What the two meta pages of a data file say, read without mapping it. */
export type DataFileState =
  | { readonly kind: 'absent' }
  | { readonly kind: 'sound'; readonly bytes: number; readonly pageBytes: number }
  | { readonly kind: 'damaged'; readonly why: string }
  /** It may be sound; the medium or its permissions keep us from looking. */
  | { readonly kind: 'unreadable'; readonly error: Error };

/**
 * Looks at an environment's data file before LMDB maps it: reading past the end of a truncated map kills the process with
 * SIGBUS, so a file that is shorter than its own last page must never be opened.
 */
export function inspectDataFile(directory: string): DataFileState {
  const path = join(directory, DATA_FILE);
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { kind: 'absent' };
    return { kind: 'unreadable', error: error as Error };
  }
  try {
    const bytes = fstatSync(fd).size;
    // LMDB makes the file and writes its first two pages as one step; a power cut in between leaves nothing in it.
    if (bytes === 0) return { kind: 'absent' };
    const first = readMeta(fd, 0);
    if (typeof first === 'string') return { kind: 'damaged', why: first };
    const second = readMeta(fd, first.pageBytes);
    if (typeof second === 'string') return { kind: 'damaged', why: second };
    if (first.version !== META_VERSION && first.version === second.version) {
      // Two pages do not rot alike: a newer program wrote this.
      return { kind: 'unreadable', error: new Error(`LMDB format ${first.version} is newer than this program's`) };
    }
    if (first.version !== META_VERSION || second.version !== META_VERSION) {
      return { kind: 'damaged', why: `claims LMDB formats ${first.version} and ${second.version}` };
    }
    const newest = second.transaction > first.transaction ? second : first;
    const needed = (newest.lastPage + 1) * first.pageBytes;
    if (bytes < needed)
      return { kind: 'damaged', why: `is ${bytes} bytes long, ${needed} are in use: it was cut short` };
    return { kind: 'sound', bytes, pageBytes: first.pageBytes };
  } catch (error) {
    return { kind: 'unreadable', error: error as Error };
  } finally {
    closeSync(fd);
  }
}

interface Meta {
  readonly version: number;
  readonly pageBytes: number;
  readonly lastPage: number;
  readonly transaction: number;
}

function readMeta(fd: number, at: number): Meta | string {
  const word = process.arch === 'arm' || process.arch === 'ia32' ? 4 : 8;
  const page = Buffer.alloc(256);
  if (readSync(fd, page, 0, page.length, at) < page.length) return 'ends within its first pages';
  const little = endianness() === 'LE';
  const u32 = (offset: number) => (little ? page.readUInt32LE(offset) : page.readUInt32BE(offset));
  const size = (offset: number) => {
    if (word === 4) return u32(offset);
    return Number(little ? page.readBigUInt64LE(offset) : page.readBigUInt64BE(offset));
  };
  // MDB_meta: magic u32, version u32, address (word), map size (word), then two MDB_db of
  // { pad u32, flags u16, depth u16, branch, leaf, overflow, entries, root (words) }, last page (word), transaction (word).
  let offset = PAGE_HEADER_BYTES;
  if (u32(offset) !== MAGIC) return 'is not an LMDB file';
  const version = u32(offset + 4) & 0xffff;
  offset += 8 + 2 * word;
  const pageBytes = u32(offset);
  if (pageBytes < 512 || pageBytes > 65_536 || (pageBytes & (pageBytes - 1)) !== 0)
    return `claims pages of ${pageBytes} bytes`;
  offset += 2 * (8 + 5 * word);
  return { version, pageBytes, lastPage: size(offset), transaction: size(offset + word) };
}
