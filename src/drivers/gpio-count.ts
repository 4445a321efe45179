import type { GpioEdge, Level } from './gpio-line.ts';

/** What a counting input tells. */
export interface Count {
  /** Edges since the reading before. */
  readonly count: number;
  /** The same for each second. */
  readonly perSec: number;
  /** Edges since the driver started. */
  readonly total: number;
  /** False: there may have been more (sysfs merges edges). */
  readonly exact: boolean;
  /** How long the level was 1 since the reading before, ms; only with edge `both`, and null when edges were lost. */
  readonly activeMs?: number | null;
}

/** Counts the edges of a line, and how long it was 1. Those that the kernel could not keep are counted by their numbers. */
export class EdgeCount {
  readonly #edge: GpioEdge;
  readonly #exact: boolean;
  #level: Level;
  #levelSince: number;
  #since: number;
  #count = 0;
  #total = 0;
  #activeMs = 0;
  #activeKnown = true;

  /** `exact`: the line's way counts edges while we are busy. */
  constructor(edge: GpioEdge, exact: boolean, level: Level, now: number) {
    this.#edge = edge;
    this.#exact = exact;
    this.#level = level;
    this.#levelSince = this.#since = now;
  }

  /** So many more edges, the last of them to `level`. */
  seen(edges: number, level: Level, at: number): void {
    this.#count += edges;
    // Of edges that were lost nobody knows when they were, and two to the same level have one between them.
    if (edges > 1 || level === this.#level) this.#activeKnown = false;
    this.#levelIs(level, at);
  }

  /** What there was since the last time it was taken. */
  take(now: number): Count {
    this.#levelIs(this.#level, now);
    const secs = (now - this.#since) / 1000;
    this.#total += this.#count;
    const taken: Count = {
      count: this.#count,
      perSec: secs > 0 ? Number((this.#count / secs).toFixed(3)) : 0,
      total: this.#total,
      exact: this.#exact,
      ...(this.#edge === 'both' && { activeMs: this.#activeKnown ? Math.round(this.#activeMs) : null }),
    };
    this.#since = now;
    this.#count = this.#activeMs = 0;
    this.#activeKnown = true;
    return taken;
  }

  get total(): number {
    return this.#total + this.#count;
  }

  #levelIs(level: Level, at: number): void {
    // An edge's own stamp may be a little older than the reading that came before we heard of it.
    if (this.#level === 1) this.#activeMs += Math.max(0, at - this.#levelSince);
    this.#level = level;
    this.#levelSince = Math.max(at, this.#levelSince);
  }
}
