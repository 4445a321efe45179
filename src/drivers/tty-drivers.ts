import { readFileSync } from 'node:fs';

/** The kernel's table of who drives ttys: name, node, major, minor or minors, kind (proc(5)). */
const TABLE = '/proc/tty/drivers';

/**
 * Whether a character device is a tty, by its `st_rdev`: without opening it, since a port that is opened resets some devices. What the kernel
 * does not tell is taken for one.
 */
export function isTty(rdev: number): boolean {
  let table: string;
  try {
    table = readFileSync(TABLE, 'utf8');
  } catch {
    return true;
  }
  // gnu_dev_major(3), for the 12 and 20 bits that Linux uses.
  const major = (rdev >> 8) & 0xfff;
  const minor = (rdev & 0xff) | ((rdev >> 12) & 0xfff00);
  return table.split('\n').some((line) => {
    const [, ofMajor, first, last = first] = /^.* (\d+) +(\d+)(?:-(\d+))? \S+\s*$/.exec(line) ?? [];
    return Number(ofMajor) === major && minor >= Number(first) && minor <= Number(last);
  });
}
