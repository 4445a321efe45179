import { AGGREGATES } from './aggregates.ts';
import type { Expression } from './ast.ts';
import { equal } from './compare.ts';
import { argument, type ScalarFunction } from './functions/signature.ts';
import { SCALARS } from './functions/scalars.ts';
import { nearest } from './nearest.ts';
import { located, type Evaluate, type Operand } from './operand.ts';
import { widened } from './operators.ts';
import { QueryProblem } from './problem.ts';

export type Call = Expression & { readonly kind: 'call' };

const ANALYTIC = ['lag', 'last', 'isfirst'];
const APPLIED = ['getarrayelements', 'getrecordproperties'];
const OWN = ['coalesce', 'nullif'];

/** Whether a function is of its arguments alone. */
export function isScalar(name: string): boolean {
  return SCALARS.has(name) || OWN.includes(name);
}

/** A call of a function of single values, its arguments made ready. Throws QueryProblem when there is no such function, or it takes other arguments. */
export function callOf<R>(call: Call, args: readonly Operand<R>[]): Evaluate<R> {
  const { name, at } = call;
  if (!isScalar(name)) throw unknownFunction(call);
  const shown = name.toUpperCase();
  if (call.distinct) throw new QueryProblem(at, `${shown} takes no DISTINCT`, 'only aggregates do');
  if (call.over !== null)
    throw new QueryProblem(at, `${shown} takes no OVER`, 'only aggregates and analytic functions do');
  if (call.star) throw new QueryProblem(at, `${shown} takes no *`);
  if (name === 'coalesce') {
    checkCount(call, 2, Infinity, 'COALESCE(a, b, ...)');
    return widened(args, firstOf(args));
  }
  if (name === 'nullif') {
    checkCount(call, 2, 2, 'NULLIF(a, b)');
    return nullIf(args[0]!, args[1]!);
  }
  return scalarCall(call, SCALARS.get(name)!, args);
}

function checkCount(call: Call, least: number, most: number, usage: string): void {
  const count = call.args.length;
  if (count >= least && count <= most) return;
  const many = least === most ? `${least}` : most === Infinity ? `${least} or more` : `${least} to ${most}`;
  const takes = `${usage.slice(0, usage.indexOf('('))} takes ${many} argument${many === '1' ? '' : 's'}`;
  throw new QueryProblem(call.at, `${takes}, and here ${count === 1 ? 'is' : 'are'} ${count}`, usage);
}

function firstOf<R>(args: readonly Operand<R>[]): Evaluate<R> {
  return (row) => {
    for (const arg of args) {
      const value = arg.evaluate(row);
      if (value !== null) return value;
    }
    return null;
  };
}

function nullIf<R>(left: Operand<R>, right: Operand<R>): Evaluate<R> {
  return (row) => {
    const value = left.evaluate(row);
    return equal(value, right.evaluate(row)) === true ? null : value;
  };
}

function scalarCall<R>(call: Call, target: ScalarFunction, args: readonly Operand<R>[]): Evaluate<R> {
  const { usage, kinds, takesNull, run } = target;
  checkCount(call, target.least, target.most, usage);
  const kindAt = (index: number) => kinds[Math.min(index, kinds.length - 1)]!;
  args.forEach(({ constant, at }, index) => {
    if (constant === undefined || constant === null) return;
    located(at, () => argument(kindAt(index), constant, usage, index + 1));
    if (target.pattern?.position === index) located(at, () => target.pattern?.check(constant as string));
  });

  const taken = args.map((arg, index) => {
    const { evaluate, constant } = arg;
    const kind = kindAt(index);
    if (constant !== undefined && constant !== null) {
      const ready = argument(kind, constant, usage, index + 1);
      return () => ready;
    }
    return (row: R): unknown => {
      const value = evaluate(row);
      return value === null ? null : argument(kind, value, usage, index + 1);
    };
  });
  if (takesNull) return (row) => run(...taken.map((take) => take(row)));
  const [first, second, ...others] = taken;
  if (second === undefined) {
    return (row) => {
      const a = first!(row);
      return a === null ? null : run(a);
    };
  }
  if (others.length === 0) {
    return (row) => {
      const a = first!(row);
      const b = second(row);
      return a === null || b === null ? null : run(a, b);
    };
  }
  return (row) => {
    const values = taken.map((take) => take(row));
    return values.includes(null) ? null : run(...values);
  };
}

/** What is to be said of a call that is no {@link isScalar} function, where only those may stand. */
export function unknownFunction({ name, at }: Call): QueryProblem {
  if (AGGREGATES.has(name)) {
    return new QueryProblem(
      at,
      `${name.toUpperCase()} is an aggregate and cannot stand here`,
      'aggregates stand in SELECT and HAVING of a query with GROUP BY, and not in each other',
    );
  }
  if (ANALYTIC.includes(name)) {
    return new QueryProblem(
      at,
      `${name.toUpperCase()} cannot stand here`,
      'analytic functions stand in SELECT and WHERE, and not in each other',
    );
  }
  if (APPLIED.includes(name)) {
    return new QueryProblem(at, `${name} makes rows, not a value`, `FROM ... CROSS APPLY ${name}(...) AS alias`);
  }
  if (name.startsWith('system.')) return new QueryProblem(at, `${name}() cannot stand here`);
  const known = [...SCALARS.keys(), ...AGGREGATES.keys(), ...ANALYTIC, ...APPLIED, ...OWN];
  const meant = nearest(name, known);
  return new QueryProblem(
    at,
    `there is no function ${name}`,
    meant === undefined ? null : `did you mean ${meant.toUpperCase()}?`,
  );
}
