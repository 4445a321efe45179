import { SystemClock } from '../src/clock/system-clock.ts';
import { upstreamRouter } from './upstream-router.ts';
import { bodies, noise } from './body.ts';
import { writtenBelow } from './disk.ts';
import { LmdbKeeper } from './keep-lmdb.ts';
import { LogKeeper } from './keep-log.ts';
import { SpoolKeeper } from './keep-spool.ts';
import { SqliteKeeper } from './keep-sqlite.ts';
import type { Keeper } from './keeper.ts';
import { openInProcess, quiet } from './stored.ts';
import { contend, processorTime } from './worker.ts';

/** A message's whole life, in one way of keeping it: stored, delivered, deleted; counted on the device. */

export interface WearArgs {
  readonly folder: string;
  readonly kind: 'spool' | 'relaxed' | 'lmdb' | 'sqlite' | 'log';
  readonly count: number;
  readonly bodyBytes: number;
  readonly compressible: boolean;
  /** Messages that one commit makes durable, and that one deletes. */
  readonly storeAtOnce: number;
  readonly deliverAtOnce: number;
  readonly fileBytes: number;
  /** The folder whose `node_modules` has better-sqlite3. */
  readonly peers?: string;
}

await contend<WearArgs>(async (args) => {
  const { folder, count, bodyBytes, compressible, storeAtOnce, deliverAtOnce } = args;
  const keeper = await open(args);
  const router = upstreamRouter(keeper);
  // Made before: what making them costs is nobody's.
  const made = Array.from({ length: count }, compressible ? bodies(1, bodyBytes) : noise(1, bodyBytes));
  const storeAll = async (atOnce: number) => {
    for (let n = 1; n <= count; n++) {
      const reading = { body: made[n - 1]!, contentType: 'application/json', eventTime: Date.now() };
      // Its promise is kept by the commit.
      void router.reading('press-1', reading, false);
      if (n % atOnce === 0 || n === count) await keeper.commit();
    }
  };
  const deliverAll = async (atOnce: number) => {
    for (let left = count; left > 0; left -= atOnce) await keeper.deliver(Math.min(atOnce, left));
  };
  // One life that is not counted: pages are then used again, as they are in a gateway that has been running for a while.
  await storeAll(1000);
  await deliverAll(1000);
  keeper.settle();
  return async () => {
    const used = processorTime();
    const before = writtenBelow(folder);
    await storeAll(storeAtOnce);
    const stored = writtenBelow(folder);
    const heldBytes = keeper.heldBytes();
    await deliverAll(deliverAtOnce);
    keeper.settle();
    const after = writtenBelow(folder);
    const processorUs = used() / count;
    await keeper.close();
    const payload = count * bodyBytes;
    return {
      storing: (stored.bytes - before.bytes) / payload,
      life: (after.bytes - before.bytes) / payload,
      flushes: ((after.flushes - before.flushes) * 1000) / count,
      held: heldBytes / count,
      processorUs,
    };
  };
});

async function open({ folder, kind, fileBytes, peers }: WearArgs): Promise<Keeper> {
  const clock = new SystemClock(() => true);
  switch (kind) {
    case 'lmdb':
      return new LmdbKeeper(folder, clock, fileBytes);
    case 'sqlite':
      return new SqliteKeeper(folder, clock, peers!);
    case 'log':
      return new LogKeeper(folder, clock, fileBytes);
    default: {
      const durability = kind === 'relaxed' ? 'relaxed' : 'strict';
      const spool = await openInProcess(folder, { quotaBytes: fileBytes, durability });
      await quiet(spool);
      return new SpoolKeeper(spool);
    }
  }
}
