import type { Expression } from './ast.ts';

type Call = Expression & { kind: 'call' };

/** Functions over the events of a group. */
const AGGREGATES: ReadonlySet<string> = new Set([
  'count',
  'sum',
  'avg',
  'min',
  'max',
  'stdev',
  'stdevp',
  'var',
  'varp',
  'percentile_cont',
  'percentile_disc',
  'collect',
  'collecttop',
  'topone',
]);

/** Aggregates that may also run over the last events of a stream: `f(x) OVER (... LIMIT DURATION(...))`. */
const RUNNING: ReadonlySet<string> = new Set(['sum', 'avg', 'min', 'max', 'count', 'collect', 'collecttop', 'topone']);

/** Functions over earlier events of a stream. */
const LOOKING_BACK: ReadonlySet<string> = new Set(['lag', 'last', 'isfirst']);

/** Aggregates for which an order is all. */
const ORDERED: ReadonlySet<string> = new Set(['percentile_cont', 'percentile_disc', 'collecttop', 'topone']);

/**
 * What a call works on: an event alone, a group of events (an aggregate), or earlier events of the stream (analytic: LAG, LAST,
 * ISFIRST, and aggregates with LIMIT DURATION in their OVER).
 */
export function familyOf(call: Call): 'scalar' | 'aggregate' | 'analytic' {
  if (LOOKING_BACK.has(call.name)) return 'analytic';
  if (!AGGREGATES.has(call.name)) return 'scalar';
  return call.over !== null && call.over.limit !== null ? 'analytic' : 'aggregate';
}

/** Whether `name` (in lower case) is an aggregate that has a form over the last events of a stream. */
export function mayRun(name: string): boolean {
  return RUNNING.has(name);
}

/** Whether `name` (in lower case) needs ORDER BY in its OVER. */
export function needsOrder(name: string): boolean {
  return ORDERED.has(name);
}
