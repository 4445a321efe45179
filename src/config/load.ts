import fs from 'node:fs';
import path from 'node:path';
import { mediumOf } from '../board/medium.ts';
import { asMapping, readYaml } from './document.ts';
import type { YamlDocument } from './document.ts';
import { moduleProblems } from './module-check.ts';
import { nearest } from '../query/nearest.ts';
import { sharedLineProblems, sharedPortProblems } from './port-check.ts';
import { ConfigError, pathText } from './problem.ts';
import type { Path, Problem } from './problem.ts';
import {
  defaultProfileDirs,
  findProfile,
  gpioLine,
  listProfiles,
  readProfile,
  serialDevice,
  storageOf,
} from './profile.ts';
import type { Medium, Profile } from './profile-schema.ts';
import { KEEP } from './registry.ts';
import { routeProblems } from './route-check.ts';
import { ConfigSchema } from './schema.ts';
import type { Config } from './schema.ts';
import { placeOf } from './secret.ts';
import { show } from './values.ts';
import { validate } from './validate.ts';
import { configWarnings } from './warnings.ts';

export { ConfigError } from './problem.ts';

export interface LoadOptions {
  /** Folders that are searched for profiles; the first that has the name wins. */
  readonly profileDirs?: readonly string[];
  /** Looks at what a folder lies on; null where that cannot be seen. */
  readonly mediumBelow?: (folder: string) => Medium | null;
}

export interface LoadedConfig {
  readonly config: Config;
  readonly profile: Profile;
  /** Whether the configuration names it; else it is the one for everybody, `simulated`. */
  readonly profileNamed: boolean;
  /** Absolute path of the configuration. */
  readonly path: string;
  /** One line each: allowed, but probably not what was expected. */
  readonly warnings: readonly string[];
}

/**
 * Reads `gateway.yaml` and the profile that it names. A storage setting comes from the file, else from the profile, else
 * from the schema. Paths come out absolute, except secrets (see `resolveSecret`), which are looked up when they are needed.
 * Throws a {@link ConfigError} with every problem of the file, and of the profile if that is where it is.
 */
export function loadConfig(file: string, options: LoadOptions = {}): LoadedConfig {
  const { profileDirs = defaultProfileDirs(), mediumBelow = mediumOf } = options;
  const document = readYaml(file);
  const root = withEmptySections(document.root);
  const dir = path.dirname(path.resolve(file));

  const validated = validate(ConfigSchema, document, root);
  const problems: Problem[] = 'problems' in validated ? [...validated.problems] : [];
  problems.push(...routeProblems(document, root));
  const profile = profileOf(document, root, dir, profileDirs, problems);
  if (profile !== undefined) {
    problems.push(
      ...unknownHardware(document, root, profile),
      ...sharedPortProblems(document, root, profile),
      ...sharedLineProblems(document, root, profile),
    );
  }
  if (profile === undefined || 'problems' in validated || problems.length > 0) throw new ConfigError(problems);

  const absolute = withAbsolutePaths(validated.value, dir);
  const config = withProfile(absolute, root, profile, mediumBelow(absolute.gateway.dataDir));
  const wrong = moduleProblems(document, config);
  if (wrong.length > 0) throw new ConfigError(wrong);
  const warnings = configWarnings(document, config);
  return { config, profile, profileNamed: namedProfile(root) !== undefined, path: path.resolve(file), warnings };
}

function namedProfile(root: unknown): unknown {
  return asMapping(asMapping(root)?.['gateway'])?.['profile'];
}

/** The profile that is named, or undefined after adding why not to `problems`. */
function profileOf(
  document: YamlDocument,
  root: unknown,
  dir: string,
  profileDirs: readonly string[],
  problems: Problem[],
): Profile | undefined {
  const named = namedProfile(root) ?? 'simulated';
  if (typeof named !== 'string' || named === '') return undefined;
  const file = findProfile(named, dir, profileDirs);
  if (file === undefined) {
    const names = listProfiles(profileDirs).map(({ name }) => name);
    const meant = nearest(named, names);
    const right = `there are ${names.join(', ') || 'none'}${meant === undefined ? '' : `; did you mean "${meant}"?`}`;
    problems.push(at(document, ['gateway', 'profile'], `no profile ${show(named)}; ${right}`));
    return undefined;
  }
  if (!fs.existsSync(file)) {
    problems.push(at(document, ['gateway', 'profile'], `no profile ${show(named)}; there is no file ${file}`));
    return undefined;
  }
  try {
    return readProfile(file);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    problems.push(...error.problems);
    return undefined;
  }
}

/** Children that name a port or a line that the board does not have. Works on unchecked data, so that it never comes second. */
function unknownHardware(document: YamlDocument, root: unknown, profile: Profile): Problem[] {
  const children = asMapping(root)?.['children'];
  if (!Array.isArray(children)) return [];
  return children.flatMap((child: unknown, index): Problem[] => {
    const port = asMapping(asMapping(child)?.['serial'])?.['port'];
    const line = asMapping(asMapping(child)?.['gpio'])?.['line'];
    const problems: Problem[] = [];
    if (typeof port === 'string' && port !== '' && serialDevice(profile, port) === undefined) {
      const message = `profile ${profile.name} has no serial port ${show(port)}; ${namesText(profile.serial)}write a path such as /dev/ttyUSB0`;
      problems.push(at(document, ['children', index, 'serial', 'port'], message));
    }
    if (typeof line === 'string' && line !== '' && gpioLine(profile, line) === undefined) {
      const message = `profile ${profile.name} has no line ${show(line)}; ${namesText(profile.gpio.lines)}write { chip: label, offset: number }`;
      problems.push(at(document, ['children', index, 'gpio', 'line'], message));
    }
    return problems;
  });
}

function namesText(named: Record<string, unknown>): string {
  const names = Object.keys(named);
  return names.length === 0 ? '' : `it has ${names.join(', ')}; or `;
}

/** What the profile suggests, wherever the file itself says nothing. */
function withProfile(config: Config, root: unknown, profile: Profile, medium: Medium | null): Config {
  const written = asMapping(asMapping(root)?.['storeAndForward']) ?? {};
  const suggested = Object.entries(storageOf(profile, medium)).filter(
    ([key, value]) => value !== undefined && !Object.hasOwn(written, key),
  );
  return { ...config, storeAndForward: { ...config.storeAndForward, ...Object.fromEntries(suggested) } };
}

function withAbsolutePaths(config: Config, dir: string): Config {
  const gateway = { ...config.gateway, dataDir: path.resolve(dir, config.gateway.dataDir) };
  const modules = config.modules.map((module) => {
    const tables = Object.entries(module.reference).map(([name, file]) => [name, path.resolve(dir, file)] as const);
    return { ...module, reference: Object.fromEntries(tables) };
  });
  const { upstream, hub, registry } = config;
  return {
    ...config,
    gateway,
    modules,
    registry: absolute(registry, dir, registry.gatewayKey === KEEP ? ['trust'] : ['trust', 'gatewayKey']),
    ...(upstream && { upstream: absolute(upstream, dir, ['ca', 'clientCert', 'clientKey']) }),
    ...(hub && { hub: absolute(hub, dir, ['cert', 'key', 'clientCa', 'revoked']) }),
  };
}

function absolute<T extends object>(section: T, dir: string, keys: readonly (keyof T)[]): T {
  const made: T = { ...section };
  for (const key of keys) {
    const named = made[key];
    if (typeof named === 'string') made[key] = placeOf(named, dir) as T[typeof key];
  }
  return made;
}

/** A section whose heading stands there with nothing under it (`host:`) counts as written and empty. */
function withEmptySections(root: unknown): unknown {
  const decoder = (value: unknown): unknown => fill(value, ['json', 'csv', 'regex', 'nmea', 'frame', 'modbus']);
  const serial = (value: unknown): unknown => fill(value, ['rs485'], { decoder });
  const child = (value: unknown): unknown =>
    fill(value, ['simulated', 'serial', 'gpio', 'host', 'connected'], { serial });
  const children = (value: unknown): unknown => (Array.isArray(value) ? value.map(child) : (value ?? []));
  const upstream = (value: unknown): unknown => fill(value, ['reconnect']);
  const hub = (value: unknown): unknown => fill(value, ['listen', 'limits']);
  const module = (value: unknown): unknown => fill(value, ['reference', 'outputs', 'limits']);
  const modules = (value: unknown): unknown => (Array.isArray(value) ? value.map(module) : (value ?? []));
  const health = (value: unknown): unknown => fill(value, ['limits']);
  return fill(root, ['gateway', 'upstream', 'hub', 'registry', 'storeAndForward', 'routes', 'health'], {
    health,
    upstream,
    hub,
    children,
    modules,
  });
}

/** A mapping with those of its `sections` that are null made empty mappings, and then some keys filled in their own way. */
function fill(
  value: unknown,
  sections: readonly string[],
  inside: Record<string, (value: unknown) => unknown> = {},
): unknown {
  const mapping = asMapping(value);
  if (mapping === undefined) return value;
  return Object.fromEntries(
    Object.entries(mapping).map(([key, inner]) => {
      const filled = inner === null && sections.includes(key) ? {} : inner;
      return [key, Object.hasOwn(inside, key) ? inside[key]!(filled) : filled];
    }),
  );
}

function at(document: YamlDocument, path: Path, message: string): Problem {
  return { path: pathText(path), ...document.atValue(path, message) };
}
