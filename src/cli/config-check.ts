import { ConfigError, loadConfig } from '../config/load.ts';
import { FINE, FOUND_A_PROBLEM, print, printJson, say } from './output.ts';
import type { CommonOptions } from './configured.ts';

/** `holdfast config check`: every problem with its place, and what is allowed but probably not meant. */
export function configCheck(file: string | undefined, options: CommonOptions): number {
  const named = file ?? options.config;
  try {
    const { config, profile, warnings } = loadConfig(named);
    if (options.json === true) printJson({ file: named, ok: true, problems: [], warnings });
    else {
      for (const warning of warnings) say(`warning: ${warning}`);
      const children = `${config.children.length} ${config.children.length === 1 ? 'child' : 'children'}`;
      print(`${named}: fine: gateway ${config.gateway.id} on ${profile.name}, ${children}`);
    }
    return FINE;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    if (options.json === true) printJson({ file: named, ok: false, problems: error.problems, warnings: [] });
    else print(error.message);
    return FOUND_A_PROBLEM;
  }
}
