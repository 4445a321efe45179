import { readFileSync } from 'node:fs';
import type { Engine, EngineOptions } from '../rules/engine.ts';
import { readTable, TableProblem } from '../rules/reference-rows.ts';
import { CliError, USED_WRONGLY } from './output.ts';

type References = NonNullable<EngineOptions['references']>;

/** The reference tables that were named `name=file`. Throws a CliError for one that cannot be read. */
export function referencesOf(given: readonly string[]): References {
  const tables: Record<string, References[string]> = {};
  for (const text of given) {
    const [, name, file] = /^([^=]+)=(.+)$/.exec(text) ?? [];
    if (name === undefined || file === undefined) {
      throw new CliError(`--reference ${text}: write it as name=FILE`, USED_WRONGLY);
    }
    tables[name] = { rows: rowsOf(file) };
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
