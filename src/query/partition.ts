import type { Expression, Join, Script, Select, Source, Window } from './ast.ts';
import { familyOf } from './families.ts';
import { visit } from './parts.ts';
import { QueryProblem } from './problem.ts';
import { rewrite } from './rewriting.ts';
import { Sameness } from './sameness.ts';

/*
 * PARTITION BY of a source: the select runs separately for each value of the key. All that a select has across events is in its
 * groups, its sessions, its functions that look back and its joins; so the key becomes one more key of each of these, and nothing
 * behind the parser needs to know of partitions.
 */

type Call = Expression & { kind: 'call' };

/** In lower case, the field in which the cloud says by which partition of its hub an event came. Inputs here have one: nothing to part by. */
export const HUB_PARTITION = 'partitionid';

/** The script with the keys of PARTITION BY where they have an effect. Throws a {@link QueryProblem} for a key that is none. */
export function partitioned(script: Script): Script {
  const steps = script.steps.map((step) => ({ ...step, query: { ...step.query, selects: all(step.query.selects) } }));
  return { ...script, steps, selects: script.selects.map((query) => ({ ...query, selects: all(query.selects) })) };
}

function all(selects: readonly Select[]): readonly Select[] {
  return selects.map(partitionedSelect);
}

function partitionedSelect(select: Select): Select {
  const { from, joins, applies } = select;
  const sources = [from, ...joins.map(({ source }) => source)];
  const alone = joins.length === 0 && applies.length === 0;
  const keys = new Map<Source, Expression>();
  for (const source of sources) {
    const key = keyOf(source, alone);
    if (key !== null) keys.set(source, key);
  }
  // Any of them stands for all: partitioned sources are joined by equal keys.
  const [first] = keys.values();
  if (first === undefined) return select;
  const sameness = new Sameness(alone ? from.alias : null);
  const withKey = (known: readonly Expression[], key: Expression): readonly Expression[] =>
    known.some((other) => sameness.number(other) === sameness.number(key)) ? known : [...known, key];
  const go = (expression: Expression): Expression =>
    rewrite(expression, (part) => {
      if (part.kind !== 'call' || familyOf(part) !== 'analytic') return null;
      const source = sourceOfCall(part, sources);
      const key = source && keys.get(source);
      return key === undefined ? part : lookingBack(part, (known) => withKey(known, key));
    });
  return {
    ...select,
    items: select.items.map((item) => (item.kind === 'all' ? item : { ...item, expression: go(item.expression) })),
    joins: joins.map((join) => joined(join, first, keys.get(join.source), sameness)),
    where: select.where && go(select.where),
    groupBy: select.groupBy && withKey(select.groupBy, first),
    windows: select.windows.map((window): Window =>
      window.kind === 'session' ? { ...window, partitionBy: withKey(window.partitionBy, first) } : window,
    ),
    having: select.having && go(select.having),
  };
}

/** The key of a source as the rest of its select can write it; null without one. */
function keyOf({ alias, partitionBy }: Source, alone: boolean): Expression | null {
  if (partitionBy === null) return null;
  const own = alias.toLowerCase();
  visit(partitionBy, (part) => {
    if (part.kind !== 'call' || part.name !== 'system.timestamp') return;
    throw new QueryProblem(part.at, 'PARTITION BY takes no System.Timestamp()', 'name a field of the event');
  });
  const key = rewrite(partitionBy, (part) => {
    if (part.kind !== 'field') return null;
    const [name] = part.path;
    const named = name!.toLowerCase() === own;
    // A lone name here is a field; elsewhere an alias means the whole event, and with several sources a field needs one.
    return (named && part.path.length > 1) || (alone && !named) ? part : { ...part, path: [alias, ...part.path] };
  });
  const path = key.kind === 'field' ? key.path.map((name) => name.toLowerCase()) : [];
  const isHubs = path.at(-1) === HUB_PARTITION && (path.length === 1 || (path.length === 2 && path[0] === own));
  return isHubs ? null : key;
}

/** The source whose events a call looks back at: that of its fields. Where nobody can tell, the planner refuses the call. */
function sourceOfCall(call: Call, sources: readonly Source[]): Source | undefined {
  if (sources.length === 1) return sources[0]!;
  let found: Source | undefined;
  visit(call, (part) => {
    if (part.kind !== 'field') return;
    found ??= sources.find(({ alias }) => alias.toLowerCase() === part.path[0]!.toLowerCase());
  });
  return found;
}

/** The call with other keys in its OVER. Only ISFIRST can do without one; what else lacks it is refused later, as it was written. */
function lookingBack(call: Call, keysOf: (known: readonly Expression[]) => readonly Expression[]): Call {
  const { over, name, at } = call;
  if (over !== null) return { ...call, over: { ...over, partitionBy: keysOf(over.partitionBy) } };
  if (name !== 'isfirst') return call;
  return { ...call, over: { partitionBy: keysOf([]), orderBy: [], limit: null, when: null, at } };
}

/** The join with the equality of both keys, where its source has one and is not the first that has. */
function joined(join: Join, first: Expression, key: Expression | undefined, sameness: Sameness): Join {
  if (key === undefined || key === first) return join;
  const equal = (left: Expression, right: Expression): Expression & { kind: 'binary' } => {
    return { kind: 'binary', operator: '=', left, right, at: key.at };
  };
  const numbers = [equal(first, key), equal(key, first)].map((either) => sameness.number(either));
  if (holdsFor(join.on, (part) => numbers.includes(sameness.number(part)))) return join;
  return { ...join, on: { kind: 'binary', operator: 'and', left: join.on, right: equal(first, key), at: join.on.at } };
}

/** Whether one of the conditions that an expression joins by AND is such. */
function holdsFor(on: Expression, such: (part: Expression) => boolean): boolean {
  if (on.kind !== 'binary' || on.operator !== 'and') return such(on);
  return holdsFor(on.left, such) || holdsFor(on.right, such);
}
