import type { MessageView } from './message-view.ts';
import type { Condition, RouteSink, RouteSource } from './route-ast.ts';
import { compiled, type Evaluate } from './route-condition.ts';
import { parseRouteText } from './route-parser.ts';
import { checkCondition, type RouteWarning } from './route-types.ts';

/** A route that messages can be held against. */
export interface Route {
  readonly text: string;
  readonly source: RouteSource;
  readonly sink: RouteSink;
  /** Where the sink's name stands in the text. */
  readonly sinkAt: number;
  readonly condition: Condition | null;
  /** The condition of a message; null: every message of the source is meant. It goes through on true alone. */
  readonly evaluate: Evaluate | null;
  /** Messages of no other child go through: the condition says `$connectionDeviceId = '...'`. Null: it does not say so. */
  readonly onlyChild: string | null;
  /** What is allowed and probably not meant. */
  readonly warnings: readonly RouteWarning[];
}

/** Reads a route of IoT Edge's grammar (and our sink for children). Throws a `QueryProblem`; takes time in proportion to its length. */
export function readRoute(text: string): Route {
  const { condition, ...parsed } = parseRouteText(text);
  const warnings: RouteWarning[] = [];
  if (condition !== null) checkCondition(condition, warnings);
  const evaluate = condition === null ? null : compiled(condition);
  return {
    text,
    ...parsed,
    condition,
    evaluate,
    onlyChild: condition === null ? null : onlyChildOf(condition),
    warnings,
  };
}

function onlyChildOf(condition: Condition): string | null {
  if (condition.kind !== 'chain') return null;
  const { first, rest } = condition;
  const { operator, operand } = rest[0]!;
  if (operator === 'and') {
    const parts = [first, ...rest.map((link) => link.operand)];
    return parts.map(onlyChildOf).find((child) => child !== null) ?? null;
  }
  if (operator !== '=' || rest.length > 1) return null;
  const literal = first.kind === 'literal' ? first : operand;
  const other = first.kind === 'literal' ? operand : first;
  const isChild = other.kind === 'system' && other.name.toLowerCase() === 'connectiondeviceid';
  return isChild && literal.kind === 'literal' && typeof literal.value === 'string' ? literal.value : null;
}

/** A route of the configuration. */
export interface NamedRoute {
  readonly name: string;
  readonly route: Route;
  /** 0 (first) to 9; absent: after 9. */
  readonly priority?: number | undefined;
  /** Absent: the gateway's own. */
  readonly timeToLiveSecs?: number | undefined;
}

/** Whether a message goes by this route; its source has been looked at. */
export function lets(route: Route, view: MessageView): boolean {
  return route.evaluate === null || route.evaluate(view) === true;
}

/** What two routes have in common that lead to the same place. */
export function sinkKey(sink: RouteSink): string {
  if (sink.kind === 'upstream') return '$upstream';
  return sink.kind === 'module'
    ? `/modules/${sink.module}/inputs/${sink.input}`
    : `/children/${sink.child}/inputs/${sink.input}`;
}
