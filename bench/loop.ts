import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Disk } from './disk.ts';
import type { LoopArgs } from './loop-arrivals.ts';
import { table, type Report } from './page.ts';
import { interleave, show, spread, type Contender, type Results } from './rounds.ts';
import { slowFlushes } from './slow-flush.ts';
import { Worker, type Figures } from './worker.ts';

/** How long the event loop is kept from its work while messages are made durable on media of different speed. */

export interface LoopSizes {
  readonly rounds: number;
  /** How long each turn lasts, ms. */
  readonly ms: number;
  readonly perSecond: number;
  /** How much longer a flush takes, ms. */
  readonly flushMs: readonly number[];
}

export const LOOP: LoopSizes = { rounds: 3, ms: 3000, perSecond: 1000, flushMs: [0, 5, 20] };
export const LOOP_QUICK: LoopSizes = { rounds: 1, ms: 1000, perSecond: 1000, flushMs: [0, 20] };

const P99_MS_MAX = 2;

const WAITING = 'Holdfast, senders wait';
const WIRED = 'Holdfast, every 250 ms';
const THREAD = 'LMDB in the thread, every 250 ms';
const NOTHING = 'nothing is kept (the limit)';
const NAMES = [WAITING, WIRED, THREAD, NOTHING];

type Surroundings = Readonly<Record<string, string>>;
type Slow = (ms: number) => Surroundings;

export async function loop(sizes: LoopSizes): Promise<Report> {
  const slow = slowFlushes();
  // Without a compiler there is only the medium as it is.
  const flushMs = slow === null ? sizes.flushMs.filter((ms) => ms === 0) : sizes.flushMs;
  const disk = Disk.make();
  try {
    const results: Results[] = [];
    for (const ms of flushMs) {
      results.push(await interleave(contenders(disk, sizes, slow ?? (() => ({})), ms), sizes.rounds));
    }
    return report(sizes, flushMs, results);
  } finally {
    disk.remove();
  }
}

function contenders(disk: Disk, { ms, perSecond }: LoopSizes, slow: Slow, flushMs: number): Contender[] {
  const contender = (name: string, kind: LoopArgs['kind'], sendersWait: boolean): Contender => ({
    name,
    measure: async () => {
      const figures = await turn(disk, { kind, sendersWait, perSecond, ms }, slow(flushMs));
      if (figures['commitMs']! < flushMs) throw new Error('the flushes were not made slower');
      return figures;
    },
  });
  return [
    contender(WAITING, 'spool', true),
    contender(WIRED, 'spool', false),
    contender(THREAD, 'lmdb', false),
    contender(NOTHING, 'nothing', false),
  ];
}

async function turn(disk: Disk, args: Omit<LoopArgs, 'folder'>, environment: Surroundings): Promise<Figures> {
  const folder = mkdtempSync(join(disk.folder, 'turn-'));
  try {
    return await (await Worker.start('loop-arrivals', { ...args, folder }, { environment })).go();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function report(sizes: LoopSizes, flushMs: readonly number[], results: readonly Results[]): Report {
  const title = (ms: number) => (ms === 0 ? 'the medium as it is' : `flushes take ${ms} ms longer`);
  return {
    title: 'The event loop while messages are made durable',
    method: [
      `A message of 256 B is due every ${show(1000 / sizes.perSecond)} ms, by a timer, for ${sizes.ms / 1000} s; counted is ` +
        `how late the loop comes to each of them, as it would to a sensor's byte or a command: a loop that stands still for ` +
        `40 ms is late for all 40 that fall due meanwhile. Node's timers are up to 1 ms late by themselves; the last row shows ` +
        `it, and what else the machine had to do. ${sizes.rounds} rounds in turn, median (least to most).`,
      `Flushes are made slow by a library (\`LD_PRELOAD\`) that sleeps in \`fdatasync\`, \`fsync\` and writes to a descriptor ` +
        `opened with \`O_DSYNC\`, in the thread that calls them; "a commit" is the time that one of a single message then ` +
        `takes, two flushes. "Senders wait" commits whenever the last commit has ended and somebody waits; the others gather ` +
        `for 250 ms. The peer is node-lmdb with \`beginTxn\`, a key for each message, and \`commit\`.` +
        (flushMs.length < sizes.flushMs.length ? ' **There is no C compiler here, so no flush was slowed.**' : ''),
    ],
    tables: results.map((result, n) =>
      table(
        [title(flushMs[n]!), 'p50, ms', 'p99, ms', 'most, ms', 'a commit, ms'],
        NAMES.map((name) => [
          name,
          show(result.median(name, 'p50')),
          spread(result.values(name, 'p99')),
          show(result.median(name, 'most')),
          show(result.median(name, 'commitMs')),
        ]),
      ),
    ),
    goals: results.flatMap((result, n) =>
      [WAITING, WIRED].map((name) => {
        const measured = result.median(name, 'p99');
        return {
          goal: `${title(flushMs[n]!)}: ${name}: p99 at most ${P99_MS_MAX} ms`,
          measured: `${show(measured)} (nothing kept: ${show(result.median(NOTHING, 'p99'))})`,
          met: measured <= P99_MS_MAX,
        };
      }),
    ),
  };
}
