import { Complaints } from '../store/complaints.ts';
import { checkPages } from '../store/page-check.ts';
import { PageFile } from '../store/page-file.ts';
import { StoreError } from '../store/store-error.ts';
import { LANES } from '../message/message.ts';
import { readBooks, type Books } from './books.ts';
import { blockKey, keyLane } from './keys.ts';

/** Blocks at the head of each lane that are read after an unclean stop: what will be sent first. */
const HEAD_BLOCKS = 16;
/** Crashes in one boot after which all of the file is read: it may be what brings the process down. */
const CRASHES_BEFORE_ALL = 2;

/** What is known of the last run before LMDB opens its file. */
export interface Probe {
  /** Crashes in a row in this boot of the machine, the last one included; 0 after a clean stop or a restart of the machine. */
  readonly crashes: number;
}

/** An I/O error that goes away when it is tried again is none, times. */
const TRIES_MAX = 3;

/**
 * Looks at the spool's file before LMDB maps it: a page that is damaged can make LMDB abort the process, one that cannot be
 * read is a SIGBUS. After a clean stop nothing is looked at. After an unclean one all tree pages are, and the heads of the
 * lanes; once that did not help, everything. `progress` is called with each read. `always`: after a clean stop, too, where no
 * start could ever say in the file that it was brought down by it. Throws StoreError `damaged` when the file must not be used.
 */
export function probe(
  path: string,
  bootId: string,
  progress: () => void = () => undefined,
  always: boolean = false,
): Probe {
  for (let tries = 1; ; tries++) {
    try {
      return look(path, bootId, progress, always);
    } catch (error) {
      if (!(error instanceof StoreError) || error.fault !== 'io') throw error;
      if (tries === TRIES_MAX) throw new StoreError('damaged', error.message);
    }
  }
}

function look(path: string, bootId: string, progress: () => void, always: boolean): Probe {
  let file: PageFile;
  try {
    file = PageFile.open(path, null, false, progress);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    // None yet; or its owner says why it may not be opened, better than we can.
    if (error.fault !== 'io') return { crashes: 0 };
    throw error;
  }
  try {
    const books = readBooks(file);
    if (books === null || (books.clean && !always)) return { crashes: 0 };
    const crashes = !books.clean && books.boots.at(-1)?.id === bootId ? books.crashes + 1 : 0;
    const complaints = new Complaints();
    checkPages(file, complaints);
    if (complaints.count > 0) throw new StoreError('damaged', complaints.listed[0]!);
    if (crashes >= CRASHES_BEFORE_ALL) readAll(file);
    else readHeads(file, books);
    return { crashes };
  } finally {
    file.close();
  }
}

function readHeads(file: PageFile, books: Books): void {
  for (let lane = 0; lane < LANES; lane++) {
    if (books.lanes[lane]!.pending === 0) continue;
    let left = HEAD_BLOCKS;
    file.scan(blockKey(lane, 0), ({ key }) => keyLane(key) === lane && --left > 0);
  }
}

function readAll(file: PageFile): void {
  file.scan(Buffer.alloc(1), () => true);
}
