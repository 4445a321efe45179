import type { Evaluate } from '../query/compile.ts';
import type { Fields, Value } from '../query/value.ts';
import type { Account } from './account.ts';
import { Fifo } from './fifo.ts';
import type { GroupKey } from './group-key.ts';
import { JoinSide } from './join-side.ts';
import { matchKey } from './match-key.ts';
import type { Held, Micros, Operator, Row, Saved, Stateful } from './row.ts';
import { loadRow, saveRow } from './saved-row.ts';
import { rowWeight } from './weight.ts';

/** How far the right side's time may be from that of one source of the left side: `lower <= right - left <= upper`. */
export interface TimeBound {
  /** Its number among the sources of the left side. */
  readonly source: number;
  /** Whole microseconds, or -Infinity. */
  readonly lower: Micros;
  /** Whole microseconds, or Infinity. */
  readonly upper: Micros;
}

export interface JoinPlan {
  readonly kind: 'inner' | 'left';
  /** At least one is finite at both ends. */
  readonly bounds: readonly TimeBound[];
  /** How much later than each source of the left side a row of it can be: 0 unless it is itself joined. */
  readonly spreads: readonly Micros[];
  /** Equalities of ON: of a row of the left side, and of a row whose only source is the right side. */
  readonly keys: readonly { readonly left: Evaluate<Row>; readonly right: Evaluate<Row> }[];
  /** What else ON says of a pair; null when nothing. */
  readonly condition: ((pair: Row) => boolean) | null;
}

interface Waiting {
  readonly row: Row;
  readonly bytes: number;
}

/** One side's rows that came and wait until the other side's time is as far, and how far its own is. */
class Port implements Operator {
  readonly waiting = new Fifo<Waiting>();
  readonly #account: Account;
  readonly #advanced: () => void;
  watermark: Micros | null = null;
  bytes = 0;

  constructor(account: Account, advanced: () => void) {
    this.#account = account;
    this.#advanced = advanced;
  }

  row(row: Row): void {
    const bytes = rowWeight(row);
    if (this.#account.take(0, 0, bytes)) this.#put({ row, bytes });
    else this.#account.counters.bounded++;
  }

  advance(to: Micros): void {
    if (this.watermark !== null && to <= this.watermark) return;
    this.watermark = to;
    this.#advanced();
  }

  take(): Waiting {
    const waiting = this.waiting.shift() as Waiting;
    this.bytes -= waiting.bytes;
    return waiting;
  }

  save(): Saved {
    return [this.watermark, this.waiting.toArray().map(({ row }) => saveRow(row))];
  }

  load(watermark: Micros | null, rows: readonly Saved[]): void {
    this.watermark = watermark;
    this.waiting.clear();
    this.bytes = 0;
    for (const saved of rows) {
      const row = loadRow(saved);
      this.#put({ row, bytes: rowWeight(row) });
    }
  }

  #put(waiting: Waiting): void {
    this.bytes += waiting.bytes;
    this.waiting.push(waiting);
  }
}

/**
 * JOIN of two streams. Rows are taken in the order of time over both sides, the left side's first among equals, as soon as neither
 * side can bring an earlier one; so what comes out is in the order of time and does not depend on which side was heard first. A pair
 * bears the later of the two times. A left row that found nothing comes, in a LEFT JOIN, at its time plus the upper bound (at its own
 * time when that bound is negative). Nothing is remembered longer than the bounds ask.
 */
export class StreamJoin implements Stateful {
  readonly left: Operator;
  readonly right: Operator;
  readonly #plan: JoinPlan;
  readonly #downstream: Operator;
  readonly #account: Account;
  readonly #leftPort: Port;
  readonly #rightPort: Port;
  readonly #leftKept = new JoinSide();
  readonly #rightKept = new JoinSide();
  /** Up to where both sides have been heard. */
  #done: Micros | null = null;
  /** Up to where downstream has been told. */
  #passed: Micros | null = null;

  constructor(plan: JoinPlan, downstream: Operator, account: Account) {
    this.#plan = plan;
    this.#downstream = downstream;
    this.#account = account;
    const advanced = (): void => this.#advance();
    this.left = this.#leftPort = new Port(account, advanced);
    this.right = this.#rightPort = new Port(account, advanced);
  }

  /** The time that both sides must have reached for something to come out or to be forgotten; Infinity when there is nothing. */
  get due(): Micros {
    const sides = [this.#leftPort, this.#rightPort].map((port) => port.waiting.first?.row.time ?? Infinity);
    return Math.min(...sides, this.#plan.kind === 'left' ? this.#leftKept.firstEnd : Infinity);
  }

  get held(): Held {
    const bytes = this.#leftPort.bytes + this.#rightPort.bytes + this.#leftKept.bytes + this.#rightKept.bytes;
    return { windows: 0, groups: 0, bytes };
  }

  save(): Saved {
    const kept = [this.#leftKept, this.#rightKept].map((side) =>
      side.all().map(({ row, matched }) => [saveRow(row), matched]),
    );
    return [this.#done, [this.#leftPort.save(), this.#rightPort.save()], kept];
  }

  load(saved: Saved): void {
    type SavedPort = readonly [Micros | null, readonly Saved[]];
    type SavedKept = readonly (readonly [Saved, boolean])[];
    const [done, [leftPort, rightPort], [leftKept, rightKept]] = saved as unknown as readonly [
      Micros | null,
      readonly [SavedPort, SavedPort],
      readonly [SavedKept, SavedKept],
    ];
    this.#account.give(0, 0, this.held.bytes);
    this.#done = done;
    this.#passed = done;
    this.#leftPort.load(...leftPort);
    this.#rightPort.load(...rightPort);
    this.#leftKept.clear();
    this.#rightKept.clear();
    for (const [savedRow, matched] of leftKept) {
      const row = loadRow(savedRow);
      this.#leftKept.keep(row, this.#keyOf(row, 'left') ?? null, this.#leftUntil(row), rowWeight(row), matched);
    }
    for (const [savedRow] of rightKept) {
      const row = loadRow(savedRow);
      this.#rightKept.keep(row, this.#keyOf(row, 'right') ?? null, this.#rightUntil(row), rowWeight(row));
    }
    // Whatever the limit is by now.
    this.#account.give(0, 0, -this.held.bytes);
  }

  #advance(): void {
    const left = this.#leftPort;
    const right = this.#rightPort;
    if (left.watermark === null || right.watermark === null) return;
    const to = Math.min(left.watermark, right.watermark);
    if (this.#done !== null && to <= this.#done) return;
    for (;;) {
      const leftTime = left.waiting.first?.row.time ?? Infinity;
      const rightTime = right.waiting.first?.row.time ?? Infinity;
      const time = Math.min(leftTime, rightTime);
      if (time > to || time === Infinity) break;
      this.#end(time);
      if (leftTime <= rightTime) this.#takeLeft(left.take());
      else this.#takeRight(right.take());
    }
    this.#end(to + 1);
    this.#done = to;
    this.#pass(to);
  }

  /** Whoever gets a row has been told before that nothing earlier comes. */
  #give(row: Row): void {
    this.#pass(row.time - 1);
    this.#downstream.row(row);
  }

  #pass(to: Micros): void {
    if (this.#passed !== null && to <= this.#passed) return;
    this.#passed = to;
    this.#downstream.advance(to);
  }

  /** Drops what no row of `moment` or later can match. */
  #end(moment: Micros): void {
    for (let kept = this.#leftKept.takeEnded(moment); kept; kept = this.#leftKept.takeEnded(moment)) {
      this.#account.give(0, 0, kept.bytes);
      if (!kept.matched) this.#alone(kept.row, kept.until);
    }
    for (let kept = this.#rightKept.takeEnded(moment); kept; kept = this.#rightKept.takeEnded(moment)) {
      this.#account.give(0, 0, kept.bytes);
    }
  }

  #takeLeft({ row, bytes }: Waiting): void {
    const key = this.#keyOf(row, 'left');
    let matched = false;
    for (const other of key === undefined ? [] : this.#rightKept.find(key)) {
      if (this.#pair(row, other.row, row.time)) matched = true;
    }
    const until = this.#leftUntil(row);
    const waits = until >= row.time && (key !== null || this.#plan.kind === 'left');
    if (key !== undefined && waits) {
      this.#leftKept.keep(row, key, until, bytes, matched);
      return;
    }
    this.#account.give(0, 0, bytes);
    if (key !== undefined && !matched) this.#alone(row, row.time);
  }

  #takeRight({ row, bytes }: Waiting): void {
    const key = this.#keyOf(row, 'right') ?? null;
    for (const other of this.#leftKept.find(key)) {
      if (this.#pair(other.row, row, row.time)) other.matched = true;
    }
    const until = this.#rightUntil(row);
    // All left rows of its own moment have been taken before it.
    if (key !== null && until > row.time) this.#rightKept.keep(row, key, until, bytes);
    else this.#account.give(0, 0, bytes);
  }

  /** A left row for which nothing was found. */
  #alone(row: Row, time: Micros): void {
    if (this.#plan.kind === 'left') this.#give(pairOf(row, null, time));
  }

  /** Undefined when it cannot be had, and the row is dropped. */
  #keyOf(row: Row, side: 'left' | 'right'): GroupKey | undefined {
    const { keys } = this.#plan;
    if (keys.length === 0) return '';
    try {
      return matchKey(keys.map((key) => key[side](row)));
    } catch (error) {
      this.#account.dropped(error);
      return undefined;
    }
  }

  /** Gives the pair out when it is one. */
  #pair(left: Row, right: Row, time: Micros): boolean {
    for (const { source, lower, upper } of this.#plan.bounds) {
      const from = timeOf(left, source);
      if (from === null || right.time - from < lower || right.time - from > upper) return false;
    }
    const pair = pairOf(left, right, time);
    if (this.#plan.condition !== null && !this.#passes(pair, this.#plan.condition)) return false;
    this.#give(pair);
    return true;
  }

  #passes(pair: Row, condition: (pair: Row) => boolean): boolean {
    try {
      return condition(pair);
    } catch (error) {
      this.#account.dropped(error);
      return false;
    }
  }

  #leftUntil(row: Row): Micros {
    let until = Infinity;
    for (const { source, upper } of this.#plan.bounds) {
      const from = timeOf(row, source);
      // What an outer join did not find has no time, so nothing will ever match.
      if (from === null) return -Infinity;
      until = Math.min(until, from + upper);
    }
    return until;
  }

  #rightUntil(row: Row): Micros {
    let until = Infinity;
    for (const { source, lower } of this.#plan.bounds) {
      until = Math.min(until, row.time - lower + (this.#plan.spreads[source] as Micros));
    }
    return until;
  }
}

function timeOf(row: Row, source: number): Micros | null {
  return row.times === undefined ? row.time : (row.times[source] as Micros | null);
}

/** The row of a left row and what was found for it: null when nothing was. `rightTime` is null when that has no time of its own. */
export function pairOf(left: Row, right: Row | null, time: Micros, rightTime = right?.time ?? null): Row {
  const times: readonly (Micros | null)[] = left.times ?? left.sources.map(() => left.time);
  return {
    time,
    sources: [...left.sources, right === null ? null : (right.sources[0] as Fields | null)],
    analytic: right === null ? left.analytic : bothOf(left.analytic, right.analytic),
    times: [...times, rightTime],
  };
}

/** Each side has NULL where a number is the other side's. */
function bothOf(left: readonly Value[], right: readonly Value[]): readonly Value[] {
  if (right.length === 0) return left;
  if (left.length === 0) return right;
  return left.map((value, n) => value ?? (right[n] as Value));
}

/** How much later than each of its sources a row can be that comes out of a join by these bounds; the right side is the last. */
export function spreadsBehind(bounds: readonly TimeBound[], spreads: readonly Micros[]): readonly Micros[] {
  const upper = Math.max(0, Math.min(...bounds.map((bound) => bound.upper)));
  const right = Math.min(...bounds.map((bound) => (spreads[bound.source] as Micros) - bound.lower));
  return [...spreads.map((spread) => spread + upper), Math.max(0, right)];
}
