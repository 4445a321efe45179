import { join } from 'node:path';
import { Environment, type Reader } from '../store/environment.ts';
import { StoreError } from '../store/store-error.ts';
import { readBooks, type Books } from './books.ts';
import { laneStats, ledgerStats, type SpoolStats } from './stats.ts';

/** Map size for looking at a spool whose quota we need not know; LMDB takes the file's own size when that is larger. */
const LOOK_MAP_BYTES = 16 * 2 ** 20;

/** The books as they are in one read transaction. */
export function booksIn(reader: Reader): Books {
  const books = readBooks(reader);
  if (books === null) throw new StoreError('damaged', 'the spool has no books: it was never used');
  return books;
}

/** Looks at the spool of a stopped gateway (or of a running one, from outside). Throws StoreError `absent` when there is none. */
export async function lookAtSpool<T>(
  dataDir: string,
  look: (reader: Reader, books: Books, env: Environment) => T,
): Promise<T> {
  const directory = join(dataDir, 'spool');
  const env = Environment.open({ directory, mapBytes: LOOK_MAP_BYTES, durability: 'strict', readOnly: true });
  try {
    return env.read((reader) => look(reader, booksIn(reader), env));
  } finally {
    await env.close();
  }
}

/** {@link SpoolStats} from the files alone: the age stands still, and nothing is known of wear. */
export function statsFromFiles(dataDir: string, quotaBytes: number): Promise<SpoolStats> {
  return lookAtSpool(dataDir, (reader, books, env) => {
    const { live } = reader.livePages();
    const bytes = env.fileBytes();
    return {
      epoch: books.epoch,
      ledger: ledgerStats(books),
      lanes: laneStats(reader, books, books.age.age),
      file: {
        bytes,
        quotaBytes,
        livePages: live,
        freePages: Math.max(0, env.usedPages() - live),
        shrinkPending: bytes > quotaBytes,
      },
      wear: { bytesPerDay: 0, bytesPerPayloadByte: 0, measured: false },
    };
  });
}
