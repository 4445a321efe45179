import type { z } from 'zod';
import { nearest } from '../query/nearest.ts';
import { placeOf } from '../query/problem.ts';
import { emptyObject, merged, type JsonObject } from '../twins/patch.ts';
import { asMapping, type YamlDocument } from './document.ts';
import { edgeHubTwin, isEdgeHubTwin } from './edgehub-twin.ts';
import type { LoadedConfig } from './load.ts';
import { moduleProblems } from './module-check.ts';
import { inOrder, pathText, type Path, type Problem } from './problem.ts';
import { routeProblems, routeWarnings } from './route-check.ts';
import { RoutesSchema } from './routes.ts';
import type { Config } from './schema.ts';
import { StoreAndForwardSchema } from './storage.ts';
import { MaxRate, UpstreamSchema } from './upstream.ts';
import { validate } from './validate.ts';
import { choice, section } from './values.ts';

/** Words for how much is logged, least important first. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const;
export type LogLevelWord = (typeof LOG_LEVELS)[number];

/** Most problems, and warnings, that one answer names, and the longest text of one, characters: they go into a twin. */
const PROBLEMS_MAX = 20;
const PROBLEM_LENGTH_MAX = 500;

/** What may come from above: the words of the file, and how much is logged. */
const AboveSchema = section({
  storeAndForward: StoreAndForwardSchema.exactOptional(),
  routes: RoutesSchema.exactOptional(),
  upstream: section({ maxRate: MaxRate.exactOptional() }).exactOptional(),
  logLevel: choice(LOG_LEVELS).exactOptional(),
});
type Section = keyof z.output<typeof AboveSchema>;
const SECTIONS = Object.keys(AboveSchema.shape) as readonly Section[];

/** Keys of the file that act when the gateway is started. */
const OF_THE_FILE: Partial<Record<Section, readonly string[]>> = {
  storeAndForward: ['write', 'durability'],
  upstream: Object.keys(UpstreamSchema.shape).filter((key) => key !== 'maxRate'),
};

/** A configuration with what came from above laid over it. */
export interface Laid {
  readonly loaded: LoadedConfig;
  /** Null: nothing is said of it. */
  readonly logLevel: LogLevelWord | null;
  /** The keys that came from above: `storeAndForward.quota`, `routes`. */
  readonly applied: readonly string[];
  /** Allowed, but probably not what was meant. One line each. */
  readonly warnings: readonly string[];
}

/** Nothing of it can be used. */
export interface Unusable {
  /** One line each: the key, the value, and what would be right. */
  readonly problems: readonly string[];
  /** Where they are. Without these the rest could be used. */
  readonly sections: readonly string[];
}

/**
 * Lays desired properties of the gateway over its configuration, key by key; routes whole, as in IoT Edge. They are checked as the
 * file is. Keys that are none of ours are left alone. `desired` may also be the desired properties of IoT Edge's `$edgeHub` as
 * they stand; `edgeHub` are those of a module of that name, of which the gateway's own say better. Nulls count as absent. `except`:
 * sections that are left to the file.
 */
export function settingsFromAbove(
  base: LoadedConfig,
  desired: JsonObject,
  edgeHub: JsonObject | null = null,
  except: readonly string[] = [],
): Laid | Unusable {
  const wanted = wantedOf(desired, edgeHub);
  const { root, problems } = withinReach(
    base,
    Object.fromEntries(Object.entries(wanted.root).filter(([name]) => !except.includes(name))),
  );
  problems.push(...wanted.problems);
  const document = dataDocument(root);
  const validated = validate(AboveSchema, document, root);
  if ('problems' in validated) problems.push(...validated.problems);
  const named = { ...base.config, routes: root['routes'] };
  problems.push(...routeProblems(document, named));
  if ('problems' in validated || problems.length > 0) return unusable(problems);

  const given = validated.value;
  const config = laidOver(base.config, root, given);
  const strayed = given.routes === undefined ? [] : moduleProblems(document, config);
  if (strayed.length > 0) return unusable(strayed);
  const applied = SECTIONS.flatMap((name) => {
    const keys = asMapping(root[name]);
    if (keys === undefined || name === 'routes') return Object.hasOwn(root, name) ? [name] : [];
    return Object.keys(keys).map((key) => `${name}.${key}`);
  });
  const warnings = [...routeWarnings(document, named).map(lineOf), ...mistyped(desired)];
  return {
    loaded: { ...base, config },
    logLevel: given.logLevel ?? null,
    applied,
    warnings: shortened(warnings),
  };
}

interface Wanted {
  /** In the form of {@link AboveSchema}, and nothing else. */
  readonly root: Readonly<Record<string, unknown>>;
  readonly problems: readonly Problem[];
}

/** What is said of our keys, in our form. */
function wantedOf(desired: JsonObject, edgeHub: JsonObject | null): Wanted {
  const said = merged(emptyObject(), desired);
  const isHub = isEdgeHubTwin(said);
  const own = Object.fromEntries(
    SECTIONS.filter((name) => Object.hasOwn(said, name) && !(isHub && name === 'routes')).map((name) => [
      name,
      said[name] as unknown,
    ]),
  );
  // The gateway's own twin is asked first, also where it is in the other form.
  const hubs = [...(isHub ? [said] : []), ...(edgeHub === null ? [] : [merged(emptyObject(), edgeHub)])].map(
    edgeHubTwin,
  );
  const routes = own['routes'] ?? hubs.find((hub) => hub.routes !== undefined)?.routes;
  const life = hubs.find((hub) => hub.timeToLiveSecs !== undefined)?.timeToLiveSecs;
  const stored = own['storeAndForward'];
  const keys = stored === undefined ? {} : asMapping(stored);
  // What is no mapping stays as it is, to be complained about.
  const storeAndForward = keys === undefined || life === undefined ? stored : { timeToLiveSecs: life, ...keys };
  const root = {
    ...own,
    ...(storeAndForward === undefined ? {} : { storeAndForward }),
    ...(routes === undefined ? {} : { routes }),
  };
  return {
    root,
    problems: hubs.flatMap(({ problems }) => problems.map(([key, why]) => problemOf([key], why))),
  };
}

/** Takes out, as problems, keys that are right in the file and that a running gateway cannot take up, or that bound nothing here. */
function withinReach(
  { config }: LoadedConfig,
  wanted: Readonly<Record<string, unknown>>,
): { readonly root: Readonly<Record<string, unknown>>; readonly problems: Problem[] } {
  const problems: Problem[] = [];
  const sections = Object.entries(wanted).map(([name, value]): [string, unknown] => {
    const keys = asMapping(value);
    if (keys === undefined) return [name, value];
    const within = Object.entries(keys).filter(([key]) => {
      if (OF_THE_FILE[name as Section]?.includes(key) !== true) return true;
      const why = 'acts when the gateway is started: it is set in the file of its configuration, not from above';
      problems.push(problemOf([name, key], why));
      return false;
    });
    return [name, Object.fromEntries(within)];
  });
  if (wanted['upstream'] !== undefined && config.upstream === undefined)
    problems.push(problemOf(['upstream'], 'this gateway has no upstream that could be bounded'));
  return { root: Object.fromEntries(sections), problems };
}

function laidOver(
  config: Config,
  root: Readonly<Record<string, unknown>>,
  given: z.output<typeof AboveSchema>,
): Config {
  const written = asMapping(root['storeAndForward']) ?? {};
  // The schema has filled in its defaults: they are the file's business.
  const stored = Object.entries(given.storeAndForward ?? {}).filter(([key]) => Object.hasOwn(written, key));
  const maxRate = given.upstream?.maxRate;
  return {
    ...config,
    storeAndForward: { ...config.storeAndForward, ...Object.fromEntries(stored) },
    ...(given.routes && { routes: given.routes }),
    ...(config.upstream && maxRate && { upstream: { ...config.upstream, maxRate } }),
  };
}

/** Keys that are none of ours, and look as if they were meant to be. */
function mistyped(desired: JsonObject): string[] {
  return Object.keys(desired).flatMap((key) => {
    if (SECTIONS.some((name) => name === key)) return [];
    const meant = nearest(key, SECTIONS);
    return meant === undefined ? [] : [`${key}: is none of the gateway's settings; did you mean "${meant}"?`];
  });
}

/** What was given as a document in which nothing has a place but by its key; in the text of a route it is line:column. */
function dataDocument(root: unknown): YamlDocument {
  const located = (message: string) => ({ file: '', line: 0, column: 0, message });
  return {
    file: '',
    root,
    atValue: (_, message) => located(message),
    atKey: (_, message) => located(message),
    atText: (path, offset, message) => {
      const text = path.reduce<unknown>((value, step) => asMapping(value)?.[step], root);
      const { line, column } = placeOf(typeof text === 'string' ? text : '', offset);
      return located(`${line}:${column}: ${message}`);
    },
  };
}

function problemOf(path: Path, message: string): Problem {
  return { file: '', line: 0, column: 0, path: pathText(path), message };
}

function unusable(problems: readonly Problem[]): Unusable {
  const sorted = inOrder(problems);
  const sections = sorted.map(({ path }) => path.split(/[.[]/, 1)[0]!);
  return { problems: shortened(sorted.map(lineOf)), sections: [...new Set(sections)] };
}

function lineOf({ path, message }: Problem): string {
  return path === '' ? message : `${path}: ${message}`;
}

function shortened(lines: readonly string[]): string[] {
  const some = lines
    .slice(0, PROBLEMS_MAX)
    .map((line) => (line.length > PROBLEM_LENGTH_MAX ? `${line.slice(0, PROBLEM_LENGTH_MAX)}…` : line));
  return lines.length > some.length ? [...some, `and ${lines.length - some.length} more`] : some;
}
