import { execFileSync } from 'node:child_process';
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { scratch } from './scratch.ts';

/** Places in the page that field-clock.c draws. */
const STEP_AT = 24;
const SYNCHRONISED_AT = 32;
const PAGE = 'HOLDFAST_FIELD_CLOCK';

function word(value: bigint | number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(value));
  return bytes;
}

/** A world with a clock of its own. */
export interface FieldWorld {
  /** For what is started in it. */
  readonly env: Readonly<Record<string, string>>;
  /** What CLOCK_MONOTONIC shows there when it shows `ns` here. */
  monotonic(ns: bigint): bigint;
  /** The same of the wall clock as long as nobody has set it, ms. */
  wall(ns: bigint): number;
}

/**
 * A world whose clock goes `rate` times faster and begins `behindMs` behind the right time, with nobody who has
 * set it. What is started in it, and what that starts in turn, lives in one time, and ends with whoever started it.
 */
export function fieldWorld(rate: number, behindMs: number): FieldWorld {
  const dir = scratch();
  const library = join(dir, 'field-clock.so');
  const source = join(import.meta.dirname, 'field-clock.c');
  execFileSync('gcc', ['-shared', '-fPIC', '-O2', '-Wall', '-Werror', '-o', library, source, '-ldl']);
  const page = join(dir, 'field-clock.page');
  const origin = process.hrtime.bigint();
  const wallAtOrigin = Date.now() - behindMs;
  writeFileSync(page, Buffer.concat([rate, origin, BigInt(wallAtOrigin) * 1_000_000n, 0, 0].map(word)));
  const elapsed = (ns: bigint) => (ns - origin) * BigInt(rate);
  return {
    env: { LD_PRELOAD: library, [PAGE]: page, HOLDFAST_FIELD_RATE: String(rate) },
    monotonic: (ns) => origin + elapsed(ns),
    wall: (ns) => wallAtOrigin + Number(elapsed(ns)) / 1e6,
  };
}

/** The clock of the world that this process lives in, for those who set it. */
export class FieldClock {
  readonly #page = openSync(process.env[PAGE] ?? '', 'r+');
  #stepMs = 0;

  /** The wall clock jumps, for everybody at once; the monotonic clock does not. */
  step(ms: number): void {
    this.#stepMs += ms;
    writeSync(this.#page, word(BigInt(this.#stepMs) * 1_000_000n), 0, 8, STEP_AT);
  }

  /** From now on the kernel says that the time is right. */
  synchronise(): void {
    writeSync(this.#page, word(1), 0, 8, SYNCHRONISED_AT);
  }

  close(): void {
    closeSync(this.#page);
  }
}
