import type { Scope } from '../query/compile.ts';
import { visit } from '../query/parts.ts';
import { QueryProblem } from '../query/problem.ts';
import type { Value } from '../query/value.ts';
import type { Account } from './account.ts';
import type { AnalyticFunction, Call } from './analytic-function.ts';
import { IsFirst } from './is-first.ts';
import { Lag } from './lag.ts';
import type { Held, Micros, Operator, Row, Saved, Stateful } from './row.ts';
import { Running } from './running.ts';
import { type Named, sourceOf } from './scope.ts';

/** An analytic function of a select: which, and its number in {@link Row.analytic}. */
export interface Numbered {
  readonly number: number;
  readonly call: Call;
}

/**
 * The analytic functions over one source of a select, worked out for each of its events before anything is joined, filtered or grouped.
 * An event that one of them cannot work with is dropped; so is one that would have to be remembered and finds no room.
 */
export class Analytic implements Operator, Stateful {
  readonly #functions: readonly { readonly number: number; readonly function: AnalyticFunction }[];
  readonly #empty: readonly Value[];
  readonly #downstream: Operator;
  readonly #account: Account;

  /**
   * `count` is how many the select has over all its sources; what belongs to another source stays NULL here. `scope` knows this source
   * alone. Throws QueryProblem.
   */
  constructor(calls: readonly Numbered[], count: number, scope: Scope<Row>, downstream: Operator, account: Account) {
    this.#functions = calls.map(({ number, call }) => ({ number, function: make(call, scope, account) }));
    this.#empty = Array.from({ length: count }, () => null);
    this.#downstream = downstream;
    this.#account = account;
  }

  row(row: Row): void {
    let groups = 0;
    let bytes = 0;
    try {
      for (const one of this.#functions) {
        const cost = one.function.look(row);
        groups += cost.groups;
        bytes += cost.bytes;
      }
    } catch (error) {
      this.#account.dropped(error);
      return;
    }
    if (bytes > 0 && !this.#account.take(0, groups, bytes)) {
      this.#account.counters.bounded++;
      return;
    }
    const analytic = [...this.#empty];
    let fault: unknown = null;
    for (const one of this.#functions) {
      try {
        analytic[one.number] = one.function.take();
      } catch (error) {
        fault ??= error;
      }
    }
    if (fault === null) this.#downstream.row({ ...row, analytic });
    else this.#account.dropped(fault);
  }

  advance(to: Micros): void {
    for (const one of this.#functions) one.function.advance(to);
    this.#downstream.advance(to);
  }

  get held(): Held {
    const held = this.#functions.map((one) => one.function.held);
    return {
      windows: 0,
      groups: held.reduce((sum, { groups }) => sum + groups, 0),
      bytes: held.reduce((sum, { bytes }) => sum + bytes, 0),
    };
  }

  save(): Saved {
    return this.#functions.map((one) => one.function.save());
  }

  load(saved: Saved): void {
    const states = saved as readonly Saved[];
    this.#functions.forEach((one, index) => one.function.load(states[index] as Saved));
  }
}

function make(call: Call, scope: Scope<Row>, account: Account): AnalyticFunction {
  if (call.name === 'isfirst') return new IsFirst(call, scope, account);
  return call.name === 'lag' || call.name === 'last'
    ? new Lag(call, scope, account)
    : new Running(call, scope, account);
}

/**
 * Which source an analytic function is over, as a number in `sources`. Its fields must all be of one: it is worked out before the
 * sources are joined. Throws QueryProblem.
 */
export function sourceOfCall(call: Call, sources: readonly Named[]): number {
  if (sources.length === 1) return 0;
  const name = call.name.toUpperCase();
  let found: number | null = null;
  visit(call, (part) => {
    if (part.kind !== 'field') return;
    const { index } = sourceOf(sources, part.path, part.at);
    if (sources[index]?.applied === true) {
      const hint = 'APPLY in a step of WITH, and look back over that';
      throw new QueryProblem(
        part.at,
        `${name} is worked out before APPLY and does not see ${sources[index].alias}`,
        hint,
      );
    }
    if (found !== null && found !== index) {
      const hint = 'join in a step of WITH, and look back over that';
      throw new QueryProblem(part.at, `${name} is worked out before JOIN and sees one source alone`, hint);
    }
    found = index;
  });
  if (found !== null) return found;
  // Without APPLYs there is one stream, or nobody can say which is meant.
  if (sources.filter(({ applied }) => !applied).length === 1) return 0;
  throw new QueryProblem(
    call.at,
    `${name} may be over any of the joined sources`,
    'give it PARTITION BY a field of one of them',
  );
}
