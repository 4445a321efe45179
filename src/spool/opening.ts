import { existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import type { Loss } from '../message/loss.ts';
import { DATA_FILE } from '../store/data-file.ts';
import { Environment, type Reader } from '../store/environment.ts';
import { StoreError } from '../store/store-error.ts';
import { emptyBooks, readBooks, type Books } from './books.ts';
import { NOBODY } from './child-accounts.ts';
import { beginEpoch, EPOCH_GAP } from './epoch.ts';
import { BOOKS_KEY, LOSSES_KEY } from './keys.ts';
import { LateEnvironment } from './late-environment.ts';
import type { Remembered } from './late-state.ts';
import { emptyAccount } from './ledger.ts';
import { Losses } from './losses.ts';
import { probe } from './probe.ts';
import { mapBytesFor, Quota } from './quota.ts';
import { unseal } from './seal.ts';
import type { SpoolSettings } from './settings.ts';
import { Spool, type SpoolOptions } from './spool.ts';

/** How often the totals are copied to where no fault of the spool can reach them, ms; less often where the card is to rest. */
const COPY_EVERY_MS = { always: 60_000, 'when-needed': 120_000 };
/** A run of this length was none that the spool brought down, ms. */
const STABLE_MS = 600_000;
/** Share of the quota that a quarantined spool may take: more would leave the living one no room. */
const QUARANTINE_SHARE = 0.5;
const STATE_KEY = 'spool';
/** How often it is looked whether a spool that could not be read may be used by a new start, ms. */
const STRANGE_LOOK_MS = 1000;
/** While the upstream takes messages, so much in memory can be sent while the gateway stops, bytes. */
const STRANGE_WAITING_BYTES_MAX = 64 * 1024;
/** So long it is waited for what is in memory to be sent first, ms since the medium could be written last. */
const STRANGE_MS_MAX = 3_600_000;

/** What `state/` remembers of the spool: enough to say what was lost with it. */
interface Totals {
  readonly epoch: number;
  readonly lanes: readonly { readonly nextSeq: number; readonly settledTo: number; readonly pending: number }[];
  readonly ledger: Books['ledger'];
}

/**
 * Opens `dataDir/spool/`, making it when it is not there. A spool that cannot be read is moved to `quarantine/`, a fresh one
 * takes its place with a new epoch, and what was pending is booked as `quarantined`. Throws when the spool is of a newer
 * format, and StoreError when the medium does not let us open or move it.
 */
export async function openSpool(settings: SpoolSettings, state: Remembered, clock: Clock, log: Logger): Promise<Spool> {
  const { dataDir } = settings;
  const directory = join(dataDir, 'spool');
  const quota = new Quota(dataDir, join(directory, DATA_FILE), settings);
  const totals = state.get(STATE_KEY) as Totals | undefined;
  const openRead = async () => {
    const { durability } = settings;
    const { crashes } = probe(join(directory, DATA_FILE), clock.bootId);
    const environment = Environment.open({ directory, mapBytes: mapBytesFor(quota.bytes), durability });
    try {
      return { environment, found: environment.read(readFound), crashes };
    } catch (error) {
      // LMDB knows its files by their place: open still, it would write into the quarantined ones.
      await environment.close();
      throw error;
    }
  };
  let setAside = false;
  const { environment, found, crashes } = await openRead().catch((error: unknown) => {
    if (!(error instanceof StoreError) || error.fault !== 'damaged') throw error;
    log.error(`${error.message}: moved to quarantine, starting afresh`);
    quarantine(dataDir, quota.bytes * QUARANTINE_SHARE, log);
    setAside = true;
    return openRead();
  });
  const { books, losses } = found ?? freshBooks(totals);
  if (found === null && totals !== undefined && !setAside) {
    const { epoch, ledger } = books;
    log.error(
      { epoch, dropped: ledger.dropped },
      'the spool that was here is gone: a fresh one begins with a new epoch',
    );
  }
  return begun({ settings, state, clock, log, environment, quota, found, books, losses, crashes });
}

/**
 * The same on a medium that cannot be written, or not even read: the spool is in memory, goes on from what can be read, and is
 * written once it may be. What cannot be read now is left as it is. Throws when the spool is of a newer format.
 */
export async function openSpoolLate(
  settings: SpoolSettings,
  state: Remembered,
  clock: Clock,
  log: Logger,
): Promise<Spool> {
  const { dataDir, durability } = settings;
  const directory = join(dataDir, 'spool');
  const quota = new Quota(dataDir, join(directory, DATA_FILE), settings);
  const environment = new LateEnvironment(
    { directory, mapBytes: () => mapBytesFor(quota.bytes), durability },
    BOOKS_KEY,
  );
  let found: Found | null = null;
  let absent = false;
  let crashes = 0;
  try {
    ({ crashes } = probe(join(directory, DATA_FILE), clock.bootId));
    environment.look();
    found = environment.read(readFound);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    absent = error.fault === 'absent';
    if (!absent) log.error(`${error.message}: what it holds cannot be sent now, and waits where it is`);
    environment.lookAway();
  }
  // Of a spool that is there and cannot be read nothing is booked as lost.
  const { books, losses } = found ?? freshBooks(absent ? (state.get(STATE_KEY) as Totals | undefined) : undefined);
  const spool = await begun({ settings, state, clock, log, environment, quota, found, books, losses, crashes });
  const looking = clock.every(STRANGE_LOOK_MS, () => {
    const { strange } = environment;
    if (strange === null) return;
    const { waitingBytes, faultSecs } = spool.snapshot();
    const nearlySent = spool.sending && waitingBytes <= STRANGE_WAITING_BYTES_MAX;
    if (waitingBytes > 0 && !nearlySent && (faultSecs ?? 0) * 1000 < STRANGE_MS_MAX) return;
    looking.cancel();
    spool.giveUp(strange);
  });
  spool.onClose(() => Promise.resolve(looking.cancel()));
  return spool;
}

interface Beginning extends SpoolOptions {
  readonly state: Remembered;
  /** Null when there was nothing to go on from. */
  readonly found: Found | null;
  readonly crashes: number;
}

async function begun({ state, found, crashes, ...options }: Beginning): Promise<Spool> {
  const { settings, clock, log, books, losses } = options;
  losses.tellTime(() => clock.wall());
  if (!books.clean && books.write === 'when-needed') {
    log.warn('the gateway did not stop properly: numbers may have been used that nobody remembers, a new epoch begins');
    beginEpoch(books, losses);
  }
  const unclean = !books.clean;
  books.crashes = crashes;
  const spool = new Spool(options);
  const remember = () => state.put(STATE_KEY, totalsOf(spool.durableBooks()));
  if (unclean || settings.write === 'when-needed') {
    // That it began is on the medium before it does what may bring it down, or uses numbers that nobody would remember.
    await spool
      .flush()
      .then(() => (found === null ? remember() : undefined))
      .catch((error: unknown) => log.debug({ err: error }, 'flush at the start'));
  }
  let copies = true;
  const copying = clock.every(COPY_EVERY_MS[settings.write], () => {
    remember().then(
      () => (copies = true),
      (error: unknown) => {
        // Once, and not each minute of a year with a card that takes no writes.
        if (copies) log.warn({ err: error }, 'the totals could not be copied to state/');
        copies = false;
      },
    );
  });
  const stable = clock.after(STABLE_MS, () => (books.crashes = 0));
  spool.onClose(async () => {
    stable.cancel();
    copying.cancel();
    await remember();
  });
  spool.start();
  return spool;
}

interface Found {
  readonly books: Books;
  readonly losses: Losses;
}

function readFound(reader: Reader): Found | null {
  const books = readBooks(reader);
  if (books === null) return null;
  const rows = reader.get(LOSSES_KEY);
  return { books, losses: new Losses(rows === null ? [] : (unseal(rows, 'the loss reports') as Loss[])) };
}

/** Books for a spool that holds nothing: the first ever, or one that follows a lost one. */
function freshBooks(totals: Totals | undefined): Found {
  if (totals === undefined) return { books: emptyBooks(1), losses: new Losses() };
  const nextSeqs = totals.lanes.map((lane) => lane.nextSeq + EPOCH_GAP);
  const books = emptyBooks(totals.epoch + 1, nextSeqs);
  const losses = new Losses();
  const { ledger } = books;
  Object.assign(ledger, totals.ledger);
  let lost = 0;
  totals.lanes.forEach((lane, number) => {
    const { pending, settledTo, nextSeq } = lane;
    Object.assign(books.lanes[number]!, emptyAccount(), { accepted: pending });
    if (pending === 0) {
      // One that was never used, in whichever epoch.
      if ((nextSeq - 1) % EPOCH_GAP === 0) return;
      losses.add(changeOfEpoch(totals.epoch, number, nextSeq));
      return;
    }
    books.lanes[number]!.dropped.quarantined = pending;
    lost += pending;
    losses.add({
      epoch: totals.epoch,
      lane: number,
      reason: 'quarantined',
      firstSeq: settledTo + 1,
      lastSeq: nextSeq - 1,
      count: pending,
      firstEventTime: null,
      lastEventTime: null,
      exact: false,
    });
  });
  // The dead letters went with the spool.
  lost += ledger.deadLetters;
  ledger.deadLetters = 0;
  if (lost > 0) {
    ledger.dropped.quarantined = (ledger.dropped.quarantined ?? 0) + lost;
    books.children.of(NOBODY).dropped.quarantined = lost;
  }
  return { books, losses };
}

function totalsOf({ epoch, lanes, ledger }: Pick<Books, 'epoch' | 'lanes' | 'ledger'>): Totals {
  return {
    epoch,
    lanes: lanes.map(({ nextSeq, settledTo, pending }) => ({ nextSeq, settledTo, pending })),
    ledger,
  };
}

/** Nothing was pending when the totals were copied; of what came after the copy nothing is known but the range. */
function changeOfEpoch(epoch: number, lane: number, nextSeq: number): Loss {
  const range = { firstSeq: nextSeq, lastSeq: nextSeq + EPOCH_GAP - 1 };
  const times = { firstEventTime: null, lastEventTime: null };
  return { epoch, lane, reason: 'quarantined', ...range, count: 0, ...times, exact: false };
}

function quarantine(dataDir: string, bytesMax: number, log: Logger): void {
  const place = join(dataDir, 'quarantine');
  // At most one: the newest says most about what is wrong with the medium.
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place, { recursive: true });
  if (existsSync(join(dataDir, 'spool'))) renameSync(join(dataDir, 'spool'), join(place, 'spool'));
  const bytes = statSync(join(place, 'spool', DATA_FILE), { throwIfNoEntry: false })?.size ?? 0;
  if (bytes <= bytesMax) return;
  log.warn({ bytes }, 'the quarantined spool would take up too much of the quota: it was deleted');
  rmSync(place, { recursive: true, force: true });
}
