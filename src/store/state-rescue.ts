import { closeSync, linkSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { DATA_FILE } from './data-file.ts';
import { checkFile } from './page-check.ts';
import { PageFile } from './page-file.ts';
import { State, type StateEntry } from './state.ts';
import { StoreError, storeError } from './store-error.ts';

/** The file that was damaged, beside the one that follows it: the newest only. */
const DAMAGED_FILE = 'damaged.mdb';
/** Where that one is made. */
const RESCUE_SUFFIX = '.rescue';
/** An I/O error that goes away when it is tried again is none, times. */
const TRIES_MAX = 3;

/**
 * Opens `dataDir/state/`, having looked at its file before LMDB maps it. Of one that is damaged, what can be read goes on in a
 * new file: no gateway fails to start over it. Throws StoreError when the medium does not take it.
 */
export async function openState(directory: string, log: Logger): Promise<State> {
  const path = join(directory, DATA_FILE);
  const why = flawOf(path);
  if (why !== null) {
    await rescue(directory, path);
    const what = 'what can be read of children, twins and settings from above goes on in a new file';
    log.error(`${why}: ${what}, the old one is kept as ${DAMAGED_FILE} beside it`);
  }
  return new State(directory);
}

async function rescue(directory: string, path: string): Promise<void> {
  const place = directory + RESCUE_SUFFIX;
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place, { mode: 0o750 });
  const fresh = new State(place);
  try {
    await fresh.refill(readable(path));
  } finally {
    await fresh.close();
  }
  rmSync(join(directory, DAMAGED_FILE), { force: true });
  linkSync(path, join(directory, DAMAGED_FILE));
  // It takes the old one's name when it is whole and on the medium.
  renameSync(join(place, DATA_FILE), path);
  rmSync(place, { recursive: true, force: true });
}

function flawOf(path: string): string | null {
  for (let tries = 1; ; tries++) {
    try {
      // One that we may not read is not damaged: whoever runs us as another user has to hear of that.
      closeSync(openSync(path, 'r'));
      const { listed } = checkFile(path);
      if (listed.length === 0 || tries === TRIES_MAX) return listed[0] ?? null;
    } catch (error) {
      const found = storeError(error, path);
      // There is none, or nothing in it.
      if (found.fault === 'absent') return null;
      throw found;
    }
  }
}

/** The entries that can be read. */
function readable(path: string): StateEntry[] {
  const found: StateEntry[] = [];
  try {
    const file = PageFile.open(path, () => undefined);
    try {
      file.scan(Buffer.of(0), ({ key, value }) => found.push([key.toString('utf8'), value]) > 0);
    } finally {
      file.close();
    }
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
  }
  return found;
}
