import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Clock, Timer } from './clock.ts';

/** How often the kernel is asked whether its time is synchronised, ms: the answer changes a few times in a boot. */
const KNOWN_FOR_MS = 1000;
/** How far a clock may be behind when this program was built and still be believed, ms: builders' clocks are not exact either. */
const BEFORE_BUILD_MS_MAX = 86_400_000;

// CLOCK_MONOTONIC counts from boot and goes on when the process does not; `performance.now` is the same clock, counted from
// the start of the process, and costs a fraction of `hrtime`.
const BOOT_TO_PROCESS_MS = Number(process.hrtime.bigint() / 1000n) / 1000 - performance.now();

/** The machine's own clocks. */
export class SystemClock implements Clock {
  readonly bootId: string;
  readonly #synchronised: () => boolean;
  readonly #notBefore: number;
  #known = false;
  #knownUntil = -Infinity;

  /**
   * `synchronised` asks the kernel; it is a parameter since asking needs a native call that tests need not make. A clock
   * that shows a time before `builtAt`, ms since 1970, is not known, whatever the kernel says: somebody has set it since.
   */
  constructor(synchronised: () => boolean, builtAt = -Infinity) {
    this.#synchronised = synchronised;
    this.#notBefore = builtAt - BEFORE_BUILD_MS_MAX;
    this.bootId = bootId();
  }

  wall(): number {
    return Date.now();
  }

  monotonic(): number {
    return BOOT_TO_PROCESS_MS + performance.now();
  }

  known(): boolean {
    const now = this.monotonic();
    if (now >= this.#knownUntil) {
      this.#known = this.wall() >= this.#notBefore && this.#synchronised();
      this.#knownUntil = now + KNOWN_FOR_MS;
    }
    return this.#known;
  }

  soon(fn: () => void): void {
    setImmediate(fn);
  }

  after(ms: number, fn: () => void): Timer {
    const timer = setTimeout(fn, ms);
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  }

  every(ms: number, fn: () => void): Timer {
    const timer = setInterval(fn, ms);
    timer.unref();
    return { cancel: () => clearInterval(timer) };
  }
}

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    // Without /proc each start of the process counts as a boot: two stamps are then never compared wrongly.
    return randomUUID();
  }
}
