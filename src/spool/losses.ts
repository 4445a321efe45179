import type { Loss } from '../message/loss.ts';

/** Folded rows that wait for the upstream at the most. */
const ROWS_MAX = 256;

/** Losses that the upstream has not acknowledged yet, folded so that a million drops are a few rows. */
export class Losses {
  #rows: Loss[];
  /** Rows from the front that have been handed out for sending and must not change. */
  #frozen = 0;
  #changed = false;

  constructor(rows: readonly Loss[] = []) {
    this.#rows = [...rows];
  }

  get rows(): readonly Loss[] {
    return this.#rows;
  }

  get size(): number {
    return this.#rows.length;
  }

  /** Books one more loss, into the newest row of its lane and reason where that may still change. */
  add(loss: Loss): void {
    this.#changed = true;
    const last = this.#rows.findLastIndex(
      (row) => row.lane === loss.lane && row.reason === loss.reason && row.epoch === loss.epoch,
    );
    if (last >= this.#frozen) {
      this.#rows[last] = fold(this.#rows[last]!, loss);
      return;
    }
    this.#rows.push(loss);
    if (this.#rows.length > ROWS_MAX) this.#foldOldest();
  }

  /** Whether there are rows that have not been handed out. */
  get unreported(): boolean {
    return this.#rows.length > this.#frozen;
  }

  /** The rows to send now; they stay as they are until {@link reported} or {@link thaw}. */
  freeze(): readonly Loss[] {
    this.#frozen = this.#rows.length;
    return this.#rows.slice();
  }

  /** The upstream has acknowledged the first `count` rows. */
  reported(count: number): void {
    if (count === 0) return;
    this.#rows.splice(0, count);
    this.#frozen = Math.max(0, this.#frozen - count);
    this.#changed = true;
  }

  /** The connection went: rows that were sent but not acknowledged may grow again. */
  thaw(): void {
    this.#frozen = 0;
  }

  /** Whether there is something to write, once. */
  takeChanged(): boolean {
    const changed = this.#changed;
    this.#changed = false;
    return changed;
  }

  markChanged(): void {
    this.#changed = true;
  }

  #foldOldest(): void {
    for (let i = this.#frozen; i < this.#rows.length; i++) {
      const row = this.#rows[i]!;
      const twin = this.#rows.findIndex(
        (other, at) => at > i && other.lane === row.lane && other.reason === row.reason && other.epoch === row.epoch,
      );
      if (twin === -1) continue;
      this.#rows[i] = fold(row, this.#rows[twin]!);
      this.#rows.splice(twin, 1);
      return;
    }
  }
}

function fold(a: Loss, b: Loss): Loss {
  return {
    epoch: a.epoch,
    lane: a.lane,
    reason: a.reason,
    firstSeq: Math.min(a.firstSeq, b.firstSeq),
    lastSeq: Math.max(a.lastSeq, b.lastSeq),
    count: a.count + b.count,
    firstEventTime: least(a.firstEventTime, b.firstEventTime, Math.min),
    lastEventTime: least(a.lastEventTime, b.lastEventTime, Math.max),
    exact: a.exact && b.exact,
  };
}

function least(a: number | null, b: number | null, choose: (a: number, b: number) => number): number | null {
  if (a === null) return b;
  return b === null ? a : choose(a, b);
}
