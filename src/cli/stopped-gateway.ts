import { statSync } from 'node:fs';
import { pino, type Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import { kernelTimeSynchronised } from '../clock/kernel-time.ts';
import { SystemClock } from '../clock/system-clock.ts';
import { ownControlPath } from '../config/control-path.ts';
import { BUILT_AT } from '../config/version.ts';
import { ControlServer } from '../health/control-server.ts';
import type { Configured } from './configured.ts';
import { locked } from './control-place.ts';
import { CliError, say } from './output.ts';

/** Works in the files of a gateway that does not run, and keeps one from starting meanwhile. Its `dataDir` must be there. */
export async function whileStopped<T>(
  where: Configured,
  work: (platform: { readonly clock: Clock; readonly log: Logger }) => Promise<T>,
): Promise<T> {
  becomeOwner(where.dataDir);
  const clock = new SystemClock(kernelTimeSynchronised, BUILT_AT);
  const log = pino(
    { level: 'warn', base: null },
    { write: (line: string) => say((JSON.parse(line) as { msg: string }).msg) },
  );
  const lock = await locked(where.dataDir);
  const control = new ControlServer(ownControlPath(where.dataDir), {}, clock, log);
  await control.start().catch((error: unknown) => {
    lock.release();
    throw new CliError((error as Error).message);
  });
  // The clock's timers keep no process alive, and a commit may wait for one.
  const hold = setInterval(() => undefined, 2 ** 30);
  try {
    return await work({ clock, log });
  } finally {
    clearInterval(hold);
    await control.stop();
    lock.release();
  }
}

/** As root we would leave files behind that the gateway, which is another user, may not write. */
function becomeOwner(dataDir: string): void {
  const owner = statSync(dataDir);
  if (process.getuid?.() !== 0 || owner.uid === 0) return;
  process.setgroups?.([owner.gid]);
  process.setgid?.(owner.gid);
  process.setuid?.(owner.uid);
}
