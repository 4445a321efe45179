import { type Accumulator, type Aggregate, aggregateOf } from '../query/aggregates.ts';
import { compile, type Evaluate, type Scope } from '../query/compile.ts';
import type { Value } from '../query/value.ts';
import type { Account } from './account.ts';
import {
  type AnalyticFunction,
  type Call,
  compileOver,
  type Cost,
  eventOf,
  limitOf,
  type OverRow,
} from './analytic-function.ts';
import type { Held, Micros, Row, Saved } from './row.ts';
import { Trails } from './trails.ts';

const FREE: Cost = { groups: 0, bytes: 0 };

/**
 * An aggregate over the events of the last LIMIT DURATION that met WHEN, this one included: `f(x) OVER ([PARTITION BY k] [ORDER BY ..]
 * LIMIT DURATION(unit, n) [WHEN cond])`. One that is exactly so old still counts.
 */
export class Running implements AnalyticFunction {
  readonly #over: OverRow;
  readonly #aggregate: Aggregate;
  readonly #inputs: readonly Evaluate<Row>[];
  readonly #trails: Trails<Accumulator>;
  #time: Micros = 0;
  #keys: readonly Value[] = [];
  /** What the event that was looked at adds; null when it does not meet WHEN. */
  #values: readonly Value[] | null = null;

  constructor(call: Call, scope: Scope<Row>, account: Account) {
    const aggregate = aggregateOf(call);
    if (aggregate === null) throw new Error(`${call.name} is no aggregate`);
    this.#aggregate = aggregate;
    this.#over = compileOver(call.over, scope);
    const inputs = aggregate.inputs.map((input) => compile(input, scope));
    this.#inputs = aggregate.whole ? [eventOf, ...inputs] : inputs;
    this.#trails = new Trails(
      {
        duration: limitOf(call),
        length: Infinity,
        memo: () => aggregate.create(true),
        gone: (running, { values }) => running.remove(values),
      },
      account,
    );
  }

  look(row: Row): Cost {
    this.#time = row.time;
    this.#keys = this.#over.keys(row);
    this.#values = null;
    if (!this.#over.counts(row)) return FREE;
    const values = this.#inputs.map((input) => input(row));
    this.#aggregate.check(values);
    this.#values = values;
    return this.#trails.cost(this.#keys, values);
  }

  take(): Value {
    let trail = this.#trails.at(this.#keys, this.#time);
    if (this.#values !== null) {
      trail = this.#trails.add(this.#keys, { time: this.#time, values: this.#values });
      trail.memo.add(this.#values);
    }
    return (trail?.memo ?? this.#aggregate.create()).result();
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
    this.#trails.load(saved, (running, { values }) => running.add(values));
  }
}
