import { statfsSync } from 'node:fs';

/** With less than this free a filesystem counts as full. */
const FULL_BYTES = 2 ** 20;

/**
 * What went wrong with a store, in the words a user can act on.
 * `full` the disk or the map has no room; `io` the medium refused; `read-only` it may not be written;
 * `damaged` the file must not be opened; `absent` there is none; `closed` ours is shut; `other` the rest.
 */
export type StoreFault = 'full' | 'io' | 'read-only' | 'damaged' | 'absent' | 'closed' | 'other';

export class StoreError extends Error {
  readonly fault: StoreFault;

  constructor(fault: StoreFault, message: string) {
    super(message);
    this.name = 'StoreError';
    this.fault = fault;
  }
}

// Node's errors carry their name as `code`, and a path in their text, in which any of these may stand. Node-lmdb's carry a number
// only sometimes (never from batchWrite): the text of strerror(3) is what there is.
const FAULTS: readonly (readonly [RegExp, StoreFault])[] = [
  [/MDB_MAP_FULL|No space left on device|ENOSPC|EDQUOT|Disk quota exceeded/, 'full'],
  [/Input\/output error|EIO/, 'io'],
  [/Read-only file system|EROFS|Permission denied|EACCES|Operation not permitted|EPERM/, 'read-only'],
  [/MDB_CORRUPTED|MDB_INVALID|MDB_PAGE_NOTFOUND|MDB_PANIC|MDB_VERSION_MISMATCH/, 'damaged'],
  [/No such file or directory|ENOENT/, 'absent'],
];

/** Turns whatever was thrown into a {@link StoreError} that names the place. */
export function storeError(error: unknown, place: string): StoreError {
  if (error instanceof StoreError) return error;
  const text = error instanceof Error ? error.message : String(error);
  const code: unknown = error instanceof Error && 'code' in error ? error.code : null;
  const said = typeof code === 'string' ? code : text;
  const fault = FAULTS.find(([pattern]) => pattern.test(said))?.[1] ?? 'other';
  return new StoreError(fault, `${place}: ${text}`);
}

/** A disk that becomes full shows as a short write first, which LMDB calls an I/O error: that is not what a user can act on. */
export function writeError(error: unknown, directory: string): StoreError {
  const found = storeError(error, directory);
  if (found.fault !== 'io') return found;
  const { bavail, bsize } = statfsSync(directory);
  if (bavail * bsize >= FULL_BYTES) return found;
  return new StoreError('full', `${directory}: No space left on device`);
}
