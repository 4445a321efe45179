import { join } from 'node:path';
import { DATA_FILE } from '../store/data-file.ts';
import type { Environment, Reader } from '../store/environment.ts';
import { PageFile } from '../store/page-file.ts';
import { StoreError } from '../store/store-error.ts';
import { readBooks, type Books } from './books.ts';
import { spoolStats, type SpoolStats } from './stats.ts';

/** Looks that are tried before a file that changes all the time is given up. */
const TRIES_MAX = 5;

/** The books as they are in one read transaction. */
export function booksIn(reader: Reader): Books {
  const books = readBooks(reader);
  if (books === null) throw new StoreError('damaged', 'the spool has no books: it was never used');
  return books;
}

/**
 * Looks at a spool's file as it is after its newest commit, without LMDB. Made for a gateway that is stopped; where one
 * writes all the same, a look that it got in the way of is taken again. Throws StoreError: `absent` when there is none, and
 * for a damaged page, unless `complain` hears of it: then what can be read is read.
 */
export async function lookAtSpool<T>(
  dataDir: string,
  look: (reader: Reader, books: Books, file: PageFile) => T,
  complain: ((error: StoreError) => void) | null = null,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    const file = PageFile.open(spoolFile(dataDir), complain);
    try {
      metasMustBeSound(file, complain);
      return look(file, booksIn(file), file);
    } catch (error) {
      if (tries === TRIES_MAX || !file.moved()) throw error;
    } finally {
      file.close();
    }
  }
}

/** With one meta page the file can be read, but not be opened by LMDB: a start sets it aside. */
function metasMustBeSound({ metas, path }: PageFile, complain: ((error: StoreError) => void) | null): void {
  metas.forEach((meta, number) => {
    if (typeof meta !== 'string') return;
    const error = new StoreError('damaged', `${path}: meta page ${number} ${meta}`);
    if (complain === null) throw error;
    complain(error);
  });
}

export function spoolFile(dataDir: string): string {
  return join(dataDir, 'spool', DATA_FILE);
}

/** The spool that was set aside when it could not be used. */
export function quarantinedFile(dataDir: string): string {
  return join(dataDir, 'quarantine', 'spool', DATA_FILE);
}

/** Runs a look while the newest commit is kept from being written over. */
export type Pinned = <T>(look: () => T) => Promise<T>;

/**
 * A spool's file for reading all of it, in one look after the other. Each look sees one commit whole: beside a running
 * gateway it holds a read transaction for so long, which keeps freed pages from reuse, so it must be short.
 */
export class SpoolFiles {
  readonly #file: PageFile;
  readonly #pinned: Pinned;

  private constructor(file: PageFile, pinned: Pinned) {
    this.#file = file;
    this.#pinned = pinned;
  }

  /** A file that nobody writes to. `complain` hears of each page that cannot be read; what is behind it is still seen. */
  static stopped(path: string, complain: (error: StoreError) => void): SpoolFiles {
    return new SpoolFiles(PageFile.open(path, complain), async (look) => look());
  }

  /**
   * The files of a gateway that runs, from another process: `pinned` has it hold the newest commit for so long (LMDB must not be
   * opened here, {@link Environment.pin}). Throws StoreError: also where this user may not read them.
   */
  static async running(dataDir: string, pinned: Pinned, complain: (error: StoreError) => void): Promise<SpoolFiles> {
    const file = await pinned(() => PageFile.open(spoolFile(dataDir), complain, true));
    return new SpoolFiles(file, pinned);
  }

  /** The files of the gateway that this process is. */
  static own(environment: Environment, complain: (error: StoreError) => void): SpoolFiles {
    const file = environment.read(() => PageFile.open(join(environment.directory, DATA_FILE), complain, true));
    return new SpoolFiles(file, async (look) => environment.read(() => look()));
  }

  /** Runs `look`, which is synchronous, on the newest commit. */
  look<T>(look: (file: PageFile) => T): Promise<T> {
    return this.#pinned(() => {
      this.#file.refresh();
      return look(this.#file);
    });
  }

  close(): void {
    this.#file.close();
  }
}

/** {@link SpoolStats} from the files alone: the age stands still, and nothing is known of wear. */
export function statsFromFiles(
  dataDir: string,
  quotaBytes: number,
  complain: ((error: StoreError) => void) | null = null,
): Promise<SpoolStats> {
  const wear = { bytesPerDay: 0, bytesPerPayloadByte: 0, measured: false, budget: null };
  const look = (reader: Reader, books: Books, file: PageFile) =>
    spoolStats(reader, books, {
      age: books.age.age,
      fileBytes: file.fileBytes(),
      quotaBytes,
      freePages: Math.max(0, file.usedPages() - reader.livePages().live),
      wear,
    });
  return lookAtSpool(dataDir, look, complain);
}
