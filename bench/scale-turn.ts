import { bodies } from './body.ts';
import { writtenBelow, type Written } from './disk.ts';
import { residentMemory } from './gateway-process.ts';
import { SpoolKeeper } from './keep-spool.ts';
import { openInProcess, quiet, store } from './stored.ts';
import { contend, processorTime } from './worker.ts';

/** A spool that holds so many messages already: opened, given some more, relieved of as many. */

export interface ScaleArgs {
  readonly folder: string;
  readonly quotaBytes: number;
  /** Fill it with so many, and measure nothing; or else expect them. */
  readonly fill: boolean;
  readonly stored: number;
  /** Messages that are added, and delivered. */
  readonly count: number;
}

const STORE_AT_ONCE = 125;
const DELIVER_AT_ONCE = 1000;
/** Messages that go through before anything is counted: code is compiled as it runs. */
const WARM_UP = 4000;
/** Bodies that are made. */
const MADE = 1000;

await contend<ScaleArgs>(async ({ folder, quotaBytes, fill, stored, count }) => {
  const open = await openInProcess(folder, { quotaBytes });
  if (fill) {
    return async () => {
      await store(open, stored);
      const { pending } = open.spool.snapshot();
      await open.close();
      return { pending };
    };
  }
  const { pending } = open.spool.snapshot();
  if (pending !== stored) throw new Error(`the spool holds ${pending} messages, not ${stored}`);
  const { openMs, router } = open;
  await quiet(open);
  const opened = residentMemory(process.pid);
  const keeper = new SpoolKeeper(open);
  // Few, since memory is measured; used again and again, but never twice in a block.
  const made = Array.from({ length: MADE }, bodies());
  const enqueue = async (many: number) => {
    for (let n = 1; n <= many; n++) {
      const reading = { body: made[n % MADE]!, contentType: 'application/json', eventTime: Date.now() };
      void router.reading('press-1', reading, false);
      if (n % STORE_AT_ONCE === 0 || n === many) await keeper.commit();
    }
  };
  const deliver = async (many: number) => {
    for (let left = many; left > 0; left -= DELIVER_AT_ONCE) await keeper.deliver(Math.min(DELIVER_AT_ONCE, left));
  };
  await enqueue(WARM_UP);
  await deliver(WARM_UP);
  return async () => {
    const each = (used: number, from: Written, to: Written) => ({
      us: used / count,
      bytes: (to.bytes - from.bytes) / count,
    });
    const before = writtenBelow(folder);
    let used = processorTime();
    await enqueue(count);
    let us = used();
    const between = writtenBelow(folder);
    const enqueued = each(us, before, between);
    used = processorTime();
    await deliver(count);
    us = used();
    const delivered = each(us, between, writtenBelow(folder));
    const working = residentMemory(process.pid);
    await open.close();
    return {
      openMs,
      enqueueUs: enqueued.us,
      enqueueBytes: enqueued.bytes,
      deliverUs: delivered.us,
      deliverBytes: delivered.bytes,
      opened: opened.own,
      working: working.own,
      files: working.files,
    };
  };
});
