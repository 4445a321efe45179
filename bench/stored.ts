import { join } from 'node:path';
import { pino } from 'pino';
import { SystemClock } from '../src/clock/system-clock.ts';
import { Router } from '../src/router/router.ts';
import { openSpool } from '../src/spool/opening.ts';
import type { Spool } from '../src/spool/spool.ts';
import { State } from '../src/store/state.ts';
import { bodies } from './body.ts';

/** Waited for after so many, so that not all of them wait for the medium at once. */
const STORE_AT_ONCE = 5000;

/** The settings of a gateway that says nothing of storage (src/config/storage.ts), on a disk that may be rather full. */
const SETTINGS = {
  quota: { bytes: 512 * 2 ** 20 },
  keepFree: { percent: 1 },
  whenFull: 'drop-oldest',
  durability: 'strict',
  commitEveryMs: 250,
  timeToLiveSecs: 7200,
  write: 'always',
  prefill: false,
} as const;

/** A spool as the gateway has it, without the gateway. */
export interface OpenSpool {
  readonly spool: Spool;
  readonly router: Router;
  readonly clock: SystemClock;
  readonly log: pino.Logger;
  close(): Promise<void>;
}

export async function openInProcess(dataDir: string): Promise<OpenSpool> {
  const clock = new SystemClock(() => true);
  // The clock's timers do not keep a process alive; here nothing else does.
  const awake = setInterval(() => undefined, 1000);
  const log = pino({ level: 'warn' });
  const state = new State(join(dataDir, 'state'));
  const spool = await openSpool({ ...SETTINGS, dataDir }, state, clock, log);
  return {
    spool,
    router: new Router(spool, [{}]),
    clock,
    log,
    close: async () => {
      await spool.close();
      await state.close();
      clearInterval(awake);
    },
  };
}

/** Stores so many readings; resolves when all are durable. */
export async function store({ router, clock }: OpenSpool, count: number): Promise<void> {
  const body = bodies();
  for (let i = 1; i <= count; i++) {
    const reading = { body: body(), contentType: 'application/json', eventTime: clock.wall() };
    const durable = router.reading('press-1', reading, false);
    if (i % STORE_AT_ONCE === 0 || i === count) await durable;
  }
}
