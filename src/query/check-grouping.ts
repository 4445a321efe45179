import type { Expression, Item, Select, Window } from './ast.ts';
import { checkLength, KEYS_MAX } from './check-calls.ts';
import { familyOf } from './families.ts';
import { partsOf } from './parts.ts';
import { printExpression } from './printer.ts';
import { QueryProblem } from './problem.ts';
import { Sameness } from './sameness.ts';

/** Looks at GROUP BY: its windows, and that a select of groups gives out nothing that differs within one. */
export function checkGrouping(select: Select): void {
  const { items, from, joins, applies, groupBy, windows, having } = select;
  if (groupBy === null) return;
  if (windows.length === 0) {
    throw new QueryProblem(
      groupBy[0]!.at,
      'GROUP BY has no window',
      'a group of a stream needs an end: GROUP BY x, TumblingWindow(second, 10)',
    );
  }
  if (groupBy.length > KEYS_MAX)
    throw new QueryProblem(groupBy[KEYS_MAX]!.at, `GROUP BY has more than ${KEYS_MAX} columns`);
  if (windows.length > KEYS_MAX)
    throw new QueryProblem(windows[KEYS_MAX]!.at, `GROUP BY has more than ${KEYS_MAX} windows`);
  checkWindows(windows);

  const sameness = new Sameness(joins.length === 0 && applies.length === 0 ? from.alias : null);
  const keys = new Set(groupBy.map((column) => sameness.number(column)));
  // With a JOIN its condition carries the keys, and any side's may stand for them.
  for (const key of joins.length === 0 ? from.over : []) {
    if (keys.has(sameness.number(key))) continue;
    throw new QueryProblem(key.at, 'a key of TIMESTAMP BY .. OVER must stand in GROUP BY too', 'add it to GROUP BY');
  }
  const loneNames = new Set(groupBy.map(loneName));
  for (const item of items) {
    if (item.kind === 'all')
      throw new QueryProblem(item.at, '* cannot stand with GROUP BY', 'name the columns, or use Collect() or TopOne()');
    const hint = loneNames.has(item.name.toLowerCase())
      ? 'GROUP BY knows no names that the SELECT gives: write there what stands before AS'
      : TAKE_ONE;
    checkGrouped(item.expression, keys, sameness, hint);
  }
  if (having !== null) checkGrouped(having, keys, sameness, TAKE_ONE, columnsNamed(items));
}

/** The columns that HAVING may call by name: their places in the list, by their names in lower case. Keys of GROUP BY go before them. */
export function columnsNamed(items: readonly Item[]): ReadonlyMap<string, number> {
  return new Map(
    items.flatMap((item, index) => (item.kind === 'value' ? [[item.name.toLowerCase(), index] as const] : [])),
  );
}

/** The name, in lower case, that an expression consists of; null for all others. */
export function loneName(expression: Expression): string | null {
  return expression.kind === 'field' && expression.path.length === 1 ? expression.path[0]!.toLowerCase() : null;
}

const NO_COLUMNS: ReadonlyMap<string, number> = new Map();

const TAKE_ONE = 'add it to GROUP BY, or take one of its values: MIN, MAX, TopOne';

function checkGrouped(
  expression: Expression,
  keys: ReadonlySet<number>,
  sameness: Sameness,
  hint: string,
  columns = NO_COLUMNS,
): void {
  if (keys.has(sameness.number(expression))) return;
  if (expression.kind === 'call' && familyOf(expression) === 'aggregate') return;
  if (columns.has(loneName(expression) ?? '')) return;
  if (expression.kind === 'field') {
    const name = printExpression(expression);
    throw new QueryProblem(expression.at, `${name.length > 60 ? 'this field' : name} differs within a group`, hint);
  }
  for (const part of partsOf(expression)) checkGrouped(part, keys, sameness, hint, columns);
}

function checkWindows(windows: readonly Window[]): void {
  const ids = new Set<string>();
  for (const window of windows) {
    checkLengths(window);
    if ((window.id === null) !== (windows[0]!.id === null)) {
      throw new QueryProblem(
        window.at,
        'some windows have ids and some have none',
        "give each an id: Window('id', ..)",
      );
    }
    if (window.id === null) continue;
    if (ids.has(window.id.toLowerCase()))
      throw new QueryProblem(window.at, `two windows have the id '${window.id}'`, 'ids compare without case');
    ids.add(window.id.toLowerCase());
  }
}

function checkLengths(window: Window): void {
  switch (window.kind) {
    case 'tumbling':
      checkLength(window.size, "the window's size");
      if (window.offset !== null) checkLength(window.offset, 'the offset');
      break;
    case 'hopping':
      checkLength(window.size, "the window's size");
      checkLength(window.hop, 'the hop');
      if (window.offset !== null) checkLength(window.offset, 'the offset');
      break;
    case 'sliding':
      checkLength(window.size, "the window's size");
      break;
    case 'session':
      checkLength(window.timeout, 'the timeout');
      checkLength(window.max, 'the longest duration');
      break;
    case 'snapshot':
  }
}
