import { readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import type { Address } from './address-race.ts';

/** Largest file that is read, bytes: some hold long lists of what is to be blocked. */
const FILE_BYTES_MAX = 4 * 2 ** 20;

/** What hosts(5) says of a name; empty when it says nothing, or cannot be read. */
export function hostsAddresses(file: string, name: string): Address[] {
  let text: string;
  try {
    if (statSync(file).size > FILE_BYTES_MAX) return [];
    text = readFileSync(file, 'utf8');
  } catch {
    return [];
  }
  const wanted = name.toLowerCase();
  return text.split('\n').flatMap((line) => {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
    const family = isIP(address);
    if (family === 0 || !names.some((each) => each.toLowerCase() === wanted)) return [];
    return [{ address, family: family as 4 | 6 }];
  });
}
