import type { Clock } from '../clock/clock.ts';
import type { Spool } from './spool.ts';

/** How long a stop waits for the upstream to take what the medium does not, ms, and how often it looks. */
const MS_MAX = 1500;
const LOOK_MS = 50;

/** Waits, on stopping, until what a medium that takes nothing would lose has gone upstream, as far as there is time. */
export async function sendOff(spool: Spool, clock: Clock): Promise<void> {
  const until = clock.monotonic() + MS_MAX;
  while (spool.sending && clock.monotonic() < until) {
    const { fault, waitingBytes } = spool.snapshot();
    if (fault === null || waitingBytes === 0) return;
    await new Promise<void>((resolve) => clock.after(LOOK_MS, resolve));
    // What is not taken is ready to be sent, and what was acknowledged waits no more.
    await spool.flush().catch(() => undefined);
  }
}
