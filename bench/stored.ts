import { join } from 'node:path';
import { pino } from 'pino';
import { SystemClock } from '../src/clock/system-clock.ts';
import type { Router } from '../src/router/router.ts';
import { openSpool } from '../src/spool/opening.ts';
import type { Spool } from '../src/spool/spool.ts';
import { State } from '../src/store/state.ts';
import { bodies } from './body.ts';
import { spoolSettings, type SpoolWishes } from './spool-settings.ts';
import { upstreamRouter } from './upstream-router.ts';

/** Waited for after so many, so that not all of them wait for the medium at once. */
const STORE_AT_ONCE = 5000;

/** A spool has work of its own after it was opened (it fills its file); how often we look whether that is done, ms ... */
const QUIET_LOOK_MS = 250;
/** ... how often in a row nothing may have happened, how much processor time counts as nothing, and when we give up. */
const QUIET_LOOKS = 4;
const QUIET_PROCESSOR_US = 20_000;
const QUIET_MS_MAX = 120_000;

/** A spool as the gateway has it, without the gateway. */
export interface OpenSpool {
  readonly spool: Spool;
  readonly router: Router;
  readonly clock: SystemClock;
  readonly log: pino.Logger;
  /** How long opening it took, ms. */
  readonly openMs: number;
  close(): Promise<void>;
}

export async function openInProcess(dataDir: string, wishes: SpoolWishes = {}): Promise<OpenSpool> {
  const clock = new SystemClock(() => true);
  // The clock's timers do not keep a process alive; here nothing else does.
  const awake = setInterval(() => undefined, 1000);
  const log = pino({ level: 'warn' }, pino.destination(2));
  const state = new State(join(dataDir, 'state'));
  const from = performance.now();
  const spool = await openSpool(spoolSettings(dataDir, wishes), state, clock, log);
  const openMs = performance.now() - from;
  return {
    spool,
    router: upstreamRouter(spool),
    clock,
    log,
    openMs,
    close: async () => {
      await spool.close();
      await state.close();
      clearInterval(awake);
    },
  };
}

/** Resolves when the spool does nothing of its own accord any more: its file does not grow, and no processor time is used. */
export async function quiet({ spool }: OpenSpool): Promise<void> {
  const until = performance.now() + QUIET_MS_MAX;
  let bytes = 0;
  for (let looks = 0; looks < QUIET_LOOKS; looks++) {
    const used = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, QUIET_LOOK_MS));
    const { user, system } = process.cpuUsage(used);
    const { fileBytes } = spool.snapshot();
    if (fileBytes !== bytes || user + system > QUIET_PROCESSOR_US) looks = -1;
    bytes = fileBytes;
    if (performance.now() > until) throw new Error('the spool does not come to rest');
  }
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
