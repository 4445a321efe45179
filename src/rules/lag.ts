import type { Expression } from '../query/ast.ts';
import { compile, type Evaluate, isConstant, type Scope } from '../query/compile.ts';
import { QueryProblem } from '../query/problem.ts';
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

/** Furthest back that LAG may look, events. */
const OFFSET_MAX = 10_000;

const FREE: Cost = { groups: 0, bytes: 0 };

/**
 * `LAG(x | * [, offset [, default]])` and `LAST(x | * [, default])`. LAG gives x of the offset-th event before this one that met WHEN;
 * LAST that of the latest event that did, this one included. An event that is older than LIMIT DURATION does not count: then it is the
 * default, worked out from this event, or NULL.
 */
export class Lag implements AnalyticFunction {
  readonly #over: OverRow;
  readonly #value: Evaluate<Row>;
  readonly #default: Evaluate<Row>;
  /** 0 for LAST. */
  readonly #offset: number;
  readonly #trails: Trails<null>;
  #time: Micros = 0;
  #keys: readonly Value[] = [];
  #counts = false;
  #here: Value = null;
  #otherwise: Value = null;

  constructor(call: Call, scope: Scope<Row>, account: Account) {
    const { value, offset, otherwise } = argumentsOf(call);
    this.#over = compileOver(call.over, scope);
    this.#value = value === null ? eventOf : compile(value, scope);
    this.#default = otherwise === undefined ? () => null : compile(otherwise, scope);
    this.#offset = call.name === 'last' ? 0 : offset === undefined ? 1 : offsetOf(offset, scope);
    const shape = { duration: limitOf(call), length: Math.max(1, this.#offset), memo: () => null, gone: () => {} };
    this.#trails = new Trails(shape, account);
  }

  look(row: Row): Cost {
    this.#time = row.time;
    this.#keys = this.#over.keys(row);
    this.#counts = this.#over.counts(row);
    this.#here = this.#counts ? this.#value(row) : null;
    this.#otherwise = this.#default(row);
    return this.#counts ? this.#trails.cost(this.#keys, [this.#here]) : FREE;
  }

  take(): Value {
    const entries = this.#trails.at(this.#keys, this.#time)?.entries;
    const before = entries?.at(entries.length - Math.max(1, this.#offset));
    if (this.#counts) this.#trails.add(this.#keys, { time: this.#time, values: [this.#here] });
    if (this.#offset === 0 && this.#counts) return this.#here;
    return before === undefined ? this.#otherwise : (before.values[0] as Value);
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

interface Arguments {
  /** Null for the whole event. */
  readonly value: Expression | null;
  readonly offset: Expression | undefined;
  readonly otherwise: Expression | undefined;
}

function argumentsOf({ name, args, star, at }: Call): Arguments {
  const isLast = name === 'last';
  const value = star ? null : args[0];
  const others = star ? args : args.slice(1);
  const usage = isLast ? 'LAST(x | * [, default])' : 'LAG(x | * [, offset [, default]])';
  if (value === undefined) throw new QueryProblem(at, `${name.toUpperCase()} needs an argument`, usage);
  const most = isLast ? 1 : 2;
  if (others.length > most)
    throw new QueryProblem(at, `${name.toUpperCase()} takes at most ${most + 1} arguments`, usage);
  return { value, offset: isLast ? undefined : others[0], otherwise: isLast ? others[0] : others[1] };
}

function offsetOf(expression: Expression, scope: Scope<Row>): number {
  const value: unknown = isConstant(expression)
    ? compile(expression, scope)({ time: 0, sources: [], analytic: [] })
    : null;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= OFFSET_MAX) return value;
  throw new QueryProblem(expression.at, `the offset of LAG is a whole number from 1 to ${OFFSET_MAX}`, null);
}
