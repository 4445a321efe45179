import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Disk, deviceText } from './disk.ts';
import { table, type Goal, type Report } from './page.ts';
import { interleave, show, spread, type Contender, type Results } from './rounds.ts';
import type { ScaleArgs } from './scale-turn.ts';
import { Worker, type Figures } from './worker.ts';

/** Whether the spool's cost depends on how much it holds. */

export interface ScaleSizes {
  readonly rounds: number;
  /** Messages stored, ascending; the goals compare the last with the first. */
  readonly stored: readonly number[];
  /** Messages added to each, and delivered. */
  readonly count: number;
}

export const SCALE: ScaleSizes = { rounds: 3, stored: [10_000, 100_000, 1_000_000, 5_000_000], count: 20_000 };
export const SCALE_QUICK: ScaleSizes = { rounds: 1, stored: [10_000, 50_000], count: 2000 };

/** Quota of a spool: so much for each message, twice what it takes, and this. */
const QUOTA_BYTES_EACH = 200;
const QUOTA_BYTES_LEAST = 64 * 2 ** 20;
const DISK_BYTES = 4 * 2 ** 30;

const RATIO_MAX = 1.2;
const OPEN_MS_MAX = 10;
const ANONYMOUS_MB_MAX = 60;
const MB = 1e6;

export async function scale(sizes: ScaleSizes): Promise<Report> {
  const disk = Disk.make(DISK_BYTES);
  const turn = (stored: number, fill: boolean) => measure(disk, { stored, fill, count: sizes.count });
  try {
    for (const stored of sizes.stored) {
      const { pending } = await turn(stored, true);
      if (pending !== stored) throw new Error(`${pending} of ${stored} messages were kept`);
      process.stderr.write(`  ${show(stored)} are stored\n`);
    }
    const results = await interleave(
      sizes.stored.map((stored): Contender => ({ name: nameOf(stored), measure: () => turn(stored, false) })),
      sizes.rounds,
    );
    return report(sizes, disk, results);
  } finally {
    disk.remove();
  }
}

async function measure(disk: Disk, args: Omit<ScaleArgs, 'folder' | 'quotaBytes'>): Promise<Figures> {
  const folder = join(disk.folder, String(args.stored));
  mkdirSync(folder, { recursive: true });
  const quotaBytes = QUOTA_BYTES_LEAST + args.stored * QUOTA_BYTES_EACH;
  return (await Worker.start('scale-turn', { ...args, folder, quotaBytes }, { bundled: true })).go();
}

function nameOf(stored: number): string {
  return stored.toLocaleString('en-US');
}

function report(sizes: ScaleSizes, disk: Disk, results: Results): Report {
  const names = sizes.stored.map(nameOf);
  const [first, last] = [names[0]!, names.at(-1)!];
  const atMost = (goal: string, measured: number, most: number): Goal => ({
    goal,
    measured: show(measured),
    met: measured <= most,
  });
  const ratio = (figure: string) => results.ratio(last, first, figure);
  const megabytes = (name: string, figure: string) => show(results.median(name, figure) / MB);
  return {
    title: 'Cost by what is stored',
    method: [
      `Spools that hold so many messages of 256 B, each with a quota that has room for twice as much; ${show(sizes.count)} ` +
        `messages are added, 125 a commit, and as many of the oldest delivered and deleted, 1,000 a commit, after 4,000 ` +
        `that are not counted. ${sizes.rounds} rounds in turn, median (least to most). "us" is processor time, all threads; ` +
        `bytes are those that reached ${deviceText(disk)}, journal included, between a sync before and one after, for each ` +
        `message. "Opening" is until the spool takes messages, with its file in the page cache.`,
      `Each turn is a process of its own with nothing in it but the spool. "Its own" is anonymous memory (\`RssAnon\`), ` +
        `Node's included, MB (million bytes), when the spool has been opened and has come to rest, and after the messages; ` +
        `"pages of files" are mapped, and the kernel can drop them at any time.`,
    ],
    tables: [
      table(
        ['stored', 'enqueue, us', 'enqueue, bytes', 'deliver, us', 'deliver, bytes', 'opening, ms'],
        names.map((name) => [
          name,
          spread(results.values(name, 'enqueueUs')),
          show(results.median(name, 'enqueueBytes')),
          spread(results.values(name, 'deliverUs')),
          show(results.median(name, 'deliverBytes')),
          spread(results.values(name, 'openMs')),
        ]),
      ),
      table(
        ['stored', 'its own, opened', 'its own, after the messages', 'pages of files'],
        names.map((name) => [name, megabytes(name, 'opened'), megabytes(name, 'working'), megabytes(name, 'files')]),
      ),
    ],
    goals: [
      atMost(`${last} stored: enqueue at most ${RATIO_MAX} times the time at ${first}`, ratio('enqueueUs'), RATIO_MAX),
      atMost(`the same, bytes`, ratio('enqueueBytes'), RATIO_MAX),
      atMost(`${last} stored: opens in ${OPEN_MS_MAX} ms`, results.median(last, 'openMs'), OPEN_MS_MAX),
      atMost(
        `${last} stored: at most ${ANONYMOUS_MB_MAX} MB of its own`,
        Math.max(results.median(last, 'opened'), results.median(last, 'working')) / MB,
        ANONYMOUS_MB_MAX,
      ),
    ],
  };
}
