import type { Scope } from '../query/compile.ts';
import { QueryProblem } from '../query/problem.ts';
import { DURATION_MAX_MICROS, unitMicros, type DatePart } from '../query/units.ts';
import type { Value } from '../query/value.ts';
import type { Account } from './account.ts';
import { type AnalyticFunction, type Call, compileOver, type Cost, type OverRow } from './analytic-function.ts';
import type { Held, Micros, Row, Saved } from './row.ts';
import { Trails } from './trails.ts';
import { endOf } from './window.ts';

const FREE: Cost = { groups: 0, bytes: 0 };

/**
 * `ISFIRST(unit, n)`: 1 for the first event of a partition that meets WHEN in each interval of n units, else 0. Intervals lie as
 * tumbling windows do: counted from 1970, start excluded, end included.
 */
export class IsFirst implements AnalyticFunction {
  readonly #over: OverRow;
  readonly #size: Micros;
  /** The end of the interval in which a partition had its first. */
  readonly #trails: Trails<null>;
  #time: Micros = 0;
  #keys: readonly Value[] = [];
  #first = false;

  constructor(call: Call, scope: Scope<Row>, account: Account) {
    this.#over = compileOver(call.over, scope);
    this.#size = sizeOf(call);
    this.#trails = new Trails({ duration: 0, length: 1, memo: () => null, gone: () => {} }, account);
  }

  look(row: Row): Cost {
    this.#time = row.time;
    this.#keys = this.#over.keys(row);
    // An interval that is over is not there any more.
    const had = this.#trails.at(this.#keys, row.time)?.entries.length ?? 0;
    this.#first = this.#over.counts(row) && had === 0;
    return this.#first ? this.#trails.cost(this.#keys, []) : FREE;
  }

  take(): Value {
    if (!this.#first) return 0;
    this.#trails.add(this.#keys, { time: endOf(this.#time, this.#size, 0), values: [] });
    return 1;
  }

  advance(to: Micros): void {
    this.#trails.advance(to);
  }

  get held(): Held {
    return this.#trails.held;
  }

  save(): Saved {
    return this.#trails.save();
  }

  load(saved: Saved): void {
    this.#trails.load(saved, () => {});
  }
}

function sizeOf(call: Call): Micros {
  const [unit, count] = call.args.map((arg) => (arg.kind === 'literal' ? arg.value : null));
  const micros = typeof unit === 'string' ? unitMicros(unit as DatePart) : undefined;
  if (micros === undefined || typeof count !== 'number' || count < 1 || call.args.length !== 2) {
    throw new QueryProblem(call.at, 'ISFIRST needs a unit and a whole number', 'write ISFIRST(minute, 5)');
  }
  if (micros * count > DURATION_MAX_MICROS)
    throw new QueryProblem(call.at, 'the interval of ISFIRST is at most 7 days');
  return micros * count;
}
