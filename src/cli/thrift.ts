import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';

/*
 * A gateway runs for months beside others on a small board, so it trades processor time for memory that V8 and glibc would
 * otherwise keep in case it is needed again. Measured with 100 children that say all they can, x86-64, Node 20: some 110 MB
 * resident instead of 170 to 230 MB, for a message's 40 us instead of 35. All of this can be set from inside, so it holds
 * however the program was started.
 */

/** How far the old generation may grow beyond what is live before it is collected, percent: V8 lets it double and more. */
const HEAP_GROWING_PERCENT = 50;
/** From this size on, bytes, memory comes from the kernel and goes back to it as soon as it is free. */
const MMAP_BYTES_MIN = 2 ** 20;
/** Free bytes at an arena's end that are given back. */
const TRIM_BYTES_MIN = 512 * 1024;
/** Most places that threads take pieces from, besides those that V8's own have made before us. Each keeps some of what it had. */
const ARENAS_MAX = 1;

/** Parameters of mallopt(3), as glibc's <malloc.h> numbers them. */
const M_TRIM_THRESHOLD = -1;
const M_MMAP_THRESHOLD = -3;
const M_ARENA_MAX = -8;

/** Keeps the process small from here on. Call it before much has been allocated. */
export function thrift(): void {
  // The young generation stays as large as it is: V8 reads this whenever it would make it larger, up to 32 MiB otherwise.
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWING_PERCENT}`);
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    const mallopt = koffi.load(null).func('int mallopt(int parameter, int value)') as (
      parameter: number,
      value: number,
    ) => number;
    mallopt(M_ARENA_MAX, ARENAS_MAX);
    // To set it is to hold it: glibc raises it to the largest piece that was ever freed, and a password's 16 MiB, reckoned on
    // each of the pool's threads in turn, would then stay with every one of them.
    mallopt(M_MMAP_THRESHOLD, MMAP_BYTES_MIN);
    mallopt(M_TRIM_THRESHOLD, TRIM_BYTES_MIN);
  } catch {
    // Another C library, which has its own ways.
  }
}
