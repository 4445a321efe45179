import type { Expression, Item, Query, Script, Select, Source } from './ast.ts';
import { checkCalls } from './check-calls.ts';
import { checkGrouping } from './check-grouping.ts';
import { checkRows } from './check-rows.ts';
import { familyOf } from './families.ts';
import { inputsOf, queriesOf, sourcesOf } from './inputs.ts';
import { nearest } from './nearest.ts';
import { visit } from './parts.ts';
import { QueryProblem } from './problem.ts';
import { Sameness } from './sameness.ts';

/** Throws a {@link QueryProblem} for the first thing in a script that has a form but no meaning. */
export function checkScript(script: Script): void {
  checkSteps(script);
  checkTables(script);
  checkTimes(script);
  for (const query of queriesOf(script)) {
    for (const select of query.selects) checkSelect(select);
    checkUnion(query);
  }
  checkRows(script);
}

/** A step sees inputs and the steps before it. */
function checkSteps(script: Script): void {
  const all = new Set(script.steps.map(({ name }) => name.toLowerCase()));
  const before = new Set<string>();
  for (const { name, query, at } of script.steps) {
    if (before.has(name.toLowerCase())) {
      throw new QueryProblem(
        at,
        `two steps are called ${name}`,
        'names of steps compare without case: give one another name',
      );
    }
    for (const source of sourcesOf(query)) {
      const lower = source.name.toLowerCase();
      if (!all.has(lower) || before.has(lower)) continue;
      if (lower === name.toLowerCase())
        throw new QueryProblem(source.at, `the step ${name} reads itself`, 'there is no recursion');
      throw new QueryProblem(source.at, `${source.name} is a later step`, 'a step sees inputs and the steps before it');
    }
    before.add(name.toLowerCase());
  }
}

function checkTables(script: Script): void {
  const inputs = inputsOf(script);
  const known = new Set(inputs.map((name) => name.toLowerCase()));
  const seen = new Set<string>();
  for (const { name, columns, at } of script.tables) {
    const lower = name.toLowerCase();
    if (seen.has(lower)) throw new QueryProblem(at, `there are two tables ${name}`);
    seen.add(lower);
    if (!known.has(lower)) {
      const meant = nearest(name, inputs);
      throw new QueryProblem(
        at,
        `no SELECT reads ${name}`,
        meant === undefined ? 'CREATE TABLE declares the columns of an input' : `did you mean ${meant}?`,
      );
    }
    const names = new Set<string>();
    for (const column of columns) {
      if (names.has(column.name.toLowerCase()))
        throw new QueryProblem(column.at, `there are two columns ${column.name}`);
      names.add(column.name.toLowerCase());
    }
  }
}

/** An input has one timeline, whoever reads it. */
function checkTimes(script: Script): void {
  const steps = new Set(script.steps.map(({ name }) => name.toLowerCase()));
  const numbers = new Map<string, number>();
  const times = new Map<string, string>();
  const timeless = timelessSources(script);
  for (const source of queriesOf(script).flatMap(sourcesOf)) {
    const lower = source.name.toLowerCase();
    const { timestampBy, over, alias } = source;
    if (steps.has(lower)) {
      if (timestampBy === null) continue;
      throw new QueryProblem(
        timestampBy.at,
        'the rows of a step have their time already',
        'put TIMESTAMP BY behind the input that the step reads',
      );
    }
    if (timeless.has(source)) continue;
    const sameness = new Sameness(alias, numbers);
    const keys = over.map((key) => sameness.number(key)).sort((a, b) => a - b);
    const time = `${timestampBy === null ? '' : sameness.number(timestampBy)} ${keys.join(' ')}`;
    const first = times.get(lower) ?? time;
    times.set(lower, first);
    if (first !== time) {
      throw new QueryProblem(
        timestampBy?.at ?? source.at,
        `${source.name} is read by two different times`,
        'write the same TIMESTAMP BY wherever the input is read',
      );
    }
    if (timestampBy !== null) checkTimestamp(source);
  }
}

/**
 * What is read only to be passed on: `SELECT * INTO raw FROM input` means the same whatever the time of its events is, and need not
 * repeat the TIMESTAMP BY of another SELECT.
 */
function timelessSources(script: Script): ReadonlySet<Source> {
  const selects = script.selects.flatMap((query) => query.selects);
  const timeless = selects.filter(({ items, from, joins, where, groupBy, having }) => {
    if (from.timestampBy !== null || joins.length > 0 || groupBy !== null) return false;
    const columns = items.flatMap((item) => (item.kind === 'value' ? [item.expression] : []));
    return ![...columns, where, having].some((expression) => expression !== null && asksForTime(expression));
  });
  return new Set(timeless.map(({ from }) => from));
}

function asksForTime(expression: Expression): boolean {
  let found = false;
  visit(expression, (part) => {
    if (part.kind === 'call' && (part.name === 'system.timestamp' || familyOf(part) === 'analytic')) found = true;
  });
  return found;
}

function checkTimestamp({ timestampBy, over }: Source): void {
  for (const expression of [...(timestampBy === null ? [] : [timestampBy]), ...over]) {
    visit(expression, (part) => {
      if (part.kind !== 'call' || part.name !== 'system.timestamp') return;
      throw new QueryProblem(
        part.at,
        'TIMESTAMP BY says what System.Timestamp() is, and cannot use it',
        'name a field of the event',
      );
    });
  }
}

function checkSelect(select: Select): void {
  const { from, joins, applies, items } = select;
  const aliases = new Set<string>();
  for (const { alias, at } of [from, ...joins.map(({ source }) => source), ...applies]) {
    if (aliases.has(alias.toLowerCase()))
      throw new QueryProblem(at, `two sources are called ${alias}`, 'give one of them an alias: AS b');
    aliases.add(alias.toLowerCase());
  }
  checkColumns(items);
  if (joins.length > 0) checkStars(select, aliases);
  checkCalls(select);
  checkGrouping(select);
}

/** With several sources, it must be said of which all fields are meant. */
function checkStars({ items }: Select, aliases: ReadonlySet<string>): void {
  for (const item of items) {
    if (item.kind !== 'all') continue;
    const [first] = item.path;
    if (first === undefined)
      throw new QueryProblem(item.at, '* is ambiguous with a JOIN', 'write a.*, b.* with the aliases of the sources');
    if (aliases.has(first.toLowerCase())) continue;
    const meant = nearest(first, aliases);
    throw new QueryProblem(
      item.at,
      `${first} is no source of this SELECT`,
      meant === undefined ? null : `did you mean ${meant}?`,
    );
  }
}

function checkColumns(items: readonly Item[]): void {
  const names = new Set<string>();
  for (const item of items) {
    if (item.kind !== 'value') continue;
    const lower = item.name.toLowerCase();
    if (names.has(lower))
      throw new QueryProblem(item.at, `two columns are called ${item.name}`, 'write AS and another name behind one');
    names.add(lower);
  }
}

/** The selects of a UNION give the same columns; with `*` in one of them nobody knows. */
function checkUnion({ selects }: Query): void {
  const [first, ...others] = selects;
  const names = namesOf(first!);
  if (names === null) return;
  for (const other of others) {
    const theirs = namesOf(other);
    if (theirs === null) continue;
    if (theirs.length !== names.length) {
      throw new QueryProblem(
        other.at,
        `this SELECT has ${theirs.length} columns, the first of the UNION has ${names.length}`,
      );
    }
    const wrong = theirs.findIndex((name, index) => name.toLowerCase() !== names[index]!.toLowerCase());
    if (wrong < 0) continue;
    throw new QueryProblem(
      other.items[wrong]!.at,
      `this column is called ${theirs[wrong]}, in the first SELECT of the UNION it is ${names[wrong]}`,
      `write AS ${names[wrong]}`,
    );
  }
}

function namesOf({ items }: Select): readonly string[] | null {
  return items.every((item) => item.kind === 'value') ? items.map(({ name }) => name) : null;
}
