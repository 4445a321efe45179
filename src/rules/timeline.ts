import { asDateTime, micros } from '../query/datetime.ts';
import { ValueError, type Fields, type Value } from '../query/value.ts';
import type { Account } from './account.ts';
import type { InputEvent } from './event.ts';
import type { Micros, Operator, Row, Saved } from './row.ts';
import { rowWeight } from './weight.ts';

/** Furthest from 1970 that a timestamp may be (from 1684 to 2255): windows and joins add days to it, and it must stay exact. */
export const MICROS_MAX = 9e15;
const NONE: readonly Value[] = [];

/** Tolerances and policies, microseconds. */
export interface Policies {
  readonly outOfOrder: Micros;
  /** Infinity: any time. */
  readonly late: Micros;
  readonly early: Micros;
  readonly idle: Micros;
  readonly drop: boolean;
}

/**
 * The time of one source: gives each event its timestamp, puts events in order, and says how far time has come (the watermark).
 *
 * An event with a time of its own goes through the tests of QUERY.md A3: early, late, out of order. The watermark is the latest
 * timestamp minus the tolerance for unordered events; once nothing has come for the idle time, it is the present minus the
 * tolerance for late ones. Whatever comes then is at least as new as that by the test for late events, or is moved there, so it
 * makes no difference to the results when, and whether, somebody asks ({@link tick}).
 *
 * An event may still have the watermark's own time, so what is passed on is that nothing comes up to the microsecond before.
 */
export class Timeline {
  readonly #policies: Policies;
  readonly #timestamp: ((fields: Fields) => Value) | null;
  readonly #next: Operator;
  readonly #account: Account;
  /** Rows that wait for the watermark, in the order of time, and from where on. */
  #waiting: Row[] = [];
  #from = 0;
  #latest: Micros = -Infinity;
  #watermark: Micros = -Infinity;
  #advanced: Micros = -Infinity;
  #lastArrival: Micros = -Infinity;
  /** How far events' times are ahead of the arrivals while nobody knows the time; null once it is known. */
  #skew: Micros | null = null;

  /** `timestamp` is null for a source whose events have no other time than their arrival. */
  constructor(policies: Policies, timestamp: ((fields: Fields) => Value) | null, next: Operator, account: Account) {
    this.#policies = policies;
    this.#timestamp = timestamp;
    this.#next = next;
    this.#account = account;
  }

  get watermark(): Micros {
    return this.#watermark;
  }

  /** How far it has been led beyond `now` by times that are impossible then; 0 when it has not. */
  ahead(now: Micros): Micros {
    const ahead = Math.max(this.#latest, this.#watermark) - now;
    return ahead > this.#policies.early ? ahead : 0;
  }

  /** The time is known, and is `now`: what says more than that of it is forgotten. */
  learn(now: Micros): void {
    // Silence would go on by how far a wrong clock was behind.
    this.#skew = null;
    if (this.ahead(now) === 0) return;
    const upTo = now + this.#policies.early;
    const waiting = this.#waiting.slice(this.#from);
    const possible = waiting.filter(({ time }) => time <= upTo);
    const early = waiting.length - possible.length;
    this.#waiting = possible;
    this.#from = 0;
    this.#account.give(0, 0, weightOf(waiting) - weightOf(possible));
    // What was passed on already cannot be told apart any more: there was one at least.
    this.#account.counters.early += Math.max(early, 1);
  }

  feed({ fields, arrival, arrivalKnown }: InputEvent): void {
    let time = arrival;
    this.begin(arrival);
    if (this.#timestamp !== null) {
      try {
        time = momentOf(this.#timestamp(fields));
      } catch (error) {
        this.#account.dropped(error, fields);
        return;
      }
      const late = this.#policies.late;
      const { counters } = this.#account;
      if (arrivalKnown) {
        if (time > arrival + this.#policies.early) {
          counters.early++;
          return;
        }
        if (arrival - time > late) {
          counters.late++;
          if (this.#policies.drop) return;
          time = arrival - late;
        }
      }
      // Before the event is looked at, or it would make a difference whether somebody asked just before it came.
      this.tick(arrival);
      if (time < this.#watermark) {
        counters.unordered++;
        if (this.#policies.drop) return;
        time = this.#watermark;
      }
      this.#skew = arrivalKnown ? null : Math.max(this.#skew ?? -Infinity, time - arrival);
      if (this.#skew !== null) this.#account.skew = Math.max(this.#account.skew ?? -Infinity, this.#skew);
    } else if (time < this.#watermark) {
      time = this.#watermark;
    }
    this.#lastArrival = arrival;
    if (time > this.#latest) this.#latest = time;
    const row: Row = { time, sources: [fields], analytic: NONE };
    const reached = this.#latest - (this.#timestamp === null ? 0 : this.#policies.outOfOrder);
    if (time <= reached && this.#from === this.#waiting.length) this.#pass(row);
    else this.#wait(row);
    if (reached > this.#watermark) this.#reach(reached);
    else this.#release();
  }

  /** Time has passed up to `now`, and nothing has come. */
  tick(now: Micros): void {
    const reached = this.#reachedBy(now);
    if (reached > this.#watermark) this.#reach(reached);
  }

  /** Nothing more comes. */
  end(): void {
    this.#reach(Infinity);
  }

  /** When a {@link tick} will have brought time past `due`. */
  tickFor(due: Micros): Micros {
    if (this.#timestamp === null) return due + 1;
    return Math.max(due + 1 + this.#policies.late - this.#ahead(), this.#lastArrival + this.#policies.idle);
  }

  /** The time of the first row that waits. */
  get due(): Micros {
    // One less: it may go as soon as the watermark is there, and need not be passed.
    return this.#from < this.#waiting.length ? this.#waiting[this.#from]!.time - 1 : Infinity;
  }

  /** When something came last. */
  get silentSince(): Micros {
    return this.#lastArrival;
  }

  get bytes(): number {
    return weightOf(this.#waiting.slice(this.#from));
  }

  /** The query's first sign of life, of whatever source: from then on this one may count as silent. */
  begin(now: Micros): void {
    if (this.#lastArrival === -Infinity) this.#lastArrival = now;
  }

  save(): Saved {
    const rows = this.#waiting.slice(this.#from).map((row): Saved => [row.time, row.sources[0]!]);
    const times = [this.#latest, this.#watermark, this.#advanced, this.#lastArrival, this.#skew].map(finite);
    return [times, rows];
  }

  load(saved: Saved): void {
    const [times, rows] = saved as [(number | null)[], [number, Fields][]];
    const [latest, watermark, advanced, lastArrival] = times.map((time) => time ?? -Infinity);
    this.#latest = latest!;
    this.#watermark = watermark!;
    this.#advanced = advanced!;
    this.#lastArrival = lastArrival!;
    this.#skew = times[4]!;
    this.#account.give(0, 0, this.bytes);
    this.#waiting = rows.map(([time, fields]) => ({ time, sources: [fields], analytic: NONE }));
    this.#from = 0;
    // Whatever the limit is by now.
    this.#account.give(0, 0, -this.bytes);
  }

  #reachedBy(now: Micros): Micros {
    if (this.#timestamp === null) return now;
    if (now - this.#lastArrival < this.#policies.idle) return -Infinity;
    return now + this.#ahead() - this.#policies.late;
  }

  /** A source that has said nothing yet goes by the others. */
  #ahead(): Micros {
    return (this.#latest === -Infinity ? this.#account.skew : this.#skew) ?? 0;
  }

  #reach(watermark: Micros): void {
    this.#watermark = watermark;
    this.#release();
    const to = watermark - 1;
    if (to > this.#advanced) {
      this.#advanced = to;
      this.#next.advance(to);
    }
  }

  #release(): void {
    while (this.#from < this.#waiting.length && this.#waiting[this.#from]!.time <= this.#watermark) {
      const row = this.#waiting[this.#from++]!;
      this.#account.give(0, 0, rowWeight(row));
      this.#pass(row);
    }
    if (this.#from === this.#waiting.length && this.#from > 0) {
      this.#waiting = [];
      this.#from = 0;
    } else if (this.#from > 1000) {
      this.#waiting.splice(0, this.#from);
      this.#from = 0;
    }
  }

  /** Each row finds everything before it done, however many go at once: the order of what comes out is then always the same. */
  #pass(row: Row): void {
    const before = row.time - 1;
    if (before > this.#advanced) {
      this.#advanced = before;
      this.#next.advance(before);
    }
    this.#account.at = row.sources[0]!;
    this.#next.row(row);
    this.#account.at = null;
  }

  /** Behind all rows that are not later. */
  #wait(row: Row): void {
    if (!this.#account.take(0, 0, rowWeight(row))) {
      this.#account.counters.bounded++;
      return;
    }
    let low = this.#from;
    let high = this.#waiting.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#waiting[middle]!.time <= row.time) low = middle + 1;
      else high = middle;
    }
    if (low === this.#waiting.length) this.#waiting.push(row);
    else this.#waiting.splice(low, 0, row);
  }
}

function weightOf(rows: readonly Row[]): number {
  return rows.reduce((sum, row) => sum + rowWeight(row), 0);
}

function finite(time: number | null): number | null {
  return time === -Infinity ? null : time;
}

/** A timestamp in microseconds. Throws a ValueError when `value` names no moment. */
export function momentOf(value: Value): Micros {
  const moment = asDateTime(value);
  if (moment !== null) {
    const time = micros(moment);
    if (Math.abs(time) <= MICROS_MAX) return time;
    throw new ValueError(`there is no timestamp: ${moment.toString()} is too far from today`);
  }
  throw new ValueError(
    value === null
      ? 'there is no timestamp: what TIMESTAMP BY names is missing'
      : `there is no timestamp: ${typeof value === 'string' ? `'${value.slice(0, 50)}'` : JSON.stringify(value).slice(0, 50)} is no datetime and no ISO 8601 text`,
  );
}
