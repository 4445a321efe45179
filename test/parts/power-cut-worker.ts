/*
 * A process that lives on a disk which remembers its writes: takes messages with waiting senders over several lanes, has
 * some delivered, and notes for each thing that it promises how far the log of writes had come. The power is cut later, on
 * copies of that disk. Goes on with the {@link History} of an earlier life, and writes it at the end, which is a stop or a
 * SIGKILL; the line `done` on stdout before that.
 */
import { existsSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { SystemClock } from '../../src/clock/system-clock.ts';
import { ulid } from '../../src/message/ulid.ts';
import type { Books } from '../../src/spool/books.ts';
import { lookAtSpool } from '../../src/spool/files.ts';
import { openSpool } from '../../src/spool/opening.ts';
import { State } from '../../src/store/state.ts';
import { chance } from './chance.ts';
import {
  bodyOf,
  LANES_USED,
  STANDARD,
  stateOf,
  UNPROMISED,
  type History,
  type StorySettings,
} from './power-cut-history.ts';

export interface WorkerOptions {
  readonly dataDir: string;
  /** The log of writes of the disk under `dataDir`. */
  readonly log: string;
  /** Where the history goes: not on that disk. */
  readonly history: string;
  readonly settings: StorySettings;
  /** Messages that it accepts in this life. */
  readonly messages: number;
  /** Part of them that the upstream takes or refuses: when it is small the quota fills. */
  readonly settledShare: number;
  readonly seed: number;
  readonly end: 'stop' | 'kill';
}

/** Senders that wait at a time, at the most. */
const WAITING_MAX = 24;
/** One message in so many has a sender that does not wait. */
const HASTY = 8;
/** One in so many of those it refuses. */
const REFUSED = 50;
/** A connection carries so many messages; then it breaks, and sending begins again. */
const CONNECTION_MESSAGES = 1500;
/** Messages in flight, at the most. */
const FLIGHT_MAX = 32;

async function main(options: WorkerOptions): Promise<void> {
  const { dataDir, settings } = options;
  const random = chance(options.seed);
  const clock = new SystemClock(() => true);
  const log = pino({ level: 'error' }, pino.destination({ fd: 2, sync: true }));
  // dm-log-writes, super block: magic, version, number of entries, each u64 LE. The log's file is the same for all its life.
  const fd = openSync(options.log, 'r');
  const word = Buffer.alloc(8);
  const entries = () => {
    readSync(fd, word, 0, 8, 16);
    return Number(word.readBigUInt64LE());
  };
  const history: History = existsSync(options.history)
    ? (JSON.parse(readFileSync(options.history, 'utf8')) as History)
    : { settings, commits: [], acknowledged: [], sent: [], delivered: [], evicted: 0 };
  const { commits, acknowledged, sent, delivered } = history;
  const note = (at: number, books: Pick<Books, 'epoch' | 'lanes' | 'ledger'>) => {
    const state = stateOf(books);
    // Some news is no commit.
    if (at !== UNPROMISED && commits.at(-1)?.[1] === state) return;
    commits.push([at, state, books.lanes.map(({ nextSeq }) => nextSeq)]);
  };
  const first = commits.length === 0;
  if (!first) note(UNPROMISED, await lookAtSpool(dataDir, (_, books) => books));
  const state = new State(join(dataDir, 'state'));
  const spool = await openSpool({ ...STANDARD, ...settings, dataDir }, state, clock, log);
  note(first ? entries() : UNPROMISED, spool.durableBooks());
  spool.onCommit(() => note(entries(), spool.durableBooks()));

  const { lanes, epoch } = spool.durableBooks();
  const nextSeqs = new Map<number, number>(LANES_USED.map((lane) => [lane, lanes[lane]!.nextSeq]));
  const sentTo = new Map<number, number>();
  for (const [, lane, seq] of sent) sentTo.set(lane, seq);
  let accepted = 0;
  let waiting = 0;
  const accept = () => {
    const lane = random() < 0.2 ? LANES_USED[0] : random() < 0.3 ? LANES_USED[1] : LANES_USED[2];
    const seq = nextSeqs.get(lane)!;
    nextSeqs.set(lane, seq + 1);
    accepted++;
    const acceptedAt = spool.stamp();
    const message = {
      id: ulid(acceptedAt.wall),
      source: { child: `child-${seq % 7}` },
      body: bodyOf(lane, seq),
      eventTime: acceptedAt.wall,
      acceptedAt,
      priority: lane,
      hops: 0,
    };
    const waits = random() > 1 / HASTY;
    if (waits) waiting++;
    const durable = spool.accept(message, waits);
    // Where messages may go unwritten, nobody is told of one that nobody waits for.
    if (waits || settings.write !== 'when-needed') {
      void durable.then(() => acknowledged.push([entries(), lane, seq, epoch]));
    }
    if (waits) void durable.then(() => waiting--);
  };
  let done = 0;
  let carried = 0;
  let flight: NonNullable<ReturnType<typeof spool.next>>[] = [];
  const deliver = () => {
    if (carried > CONNECTION_MESSAGES) {
      spool.rewind();
      carried = 0;
      flight = [];
    }
    while (flight.length < FLIGHT_MAX) {
      const stored = spool.next();
      if (stored === null) break;
      carried++;
      flight.push(stored);
      if (stored.seq <= (sentTo.get(stored.lane) ?? 0)) continue;
      sentTo.set(stored.lane, stored.seq);
      sent.push([entries(), stored.lane, stored.seq, stored.epoch]);
    }
    const count = Math.min(flight.length, accepted * options.settledShare - done);
    for (const stored of flight.splice(0, Math.max(0, Math.floor(random() * count)))) {
      done++;
      if (random() < 1 / REFUSED) {
        // It has to be among the losses from then on, or still be there.
        spool.deadLetter(stored, 'refused');
        continue;
      }
      spool.delivered(stored, true);
      delivered.push([entries(), stored.lane, stored.seq, stored.epoch]);
    }
  };
  // The clock's own timers do not keep a process alive.
  const hold = setInterval(() => undefined, 1000);
  while (accepted < options.messages) {
    const count = Math.ceil(random() * 6);
    for (let n = 0; n < count && waiting < WAITING_MAX; n++) accept();
    deliver();
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
  history.evicted = spool.durableBooks().ledger.dropped.evicted ?? 0;
  if (options.end === 'stop') {
    await spool.close();
    await state.close();
  }
  clearInterval(hold);
  writeFileSync(options.history, JSON.stringify(history));
  writeSync(1, 'done\n');
  if (options.end === 'kill') process.kill(process.pid, 'SIGKILL');
}

await main(JSON.parse(process.argv[2]!) as WorkerOptions);
