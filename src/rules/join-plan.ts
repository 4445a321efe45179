import type { Expression, Join } from '../query/ast.ts';
import { compile, condition, type Scope } from '../query/compile.ts';
import { QueryProblem } from '../query/problem.ts';
import { type JoinConditions, type JoinSource, conditionsOf, requireBounds } from './join-bounds.ts';
import { type JoinPlan, spreadsBehind } from './join.ts';
import type { ReferencePlan } from './reference-join.ts';
import type { Micros, Row } from './row.ts';

/** What a join joins to: one source, or all that were joined before. */
export interface JoinedSources {
  readonly sources: readonly JoinSource[];
  /** How much later than each of them a row can be. */
  readonly spreads: readonly Micros[];
}

/** What the names in an expression mean: in a row of all sources up to and with the right side, and in one of the right side alone. */
export interface JoinScopes {
  readonly pair: Scope<Row>;
  readonly right: Scope<Row>;
}

/** The first source of FROM, as the left side of the first join. */
export function firstSource(source: JoinSource): JoinedSources {
  return { sources: [source], spreads: [0] };
}

/** The plan for a join with another stream, and the left side of the join after it. Throws {@link QueryProblem}. */
export function planStreamJoin(
  join: Join,
  left: JoinedSources,
  scopes: JoinScopes,
): { readonly plan: JoinPlan; readonly joined: JoinedSources } {
  const right = { alias: join.source.alias, timed: true };
  const conditions = conditionsOf(join, left.sources, right);
  requireBounds(join, conditions, left.sources[0]?.alias ?? '');
  const { bounds } = conditions;
  const plan = { kind: join.kind, bounds, spreads: left.spreads, ...matchOf(conditions, scopes) };
  return { plan, joined: { sources: [...left.sources, right], spreads: spreadsBehind(bounds, left.spreads) } };
}

/** The plan for a join with a reference table, and the left side of the join after it. Throws {@link QueryProblem}. */
export function planReferenceJoin(
  join: Join,
  left: JoinedSources,
  scopes: JoinScopes,
): { readonly plan: ReferencePlan; readonly joined: JoinedSources } {
  const right = { alias: join.source.alias, timed: false };
  const conditions = conditionsOf(join, left.sources, right);
  if (conditions.equalities.length === 0) {
    const hint = `write ON ${left.sources[0]?.alias ?? ''}.id = ${right.alias}.id`;
    throw new QueryProblem(join.on.at, 'a reference table is joined by equality of a field of each side', hint);
  }
  const plan = { kind: join.kind, ...matchOf(conditions, scopes) };
  return { plan, joined: { sources: [...left.sources, right], spreads: [...left.spreads, 0] } };
}

function matchOf({ equalities, rest }: JoinConditions, scopes: JoinScopes): Pick<JoinPlan, 'keys' | 'condition'> {
  const keys = equalities.map(({ left, right }) => ({
    left: compile(left, scopes.pair),
    right: compile(right, scopes.right),
  }));
  const [first, ...others] = rest;
  if (first === undefined) return { keys, condition: null };
  const all = others.reduce<Expression>(
    (left, right) => ({ kind: 'binary', operator: 'and', left, right, at: left.at }),
    first,
  );
  return { keys, condition: condition(all, scopes.pair) };
}
