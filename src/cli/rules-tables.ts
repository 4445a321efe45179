import { readFileSync } from 'node:fs';
import type { Engine, EngineOptions } from '../rules/engine.ts';
import { readTable, TableProblem } from '../rules/reference-rows.ts';
import { CliError, USED_WRONGLY } from './output.ts';
import type { RuleSource } from './rules-source.ts';

type References = NonNullable<EngineOptions['references']>;

/** What a query's tables are read for: `names` to look at the query alone, with the files of its configuration left closed. */
export type Reading = 'rows' | 'names';

/**
 * The reference tables that were named `name=file`, and those of the source's configuration that were not. Throws a CliError for one
 * that cannot be read.
 */
export function referencesOf(given: readonly string[], source: RuleSource, reading: Reading): References {
  const tables: Record<string, References[string]> = {};
  for (const text of given) {
    const [, name, file] = /^([^=]+)=(.+)$/.exec(text) ?? [];
    if (name === undefined || file === undefined) {
      throw new CliError(`--reference ${text}: write it as name=FILE`, USED_WRONGLY);
    }
    tables[name] = { rows: rowsOf(file) };
  }
  const known = new Set(Object.keys(tables).map((name) => name.toLowerCase()));
  for (const [name, file] of Object.entries(source.tables)) {
    if (!known.has(name.toLowerCase())) tables[name] = { rows: reading === 'rows' ? rowsOf(file) : [] };
  }
  return tables;
}

function rowsOf(file: string): References[string]['rows'] {
  try {
    return readTable(readFileSync(file, 'utf8'), file);
  } catch (error) {
    if (error instanceof TableProblem) throw new CliError(`${file}:${error.line}: ${error.message}`);
    throw new CliError(`cannot read ${file}: ${(error as Error).message}`);
  }
}

/** `inputs: a, b; outputs: c`. */
export function inputsText({ inputs, outputs }: Engine): string {
  const list = (kind: string, names: readonly string[]) =>
    `${kind}${names.length === 1 ? '' : 's'} ${names.join(', ')}`;
  return `${list('input', inputs)}; ${list('output', outputs)}`;
}
