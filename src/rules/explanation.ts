import type { Expression, Query, Script, Select, Source, Window } from '../query/ast.ts';
import { familyOf } from '../query/families.ts';
import { timedSource } from '../query/inputs.ts';
import { visit } from '../query/parts.ts';
import { printExpression } from '../query/printer.ts';
import { spanText } from './moment.ts';

/** How a script runs, as a person reads it: a paragraph for each input, step and output. */
export function explanation(script: Script, inputs: readonly string[], policies: readonly string[]): string {
  const lines: string[] = [];
  for (const input of inputs) {
    const source = timedSource(script, input);
    lines.push(`input ${input}: ${timeText(source)}`);
    if (source.timestampBy !== null) lines.push(...policies.map((policy) => `  ${policy}`));
  }
  for (const { name, query } of script.steps) lines.push(`step ${name}`, ...queryLines(query));
  for (const query of script.selects) lines.push(`output ${query.into}`, ...queryLines(query));
  return lines.join('\n');
}

/** Whether results depend on when things happened: windows, joins of streams, looking back, System.Timestamp(). */
export function usesTime(script: Script, isTable: (name: string) => boolean): boolean {
  return selectsOf(script).some((select) => {
    if (select.windows.length > 0 || select.joins.some(({ source }) => !isTable(source.name))) return true;
    let found = false;
    for (const expression of expressionsOf(select)) {
      visit(expression, (part) => {
        if (part.kind === 'call' && (part.name === 'system.timestamp' || familyOf(part) === 'analytic')) found = true;
      });
    }
    return found;
  });
}

function selectsOf(script: Script): readonly Select[] {
  return [...script.steps.map(({ query }) => query), ...script.selects].flatMap(({ selects }) => selects);
}

function expressionsOf({ items, where, having, groupBy }: Select): readonly Expression[] {
  const columns = items.flatMap((item) => (item.kind === 'value' ? [item.expression] : []));
  return [...columns, ...(groupBy ?? []), ...[where, having].filter((part) => part !== null)];
}

function timeText({ timestampBy, over }: Source): string {
  if (timestampBy === null) return 'by the time of acceptance';
  const keys = over.length === 0 ? '' : `, a timeline for each ${over.map(printExpression).join(', ')}`;
  return `by the time in ${printExpression(timestampBy)}${keys}`;
}

function queryLines({ selects }: Query): string[] {
  return selects.flatMap((select, index) => [...(index > 0 ? ['  and (UNION)'] : []), ...selectLines(select)]);
}

function selectLines(select: Select): string[] {
  const lines = [`from ${select.from.name}${aliasText(select.from)}`];
  const back: string[] = [];
  for (const expression of expressionsOf(select)) {
    visit(expression, (part) => {
      if (part.kind === 'call' && familyOf(part) === 'analytic') back.push(printExpression(part));
    });
  }
  for (const call of new Set(back)) lines.push(`remember what ${call} needs`);
  for (const { kind, source, on } of select.joins) {
    lines.push(
      `${kind === 'left' ? 'left join' : 'join'} ${source.name}${aliasText(source)} on ${printExpression(on)}`,
    );
  }
  for (const { kind, argument, alias, function: name } of select.applies) {
    const what = name === 'getarrayelements' ? 'elements' : 'properties';
    lines.push(
      `a row for each of the ${what} of ${printExpression(argument)}, as ${alias}${kind === 'outer' ? ', or one without' : ''}`,
    );
  }
  if (select.where !== null) lines.push(`where ${printExpression(select.where)}`);
  if (select.windows.length > 0) {
    for (const window of select.windows) lines.push(windowText(window));
    if (select.groupBy !== null && select.groupBy.length > 0) {
      lines.push(`a group for each ${select.groupBy.map(printExpression).join(', ')}`);
    }
    const aggregates = new Set<string>();
    for (const expression of expressionsOf(select)) {
      visit(expression, (part) => {
        if (part.kind === 'call' && familyOf(part) === 'aggregate') aggregates.add(printExpression(part));
      });
    }
    if (aggregates.size > 0) lines.push(`keep ${[...aggregates].join(', ')}`);
  }
  if (select.having !== null) lines.push(`having ${printExpression(select.having)}`);
  const columns = select.items.map((item) =>
    item.kind === 'all' ? [...item.path, '*'].join('.') : `${item.name} = ${printExpression(item.expression)}`,
  );
  lines.push(`give ${columns.join(', ')}`);
  return lines.map((line) => `  ${line}`);
}

function aliasText({ name, alias }: Source): string {
  return alias === name ? '' : ` as ${alias}`;
}

function windowText(window: Window): string {
  const id = window.id === null ? '' : ` (${window.id})`;
  const offset = 'offset' in window && window.offset !== null ? `, shifted by ${spanText(window.offset.micros)}` : '';
  switch (window.kind) {
    case 'tumbling':
      return `tumbling window${id} of ${spanText(window.size.micros)}${offset}`;
    case 'hopping':
      return `hopping window${id} of ${spanText(window.size.micros)} each ${spanText(window.hop.micros)}${offset}`;
    case 'sliding':
      return `sliding window${id} of ${spanText(window.size.micros)}, a result whenever something enters or leaves`;
    case 'session': {
      const keys =
        window.partitionBy.length === 0
          ? 'over everything'
          : `for each ${window.partitionBy.map(printExpression).join(', ')}`;
      return `session window${id} ${keys}, over after ${spanText(window.timeout.micros)} without events, or at a multiple of ${spanText(window.max.micros)} when open so long`;
    }
    case 'snapshot':
      return `snapshot${id} of what has equal time`;
  }
}
