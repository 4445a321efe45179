import { closeSync, fstatSync, openSync } from 'node:fs';
import { readMetas, readWhole } from './data-file.ts';
import { crc32c } from './crc32c.ts';
import { isLeafOrValue, PAGE_HEADER_BYTES, PageDamaged, TreePage, valuePages, word, WORD_BYTES } from './page.ts';
import { PIECE_BYTES, pieceBytes, pieceHeader } from './pieces.ts';
import { storeError } from './store-error.ts';

/** Page sizes that there are; the usual first. */
const PAGE_SIZES = [4096, 16_384, 8192, 32_768, 65_536] as const;
/** Pages by which the size is guessed where no meta page says it. */
const GUESS_PAGES = 256;
/** Longest value that is taken for one, bytes. */
const VALUE_BYTES_MAX = 4 * 2 ** 20;

/** Bytes in the file. */
export interface Stretch {
  readonly at: number;
  readonly bytes: number;
}

/**
 * A value that lies in a file, whatever the trees say: also one that was deleted and not written over yet. One with pages of
 * its own goes to the end of its last page here: how long it was, only its leaf knows.
 */
export interface Remnant {
  /** Where it lies: in one stretch, or, when it was kept in pieces, in several. */
  readonly places: readonly Stretch[];
  readonly bytes: Buffer;
}

export interface Remnants {
  /**
   * Yields each in the order in which they lie, then those that are in pieces, the first piece of which has come by itself
   * before. What cannot be read is told to `unreadable` and left out.
   */
  all(unreadable: (error: Error) => void): Generator<Remnant, void, void>;
  /** The first `bytes` of one again. Throws StoreError. */
  read(places: readonly Stretch[], bytes: number): Buffer;
  close(): void;
}

/** What was found of values in pieces. */
interface Pieces {
  readonly firsts: { readonly at: number; readonly tie: number }[];
  /** Where the others lie, by what ties them to the first, and their number. */
  readonly others: Map<string, Stretch>;
}

/**
 * Goes through a data file page by page, without its trees. `progress` is called with each read. Throws StoreError where it cannot
 * be opened.
 */
export function openRemnants(path: string, progress: () => void = () => undefined): Remnants {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    throw storeError(error, path);
  }
  const read = (at: number, bytes: number): Buffer => {
    progress();
    const buffer = Buffer.allocUnsafeSlow(bytes);
    try {
      return buffer.subarray(0, readWhole(fd, buffer, at));
    } catch (error) {
      throw storeError(error, path);
    }
  };
  const readAll = (places: readonly Stretch[], bytes: number): Buffer => {
    const parts = places.map(({ at, bytes: length }) => read(at, length));
    return (parts.length === 1 ? parts[0]! : Buffer.concat(parts)).subarray(0, bytes);
  };
  return {
    *all(unreadable) {
      const found: Pieces = { firsts: [], others: new Map() };
      const pageBytes = pageSize(fd, read);
      const pages = Math.floor(fstatSync(fd).size / pageBytes);
      for (let number = 2; number < pages; number++) {
        try {
          for (const remnant of remnantsOf(read(number * pageBytes, pageBytes), number, read)) {
            if (!isLater(remnant, found)) yield remnant;
          }
        } catch (error) {
          // Most pages are not the first of a value or a leaf.
          if (!(error instanceof PageDamaged)) unreadable(error as Error);
        }
      }
      for (const places of together(found)) {
        try {
          yield { places, bytes: readAll(places, Infinity) };
        } catch (error) {
          unreadable(error as Error);
        }
      }
    },
    read: readAll,
    close: () => closeSync(fd),
  };
}

function* remnantsOf(
  page: Buffer,
  number: number,
  read: (at: number, bytes: number) => Buffer,
): Generator<Remnant, void, void> {
  if (word(page, 0) !== number) return;
  const at = number * page.length;
  const kind = isLeafOrValue(page);
  if (kind === null) return;
  if (kind === 'value') {
    const bytes = valuePages(page, number) * page.length;
    if (bytes > VALUE_BYTES_MAX) return;
    const whole = bytes === page.length ? page : read(at, bytes);
    yield remnant(at + PAGE_HEADER_BYTES, whole.subarray(PAGE_HEADER_BYTES));
    return;
  }
  const tree = new TreePage(page, number);
  for (let index = 0; index < tree.count; index++) {
    const place = tree.value(index);
    if ('inline' in place) yield remnant(at + (place.inline.byteOffset - page.byteOffset), place.inline);
  }
}

function remnant(at: number, bytes: Buffer): Remnant {
  return { places: [{ at, bytes: bytes.length }], bytes };
}

/** Whether it is a later piece of a value; notes it, and what may be a first one. */
function isLater({ places, bytes }: Remnant, found: Pieces): boolean {
  const { at } = places[0]!;
  const header = pieceHeader(bytes);
  if (header !== null) {
    const own = pieceBytes(bytes);
    found.others.set(`${header.tie}/${header.number}`, { at: at + (bytes.length - own.length), bytes: own.length });
  } else if (bytes.length === PIECE_BYTES) found.firsts.push({ at, tie: crc32c(bytes) });
  return header !== null;
}

/** The places of each value of which there is more than the first piece, up to the first piece that is missing. */
function* together({ firsts, others }: Pieces): Generator<Stretch[], void, void> {
  for (const { at, tie } of firsts) {
    const places: Stretch[] = [{ at, bytes: PIECE_BYTES }];
    for (let next = others.get(`${tie}/1`); next !== undefined; next = others.get(`${tie}/${places.length}`)) {
      places.push(next);
    }
    if (places.length > 1) yield places;
  }
}

function pageSize(fd: number, read: (at: number, bytes: number) => Buffer): number {
  try {
    for (const meta of readMetas(fd)) if (typeof meta !== 'string') return meta.pageBytes;
  } catch {
    // They cannot be read: the other pages say how large they are.
  }
  const fits = (size: number) => {
    let count = 0;
    for (let number = 2; number < 2 + GUESS_PAGES; number++) {
      try {
        const head = read(number * size, WORD_BYTES);
        if (head.length === WORD_BYTES && word(head, 0) === number) count++;
      } catch {
        // This one neither.
      }
    }
    return count;
  };
  return PAGE_SIZES.toSorted((a, b) => fits(b) - fits(a))[0]!;
}
