/*
 * A process that lives on a disk which remembers its writes: rules on a spool, fed with readings, and an upstream that takes what
 * is ready. Notes for each thing that somebody may rely on how far the log of writes had come; the power is cut later, on copies
 * of that disk. Goes on with the {@link RulesHistory} of an earlier life, and writes it at the end, which is a stop or a SIGKILL;
 * the line `done` on stdout before that.
 */
import { existsSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { SystemClock } from '../../src/clock/system-clock.ts';
import type { Stored } from '../../src/message/message.ts';
import type { SpoolSettings } from '../../src/spool/settings.ts';
import { openSpool } from '../../src/spool/opening.ts';
import { State } from '../../src/store/state.ts';
import { chance } from './chance.ts';
import { above, type Above, RulesOnSpool } from './rules-on-spool.ts';
import { trialReading } from './rules-trial.ts';

/** When something happened: so many entries were in the log of writes. */
type At<T> = readonly [entries: number, what: T];

export interface RulesHistory {
  readonly begun: number;
  /** When each life began, and with which reading. */
  readonly lives: At<number>[];
  /** Readings whose senders have their acknowledgement. */
  readonly acknowledged: At<number>[];
  /** Messages that the upstream was given, each time. */
  readonly sent: At<Above>[];
  /** Commands that were given: the id, and what is to be said. */
  readonly orders: At<readonly [id: string, line: string]>[];
  /** The number of the next reading. */
  next: number;
}

export interface RulesWorkerOptions {
  readonly dataDir: string;
  readonly log: string;
  /** Where the history goes: not on that disk. */
  readonly history: string;
  readonly write: SpoolSettings['write'];
  readonly begun: number;
  /** Readings in this life. */
  readonly readings: number;
  readonly seed: number;
  readonly end: 'stop' | 'kill';
}

/** As a small gateway has them. */
export const RULES_SPOOL = {
  quota: { bytes: 8 * 2 ** 20 },
  keepFree: { bytes: 0 },
  whenFull: 'drop-oldest',
  durability: 'strict',
  commitEveryMs: 20,
  timeToLiveSecs: 7200,
  prefill: true,
} as const satisfies Partial<SpoolSettings>;

const FLIGHT_MAX = 64;
/** A connection carries so many messages; then it breaks, and sending begins again. */
const CONNECTION_MESSAGES = 800;

async function main(options: RulesWorkerOptions): Promise<void> {
  const { dataDir, write } = options;
  const random = chance(options.seed);
  const clock = new SystemClock(() => true);
  const log = pino({ level: 'error' }, pino.destination({ fd: 2, sync: true }));
  const fd = openSync(options.log, 'r');
  const word = Buffer.alloc(8);
  // dm-log-writes, super block: magic, version, number of entries, each u64 LE.
  const entries = () => {
    readSync(fd, word, 0, 8, 16);
    return Number(word.readBigUInt64LE());
  };
  const history: RulesHistory = existsSync(options.history)
    ? (JSON.parse(readFileSync(options.history, 'utf8')) as RulesHistory)
    : { begun: options.begun, lives: [], acknowledged: [], sent: [], orders: [], next: 1 };
  const { begun, acknowledged, sent, orders } = history;
  const state = new State(join(dataDir, 'state'));
  const spool = await openSpool({ ...RULES_SPOOL, write, dataDir }, state, clock, log);
  const rules = await RulesOnSpool.start(spool, clock, log, ({ id, payload }) => {
    orders.push([entries(), [id, (payload as { readonly line: string }).line]]);
  });
  history.lives.push([entries(), history.next]);
  const until = history.next + options.readings;
  let carried = 0;
  let flight: Stored[] = [];
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
      sent.push([entries(), above(stored)]);
    }
    for (const stored of flight.splice(0, Math.floor(random() * flight.length * 1.2))) spool.delivered(stored, true);
  };
  // The clock's own timers do not keep a process alive.
  const hold = setInterval(() => undefined, 1000);
  while (history.next < until) {
    for (let count = Math.ceil(random() * 5); count > 0 && history.next < until; count--) {
      const n = history.next++;
      const waits = random() < 0.5;
      const durable = rules.read(trialReading(begun, n), waits);
      if (waits) void durable.then(() => acknowledged.push([entries(), n]));
    }
    deliver();
    await new Promise((resolve) => {
      setTimeout(resolve, random() * 4);
    });
  }
  if (options.end === 'stop') {
    await rules.modules.stop();
    await spool.close();
    await state.close();
  }
  clearInterval(hold);
  writeFileSync(options.history, JSON.stringify(history));
  writeSync(1, 'done\n');
  if (options.end === 'kill') process.kill(process.pid, 'SIGKILL');
}

if (process.argv[1] === import.meta.filename) await main(JSON.parse(process.argv[2]!) as RulesWorkerOptions);
