import type { Query, Script, Source } from './ast.ts';

/** The names of a script's inputs, as they are first spelt: every source that is no step. */
export function inputsOf(script: Script): readonly string[] {
  const steps = new Set(script.steps.map(({ name }) => name.toLowerCase()));
  const inputs = new Map<string, string>();
  for (const { name } of queriesOf(script).flatMap(sourcesOf)) {
    const lower = name.toLowerCase();
    if (!steps.has(lower) && !inputs.has(lower)) inputs.set(lower, name);
  }
  return [...inputs.values()];
}

/** Where a script reads an input and says what its time is; the first place that reads it when none says so. */
export function timedSource(script: Script, input: string): Source {
  const all = queriesOf(script)
    .flatMap(sourcesOf)
    .filter(({ name }) => name.toLowerCase() === input.toLowerCase());
  return all.find(({ timestampBy }) => timestampBy !== null) ?? all[0]!;
}

/** The queries of a script, those of its steps first. */
export function queriesOf(script: Script): readonly Query[] {
  return [...script.steps.map(({ query }) => query), ...script.selects];
}

/** What a query reads, in the order of the text. */
export function sourcesOf(query: Query): readonly Source[] {
  return query.selects.flatMap(({ from, joins }) => [from, ...joins.map(({ source }) => source)]);
}
