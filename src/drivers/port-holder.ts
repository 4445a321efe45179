import { readdir, readFile, readlink, realpath } from 'node:fs/promises';

/**
 * The process that has a device open, as `minicom (process 1234)`; undefined when none can be seen: those of other users
 * show their files only to root.
 */
export async function portHolder(path: string): Promise<string | undefined> {
  const device = await realpath(path).catch(() => path);
  const processes = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name));
  for (const id of processes) {
    const files = await readdir(`/proc/${id}/fd`).catch(() => []);
    for (const file of files) {
      if ((await readlink(`/proc/${id}/fd/${file}`).catch(() => '')) !== device) continue;
      const name = await readFile(`/proc/${id}/comm`, 'utf8').catch(() => '?');
      return `${name.trim()} (process ${id})`;
    }
  }
  return undefined;
}
