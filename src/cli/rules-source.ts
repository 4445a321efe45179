import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { asMapping, readYaml } from '../config/document.ts';
import { ModuleSchema } from '../config/modules.ts';
import { ConfigError } from '../config/problem.ts';
import type { ModuleConfig } from '../config/schema.ts';
import { placeOf, problemText, QueryProblem } from '../query/problem.ts';
import { Engine, type EngineOptions } from '../rules/engine.ts';
import { engineOptions } from '../rules/module-query.ts';
import { CliError, USED_WRONGLY } from './output.ts';

/** Longest text of a query, bytes. */
const QUERY_BYTES_MAX = 2 ** 20;

/** A query and where it stands. */
export interface RuleSource {
  readonly file: string;
  /** Of a gateway.yaml; null for a file that is a query. */
  readonly module: string | null;
  readonly text: string;
  /** Where its text begins in the file, and what its further lines have lost in front. */
  readonly first: { readonly line: number; readonly column: number; readonly indent: number };
  readonly settings: Omit<EngineOptions, 'script' | 'references'>;
  /** Files of the reference tables that the module of a gateway.yaml has, by their names. */
  readonly tables: Readonly<Record<string, string>>;
}

/** What is wrong with a query, or probably not meant, as it is shown and as JSON. */
export interface RuleProblem {
  readonly module: string | null;
  readonly line: number;
  readonly column: number;
  readonly message: string;
  readonly hint: string | null;
}

/** The queries of a file: all modules of a gateway.yaml, or one of them, or the file itself. Throws a CliError when there is none. */
export function ruleSources(file: string, module?: string): readonly RuleSource[] {
  if (!/\.ya?ml$/i.test(file)) {
    if (module !== undefined) throw new CliError('--module is for a gateway.yaml', USED_WRONGLY);
    return [
      { file, module: null, text: queryText(file), first: { line: 1, column: 1, indent: 0 }, settings: {}, tables: {} },
    ];
  }
  const all = modulesOf(file);
  const chosen = module === undefined ? all : all.filter((source) => source.module === module);
  if (chosen.length > 0) return chosen;
  if (module === undefined) throw new CliError(`${file} has no modules with a query`);
  const known = all.map((source) => source.module).join(', ');
  throw new CliError(`${file} has no module ${module}${known === '' ? '' : `; there is ${known}`}`, USED_WRONGLY);
}

/** The query, ready to run, or what is wrong with it. */
export function compiled(
  source: RuleSource,
  references: EngineOptions['references'],
): { readonly engine: Engine } | { readonly problem: RuleProblem; readonly text: string } {
  try {
    return { engine: Engine.compile({ ...source.settings, script: source.text, ...(references && { references }) }) };
  } catch (error) {
    if (!(error instanceof QueryProblem)) throw error;
    return shown(source, error);
  }
}

/** Something in a query, as JSON and as a person reads it. */
export function shown(
  { module, file, text, first }: RuleSource,
  { at, message, hint }: QueryProblem,
): { readonly problem: RuleProblem; readonly text: string } {
  const { line, column } = placeOf(text, at);
  const place = { line: first.line + line - 1, column: column + (line === 1 ? first.column - 1 : first.indent) };
  return {
    problem: { module, ...place, message, hint },
    text: problemText(text, { at, message, hint }, file, first),
  };
}

/** The query, ready to run. Throws a CliError that shows what is wrong with it. */
export function engineOf(source: RuleSource, references: EngineOptions['references']): Engine {
  const result = compiled(source, references);
  if ('engine' in result) return result.engine;
  throw new CliError(result.text);
}

function queryText(file: string): string {
  let bytes;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new CliError(`cannot read ${file}: ${(error as Error).message}`);
  }
  if (bytes.length > QUERY_BYTES_MAX) throw new CliError(`${file} has ${bytes.length} bytes: too many for a query`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new CliError(`${file} is not UTF-8 text`);
  }
}

function modulesOf(file: string): RuleSource[] {
  let document;
  try {
    document = readYaml(file);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new CliError(error.message);
  }
  const modules = asMapping(document.root)?.['modules'];
  const lines = queryText(file).split('\n');
  return (Array.isArray(modules) ? (modules as unknown[]) : []).flatMap((entry, index) => {
    const module = asMapping(entry);
    const query = module?.['query'];
    if (module === undefined || typeof query !== 'string') return [];
    const { line, column } = document.atValue(['modules', index, 'query'], '');
    const name = typeof module['id'] === 'string' ? module['id'] : String(index + 1);
    const config = configOf(module, file, name);
    return [
      {
        file,
        module: name,
        text: query,
        first: beginning(lines, line, column),
        settings: engineOptions(config),
        tables: Object.fromEntries(
          Object.entries(config.reference).map(([table, path]) => [table, resolve(dirname(file), path)] as const),
        ),
      },
    ];
  });
}

/** Where the text of a value begins: of a block (`|`, `>`) with the first line under it that has something. */
function beginning(lines: readonly string[], line: number, column: number): RuleSource['first'] {
  const mark = lines[line - 1]?.[column - 1];
  if (mark !== '|' && mark !== '>') {
    const quoted = mark === '"' || mark === "'" ? 1 : 0;
    return { line, column: column + quoted, indent: 0 };
  }
  const below = lines.slice(line).find((text) => text.trim() !== '') ?? '';
  const indent = below.length - below.trimStart().length;
  return { line: line + 1, column: indent + 1, indent };
}

function configOf(module: unknown, file: string, id: string): ModuleConfig {
  const result = ModuleSchema.safeParse(module);
  if (result.success) return result.data;
  const { path, message } = result.error.issues[0]!;
  throw new CliError(`${file}: module ${id}: ${path.join('.')}: ${message}; holdfast check says where`);
}
