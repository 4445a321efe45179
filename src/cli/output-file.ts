import { closeSync, fsyncSync, openSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { CliError } from './output.ts';

/** Writes a file that must not be there yet; it is on the medium when this returns, and not there when it throws. */
export function writeNew(file: string, bytes: Buffer | string, mode = 0o666): void {
  let fd: number;
  try {
    fd = openSync(file, 'wx', mode);
  } catch (error) {
    throw cannotWrite(file, error);
  }
  try {
    writeFileSync(fd, bytes);
    fsyncSync(fd);
  } catch (error) {
    rmSync(file, { force: true });
    throw cannotWrite(file, error);
  } finally {
    closeSync(fd);
  }
}

/** What the filesystem says of the file that somebody named with `-o`, in words, with what to do. */
export function cannotWrite(file: string, error: unknown): CliError {
  const { code, message } = error as NodeJS.ErrnoException;
  return new CliError(wordsFor(file, code) ?? `${file} cannot be written: ${message}`);
}

function wordsFor(file: string, code: string | undefined): string | undefined {
  switch (code) {
    case 'EEXIST':
    case 'EISDIR':
      if (statSync(file, { throwIfNoEntry: false })?.isDirectory() === true)
        return `${file} is a folder: name a file in it`;
      return `${file} is there already, and is left as it is: name another one with -o, or move it away`;
    case 'ENOENT':
      return `there is no folder ${dirname(file)}: make it, or name another place with -o`;
    case 'ENOTDIR':
      return `${dirname(file)} is not a folder: name another place with -o`;
    case 'EACCES':
    case 'EPERM':
      return `this user may not write ${file}: name another place with -o, or use sudo`;
    case 'EROFS':
      return `${file} would be on a filesystem that is read-only: name another place with -o`;
    case 'ENOSPC':
      return `there is no room for ${file}: make room on the disk, or name another place with -o`;
    default:
      return undefined;
  }
}
