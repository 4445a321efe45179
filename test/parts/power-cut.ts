import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { BlockStack, onEnd, run, spacious } from './block-stack.ts';
import { chance } from './chance.ts';
import type { CheckerOptions, Cut } from './power-cut-checker.ts';
import type { History, StorySettings } from './power-cut-history.ts';
import type { WorkerOptions } from './power-cut-worker.ts';
import { script } from './script.ts';
import { readWriteLog } from './write-log.ts';

const MIB = 2 ** 20;
/** The disk: many times what the spool may fill, and small enough to be written anew for each cut. */
const DISK_BYTES = 20 * MIB;
/** Processes that look at cuts at the same time. */
const CHECKERS = 2;

export interface StoryOptions {
  readonly settings: StorySettings;
  /** Messages of each life; all lives but the last end with a SIGKILL. */
  readonly messages: readonly number[];
  /** Part of them that the upstream takes or refuses; 0.35 when left out, and the quota fills. */
  readonly settledShare?: number;
  readonly cuts: number;
  readonly seed: number;
}

export interface Story {
  readonly history: History;
  /** Requests that the disk got. */
  readonly requests: number;
  readonly cuts: readonly Cut[];
}

/** The story in one line. */
export function summary({ history, requests, cuts }: Story): string {
  const { commits, acknowledged, delivered, evicted } = history;
  const ahead = cuts.filter(({ found, promised }) => found !== null && found > promised).length;
  return (
    `${cuts.length} cuts in ${requests} requests, ${commits.length} commits, ${acknowledged.length} acknowledged, ` +
    `${delivered.length} delivered, ${evicted} evicted; ${ahead} cuts found a commit that nobody had heard of`
  );
}

/** Cuts after which something is not as it was promised, in words; the first ten. */
export function violations({ cuts }: Story): string {
  const bad = cuts.filter(
    ({ promised, found, missing, reused, problems }) =>
      found === null || found < promised || missing.length + reused.length + problems.length > 0,
  );
  return bad.slice(0, 10).map(told).join('\n');
}

/** A cut in words: what is needed to see why it is complained of. */
export function told(cut: Cut): string {
  const { missing, problems } = cut;
  const some = missing.slice(0, 5).map(([lane, seq]) => `${lane}:${seq}`);
  return `${JSON.stringify({ ...cut, missing: missing.length, problems: problems.slice(0, 5) })} missing ${some.join(' ')}`;
}

/** Lets a spool live on a disk that remembers, then cuts the power at random moments of that life, and looks each time. */
export async function cutPower(options: StoryOptions): Promise<Story> {
  const { settings, messages, settledShare = 0.35, cuts, seed } = options;
  const stack = await BlockStack.start({ bytes: DISK_BYTES, recordWrites: true });
  const place = spacious();
  onEnd(() => {
    for (const child of parts) child.kill('SIGKILL');
    for (let n = 0; n < CHECKERS; n++) unmount(join(place, `checker-${n}`));
    rmSync(place, { recursive: true, force: true });
  });
  const { blank, log } = stack;
  const file = join(place, 'history');
  try {
    const dataDir = join(stack.dir, 'data');
    mkdirSync(dataDir);
    for (const [life, count] of messages.entries()) {
      const end = life === messages.length - 1 ? 'stop' : 'kill';
      const where = { dataDir, log, history: file };
      const work: WorkerOptions = { ...where, settings, settledShare, messages: count, seed: seed + life, end };
      const { ended, lines } = await part('power-cut-worker', work);
      if (lines.at(-1) !== 'done') throw new Error(`the worker ended (${ended})`);
    }
    const history = JSON.parse(readFileSync(file, 'utf8')) as History;
    const requests = readWriteLog(log).length;
    const random = chance(seed);
    const points = Array.from({ length: cuts }, () => 1 + Math.floor(random() * requests)).toSorted((a, b) => a - b);
    const found = await Promise.all(
      Array.from({ length: CHECKERS }, async (_, n) => {
        const own = join(place, `checker-${n}`);
        mkdirSync(own);
        // Each has every so-manieth cut, so that all of them come through the whole life.
        const mine = points.filter((__, at) => at % CHECKERS === n);
        try {
          return await check({ place: own, blank, log, history: file, cuts: mine, seed });
        } finally {
          unmount(own);
        }
      }),
    );
    return { history, requests, cuts: found.flat() };
  } finally {
    await stack.end();
    rmSync(place, { recursive: true, force: true });
  }
}

/** Cuts that are ones: what a checker died of is a problem of the cut that it was looking at. */
async function check(options: CheckerOptions): Promise<Cut[]> {
  const { ended, lines } = await part('power-cut-checker', options);
  const said = lines.map((line) => JSON.parse(line) as Cut | { readonly cut: number });
  const cuts = said.filter((line) => 'found' in line);
  if (ended === 0 && cuts.length === options.cuts.length) return cuts;
  const { cut } = said.at(-1)!;
  const problems = [`the process that looked ended with ${ended}`];
  return [...cuts, { cut, promised: 0, found: null, missing: [], reused: [], problems }];
}

/** A checker that died leaves its disk mounted. */
export function unmount(place: string): void {
  run('umount', '-l', '-q', join(place, 'mounted'), { may: 'fail' });
}

const parts = new Set<ChildProcess>();

/** Runs one of the parts to its end; what it says on stderr is ours to show. */
export async function part(
  name: string,
  options: object,
): Promise<{ readonly ended: number | NodeJS.Signals; readonly lines: string[] }> {
  const child = spawn(process.execPath, [...script(`test/parts/${name}`), JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<number | NodeJS.Signals>((resolve) =>
    child.once('close', (code, signal) => {
      parts.delete(child);
      resolve(code ?? signal ?? -1);
    }),
  );
  parts.add(child);
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) lines.push(line);
  return { ended: await ended, lines };
}
