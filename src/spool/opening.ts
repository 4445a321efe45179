import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import type { Loss } from '../message/loss.ts';
import { DATA_FILE } from '../store/data-file.ts';
import { Environment, type Reader } from '../store/environment.ts';
import { StoreError } from '../store/store-error.ts';
import { emptyBooks, readBooks, type Books } from './books.ts';
import { carryOver, type CarryingOverOptions } from './carrying-over.ts';
import { beginEpoch } from './epoch.ts';
import { booksFrom, reportLost, succeed, totalsOf, type Totals } from './fresh-books.ts';
import { BOOKS_KEY, LOSSES_KEY } from './keys.ts';
import { LateEnvironment } from './late-environment.ts';
import type { Remembered } from './late-state.ts';
import { Losses } from './losses.ts';
import { probe } from './probe.ts';
import { Quarantine } from './quarantine.ts';
import { mapBytesFor, Quota } from './quota.ts';
import { unseal } from './seal.ts';
import { lifeMsOf, type SpoolSettings } from './settings.ts';
import { Spool, type SpoolOptions } from './spool.ts';

/** How often the totals are copied to where no fault of the spool can reach them, ms; less often where the card is to rest. */
const COPY_EVERY_MS = { always: 60_000, 'when-needed': 120_000 };
/** A run of this length was none that the spool brought down, ms. */
const STABLE_MS = 600_000;
const STATE_KEY = 'spool';
/** How often it is looked whether a spool that could not be read may be used by a new start, ms. */
const STRANGE_LOOK_MS = 1000;
/** While the upstream takes messages, so much in memory can be sent while the gateway stops, bytes. */
const STRANGE_WAITING_BYTES_MAX = 64 * 1024;
/** So long it is waited for what is in memory to be sent first, ms since the medium could be written last. */
const STRANGE_MS_MAX = 3_600_000;

/**
 * Opens `dataDir/spool/`, making it when it is not there. A spool that cannot be used is moved to `quarantine/`; a fresh
 * one takes its place with a new epoch, what can be read goes on in it, and the rest of what was pending is booked as `quarantined`. Throws when the spool is of a newer
 * format, and StoreError when the medium does not let us open or move it. `progress` is called again and again while that takes long.
 */
export async function openSpool(
  settings: SpoolSettings,
  state: Remembered,
  clock: Clock,
  log: Logger,
  progress: () => void = () => undefined,
): Promise<Spool> {
  const { dataDir } = settings;
  const directory = join(dataDir, 'spool');
  const quota = new Quota(dataDir, join(directory, DATA_FILE), settings);
  const totals = state.get(STATE_KEY) as Totals | undefined;
  const openRead = async () => {
    const { durability } = settings;
    const { crashes } = probe(join(directory, DATA_FILE), clock.bootId, progress);
    const environment = Environment.open({ directory, mapBytes: mapBytesFor(quota.bytes), durability });
    try {
      return { environment, found: environment.read(readFound), crashes };
    } catch (error) {
      // LMDB knows its files by their place: open still, it would write into the quarantined ones.
      await environment.close();
      throw error;
    }
  };
  const quarantine = new Quarantine(dataDir, progress);
  const follows = () =>
    follow(quarantine, {
      dataDir,
      quotaBytes: quota.bytes,
      totals,
      lifeMs: (message) => lifeMsOf(settings, message),
      log,
      progress,
    });
  let setAside = quarantine.unfinished;
  if (setAside) {
    log.warn(
      'the last start ended before all that could be read of the old spool was carried over: it goes on with that',
    );
    await follows();
  }
  const { environment, found, crashes } = await openRead().catch((error: unknown) => {
    if (!(error instanceof StoreError) || error.fault !== 'damaged') throw error;
    log.error(`${error.message}: set aside; what can be read of it goes on in a fresh spool`);
    quarantine.setAside();
    setAside = true;
    return follows().then(openRead);
  });
  const { books, losses } = found ?? freshBooks(totals);
  if (found === null && totals !== undefined && !setAside) {
    const { epoch, ledger } = books;
    log.error(
      { epoch, dropped: ledger.dropped },
      'the spool that was here is gone: a fresh one begins with a new epoch',
    );
  }
  return begun({ settings, state, clock, log, environment, quota, found, books, losses, crashes, setAside });
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
  progress: () => void = () => undefined,
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
    ({ crashes } = probe(join(directory, DATA_FILE), clock.bootId, progress, true));
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
  const spool = await begun({
    settings,
    state,
    clock,
    log,
    environment,
    quota,
    found,
    books,
    losses,
    crashes,
    setAside: false,
  });
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
  /** It follows one that was set aside. */
  readonly setAside: boolean;
}

async function begun({ state, found, crashes, setAside, ...options }: Beginning): Promise<Spool> {
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
  if (unclean || setAside || settings.write === 'when-needed') {
    // That it began is on the medium before it does what may bring it down, or uses numbers that nobody would remember.
    await spool
      .flush()
      .then(() => (found === null || setAside ? remember() : undefined))
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
  const losses = new Losses();
  if (totals === undefined) return { books: emptyBooks(1), losses };
  const books = booksFrom(totals);
  succeed(books);
  reportLost(losses, totals);
  return { books, losses };
}

/** Makes of a spool that was set aside the one that follows it, and says what became of it. */
async function follow(quarantine: Quarantine, options: Omit<CarryingOverOptions, 'quarantine'>): Promise<void> {
  const { log, quotaBytes } = options;
  const done = await carryOver({ ...options, quarantine }).catch((error: unknown) => {
    if (error instanceof StoreError) throw error;
    // Whatever is wrong with us here is so at every start: it must not keep the gateway from any.
    log.error(
      { err: error },
      'the old spool could not be carried over: it stays in quarantine while there is room, and a fresh one begins',
    );
    quarantine.beginAnew();
    return null;
  });
  quarantine.finish();
  if (done === null) return;
  const { carried, lost, used, rest } = done;
  const kept = rest || (!used && quarantine.mayStay(quotaBytes));
  if (!kept) quarantine.remove();
  log.warn(
    { carried, lost },
    `of what waited in the spool ${carried} messages go on in a fresh one, and ${lost} are lost, counted as quarantined; ` +
      (kept ? 'the old file was moved to quarantine' : 'the old file was deleted: both have no room in the quota'),
  );
}
