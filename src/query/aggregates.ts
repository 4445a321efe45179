import type { Expression, Over } from './ast.ts';
import { checkNumber, type Accumulator } from './aggregates/accumulator.ts';
import { Collection, Percentile, Top, type PercentileForm, type TopForm } from './aggregates/collection.ts';
import { DistinctCount } from './aggregates/distinct.ts';
import { checkOrdered, Extreme } from './aggregates/extreme.ts';
import { Average, Count, Sum } from './aggregates/sum.ts';
import { Variance, VARIANCE_MAX, type VarianceForm } from './aggregates/variance.ts';
import { sortable } from './compare.ts';
import { QueryProblem } from './problem.ts';
import { toNumber, type Value } from './value.ts';

/*
 * The aggregate functions. NULLs are left out, but by COUNT(*), Collect and TopOne. Sums and averages of floats, and variances, are
 * made without rounding but for once at the end: in which order rows came, and whether others came and were taken back, makes no
 * difference.
 */

export type { Accumulator } from './aggregates/accumulator.ts';

type Call = Expression & { readonly kind: 'call' };

/** A call of an aggregate function, ready. */
export interface Aggregate {
  /** Whether the first value that it takes of a row is the whole event: `Collect()`, `TopOne() OVER (...)`. */
  readonly whole: boolean;
  /** The expressions whose values it takes of each row, in turn, after the whole event if it takes that. */
  readonly inputs: readonly Expression[];
  /** Throws ValueError when it cannot take these values. */
  check(values: readonly Value[]): void;
  /** An accumulator for one group. `removable`: rows can be taken back, the oldest first; costs memory in MIN, MAX, TopOne, CollectTop. */
  create(removable?: boolean): Accumulator;
}

/** Most that CollectTop collects. */
const TOP_MAX = 10_000;

/** By name in lower case. Each throws QueryProblem when its arguments are wrong. */
export const AGGREGATES: ReadonlyMap<string, (call: Call) => Aggregate> = new Map([
  ['count', count],
  ['sum', (call: Call) => numbers(call, () => new Sum())],
  ['avg', (call: Call) => numbers(call, () => new Average())],
  ['min', (call: Call) => extreme(call, -1)],
  ['max', (call: Call) => extreme(call, 1)],
  ['var', (call: Call) => variance(call, { sample: true, root: false })],
  ['varp', (call: Call) => variance(call, { sample: false, root: false })],
  ['stdev', (call: Call) => variance(call, { sample: true, root: true })],
  ['stdevp', (call: Call) => variance(call, { sample: false, root: true })],
  ['percentile_cont', (call: Call) => percentile(call, true)],
  ['percentile_disc', (call: Call) => percentile(call, false)],
  ['collect', collect],
  ['collecttop', collectTop],
  ['topone', topOne],
]);

/** The aggregate of a call; null when it is none. Of OVER only ORDER BY is looked at: PARTITION BY, LIMIT DURATION and WHEN are the caller's. */
export function aggregateOf(call: Call): Aggregate | null {
  return AGGREGATES.get(call.name)?.(call) ?? null;
}

function shownName(call: Call): string {
  return call.name.toUpperCase();
}

function expectCount(call: Call, least: number, most: number, usage: string): void {
  const given = call.args.length;
  if (given >= least && given <= most) return;
  const many = least === most ? `${least}` : `${least} to ${most}`;
  const takes = `${shownName(call)} takes ${many} argument${many === '1' ? '' : 's'}`;
  throw new QueryProblem(call.at, `${takes}, and here ${given === 1 ? 'is' : 'are'} ${given}`, usage);
}

/** Those without an order of their own: OVER is only for their analytic form. */
function expectPlain(call: Call): void {
  const { over } = call;
  if (over === null) return;
  if (over.orderBy.length > 0) throw new QueryProblem(over.at, `${shownName(call)} takes no ORDER BY`);
  if (over.limit === null) {
    throw new QueryProblem(
      over.at,
      `${shownName(call)} OVER needs a LIMIT DURATION`,
      'OVER (LIMIT DURATION(second, 10))',
    );
  }
}

function expectNoDistinct(call: Call): void {
  if (call.distinct) throw new QueryProblem(call.at, `${shownName(call)} takes no DISTINCT`);
}

function expectNoStar(call: Call, usage: string): void {
  if (call.star) throw new QueryProblem(call.at, `${shownName(call)} takes no *`, usage);
}

/** ORDER BY, which these cannot do without. */
function expectOrder(call: Call, usage: string): Over['orderBy'] {
  const orderBy = call.over?.orderBy ?? [];
  if (orderBy.length === 0) throw new QueryProblem(call.at, `${shownName(call)} needs OVER (ORDER BY ...)`, usage);
  return orderBy;
}

const anything = (): void => undefined;

function count(call: Call): Aggregate {
  expectPlain(call);
  if (!call.star) expectCount(call, 0, 1, 'COUNT(*), COUNT(x), COUNT(DISTINCT x)');
  const all = call.star || call.args.length === 0;
  if (all && call.distinct)
    throw new QueryProblem(call.at, 'COUNT(DISTINCT) needs what is to be different', 'COUNT(DISTINCT x)');
  const inputs = all ? [] : call.args;
  return {
    whole: false,
    inputs,
    check: anything,
    create: () => (call.distinct ? new DistinctCount() : new Count(all)),
  };
}

function numbers(call: Call, create: () => Accumulator, most?: number): Aggregate {
  const name = shownName(call);
  expectPlain(call);
  expectNoDistinct(call);
  expectNoStar(call, `${name}(x)`);
  expectCount(call, 1, 1, `${name}(x)`);
  return {
    whole: false,
    inputs: call.args,
    check: ([value]) => checkNumber(value!, name, most),
    create,
  };
}

function variance(call: Call, form: VarianceForm): Aggregate {
  return numbers(call, () => new Variance(form), VARIANCE_MAX);
}

function extreme(call: Call, sign: 1 | -1): Aggregate {
  const name = shownName(call);
  expectPlain(call);
  expectNoDistinct(call);
  expectNoStar(call, `${name}(x)`);
  expectCount(call, 1, 1, `${name}(x)`);
  const [input] = call.args;
  // Text that was made text on purpose stays it, even when it looks like a date.
  const plainText = input?.kind === 'cast' && input.type === 'nvarchar(max)';
  return {
    whole: false,
    inputs: call.args,
    check: ([value]) => checkOrdered(value!, name),
    create: (removable = false) => new Extreme(sign, plainText, removable),
  };
}

function percentile(call: Call, between: boolean): Aggregate {
  const name = shownName(call);
  const usage = `${name}(0.95) OVER (ORDER BY x)`;
  expectNoDistinct(call);
  expectNoStar(call, usage);
  expectCount(call, 1, 1, usage);
  const [{ expression, descending }, ...others] = expectOrder(call, usage) as [Over['orderBy'][number]];
  if (others.length > 0) throw new QueryProblem(call.at, `${name} takes one expression in ORDER BY`, usage);
  const [p] = call.args as [Expression];
  const share = p.kind === 'literal' ? toNumber(p.value) : null;
  if (share === null || share < 0 || share > 1) {
    throw new QueryProblem(p.at, `the first argument of ${name} is a number from 0 to 1`, usage);
  }
  const form: PercentileForm = { share, descending, between };
  return {
    whole: false,
    inputs: [expression],
    check: ([value]) => (between ? checkNumber(value!, name) : void sortable(value!)),
    create: (removable = false) => new Percentile(form, removable),
  };
}

function collect(call: Call): Aggregate {
  expectPlain(call);
  expectNoDistinct(call);
  if (!call.star) expectCount(call, 0, 1, 'Collect(), Collect(x)');
  return {
    whole: call.args.length === 0,
    inputs: call.args,
    check: anything,
    create: () => new Collection(),
  };
}

function top(call: Call, usage: string, value: Expression | undefined, form: Pick<TopForm, 'most' | 'one'>): Aggregate {
  expectNoDistinct(call);
  expectNoStar(call, usage);
  const orderBy = expectOrder(call, usage);
  const keys = orderBy.map(({ expression }) => expression);
  const descending = orderBy.map((key) => key.descending);
  return {
    whole: value === undefined,
    inputs: value === undefined ? keys : [value, ...keys],
    check: (values) => values.slice(1).forEach(sortable),
    create: (removable = false) => new Top({ ...form, descending }, removable),
  };
}

function topOne(call: Call): Aggregate {
  const usage = 'TopOne() OVER (ORDER BY x DESC)';
  expectCount(call, 0, 1, usage);
  return top(call, usage, call.args[0], { most: 1, one: true });
}

function collectTop(call: Call): Aggregate {
  const usage = 'CollectTop(3) OVER (ORDER BY x DESC)';
  expectCount(call, 1, 2, usage);
  const [n, value] = call.args as [Expression, Expression?];
  const most = n.kind === 'literal' ? n.value : null;
  if (typeof most !== 'number' || !Number.isInteger(most) || most < 1 || most > TOP_MAX) {
    throw new QueryProblem(n.at, `the first argument of COLLECTTOP is a whole number from 1 to ${TOP_MAX}`, usage);
  }
  return top(call, usage, value, { most, one: false });
}
