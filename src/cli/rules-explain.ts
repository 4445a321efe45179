import type { RulesOptions } from './rules-check.ts';
import { engineOf, ruleSources } from './rules-source.ts';
import { referencesOf } from './rules-tables.ts';
import { FINE, print, printJson } from './output.ts';

/** `holdfast rules explain`: how each query runs. */
export function rulesExplain(file: string, options: RulesOptions): number {
  const explained = ruleSources(file, options.module).map((source) => {
    const engine = engineOf(source, referencesOf(options.reference ?? [], source, 'names'));
    return { module: source.module, inputs: engine.inputs, outputs: engine.outputs, plan: engine.explain() };
  });
  if (options.json === true) printJson(explained);
  else {
    for (const { module, plan } of explained) {
      if (module !== null) print(`module ${module}`);
      print(plan);
    }
  }
  return FINE;
}
