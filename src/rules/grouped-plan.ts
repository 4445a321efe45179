import type { Expression, Select } from '../query/ast.ts';
import { columnsNamed, loneName } from '../query/check-grouping.ts';
import { aggregateOf, type Aggregate } from '../query/aggregates.ts';
import { compile, condition, type Evaluate, type Scope } from '../query/compile.ts';
import { fromMicros } from '../query/datetime.ts';
import { QueryProblem } from '../query/problem.ts';
import { Sameness } from '../query/sameness.ts';
import type { Account } from './account.ts';
import { columns } from './columns.ts';
import type { Sink } from './fan-out.ts';
import type { Aggregated } from './group.ts';
import { Grouping, type Grouped, type GroupingWindow, type Result } from './grouping.ts';
import { HoppingWindow } from './hopping.ts';
import { placeheld, placeholder, rewrite } from '../query/rewriting.ts';
import type { Row } from './row.ts';
import { isTimestamp, wholeEvent, type Named } from './scope.ts';
import { SessionWindow } from './session.ts';
import { SlidingWindow } from './sliding.ts';
import type { OpenWindow } from './window.ts';

/** Most windows that one event may lie in: each keeps it for itself. */
const OVERLAP_MAX = 10_000;

/**
 * A select with GROUP BY. Its keys and aggregates are worked out from rows, once each however often they are named; its list and its
 * HAVING from those.
 */
export function planGrouping(
  select: Select,
  scope: Scope<Row>,
  sources: readonly Named[],
  next: Sink,
  account: Account,
): Grouping {
  const alias = sources.length === 1 ? sources[0]!.alias : null;
  const whole = wholeEvent(sources);
  const sameness = new Sameness(alias);
  const keyNumbers = (select.groupBy ?? []).map((key) => sameness.number(key));
  const aggregates: { readonly same: number; readonly aggregate: Aggregate; readonly grows: boolean }[] = [];

  const rewritten = (expression: Expression): Expression =>
    rewrite(expression, (part) => {
      // Beside a window the timestamp is that of the result, also where it is a key.
      if (part.kind === 'literal' || isTimestamp(part)) return part;
      const key = keyNumbers.indexOf(sameness.number(part));
      if (key >= 0) return placeholder('key', key, part.at);
      const aggregate = part.kind === 'call' ? aggregateOf(part) : null;
      if (aggregate === null) return null;
      const same = sameness.number(part);
      let number = aggregates.findIndex((known) => known.same === same);
      if (number < 0) number = aggregates.push({ same, aggregate, grows: growing(part as Call) }) - 1;
      return placeholder('aggregate', number, part.at);
    });

  // In HAVING a name that is neither a key nor within an aggregate can only be that of a column.
  const named = columnsNamed(select.items);
  const withColumns = (expression: Expression): Expression =>
    rewrite(expression, (part) => {
      const kept = keyNumbers.includes(sameness.number(part)) || (part.kind === 'call' && aggregateOf(part) !== null);
      const column = named.get(loneName(part) ?? '');
      return kept ? part : column === undefined ? null : placeholder('column', column, part.at);
    });
  // Each is made once, however often it is named.
  const readers = new Map<number, Evaluate<Result>>();
  const columnAt = (index: number): Evaluate<Result> => {
    const item = select.items[index]!;
    const reader = readers.get(index) ?? (item.kind === 'value' ? compile(rewritten(item.expression), results) : null);
    if (reader === null) throw new Error('a star has no name');
    readers.set(index, reader);
    return reader;
  };

  const results = resultScope(columnAt);
  const made = columns(
    select.items,
    results,
    ({ at }) => {
      throw new QueryProblem(
        at,
        '* stands beside GROUP BY',
        'name the columns, or write Collect() for the events themselves',
      );
    },
    rewritten,
  );
  const having = select.having && condition(rewritten(withColumns(select.having)), results);
  const compiled = (expressions: readonly Expression[]): Evaluate<Row>[] =>
    expressions.map((expression) => compile(expression, scope));
  const grouped: Grouped = {
    where: select.where && condition(select.where, scope),
    keys: compiled(select.groupBy ?? []),
    args: aggregates.map(({ aggregate: { inputs, whole: takesWhole } }) => [
      ...(takesWhole ? [whole] : []),
      ...compiled(inputs),
    ]),
    checks: aggregates.map(
      ({ aggregate }) =>
        (values) =>
          aggregate.check(values),
    ),
    partitions: select.windows.map((window) => (window.kind === 'session' ? compiled(window.partitionBy) : [])),
    having,
    columns: made,
  };
  const aggregated = aggregates.map(({ aggregate, grows }): Aggregated => ({
    create: (removable) => aggregate.create(removable),
    grows,
  }));
  const windows = select.windows.map((_, number): GroupingWindow => {
    return { id: select.windows[number]!.id, open: openWindow(select, number, aggregated, account) };
  });
  return new Grouping(grouped, windows, next, account);
}

type Call = Expression & { kind: 'call' };

/** Aggregates that remember each event, each different one, or the first ones. */
function growing({ name, distinct }: Call): boolean {
  return distinct || name === 'topone' || name.startsWith('collect') || name.startsWith('percentile');
}

function openWindow(select: Select, number: number, aggregated: readonly Aggregated[], account: Account): OpenWindow {
  const window = select.windows[number]!;
  switch (window.kind) {
    case 'tumbling': {
      const size = window.size.micros;
      return new HoppingWindow(size, size, window.offset?.micros ?? 0, aggregated, account);
    }
    case 'hopping': {
      const { size, hop, offset } = window;
      if (size.micros / hop.micros > OVERLAP_MAX) {
        const most = `a hop of at least ${Math.ceil(size.micros / OVERLAP_MAX)} microseconds`;
        throw new QueryProblem(
          hop.at,
          `an event would lie in more than ${OVERLAP_MAX} windows`,
          `this size allows ${most}`,
        );
      }
      return new HoppingWindow(size.micros, hop.micros, offset?.micros ?? 0, aggregated, account);
    }
    case 'sliding':
      return new SlidingWindow(window.size.micros, aggregated, account);
    case 'session':
      return new SessionWindow(window.timeout.micros, window.max.micros, number, aggregated, account);
    case 'snapshot':
      return new HoppingWindow(1, 1, 0, aggregated, account);
  }
}

function resultScope(columnAt: (index: number) => Evaluate<Result>): Scope<Result> {
  return {
    field: (path, at) => {
      const held = placeheld(path);
      if (held?.kind === 'key') return ({ group }) => group.keys[held.number]!;
      if (held?.kind === 'aggregate') return ({ group }) => group.aggregates[held.number]!.result();
      if (held?.kind === 'column') return columnAt(held.number);
      const name = path.join('.');
      throw new QueryProblem(
        at,
        `${name} is neither a key of GROUP BY nor inside an aggregate`,
        `add ${name} to GROUP BY, or write Max(${name})`,
      );
    },
    call: (call) => {
      if (call.kind === 'window id') return ({ windowId }) => windowId;
      return isTimestamp(call) ? ({ end }) => fromMicros(end) : null;
    },
  };
}
