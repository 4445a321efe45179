import type { Expression } from '../query/ast.ts';
import type { Evaluate, Scope } from '../query/compile.ts';
import { fromMicros } from '../query/datetime.ts';
import { pathReader, setField } from '../query/field.ts';
import { QueryProblem, type Offset } from '../query/problem.ts';
import type { Value } from '../query/value.ts';
import { placeheld } from '../query/rewriting.ts';
import type { Row } from './row.ts';

/** A source as the rest of its select knows it; its place in a row is its place in the list. */
export interface Named {
  readonly alias: string;
  /** Whether the alias was given with AS: then it alone means the whole event. */
  readonly given: boolean;
  /** Whether it was made by APPLY: a name without an alias is then looked for elsewhere. */
  readonly applied: boolean;
  /** What it has, in lower case, where that is known: these names are found without the alias, too. */
  readonly columns?: ReadonlySet<string>;
}

/** What expressions mean that are worked out from a row. */
export function rowScope(sources: readonly Named[]): Scope<Row> {
  return {
    field: (path, at) => {
      const held = placeheld(path);
      if (held !== null) return (row) => row.analytic[held.number] ?? null;
      const { index, rest } = sourceOf(sources, path, at);
      const read = pathReader(rest);
      return (row) => read(row.sources[index] as Value);
    },
    call: (call) => (isTimestamp(call) ? (row) => fromMicros(row.time) : null),
  };
}

/** Where a path of names leads: into which of the sources, and on from there. */
export function sourceOf(
  sources: readonly Named[],
  path: readonly string[],
  at: Offset,
): { readonly index: number; readonly rest: readonly string[] } {
  const first = path[0]!.toLowerCase();
  const index = sources.findIndex(({ alias }) => alias.toLowerCase() === first);
  if (index >= 0 && (path.length > 1 || sources[index]!.given)) return { index, rest: path.slice(1) };
  const having = sources.filter(({ columns }) => columns?.has(first) === true);
  if (having.length === 1) return { index: sources.indexOf(having[0]!), rest: path };
  if (having.length > 1) {
    const all = having.map(({ alias }) => `${alias}.${path[0]}`).join(' or ');
    throw new QueryProblem(at, `${path[0]} may be of any of the APPLYs`, `write ${all}`);
  }
  const streams = sources.filter(({ applied }) => !applied);
  if (streams.length === 1) return { index: 0, rest: path };
  const aliases = sources.map(({ alias }) => `${alias}.${path[0]}`).join(' or ');
  throw new QueryProblem(at, `${path[0]} may be of any of the joined sources`, `write ${aliases}`);
}

/** The event itself; of several sources a record of each event by its alias. */
export function wholeEvent(sources: readonly Named[]): Evaluate<Row> {
  if (sources.length === 1) return (row) => row.sources[0] as Value;
  return (row) => {
    const whole: Record<string, Value> = {};
    for (const [index, { alias }] of sources.entries()) setField(whole, alias, row.sources[index] as Value);
    return whole;
  };
}

export function isTimestamp(call: Expression): boolean {
  return call.kind === 'call' && call.name === 'system.timestamp';
}
