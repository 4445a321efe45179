import { rmSync } from 'node:fs';
import { lateControlPaths, lateSockets, ownControlPath } from '../config/control-path.ts';
import { answers, type ControlServer } from '../health/control-server.ts';
import { makeFolder, unwritable } from '../spool/late-environment.ts';
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
  let fault: Error;
  try {
    makeFolder(dataDir);
    return { control: await started(serverAt(ownControlPath(dataDir))), fault: null };
  } catch (error) {
    fault = error as Error;
    if (!unwritable(error)) {
      throw new CliError(error instanceof NotStarted ? fault.message : `cannot make gateway.dataDir: ${fault.message}`);
    }
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

/** The directory is there, and the socket could not be made, or another one answers. */
class NotStarted extends Error {}

async function started(control: ControlServer): Promise<ControlServer> {
  await control.start().catch((error: unknown) => {
    throw new NotStarted((error as Error).message);
  });
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
