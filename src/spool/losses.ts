import type { Loss, LossRow } from '../message/loss.ts';
import { ulid, ulidText } from '../message/ulid.ts';

/** Folded rows that wait for the upstream at the most. */
const ROWS_MAX = 256;
/**
 * Of them handed out for sending, so that they may not be folded any more. The others always fold into what is left: there
 * are 99 pairs of lane and reason.
 */
const FROZEN_MAX = 128;

/** The loss that was booked last. `count`: with what has been folded into its report so far. */
export interface LastLoss {
  readonly reason: Loss['reason'];
  readonly count: number;
  /** ms since 1970 by the wall clock of then, which may have been wrong; null: it was before this start. */
  readonly at: number | null;
}

/**
 * Losses that the upstream has not acknowledged yet, folded so that a million drops are a few rows. Rows from the front are
 * frozen once they are handed out, for good: through reconnects and, since the mark is written with them, restarts.
 */
export class Losses {
  #rows: LossRow[];
  /** Rows from the front that must not change. */
  #frozen: number;
  /** Of them the ones that were handed out last. */
  #handedOut = 0;
  /** Somebody sends: what is written is frozen with it, so that it need not be written again before it may go. */
  #reporting = false;
  /** Frozen rows that are on the medium as such, and those that are being written. */
  readonly #durable: Set<string>;
  #writing: readonly string[] = [];
  #changed = false;
  #last: LastLoss | null = null;
  #now: () => number | null = () => null;

  constructor(rows: readonly (Loss & Partial<LossRow>)[] = []) {
    this.#rows = rows.map((row) => ({ ...row, id: row.id ?? idFor(row) }));
    const firstOpen = this.#rows.findIndex(({ sent }) => sent !== true);
    this.#frozen = firstOpen === -1 ? this.#rows.length : firstOpen;
    this.#durable = new Set(this.#frozenIds());
    for (const row of this.#rows) this.#remember(row);
  }

  /** The wall clock, for {@link last}. */
  tellTime(now: () => number): void {
    this.#now = now;
  }

  /** Null: none that is known of. A dead letter is not lost, and a new epoch alone loses nothing. */
  get last(): LastLoss | null {
    return this.#last;
  }

  get rows(): readonly LossRow[] {
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
      this.#remember(this.#rows[last]);
      return;
    }
    this.#rows.push({ ...loss, id: idFor(loss) });
    this.#remember(loss);
    if (this.#rows.length > ROWS_MAX) this.#foldOldest();
  }

  /** Whether there are rows that have not been handed out. */
  get unreported(): boolean {
    return this.#rows.length > this.#handedOut;
  }

  /** Whether what was handed out last is on the medium as it is: a crash cannot make it grow, or undo it. */
  get durable(): boolean {
    return this.#rows.slice(0, this.#handedOut).every(({ id }) => this.#durable.has(id));
  }

  /** Whether there is something that has not been taken for writing. */
  get changed(): boolean {
    return this.#changed;
  }

  /** The rows to send now, oldest first; they stay as they are until they are {@link reported}. */
  freeze(): readonly LossRow[] {
    this.#reporting = true;
    this.#freeze();
    this.#handedOut = this.#frozen;
    return this.#rows.slice(0, this.#frozen);
  }

  /** The upstream has acknowledged these rows of those that were handed out. */
  reported(rows: readonly { readonly id: string }[]): void {
    const ids = new Set(rows.map(({ id }) => id));
    const gone = this.#rows.slice(0, this.#handedOut).filter(({ id }) => ids.has(id));
    if (gone.length === 0) return;
    this.#rows = this.#rows.filter((row) => !gone.includes(row));
    for (const { id } of gone) this.#durable.delete(id);
    this.#frozen -= gone.length;
    this.#handedOut -= gone.length;
    this.#changed = true;
  }

  /** Nobody sends any more: what comes is folded as far as it may be, until rows are handed out again. */
  pause(): void {
    this.#reporting = false;
    this.#handedOut = 0;
  }

  /** Whether there is something to write, once; {@link written} says that it was. */
  takeChanged(): boolean {
    if (!this.#changed) return false;
    if (this.#reporting) this.#freeze();
    this.#changed = false;
    this.#writing = this.#frozenIds();
    return true;
  }

  /** What {@link takeChanged} announced last is on the medium. */
  written(): void {
    for (const id of this.#writing) this.#durable.add(id);
    this.#writing = [];
    // Some may have been acknowledged meanwhile.
    const frozen = new Set(this.#frozenIds());
    for (const id of this.#durable) if (!frozen.has(id)) this.#durable.delete(id);
  }

  /** What {@link takeChanged} announced last is not on the medium. */
  markChanged(): void {
    this.#changed = true;
    this.#writing = [];
  }

  #remember({ reason, count }: Loss): void {
    if (reason !== 'dead-letter' && count > 0) this.#last = { reason, count, at: this.#now() };
  }

  #freeze(): void {
    const to = Math.min(this.#rows.length, FROZEN_MAX);
    for (; this.#frozen < to; this.#frozen++) {
      this.#rows[this.#frozen] = { ...this.#rows[this.#frozen]!, sent: true };
      this.#changed = true;
    }
  }

  #frozenIds(): string[] {
    return this.#rows.slice(0, this.#frozen).map(({ id }) => id);
  }

  /** Folds the oldest row that has a twin; where every twin is of another epoch, that one: numbers grow through epochs. */
  #foldOldest(): void {
    for (const sameEpoch of [true, false]) {
      for (let i = this.#frozen; i < this.#rows.length; i++) {
        const row = this.#rows[i]!;
        const twin = this.#rows.findIndex(
          (other, at) =>
            at > i &&
            other.lane === row.lane &&
            other.reason === row.reason &&
            (other.epoch === row.epoch || !sameEpoch),
        );
        if (twin === -1) continue;
        this.#rows[i] = fold(row, this.#rows[twin]!);
        this.#rows.splice(twin, 1);
        return;
      }
    }
  }
}

/** Both as one, under the name of the first. */
function fold(a: LossRow, b: Loss): LossRow {
  return {
    id: a.id,
    epoch: a.epoch,
    lane: a.lane,
    ...(a.child !== undefined && a.child === b.child ? { child: a.child } : {}),
    reason: a.reason,
    firstSeq: Math.min(a.firstSeq, b.firstSeq),
    lastSeq: Math.max(a.lastSeq, b.lastSeq),
    count: a.count + b.count,
    firstEventTime: least(a.firstEventTime, b.firstEventTime, Math.min),
    lastEventTime: least(a.lastEventTime, b.lastEventTime, Math.max),
    exact: a.exact && b.exact && a.epoch === b.epoch,
  };
}

function least(a: number | null, b: number | null, choose: (a: number, b: number) => number): number | null {
  if (a === null) return b;
  return b === null ? a : choose(a, b);
}

/** The time in it is only for who sorts by it; an event time may be no time at all. */
function idFor({ lastEventTime }: Loss): string {
  return ulidText(ulid(Number.isFinite(lastEventTime) ? lastEventTime! : 0));
}
