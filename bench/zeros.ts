import { appendFileSync } from 'node:fs';

const STEP = Buffer.alloc(2 ** 20);

/** Lengthens a file by `bytes` of zeros, in whole MiB: what is written there later changes neither its length nor its place. */
export function appendZeros(path: string, bytes: number): void {
  for (let at = 0; at < bytes; at += STEP.length) appendFileSync(path, STEP);
}
