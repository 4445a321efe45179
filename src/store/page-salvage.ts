import { closeSync, fstatSync, openSync } from 'node:fs';
import { readMetas, readWhole } from './data-file.ts';
import { isLeafOrValue, PAGE_HEADER_BYTES, PageDamaged, TreePage, valuePages, word, WORD_BYTES } from './page.ts';
import { storeError } from './store-error.ts';

/** Page sizes that there are; the usual first. */
const PAGE_SIZES = [4096, 16_384, 8192, 32_768, 65_536] as const;
/** Pages by which the size is guessed where no meta page says it. */
const GUESS_PAGES = 256;
/** Longest value that is taken for one, bytes. */
const VALUE_BYTES_MAX = 4 * 2 ** 20;

/**
 * A value that lies in a file, whatever the trees say: also one that was deleted and not written over yet. `at` is where it
 * begins. One with pages of its own goes to the end of its last page here: how long it was, only its leaf knows.
 */
export interface Remnant {
  readonly at: number;
  readonly bytes: Buffer;
}

export interface Remnants {
  /** Yields each in the order in which they lie. What cannot be read is told to `unreadable` and left out. */
  all(unreadable: (error: Error) => void): Generator<Remnant, void, void>;
  /** The bytes of one again. Throws StoreError. */
  read(at: number, bytes: number): Buffer;
  close(): void;
}

/** Goes through a data file page by page, without its trees. Throws StoreError where it cannot be opened. */
export function openRemnants(path: string): Remnants {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    throw storeError(error, path);
  }
  const read = (at: number, bytes: number): Buffer => {
    const buffer = Buffer.allocUnsafeSlow(bytes);
    try {
      return buffer.subarray(0, readWhole(fd, buffer, at));
    } catch (error) {
      throw storeError(error, path);
    }
  };
  return {
    *all(unreadable) {
      const pageBytes = pageSize(fd, read);
      const pages = Math.floor(fstatSync(fd).size / pageBytes);
      for (let number = 2; number < pages; number++) {
        try {
          yield* remnantsOf(read(number * pageBytes, pageBytes), number, read);
        } catch (error) {
          // Most pages are not the first of a value or a leaf.
          if (!(error instanceof PageDamaged)) unreadable(error as Error);
        }
      }
    },
    read,
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
    yield { at: at + PAGE_HEADER_BYTES, bytes: whole.subarray(PAGE_HEADER_BYTES) };
    return;
  }
  const tree = new TreePage(page, number);
  for (let index = 0; index < tree.count; index++) {
    const place = tree.value(index);
    if ('inline' in place) yield { at: at + (place.inline.byteOffset - page.byteOffset), bytes: place.inline };
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
