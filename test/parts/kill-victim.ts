/*
 * A process to be killed: spool, router and upstream put together as gateway.ts does it, and a feeder whose messages carry
 * numbers. Writes to stdout a line for each thing that its parent may rely on: `ready`, `a N` once message N has been
 * acknowledged as durable, `drained` when nothing is pending. Ends at SIGTERM.
 */
import { writeSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { SystemClock } from '../../src/clock/system-clock.ts';
import { DEAF } from './downlinks.ts';
import { upstreamRouter } from './upstream-router.ts';
import { openSpool } from '../../src/spool/opening.ts';
import { State } from '../../src/store/state.ts';
import { holdfastUpstream } from '../../src/dialects/holdfast-upstream.ts';
import { Upstream } from '../../src/upstream/upstream.ts';

export interface VictimOptions {
  readonly dataDir: string;
  readonly url: string;
  readonly protocol: '5' | '3.1.1';
  readonly window: number;
  readonly write: 'always' | 'when-needed';
  /** The first number; null: feed nothing, only drain. */
  readonly from: number | null;
}

/** Messages without an acknowledgement at the most, and how many are added each millisecond at the most. */
const WAITING_MAX = 64;
const PER_TICK = 8;
/** Only waited on, for the time to pass. */
const PAUSE = new Int32Array(new SharedArrayBuffer(4));

async function main(options: VictimOptions): Promise<void> {
  const clock = new SystemClock(() => true);
  const log = pino({ level: 'warn' }, pino.destination({ fd: 2, sync: true }));
  const state = new State(join(options.dataDir, 'state'));
  const spool = await openSpool(
    {
      dataDir: options.dataDir,
      quota: { bytes: 512 * 2 ** 20 },
      keepFree: { bytes: 0 },
      whenFull: 'thin',
      durability: 'strict',
      commitEveryMs: 50,
      timeToLiveSecs: 7200,
      write: options.write,
      prefill: true,
    },
    state,
    clock,
    log,
  );
  const usual = upstreamRouter(spool);
  const urgent = upstreamRouter(spool, 0);
  const upstream = new Upstream({
    dialect: holdfastUpstream('victim'),
    url: options.url,
    protocol: options.protocol,
    clientId: 'victim',
    keepaliveSecs: 30,
    window: options.window,
    reconnect: { minSecs: 0.01, maxSecs: 0.1 },
    credentials: () => ({ tls: {} }),
    outbox: spool,
    status: () => ({}),
    downlink: DEAF,
    clock,
    log,
    random: Math.random,
  });
  upstream.start();
  say('ready');
  let waiting = 0;
  let next = options.from ?? 0;
  const feed = () => {
    for (let n = 0; n < PER_TICK && waiting < WAITING_MAX; n++) {
      const number = next++;
      waiting++;
      const body = Buffer.from(`${number} ${'.'.repeat(number % 200)}`);
      (number % 10 === 0 ? urgent : usual).reading('feeder', { body }, true).then(
        () => {
          waiting--;
          say(`a ${number}`);
        },
        (error: unknown) => say(`refused ${number} ${String(error)}`),
      );
    }
  };
  const look = () => {
    if (spool.snapshot().pending === 0) say('drained');
  };
  const timer = options.from === null ? setInterval(look, 20) : setInterval(feed, 1);
  process.once('SIGTERM', () => {
    clearInterval(timer);
    void upstream
      .stop()
      .then(() => spool.close())
      .then(() => state.close());
  });
}

/** Straight to the pipe: a line that the parent can read stands for something that has happened. */
function say(line: string): void {
  let rest = Buffer.from(`${line}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      // A library that looks at process.stdout makes the pipe non-blocking, and the parent may be slow to read it.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(PAUSE, 0, 0, 1);
    }
  }
}

await main(JSON.parse(process.argv[2]!) as VictimOptions);
