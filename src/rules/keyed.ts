import type { Expression, Script, Source } from '../query/ast.ts';
import { queriesOf, sourcesOf } from '../query/inputs.ts';
import { visit } from '../query/parts.ts';
import { QueryProblem } from '../query/problem.ts';

/**
 * Whether a script's inputs have a timeline for each key (`TIMESTAMP BY .. OVER`). All that is behind them then runs for each key by
 * itself; throws a {@link QueryProblem} where a script would have something across keys: an input without a key, a GROUP BY of a step
 * without it, a JOIN that does not compare it. (The GROUP BY of an input is looked at by the parser.)
 */
export function isKeyed(script: Script, isTable: (name: string) => boolean): boolean {
  const steps = new Set(script.steps.map(({ name }) => name.toLowerCase()));
  const isInput = ({ name }: Source): boolean => !steps.has(name.toLowerCase()) && !isTable(name);
  const inputs = queriesOf(script).flatMap(sourcesOf).filter(isInput);
  const keyed = inputs.find(({ over }) => over.length > 0);
  if (keyed === undefined) return false;
  const without = inputs.find(({ over }) => over.length === 0);
  if (without !== undefined) {
    throw new QueryProblem(
      without.at,
      `${without.name} has no timeline for each key, and ${keyed.name} has`,
      'write TIMESTAMP BY .. OVER for all inputs or for none',
    );
  }
  const names = new Set(inputs.flatMap(({ over }) => over).map(lastName));
  for (const { from, joins, groupBy, windows, at } of queriesOf(script).flatMap(({ selects }) => selects)) {
    if (windows.length > 0 && !isInput(from) && !mentions(groupBy ?? [], names)) {
      throw new QueryProblem(
        at,
        'GROUP BY lacks the key of TIMESTAMP BY .. OVER',
        `add ${[...names].join(' or ')} to GROUP BY`,
      );
    }
    for (const { source, on } of joins) {
      if (isTable(source.name) || mentions([on], names)) continue;
      throw new QueryProblem(
        on.at,
        'the JOIN does not compare the key of TIMESTAMP BY .. OVER',
        `add ${from.alias}.${[...names][0]} = ${source.alias}.${[...names][0]}`,
      );
    }
  }
  return true;
}

function lastName(expression: Expression): string {
  return expression.kind === 'field' ? expression.path.at(-1)!.toLowerCase() : '';
}

function mentions(expressions: readonly Expression[], names: ReadonlySet<string>): boolean {
  let found = false;
  for (const expression of expressions) {
    visit(expression, (part) => {
      if (names.has(lastName(part))) found = true;
    });
  }
  // A key that is no field has no name to look for.
  return found || names.has('');
}
