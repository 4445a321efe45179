import { setTimeout as wait } from 'node:timers/promises';
import { SystemClock } from '../src/clock/system-clock.ts';
import { upstreamRouter } from './upstream-router.ts';
import { bodies } from './body.ts';
import { LmdbKeeper } from './keep-lmdb.ts';
import type { Keeper } from './keeper.ts';
import { SpoolKeeper } from './keep-spool.ts';
import { openInProcess, quiet } from './stored.ts';
import { contend } from './worker.ts';

/** Messages that are due at a steady rate, and how late the loop comes to each of them. */

export interface LoopArgs {
  readonly folder: string;
  readonly kind: 'spool' | 'lmdb' | 'nothing';
  /** Holdfast's senders wait for their acknowledgements, so that commits follow one another. */
  readonly sendersWait: boolean;
  readonly perSecond: number;
  readonly ms: number;
}

/** How long nothing is counted at first: code is compiled as it runs. */
const WARM_UP_MS = 1000;
/** Cadence of one that commits in the thread: Holdfast's for senders that do not wait. */
const COMMIT_EVERY_MS = 250;
const FILE_BYTES = 64 * 2 ** 20;
/** Commits of one message that are timed afterwards. */
const TIMED = 9;

await contend<LoopArgs>(async ({ folder, kind, sendersWait, perSecond, ms }) => {
  const keeper = await open(kind, folder);
  const router = keeper === null ? null : upstreamRouter(keeper);
  const committing = kind === 'lmdb' ? setInterval(() => void keeper!.commit(), COMMIT_EVERY_MS) : undefined;
  const body = bodies();
  const take = () => {
    const reading = { body: body(), contentType: 'application/json', eventTime: Date.now() };
    return router?.reading('press-1', reading, sendersWait);
  };
  return async () => {
    const late: number[] = [];
    const from = performance.now();
    const interval = 1000 / perSecond;
    let due = from;
    await new Promise<void>((resolve) => {
      const tick = () => {
        for (let now = performance.now(); now >= due; now = performance.now()) {
          if (due - from >= WARM_UP_MS) late.push(now - due);
          void take();
          due += interval;
        }
        if (due - from < WARM_UP_MS + ms) setTimeout(tick, 1);
        else resolve();
      };
      tick();
    });
    clearInterval(committing);
    const commitMs = keeper === null ? Number.NaN : await timed(keeper, take);
    await keeper?.close();
    late.sort((a, b) => a - b);
    const part = (share: number) => late[Math.min(late.length - 1, Math.floor(late.length * share))]!;
    return { p50: part(0.5), p99: part(0.99), most: late.at(-1)!, ...(keeper === null ? {} : { commitMs }) };
  };
});

async function open(kind: LoopArgs['kind'], folder: string): Promise<Keeper | null> {
  if (kind === 'nothing') return null;
  if (kind === 'lmdb') return new LmdbKeeper(folder, new SystemClock(() => true), FILE_BYTES);
  const spool = await openInProcess(folder, { quotaBytes: FILE_BYTES });
  await quiet(spool);
  return new SpoolKeeper(spool);
}

/** How long a commit takes: it shows what the medium is like. */
async function timed(keeper: Keeper, take: () => Promise<void> | undefined): Promise<number> {
  await keeper.commit();
  const times: number[] = [];
  for (let n = 0; n < TIMED; n++) {
    void take();
    const from = performance.now();
    await keeper.commit();
    times.push(performance.now() - from);
    await wait(1);
  }
  return times.toSorted((a, b) => a - b)[TIMED >> 1]!;
}
