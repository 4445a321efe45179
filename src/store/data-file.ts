import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { META_BYTES, readMeta, type Meta } from './page.ts';

/** The file in which LMDB keeps an environment. */
export const DATA_FILE = 'data.mdb';

/** LMDB's format that we know (MDB_DATA_VERSION of 0.9). */
export const META_VERSION = 1;
/** Times that the meta pages are read before two readings agree. */
const READINGS_MAX = 100;

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
    const [first, second] = readMetas(fd);
    if (typeof first === 'string') return { kind: 'damaged', why: first };
    if (typeof second === 'string') return { kind: 'damaged', why: second };
    if (first.version !== META_VERSION && first.version === second.version) {
      // Two pages do not rot alike: a newer program wrote this.
      return { kind: 'unreadable', error: new Error(`LMDB format ${first.version} is newer than this program's`) };
    }
    if (first.version !== META_VERSION || second.version !== META_VERSION) {
      return { kind: 'damaged', why: `claims LMDB formats ${first.version} and ${second.version}` };
    }
    const newest = second.transaction > first.transaction ? second : first;
    const why = cutShort(bytes, newest);
    return why === null ? { kind: 'sound', bytes, pageBytes: first.pageBytes } : { kind: 'damaged', why };
  } catch (error) {
    return { kind: 'unreadable', error: error as Error };
  } finally {
    closeSync(fd);
  }
}

/** Says so when a file of so many bytes ends before its last page. */
export function cutShort(bytes: number, { lastPage, pageBytes }: Meta): string | null {
  const needed = (lastPage + 1) * pageBytes;
  return bytes < needed ? `is ${bytes} bytes long, ${needed} are in use: it was cut short` : null;
}

/** Both meta pages; a string says why one is none. The second lies where the first says, or at a usual page size. */
export function readMetas(fd: number): readonly [Meta | string, Meta | string] {
  let before = metaBytes(fd);
  for (let readings = 1; ; readings++) {
    // While a gateway writes one, a reading may see half of it.
    const again = metaBytes(fd);
    if (again.every((page, n) => page.equals(before[n]!)) || readings === READINGS_MAX) {
      const [first, second] = again.map((page) =>
        page.length < META_BYTES ? 'ends within its first pages' : readMeta(page),
      );
      return [first!, second!];
    }
    before = again;
  }
}

function metaBytes(fd: number): readonly [Buffer, Buffer] {
  const first = metaAt(fd, 0);
  const meta = first.length < META_BYTES ? 'short' : readMeta(first);
  if (typeof meta !== 'string') return [first, metaAt(fd, meta.pageBytes)];
  const second = [4096, 16_384, 8192, 32_768]
    .map((pageBytes) => metaAt(fd, pageBytes))
    .find((page) => page.length === META_BYTES && typeof readMeta(page) !== 'string');
  return [first, second ?? metaAt(fd, 4096)];
}

function metaAt(fd: number, at: number): Buffer {
  const page = Buffer.alloc(META_BYTES);
  return page.subarray(0, readWhole(fd, page, at));
}

/**
 * Fills the buffer from there; returns how much the file had. A read that meets a bad sector gives what is before it first, and
 * fails only when it is asked for the rest: that must not look like the file's end.
 */
export function readWhole(fd: number, buffer: Buffer, at: number): number {
  let read = 0;
  while (read < buffer.length) {
    const more = readSync(fd, buffer, read, buffer.length - read, at + read);
    if (more === 0) break;
    read += more;
  }
  return read;
}
