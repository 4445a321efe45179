import { existsSync } from 'node:fs';
import { controlPath } from '../config/control-path.ts';
import { ConfigError, loadConfig, type LoadedConfig } from '../config/load.ts';
import { CliError } from './output.ts';

/** Options that every command has. */
export interface CommonOptions {
  readonly config: string;
  readonly json?: boolean;
}

/** The configuration, and where a gateway that runs with it answers. */
export interface Configured extends LoadedConfig {
  /** As the user named it. */
  readonly named: string;
  readonly dataDir: string;
  readonly socket: string;
}

/** Reads the configuration. Throws a CliError that says all that is wrong with it. */
export function configured(file: string): Configured {
  try {
    const loaded = loadConfig(file);
    const { dataDir } = loaded.config.gateway;
    return { ...loaded, named: file, dataDir, socket: controlPath(dataDir) };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const hint = existsSync(file) ? '' : '; name one with --config FILE or in HOLDFAST_CONFIG';
    throw new CliError(`the configuration cannot be used:\n${error.message}${hint}`);
  }
}
