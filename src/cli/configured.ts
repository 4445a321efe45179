import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { controlPath } from '../config/control-path.ts';
import { asMapping, readYaml } from '../config/document.ts';
import { ConfigError, loadConfig, type LoadedConfig } from '../config/load.ts';
import { DATA_DIR } from '../config/schema.ts';
import { CliError, say } from './output.ts';

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

/** Where a gateway answers, as far as it is needed to ask it something. */
export type Whereabouts = Pick<Configured, 'named' | 'dataDir' | 'socket'>;

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

/**
 * Where the gateway answers that was started with this configuration. A slip that was made in it since then does not hide the one that
 * runs: it is said, and only `gateway.dataDir` is read. Throws a CliError when nothing runs there either.
 */
export function whereabouts(file: string): Whereabouts {
  try {
    return configured(file);
  } catch (error) {
    const dataDir = error instanceof CliError ? namedDataDir(file) : null;
    const socket = dataDir === null ? '' : controlPath(dataDir);
    if (dataDir === null || !existsSync(socket)) throw error;
    say(`${(error as Error).message}\nthe gateway that runs has an earlier one, and is asked`);
    return { named: file, dataDir, socket };
  }
}

/** What stands in the file, whatever else may be wrong there; null when nothing usable does. */
function namedDataDir(file: string): string | null {
  try {
    const gateway = asMapping(asMapping(readYaml(file).root)?.['gateway']);
    const dataDir = gateway?.['dataDir'] ?? DATA_DIR;
    return typeof dataDir === 'string' ? resolve(dirname(resolve(file)), dataDir) : null;
  } catch {
    return null;
  }
}
