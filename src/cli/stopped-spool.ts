import { existsSync, statSync } from 'node:fs';
import { pino } from 'pino';
import { kernelTimeSynchronised } from '../clock/kernel-time.ts';
import { SystemClock } from '../clock/system-clock.ts';
import { ControlServer } from '../health/control-server.ts';
import { spoolFile } from '../spool/files.ts';
import { openSpool } from '../spool/opening.ts';
import type { Spool } from '../spool/spool.ts';
import { State } from '../store/state.ts';
import type { Configured } from './configured.ts';
import { CliError, say } from './output.ts';

/** Opens the spool of a gateway that does not run, works in it, and keeps one from starting meanwhile. */
export async function inStoppedSpool<T>(where: Configured, work: (spool: Spool) => Promise<T>): Promise<T> {
  const { dataDir, config } = where;
  becomeOwner(dataDir);
  const clock = new SystemClock(kernelTimeSynchronised);
  const log = pino(
    { level: 'warn', base: null },
    { write: (line: string) => say((JSON.parse(line) as { msg: string }).msg) },
  );
  const control = new ControlServer(where.socket, {}, clock, log);
  await control.start().catch((error: unknown) => {
    throw new CliError((error as Error).message);
  });
  // The clock's timers keep no process alive, and a commit may wait for one.
  const hold = setInterval(() => undefined, 2 ** 30);
  try {
    const state = new State(`${dataDir}/state`);
    try {
      const spool = await openSpool({ dataDir, prefill: false, ...config.storeAndForward }, state, clock, log);
      try {
        return await work(spool);
      } finally {
        await spool.close();
      }
    } finally {
      await state.close();
    }
  } finally {
    clearInterval(hold);
    await control.stop();
  }
}

/** For work that makes no sense without a spool. Throws when there is none. */
export function mustHaveSpool({ dataDir }: Configured): void {
  if (!existsSync(spoolFile(dataDir))) throw new CliError(noSpoolText(dataDir));
}

/** As root we would leave files behind that the gateway, which is another user, may not write. */
function becomeOwner(dataDir: string): void {
  const owner = statSync(dataDir, { throwIfNoEntry: false });
  if (owner === undefined) throw new CliError(noSpoolText(dataDir));
  if (process.getuid?.() !== 0 || owner.uid === 0) return;
  process.setgroups?.([owner.gid]);
  process.setgid?.(owner.gid);
  process.setuid?.(owner.uid);
}

function noSpoolText(dataDir: string): string {
  return `there is no spool in ${dataDir}: no gateway has run with this configuration yet`;
}
