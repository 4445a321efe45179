import type { Query, Script } from './ast.ts';
import { queriesOf } from './inputs.ts';
import { QueryProblem } from './problem.ts';

/**
 * Most rows that one event may become in all steps and outputs together, by how they read each other. A step that is read twice by
 * the UNION of the next doubles them: 24 of those would make 16 million rows of an event. APPLY in one select has the same limit.
 */
const ROWS_MAX = 100_000;

/** Throws a {@link QueryProblem} where the steps of a script multiply an event beyond {@link ROWS_MAX}. */
export function checkRows(script: Script): void {
  const steps = new Map<string, number>();
  let total = 0;
  const names = script.steps.map(({ name }) => name.toLowerCase());
  for (const [index, query] of queriesOf(script).entries()) {
    const rows = rowsOf(query, steps);
    total += rows;
    if (total > ROWS_MAX) {
      throw new QueryProblem(
        query.at,
        `up to here one event may become more than ${ROWS_MAX} rows`,
        'UNION keeps every row, and JOIN makes one of each pair: read a step once where once is meant',
      );
    }
    // Steps come first.
    const name = names[index];
    if (name !== undefined) steps.set(name, rows);
  }
}

/** How many rows of a query one event becomes at most, through the steps that are known by then. Groups are no more than their rows. */
function rowsOf({ selects }: Query, steps: ReadonlyMap<string, number>): number {
  const of = ({ name }: { readonly name: string }): number => steps.get(name.toLowerCase()) ?? 1;
  return selects.reduce(
    (sum, { from, joins }) => sum + joins.reduce((product, { source }) => product * of(source), of(from)),
    0,
  );
}
