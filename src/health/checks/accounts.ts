import { readFileSync } from 'node:fs';

/** The name of a user by /etc/passwd; its number when there is none. */
export function userName(uid: number): string {
  return nameIn('/etc/passwd', uid) ?? String(uid);
}

/** The name of a group by /etc/group; null when there is none. */
export function groupName(gid: number): string | null {
  return nameIn('/etc/group', gid);
}

/** passwd(5) and group(5): name, something, number, more, with colons between. */
function nameIn(file: string, id: number): string | null {
  try {
    const lines = readFileSync(file, 'utf8').split('\n');
    return lines.map((line) => line.split(':')).find(([, , number]) => number === String(id))?.[0] ?? null;
  } catch {
    return null;
  }
}
