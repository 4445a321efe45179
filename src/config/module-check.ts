import { nearest } from '../query/nearest.ts';
import { parseScript } from '../query/parser.ts';
import { QueryProblem } from '../query/problem.ts';
import { queryWarnings } from '../query/warnings.ts';
import type { Engine } from '../rules/engine.ts';
import { trialEngine } from '../rules/module-query.ts';
import { readRoute } from '../router/route.ts';
import type { YamlDocument } from './document.ts';
import { pathText, type Path, type Problem } from './problem.ts';
import type { Config } from './schema.ts';
import { show } from './values.ts';

/** What is wrong with the modules of a configuration whose form is right: their queries, and the names by which they meet others. */
export function moduleProblems(document: YamlDocument, { modules, children, routes }: Config): Problem[] {
  const problems: Problem[] = [];
  const add = (path: Path, message: string, atKey = false): void => {
    problems.push({ path: pathText(path), ...document[atKey ? 'atKey' : 'atValue'](path, message) });
  };
  const engines = new Map<string, Engine>();
  modules.forEach((module, index) => {
    const path: Path = ['modules', index];
    try {
      engines.set(module.id, trialEngine(module));
    } catch (error) {
      if (!(error instanceof QueryProblem)) throw error;
      const message = error.hint === null ? error.message : `${error.message}; ${error.hint}`;
      const at = [...path, 'query'];
      problems.push({ path: pathText(at), ...document.atText(at, error.at, message) });
      return;
    }
    const { outputs } = engines.get(module.id)!;
    for (const [output, actions] of Object.entries(module.outputs)) {
      const at = [...path, 'outputs', output];
      if (!has(outputs, output)) add(at, unknown('output', output, outputs), true);
      actions.forEach(({ command }, action) => {
        const ids = children.map(({ id }) => id);
        if (!ids.includes(command)) add([...at, action, 'command'], unknown('child', command, ids));
      });
    }
  });
  for (const [name, { route }] of Object.entries(routes)) {
    const { sink } = readRoute(route);
    if (sink.kind !== 'module') continue;
    const inputs = engines.get(sink.module)?.inputs;
    if (inputs === undefined || has(inputs, sink.input)) continue;
    add(['routes', name], `module ${show(sink.module)}: ${unknown('input', sink.input, inputs)}`);
  }
  return problems;
}

/** What is allowed in the queries of a configuration that has been found right, but probably not what their writer expects. */
export function moduleWarnings(document: YamlDocument, { modules }: Config): Problem[] {
  return modules.flatMap(({ query }, index) => {
    const path: Path = ['modules', index, 'query'];
    return queryWarnings(parseScript(query)).map(({ at, message, hint }) => {
      return { path: pathText(path), ...document.atText(path, at, hint === null ? message : `${message}; ${hint}`) };
    });
  });
}

function has(names: readonly string[], name: string): boolean {
  return names.some((each) => each.toLowerCase() === name.toLowerCase());
}

function unknown(what: string, name: string, names: readonly string[]): string {
  const meant = nearest(name, names);
  if (meant !== undefined) return `there is no ${what} ${show(name)}; did you mean ${show(meant)}?`;
  const some = names.slice(0, 20).join(', ');
  return `there is no ${what} ${show(name)}; ${names.length === 0 ? 'there is none' : `there are ${some}`}`;
}
