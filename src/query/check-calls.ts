import type { Duration, Expression, Over, Select } from './ast.ts';
import { isScalar, unknownFunction } from './call.ts';
import { familyOf, mayRun, needsOrder } from './families.ts';
import { partsOf } from './parts.ts';
import { QueryProblem } from './problem.ts';
import { DURATION_MAX_MICROS } from './units.ts';
import { Float } from './value.ts';

type Call = Expression & { kind: 'call' };

/** Most keys of one OVER, and of one GROUP BY. */
export const KEYS_MAX = 64;

/** What may stand in a part of a select. */
interface Place {
  readonly name: string;
  readonly aggregates: boolean;
  readonly analytic: boolean;
  readonly windowId: boolean;
  /** It is what an aggregate, or a function that looks back, is given. */
  readonly argument?: true;
}

/** Looks at each call of a select: whether it may stand there, and what stands in its OVER. */
export function checkCalls(select: Select): void {
  const { items, from, joins, applies, where, groupBy, windows, having } = select;
  const grouped = groupBy !== null;
  const rows: Place = { name: 'WHERE', aggregates: false, analytic: true, windowId: false };
  const ofGroups: Place = { name: 'SELECT with GROUP BY', aggregates: true, analytic: false, windowId: true };
  const plain = (name: string): Place => ({ name, aggregates: false, analytic: false, windowId: false });

  for (const source of [from, ...joins.map((join) => join.source)]) {
    const { timestampBy, over, partitionBy } = source;
    if (timestampBy !== null) check(timestampBy, plain('TIMESTAMP BY'));
    for (const key of over) check(key, plain('TIMESTAMP BY .. OVER'));
    if (partitionBy !== null) check(partitionBy, plain('PARTITION BY'));
  }
  for (const { on } of joins) check(on, plain('ON'));
  for (const { argument } of applies) check(argument, plain('APPLY'));
  for (const item of items) {
    if (item.kind === 'value')
      check(item.expression, grouped ? ofGroups : { ...rows, name: 'a SELECT without GROUP BY' });
  }
  if (where !== null) check(where, rows);
  for (const column of groupBy ?? []) check(column, plain('GROUP BY'));
  for (const window of windows) {
    if (window.kind === 'session') for (const key of window.partitionBy) check(key, plain('a window'));
  }
  if (having !== null)
    check(having, grouped ? { ...ofGroups, name: 'HAVING' } : { ...rows, name: 'HAVING without GROUP BY' });
}

function check(expression: Expression, place: Place): void {
  let inner = place;
  if (expression.kind === 'window id' && !place.windowId) {
    throw new QueryProblem(
      expression.at,
      `System.Window() cannot stand in ${place.name}`,
      'it stands in SELECT or HAVING of a GROUP BY with a window',
    );
  }
  if (expression.kind === 'call') {
    const family = familyOf(expression);
    // Before anything is said of its arguments: AVGG(v) lacks no key.
    const unknown = family === 'scalar' && !isScalar(expression.name) && expression.name !== 'system.timestamp';
    if (unknown) throw unknownFunction(expression);
    checkOver(expression);
    const name = expression.name.toUpperCase();
    if (family === 'aggregate') {
      if (!place.aggregates) throw misplacedAggregate(expression, place);
      inner = { name, aggregates: false, analytic: false, windowId: false, argument: true };
    } else if (family === 'analytic') {
      if (!place.analytic) {
        throw new QueryProblem(
          expression.at,
          `${name} over earlier events cannot stand in ${place.name}`,
          'work it out in a step of WITH: WITH step AS (SELECT ..) SELECT .. FROM step',
        );
      }
      inner = { name, aggregates: false, analytic: false, windowId: false, argument: true };
    }
  }
  for (const part of partsOf(expression)) check(part, inner);
}

function misplacedAggregate({ name, at }: Call, place: Place): QueryProblem {
  const upper = name.toUpperCase();
  if (place.argument === true)
    return new QueryProblem(at, `${upper} cannot stand in ${place.name}`, 'work it out in a step of WITH');
  if (place.name === 'WHERE')
    return new QueryProblem(at, `${upper} cannot stand in WHERE`, 'conditions on groups stand in HAVING');
  const hint = mayRun(name)
    ? `GROUP BY a window, or write ${upper}(..) OVER (LIMIT DURATION(unit, n))`
    : 'GROUP BY a window, or work it out in a step of WITH';
  return new QueryProblem(at, `${upper} cannot stand in ${place.name}`, hint);
}

function checkOver(call: Call): void {
  const { name, over, distinct, at } = call;
  const upper = name.toUpperCase();
  if (over !== null) {
    const keys = Math.max(over.partitionBy.length, over.orderBy.length);
    if (keys > KEYS_MAX) throw new QueryProblem(over.at, `more than ${KEYS_MAX} keys stand in one OVER`);
    if (over.limit !== null) checkLength(over.limit, 'LIMIT DURATION');
  }
  if (name === 'lag' || name === 'last') {
    if (over === null || over.limit === null) {
      throw new QueryProblem(
        at,
        `${upper} needs to know how far back it may look`,
        `write ${upper}(x) OVER (LIMIT DURATION(unit, n))`,
      );
    }
    refuse(over, ['orderBy'], upper);
  } else if (name === 'isfirst') {
    if (over !== null) refuse(over, ['orderBy', 'limit'], upper);
  } else if (familyOf(call) === 'analytic') {
    if (!mayRun(name))
      throw new QueryProblem(over!.at, `${upper} has no form with LIMIT DURATION`, 'GROUP BY a sliding window');
    if (distinct)
      throw new QueryProblem(
        at,
        `DISTINCT is not supported in ${upper} with LIMIT DURATION`,
        'GROUP BY a sliding window',
      );
    checkOrder(call, upper);
  } else if (familyOf(call) === 'aggregate') {
    if (over !== null && !needsOrder(name)) {
      throw new QueryProblem(
        over.at,
        `OVER of ${upper} needs LIMIT DURATION`,
        'write OVER (LIMIT DURATION(unit, n)), or GROUP BY a window without OVER',
      );
    }
    if (over !== null) refuse(over, ['partitionBy', 'when'], `${upper} without LIMIT DURATION`);
    checkOrder(call, upper);
  } else if (over !== null) {
    throw new QueryProblem(over.at, `${upper} takes no OVER`, 'only aggregates, LAG, LAST and ISFIRST do');
  }
  checkConstants(call, upper);
}

function checkOrder({ name, over, at }: Call, upper: string): void {
  if (!needsOrder(name)) {
    if (over !== null) refuse(over, ['orderBy'], upper);
    return;
  }
  const keys = over?.orderBy.length ?? 0;
  if (keys === 0) throw new QueryProblem(at, `${upper} needs an order`, `write ${upper}(..) OVER (ORDER BY x)`);
  if (keys > 1 && name.startsWith('percentile'))
    throw new QueryProblem(over!.orderBy[1]!.expression.at, `${upper} takes one key`);
}

const CLAUSES = { partitionBy: 'PARTITION BY', orderBy: 'ORDER BY', limit: 'LIMIT DURATION', when: 'WHEN' } as const;

function refuse(over: Over, clauses: readonly (keyof typeof CLAUSES)[], what: string): void {
  for (const clause of clauses) {
    const value = over[clause];
    if (value === null || (Array.isArray(value) && value.length === 0)) continue;
    throw new QueryProblem(over.at, `OVER of ${what} takes no ${CLAUSES[clause]}`);
  }
}

function checkConstants({ name, args }: Call, upper: string): void {
  const [first] = args;
  if (first === undefined) return;
  const value = first.kind !== 'literal' ? null : first.value instanceof Float ? first.value.value : first.value;
  if (name.startsWith('percentile_') && !(typeof value === 'number' && value >= 0 && value <= 1)) {
    throw new QueryProblem(first.at, `the first argument of ${upper} is a constant from 0 to 1`);
  }
  if (
    name === 'collecttop' &&
    !(first.kind === 'literal' && typeof first.value === 'number' && Number.isInteger(first.value) && first.value > 0)
  ) {
    throw new QueryProblem(first.at, `the first argument of ${upper} is a whole constant of at least 1`);
  }
}

/** Windows and the like are at most 7 days long. */
export function checkLength(length: Duration, what: string): void {
  if (Math.abs(length.micros) <= DURATION_MAX_MICROS) return;
  throw new QueryProblem(length.at, `${what} is longer than 7 days`);
}
