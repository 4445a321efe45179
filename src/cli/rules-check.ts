import { queryWarnings } from '../query/warnings.ts';
import { inputsText, referencesOf } from './rules-tables.ts';
import { compiled, ruleSources, shown, type RuleProblem } from './rules-source.ts';
import { FINE, FOUND_A_PROBLEM, print, printJson, say } from './output.ts';

export interface RulesOptions {
  readonly json?: boolean;
  readonly module?: string;
  readonly reference?: readonly string[];
}

/** `holdfast rules check`: what is wrong with each query, or what it reads and writes, and what is allowed but probably not meant. */
export function rulesCheck(file: string, options: RulesOptions): number {
  const problems: RuleProblem[] = [];
  const warnings: RuleProblem[] = [];
  const queries: { module: string | null; inputs: readonly string[]; outputs: readonly string[] }[] = [];
  const texts: string[] = [];
  for (const source of ruleSources(file, options.module)) {
    const result = compiled(source, referencesOf(options.reference ?? [], source, 'names'));
    if ('problem' in result) {
      problems.push(result.problem);
      texts.push(result.text);
      continue;
    }
    const { inputs, outputs } = result.engine;
    queries.push({ module: source.module, inputs, outputs });
    for (const warning of queryWarnings(result.engine.script)) {
      const { problem, text } = shown(source, warning);
      warnings.push(problem);
      if (options.json !== true) say(`warning: ${text}`);
    }
    const name = source.module === null ? file : `${file}: module ${source.module}`;
    texts.push(`${name}: fine: ${inputsText(result.engine)}`);
  }
  if (options.json === true) printJson({ file, ok: problems.length === 0, queries, problems, warnings });
  else for (const text of texts) print(text);
  return problems.length === 0 ? FINE : FOUND_A_PROBLEM;
}
