import type { Expression, Script, Select, Source } from './ast.ts';
import { queriesOf } from './inputs.ts';
import { visit } from './parts.ts';
import { HUB_PARTITION } from './partition.ts';
import { QueryProblem } from './problem.ts';

/** What is allowed in a script, but probably not what its writer expects, in the order of the text. None of them is thrown. */
export function queryWarnings(script: Script): readonly QueryProblem[] {
  const selects = queriesOf(script).flatMap((query) => query.selects);
  const knowledge = new Knowledge(script, selects);
  return selects
    .flatMap((select) => [...hubPartitionInOn(select), ...aliasesTaken(select, knowledge)])
    .sort((a, b) => a.at - b.at);
}

/** `SELECT a AS q .. WHERE q = 1` asks for a field q, which no event may have: then no row comes, and nothing says why. GROUP BY is like it. */
function aliasesTaken(select: Select, knowledge: Knowledge): QueryProblem[] {
  const given = namesGiven(select);
  const warned = new Map<string, QueryProblem>();
  for (const [clause, expression] of clausesOf(select)) {
    visit(expression, (part) => {
      if (part.kind !== 'field') return;
      const [name] = part.path as readonly [string];
      const lower = name.toLowerCase();
      if (!given.has(lower) || warned.has(lower) || isAliasOf(select, part)) return;
      if (sourcesOf(select).some((source) => knowledge.has(source.name, lower))) return;
      warned.set(
        lower,
        new QueryProblem(
          part.at,
          `${clause} reads a field ${name} of ${select.from.name}, and not the ${name} that this SELECT gives`,
          `write there what stands before AS ${name}, or ask in a step behind it`,
        ),
      );
    });
  }
  return [...warned.values()];
}

/** In the cloud a hub gives each event the number of its partition, and joins of partitioned inputs compare it. */
function hubPartitionInOn(select: Select): QueryProblem[] {
  const isHubs = (part: Expression): boolean =>
    part.kind === 'field' && part.path.at(-1)!.toLowerCase() === HUB_PARTITION;
  if (!sourcesOf(select).some(({ partitionBy }) => partitionBy !== null && isHubs(partitionBy))) return [];
  return select.joins.flatMap(({ on }) => {
    const found: QueryProblem[] = [];
    visit(on, (part) => {
      if (found.length > 0 || !isHubs(part)) return;
      found.push(
        new QueryProblem(
          part.at,
          'inputs here have one partition: PartitionId is NULL where the events have no such field, and NULL matches nothing',
          'leave it out of ON',
        ),
      );
    });
    return found;
  });
}

/** What a script itself says that its inputs and steps have. */
class Knowledge {
  readonly #script: Script;
  /** The names that are read of a source, by its name. */
  readonly #read = new Map<string, Set<string>>();
  /** By the name of a field, the names of the sources that have it. */
  readonly #having = new Map<string, ReadonlySet<string>>();

  constructor(script: Script, selects: readonly Select[]) {
    this.#script = script;
    for (const select of selects) {
      const names = namesRead(select);
      for (const { name } of sourcesOf(select)) {
        const read = this.#read.get(name.toLowerCase()) ?? new Set();
        for (const one of names) read.add(one);
        this.#read.set(name.toLowerCase(), read);
      }
    }
  }

  /** Whether a source has a field, `name` in lower case: it is declared, a step gives it, or some part of the script reads it. */
  has(source: string, name: string): boolean {
    const known = this.#having.get(name) ?? this.#sourcesWith(name);
    this.#having.set(name, known);
    return known.has(source.toLowerCase());
  }

  /** A step comes after what it reads, so that once through is enough. */
  #sourcesWith(name: string): ReadonlySet<string> {
    const having = new Set<string>();
    for (const [source, read] of this.#read) if (read.has(name)) having.add(source);
    for (const table of this.#script.tables) {
      if (table.columns.some((column) => column.name.toLowerCase() === name)) having.add(table.name.toLowerCase());
    }
    for (const step of this.#script.steps) {
      const gives = step.query.selects.some((select) =>
        select.items.some((item) => {
          if (item.kind === 'value') return item.name.toLowerCase() === name;
          return sourcesOf(select).some((source) => having.has(source.name.toLowerCase()));
        }),
      );
      if (gives) having.add(step.name.toLowerCase());
    }
    return having;
  }
}

function sourcesOf({ from, joins }: Select): readonly Source[] {
  return [from, ...joins.map(({ source }) => source)];
}

/** The names that a select gives its columns, in lower case. */
function namesGiven({ items }: Select): ReadonlySet<string> {
  return new Set(items.flatMap((item) => (item.kind === 'value' ? [item.name.toLowerCase()] : [])));
}

/** The clauses that know no names of columns: HAVING does with GROUP BY, and is another WHERE without. */
function clausesOf({ where, having, groupBy }: Select): readonly (readonly [string, Expression])[] {
  const clauses = (groupBy ?? []).map((key): readonly [string, Expression] => ['GROUP BY', key]);
  if (where !== null) clauses.unshift(['WHERE', where]);
  if (having !== null && groupBy === null) clauses.push(['HAVING', having]);
  return clauses;
}

/** Whether a field is named by a source or an APPLY: `a.q`. */
function isAliasOf(select: Select, { path }: Expression & { kind: 'field' }): boolean {
  const first = path[0]!.toLowerCase();
  return (
    path.length > 1 && [...sourcesOf(select), ...select.applies].some(({ alias }) => alias.toLowerCase() === first)
  );
}

/** The first names of all fields that a select reads, without aliases; where it could mean a column by mistake, those that it does not give itself. */
function namesRead(select: Select): ReadonlySet<string> {
  const { items, joins, applies } = select;
  const names = new Set<string>();
  const given = namesGiven(select);
  const read = (expression: Expression, asked: boolean): void =>
    visit(expression, (part) => {
      if (part.kind !== 'field') return;
      const named = isAliasOf(select, part);
      const name = part.path[named ? 1 : 0]!.toLowerCase();
      if (named || !asked || !given.has(name)) names.add(name);
    });
  for (const item of items) if (item.kind === 'value') read(item.expression, false);
  for (const { timestampBy, over, partitionBy } of sourcesOf(select)) {
    for (const key of [timestampBy, partitionBy, ...over]) if (key !== null) read(key, false);
  }
  for (const { on } of joins) read(on, false);
  for (const { argument } of applies) read(argument, false);
  for (const [, expression] of clausesOf(select)) read(expression, true);
  return names;
}
