import { holdfastUpstream } from '../src/dialects/holdfast-upstream.ts';
import type { Downlink } from '../src/upstream/downlink.ts';
import { Upstream } from '../src/upstream/upstream.ts';
import { openInProcess, quiet, store } from './stored.ts';
import { contend, processorTime } from './worker.ts';

/** Holdfast: messages stored in a spool, then drained to a broker. */

interface Args {
  readonly folder: string;
  readonly url: string;
  readonly count: number;
  readonly window: number;
  readonly protocol: '5' | '3.1.1';
}

/** Nothing comes from above. */
const DEAF: Downlink = {
  connected: () => undefined,
  asked: () => undefined,
  heard: (_, stored) => stored(),
  oversized: () => undefined,
  lost: () => undefined,
};

await contend<Args>(async ({ folder, url, count, window, protocol }) => {
  const open = await openInProcess(folder);
  await store(open, count);
  await quiet(open);
  const { spool, clock, log } = open;
  const upstream = new Upstream({
    dialect: holdfastUpstream('line-4'),
    url,
    protocol,
    clientId: 'line-4',
    keepaliveSecs: 30,
    window,
    reconnect: { minSecs: 1, maxSecs: 1 },
    credentials: () => ({ tls: {} }),
    outbox: spool,
    status: () => ({}),
    downlink: DEAF,
    clock,
    log,
    random: Math.random,
  });
  return async () => {
    const used = processorTime();
    const from = performance.now();
    const settled = new Promise<void>((resolve) => {
      spool.onCommit(() => {
        if (spool.durableBooks().ledger.delivered >= count) resolve();
      });
    });
    upstream.start();
    await settled;
    const seconds = (performance.now() - from) / 1000;
    const figures = { perSecond: count / seconds, processorUs: used() / count };
    await upstream.stop();
    await open.close();
    return figures;
  };
});
