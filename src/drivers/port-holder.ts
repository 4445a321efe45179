import { readdir, readFile, readlink, realpath, stat } from 'node:fs/promises';

/** Who has a port. */
export interface PortHolder {
  readonly pid: number;
  /** `minicom (process 1234)`. */
  readonly text: string;
  /** Nobody else is let in; else it only has it open. */
  readonly locked: boolean;
}

/**
 * The process that has a device locked, or else one that has it open; undefined when none can be seen: processes of other
 * users show their open files only to root.
 */
export async function portHolder(path: string): Promise<PortHolder | undefined> {
  const locker = await lockHolder(path);
  const id = locker ?? (await opener(path));
  if (id === undefined) return undefined;
  const name = await readFile(`/proc/${id}/comm`, 'utf8').catch(() => '?');
  return { pid: Number(id), text: `${name.trim()} (process ${id})`, locked: locker !== undefined };
}

/** From the lines of /proc/locks: `1: FLOCK  ADVISORY  WRITE 1234 00:17:5 0 EOF`, with device and inode (proc_locks(5)). */
async function lockHolder(path: string): Promise<string | undefined> {
  const [locks, found] = await Promise.all([
    readFile('/proc/locks', 'utf8').catch(() => ''),
    stat(path, { bigint: true }).catch(() => undefined),
  ]);
  if (found === undefined) return undefined;
  for (const line of locks.split('\n')) {
    const [, kind, , , id, place] = line.trim().split(/\s+/);
    const [major, minor, inode] = place?.split(':') ?? [];
    if (kind !== 'FLOCK' || id === undefined || id === '0' || inode !== String(found.ino)) continue;
    // makedev(3), for the small numbers that device filesystems have.
    if (BigInt(`0x${major}`) * 256n + BigInt(`0x${minor}`) === found.dev) return id;
  }
  return undefined;
}

async function opener(path: string): Promise<string | undefined> {
  const device = await realpath(path).catch(() => path);
  const processes = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name));
  for (const id of processes) {
    const files = await readdir(`/proc/${id}/fd`).catch(() => []);
    for (const file of files) {
      if ((await readlink(`/proc/${id}/fd/${file}`).catch(() => '')) === device) return id;
    }
  }
  return undefined;
}
