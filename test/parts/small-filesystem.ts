import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { scratch } from './scratch.ts';

/** Debian puts mkfs where an ordinary user's PATH does not reach. */
const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/sbin:/usr/sbin` };

export interface SmallFilesystem {
  readonly dir: string;
  readonly remount: (access: 'ro' | 'rw') => void;
  readonly unmount: () => void;
}

/** Mounts a small filesystem of the test's own; a string says why there is none. It needs root, and ext4 a loop device. */
export function mountSmall(type: 'tmpfs' | 'ext4', bytes: number): SmallFilesystem | string {
  const dir = join(scratch(), 'small');
  mkdirSync(dir);
  const run = (program: string, ...args: string[]) => execFileSync(program, args, { stdio: 'pipe', env });
  try {
    if (type === 'tmpfs') run('mount', '-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', dir);
    else {
      const image = join(dir, '..', 'image');
      run('truncate', '-s', String(bytes), image);
      run('mkfs.ext4', '-q', '-m', '0', image);
      run('mount', '-o', 'loop', image, dir);
    }
  } catch (error) {
    return `cannot mount ${type}: ${String((error as { stderr?: Buffer }).stderr ?? error).trim()}`;
  }
  return {
    dir,
    remount: (access) => run('mount', '-o', `remount,${access}`, dir),
    unmount: () => run('umount', '-l', dir),
  };
}
