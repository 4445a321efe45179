import { rmSync } from 'node:fs';
import { lateControlPaths, lateSockets, ownControlPath } from '../config/control-path.ts';
import { answers, type ControlServer } from '../health/control-server.ts';
import { makeFolder, unwritable } from '../spool/late-environment.ts';
import { DirectoryLock } from './directory-lock.ts';
import { CliError } from './output.ts';

/** A gateway's hold on its `dataDir`. */
export interface Hold {
  readonly control: ControlServer;
  /** Why nothing could be made in `dataDir`, so that the command line is answered elsewhere; null when it could. */
  readonly fault: Error | null;
}

/**
 * Makes `dataDir` and answers the command line there, which keeps a second gateway off it; or, where it cannot be written, in
 * memory. Rejects with a CliError when a gateway runs already, or the directory is not for this user.
 */
export async function takeHold(dataDir: string, serverAt: (path: string) => ControlServer): Promise<Hold> {
  // One that runs from memory may have left no sign of itself in the directory.
  for (const path of lateSockets(dataDir)) {
    if (await answers(path)) throw new CliError(`another gateway is running here: it answers on ${path}`);
    removed(path);
  }
  let fault: Error | null = null;
  try {
    makeFolder(dataDir);
  } catch (error) {
    fault = error as Error;
    if (!unwritable(error)) throw new CliError(`cannot make gateway.dataDir: ${fault.message}`);
  }
  // Until this process ends.
  await locked(dataDir);
  try {
    if (fault === null) return { control: await started(serverAt(ownControlPath(dataDir))), fault };
  } catch (error) {
    fault = error as Error;
    if (!unwritable(error)) throw new CliError(fault.message);
  }
  for (const path of lateControlPaths(dataDir)) {
    try {
      return { control: await started(serverAt(path)), fault };
    } catch {
      // The next one, or what was wrong in the first place.
    }
  }
  throw new CliError(fault.message);
}

/** Takes the lock of a `dataDir`. Rejects with a CliError when a gateway has it, or a command that works in its files. */
export async function locked(dataDir: string): Promise<DirectoryLock> {
  const lock = DirectoryLock.take(dataDir);
  if (lock !== null) return lock;
  const path = ownControlPath(dataDir);
  const how = (await answers(path)) ? `it answers on ${path}` : `it has ${dataDir}`;
  throw new CliError(`another gateway is running here: ${how}`);
}

async function started(control: ControlServer): Promise<ControlServer> {
  await control.start();
  return control;
}

/** Another user's, which nobody would take for ours, stays. */
function removed(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // It is in nobody's way.
  }
}
