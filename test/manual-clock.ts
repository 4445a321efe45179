import type { Clock, Timer } from '../src/clock/clock.ts';

interface Pending {
  due: number;
  readonly everyMs: number | undefined;
  readonly fn: () => void;
}

/** A clock that moves when a test says so. Starts at 2026-01-01T00:00:00.000Z, synchronised, one hour after boot. */
export class ManualClock implements Clock {
  readonly bootId: string;
  #wall: number;
  #monotonic: number;
  #known: boolean;
  /** In the order in which they were asked for, which is the order among equals. */
  readonly #pending = new Set<Pending>();

  constructor(at: { wall?: number; monotonic?: number; known?: boolean; bootId?: string } = {}) {
    this.#wall = at.wall ?? Date.UTC(2026, 0, 1);
    this.#monotonic = at.monotonic ?? 3_600_000;
    this.#known = at.known ?? true;
    this.bootId = at.bootId ?? 'boot-1';
  }

  wall(): number {
    return this.#wall;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  known(): boolean {
    return this.#known;
  }

  /** Not a matter of time: runs when the event loop comes round, whether the clock is moved or not. */
  soon(fn: () => void): void {
    setImmediate(fn);
  }

  after(ms: number, fn: () => void): Timer {
    return this.#ask(ms, undefined, fn);
  }

  every(ms: number, fn: () => void): Timer {
    return this.#ask(ms, Math.max(1, ms), fn);
  }

  /** Timers that are waiting; 0 when everything that was started has been stopped. */
  get timers(): number {
    return this.#pending.size;
  }

  /** Moves time on and fires what falls due, in order, each at its own time. Promises do not settle in between. */
  advance(ms: number): void {
    const end = this.#monotonic + ms;
    while (this.#fireNext(end)) continue;
    this.#moveTo(end);
  }

  /** As {@link advance}, but lets promises and I/O that is ready come to their end after each timer, and before the first. */
  async flow(ms: number): Promise<void> {
    const end = this.#monotonic + ms;
    await settle();
    while (this.#fireNext(end)) await settle();
    this.#moveTo(end);
    await settle();
  }

  /** The wall clock jumps, either way; the monotonic clock and its timers do not notice. */
  setWall(wall: number): void {
    this.#wall = wall;
  }

  setKnown(known: boolean): void {
    this.#known = known;
  }

  #ask(ms: number, everyMs: number | undefined, fn: () => void): Timer {
    const pending = { due: this.#monotonic + Math.max(0, ms), everyMs, fn };
    this.#pending.add(pending);
    return { cancel: () => void this.#pending.delete(pending) };
  }

  #fireNext(end: number): boolean {
    let next: Pending | undefined;
    for (const pending of this.#pending) {
      if (pending.due <= end && (next === undefined || pending.due < next.due)) next = pending;
    }
    if (next === undefined) return false;
    this.#moveTo(next.due);
    if (next.everyMs === undefined) this.#pending.delete(next);
    else next.due += next.everyMs;
    next.fn();
    return true;
  }

  #moveTo(monotonic: number): void {
    this.#wall += monotonic - this.#monotonic;
    this.#monotonic = monotonic;
  }
}

/** Resolves when the promises that can settle now have, and what the event loop had ready has been dealt with. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }
}
