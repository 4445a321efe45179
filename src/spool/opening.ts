import { existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import type { Loss } from '../message/loss.ts';
import { DATA_FILE } from '../store/data-file.ts';
import { Environment } from '../store/environment.ts';
import type { State } from '../store/state.ts';
import { StoreError } from '../store/store-error.ts';
import { decodeBooks, emptyBooks, unseal, type Books } from './books.ts';
import { BOOKS_KEY, LOSSES_KEY } from './keys.ts';
import { Losses } from './losses.ts';
import { Quota, type Amount } from './quota.ts';
import { Spool } from './spool.ts';

/** Numbers that a new epoch leaves out, so that none of the old one's that we do not know of is ever used again. */
const EPOCH_GAP = 2 ** 20;
/** How often the totals are copied to where no fault of the spool can reach them, ms. */
const COPY_EVERY_MS = 60_000;
/** LMDB's address space, in quotas and beyond: it must never be what refuses, since with its map full it cannot delete either. */
const MAP_QUOTAS = 2;
const MAP_EXTRA_BYTES = 128 * 2 ** 20;
/** Share of the quota that a quarantined spool may take: more would leave the living one no room. */
const QUARANTINE_SHARE = 0.5;
const STATE_KEY = 'spool';

/** What `state/` remembers of the spool: enough to say what was lost with it. */
interface Totals {
  readonly epoch: number;
  readonly lanes: readonly { readonly nextSeq: number; readonly settledTo: number; readonly pending: number }[];
  readonly ledger: Books['ledger'];
}

export interface SpoolSettings {
  readonly dataDir: string;
  readonly quota: Amount;
  readonly keepFree: Amount;
  readonly whenFull: 'thin' | 'drop-oldest' | 'reject-new';
  readonly durability: 'strict' | 'relaxed';
  readonly commitEveryMs: number;
  readonly timeToLiveSecs: number;
  /** When this program was built, ms since 1970. */
  readonly builtAt?: number | undefined;
}

/**
 * Opens `dataDir/spool/`, making it when it is not there. A spool that cannot be read is moved to `quarantine/`, a fresh one
 * takes its place with a new epoch, and what was pending is booked as `quarantined`. Throws when the spool is of a newer
 * format, and StoreError when the medium does not let us open or move it.
 */
export async function openSpool(settings: SpoolSettings, state: State, clock: Clock, log: Logger): Promise<Spool> {
  const directory = join(settings.dataDir, 'spool');
  const quota = new Quota({
    directory: settings.dataDir,
    quota: settings.quota,
    keepFree: settings.keepFree,
    others: () => state.fileBytes() + quarantined,
  });
  let quarantined = quarantinedBytes(settings.dataDir);
  const totals = state.get(STATE_KEY) as Totals | undefined;
  const open = () =>
    Environment.open({
      directory,
      mapBytes: quota.bytes * MAP_QUOTAS + MAP_EXTRA_BYTES,
      durability: settings.durability,
    });
  const openRead = async () => {
    const environment = open();
    try {
      return { environment, found: readBooks(environment) };
    } catch (error) {
      // LMDB knows its files by their place: open still, it would write into the quarantined ones.
      await environment.close();
      throw error;
    }
  };
  const { environment, found } = await openRead().catch((error: unknown) => {
    if (!(error instanceof StoreError) || error.fault !== 'damaged') throw error;
    log.error(`${error.message}: moved to quarantine, starting afresh`);
    quarantine(settings.dataDir, quota.bytes * QUARANTINE_SHARE, log);
    quarantined = quarantinedBytes(settings.dataDir);
    return openRead();
  });
  const { books, losses } = found ?? freshBooks(totals);
  const spool = new Spool({ ...settings, environment, books, losses, quota, clock, log });
  const remember = () => state.put(STATE_KEY, totalsOf(spool.durableBooks()));
  if (found === null) {
    await spool.flush();
    await remember();
  }
  const copying = clock.every(COPY_EVERY_MS, () => {
    remember().catch((error: unknown) => log.warn({ err: error }, 'the totals could not be copied'));
  });
  spool.onClose(async () => {
    copying.cancel();
    await remember();
  });
  return spool;
}

interface Found {
  readonly books: Books;
  readonly losses: Losses;
}

function readBooks(environment: Environment): Found | null {
  const [books, losses] = environment.read((reader) => [reader.get(BOOKS_KEY), reader.get(LOSSES_KEY)]);
  if (books === null || books === undefined) return null;
  const rows = losses === null || losses === undefined ? [] : (unseal(losses, 'the loss reports') as Loss[]);
  return { books: decodeBooks(books), losses: new Losses(rows) };
}

/** Books for a spool that holds nothing: the first ever, or one that follows a lost one. */
function freshBooks(totals: Totals | undefined): Found {
  if (totals === undefined) return { books: emptyBooks(1), losses: new Losses() };
  const nextSeqs = totals.lanes.map((lane) => lane.nextSeq + EPOCH_GAP);
  const books = emptyBooks(totals.epoch + 1, nextSeqs);
  const losses = new Losses();
  const ledger = books.ledger;
  Object.assign(ledger, totals.ledger);
  totals.lanes.forEach((lane, number) => {
    if (lane.pending === 0) {
      // One that was never used, in whichever epoch.
      if ((lane.nextSeq - 1) % EPOCH_GAP === 0) return;
      losses.add(changeOfEpoch(totals.epoch, number, lane.nextSeq));
      return;
    }
    ledger.dropped.quarantined = (ledger.dropped.quarantined ?? 0) + lane.pending;
    losses.add({
      epoch: totals.epoch,
      lane: number,
      reason: 'quarantined',
      firstSeq: lane.settledTo + 1,
      lastSeq: lane.nextSeq - 1,
      count: lane.pending,
      firstEventTime: null,
      lastEventTime: null,
      exact: false,
    });
  });
  // The dead letters went with the spool.
  ledger.dropped.quarantined = (ledger.dropped.quarantined ?? 0) + ledger.deadLetters;
  ledger.deadLetters = 0;
  return { books, losses };
}

/** Nothing was pending when the totals were copied; of what came after the copy nothing is known but the range. */
function changeOfEpoch(epoch: number, lane: number, nextSeq: number): Loss {
  const range = { firstSeq: nextSeq, lastSeq: nextSeq + EPOCH_GAP - 1 };
  const times = { firstEventTime: null, lastEventTime: null };
  return { epoch, lane, reason: 'quarantined', ...range, count: 0, ...times, exact: false };
}

function totalsOf(books: Books): Totals {
  return { epoch: books.epoch, lanes: books.lanes, ledger: books.ledger };
}

function quarantine(dataDir: string, bytesMax: number, log: Logger): void {
  const place = join(dataDir, 'quarantine');
  // At most one: the newest says most about what is wrong with the medium.
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place, { recursive: true });
  if (existsSync(join(dataDir, 'spool'))) renameSync(join(dataDir, 'spool'), join(place, 'spool'));
  const bytes = quarantinedBytes(dataDir);
  if (bytes <= bytesMax) return;
  log.warn({ bytes }, 'the quarantined spool would take up too much of the quota: it was deleted');
  rmSync(place, { recursive: true, force: true });
}

/** What the quarantine takes of the quota. */
function quarantinedBytes(dataDir: string): number {
  return statSync(join(dataDir, 'quarantine', 'spool', DATA_FILE), { throwIfNoEntry: false })?.size ?? 0;
}
