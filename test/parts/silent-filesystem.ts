import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { scratch } from './scratch.ts';

export interface SilentFilesystem {
  readonly dir: string;
  /** Lets go of it: whoever waits gets an error. */
  readonly end: () => void;
}

/** A filesystem that never answers, as a network mount whose server is gone; a string says why there is none. It needs root. */
export function mountSilent(): SilentFilesystem | string {
  const dir = join(scratch(), 'silent');
  mkdirSync(dir);
  let fuse: number;
  try {
    fuse = openSync('/dev/fuse', 'r+');
  } catch (error) {
    return `cannot mount: ${(error as Error).message}`;
  }
  try {
    // Nobody reads what the kernel asks over the descriptor, which is 3 for mount(8).
    const options = 'fd=3,rootmode=40000,user_id=0,group_id=0';
    execFileSync('mount', ['-i', '-t', 'fuse', '-o', options, 'silent', dir], {
      stdio: ['ignore', 'pipe', 'pipe', fuse],
    });
  } catch (error) {
    closeSync(fuse);
    return `cannot mount: ${String((error as { stderr?: Buffer }).stderr ?? error).trim()}`;
  }
  return {
    dir,
    end: () => {
      closeSync(fuse);
      execFileSync('umount', ['-l', dir], { stdio: 'pipe' });
    },
  };
}
