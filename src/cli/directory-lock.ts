import { closeSync, openSync } from 'node:fs';
import { createRequire } from 'node:module';

/** <sys/file.h> and <errno.h> on Linux. */
const LOCK_EX = 2;
const LOCK_NB = 4;
const EWOULDBLOCK = 11;

/**
 * Keeps others off a directory, whoever runs them, until the process ends or gives it back (flock(2)). A socket alone does not: of two
 * that start in one instant neither answers yet, and another user's refuses us as a dead one does.
 */
export class DirectoryLock {
  readonly #fd: number | null;

  private constructor(fd: number | null) {
    this.#fd = fd;
  }

  /** Null: somebody else has it. Where a filesystem or a C library has no such locks, or there is no directory, nobody can. */
  static take(directory: string): DirectoryLock | null {
    let fd: number | null = null;
    try {
      const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
      const flock = koffi.load(null).func('int flock(int fd, int operation)') as (fd: number, how: number) => number;
      fd = openSync(directory, 'r');
      if (flock(fd, LOCK_EX | LOCK_NB) === 0) return new DirectoryLock(fd);
      const taken = koffi.errno() === EWOULDBLOCK;
      closeSync(fd);
      return taken ? null : new DirectoryLock(null);
    } catch {
      if (fd !== null) closeSync(fd);
      return new DirectoryLock(null);
    }
  }

  release(): void {
    if (this.#fd !== null) closeSync(this.#fd);
  }
}
