import { statSync } from 'node:fs';
import { join } from 'node:path';
import lmdb from 'node-lmdb';
import { DATA_FILE } from './data-file.ts';
import { WORD_BYTES } from './page.ts';
import { storeError } from './store-error.ts';

export interface EnvironmentOptions {
  readonly directory: string;
  /** Address space given to LMDB. Far above what we let the file grow to, so that LMDB itself never refuses. */
  readonly mapBytes: number;
  /** `relaxed` saves one flush a commit; a power cut may then undo the last commit (never corrupt it). */
  readonly durability: 'strict' | 'relaxed';
  /** What is there can be read, and nothing is made. Not for the files of a process that writes (docs/decisions/0022-nobody-else-opens-it.md). */
  readonly readOnly?: boolean;
}

/** A file that is larger than it should be (of a lowered quota) must leave room to delete in; a 32-bit program has little. */
const MAP_FILES = WORD_BYTES === 4 ? 1.25 : 2;

/** Opens the files, with the unnamed database. Throws StoreError. */
export function openLmdb(options: EnvironmentOptions): { readonly env: lmdb.Env; readonly dbi: lmdb.Dbi } {
  const { directory, readOnly = false } = options;
  const env = new lmdb.Env();
  try {
    const bytes = statSync(join(directory, DATA_FILE), { throwIfNoEntry: false })?.size ?? 0;
    env.open({
      path: directory,
      mapSize: Math.max(options.mapBytes, Math.ceil(bytes * MAP_FILES)),
      maxDbs: 1,
      maxReaders: 32,
      readOnly,
      noMetaSync: options.durability === 'relaxed',
      noReadAhead: true,
    });
  } catch (error) {
    throw storeError(error, directory);
  }
  try {
    return { env, dbi: env.openDbi({ name: null, create: !readOnly, keyIsBuffer: true }) };
  } catch (error) {
    env.close();
    throw storeError(error, directory);
  }
}
