import { isDeepStrictEqual } from 'node:util';
import { readRoute } from '../router/route.ts';
import type { LoadedConfig } from './load.ts';
import type { Config } from './schema.ts';

/** Keys of `storeAndForward` that a running gateway takes up; the others belong to the files as they were opened. */
const STORAGE_KEYS = [
  'quota',
  'keepFree',
  'whenFull',
  'lanes',
  'timeToLiveSecs',
  'commitEveryMs',
  'wearBudget',
] as const satisfies readonly (keyof Config['storeAndForward'])[];
/** The same of `upstream`. */
const UPSTREAM_KEYS = ['maxRate'] as const satisfies readonly (keyof NonNullable<Config['upstream']>)[];

/** The same of `hub`. */
const HUB_KEYS = [
  'maxConnectedClients',
  'limits',
  'clientCa',
  'revoked',
  'tokenExpiry',
] as const satisfies readonly (keyof NonNullable<Config['hub']>)[];

/** What became of a changed configuration, by the keys that differ. */
export interface Reconfigured {
  readonly applied: readonly string[];
  /** They act when the gateway is started again. */
  readonly needRestart: readonly string[];
}

/** The running configuration with all that may change at once taken from `next`; which keys that are, and which others differ. */
export function takenUp(running: LoadedConfig, next: LoadedConfig): Reconfigured & { readonly taken: LoadedConfig } {
  const before = running.config;
  const after = next.config;
  const config: Config = {
    ...before,
    storeAndForward: withKeys(before.storeAndForward, after.storeAndForward, STORAGE_KEYS),
    ...(before.upstream && { upstream: withKeys(before.upstream, after.upstream ?? before.upstream, UPSTREAM_KEYS) }),
    ...(before.hub && { hub: withKeys(before.hub, after.hub ?? before.hub, HUB_KEYS) }),
    children: withConnected(before.children, after.children),
  };
  if (routesFit(config, after)) config.routes = after.routes;
  const sameProfile = isDeepStrictEqual({ ...running.profile, storage: null }, { ...next.profile, storage: null });
  const others = differences(config, after);
  if (!sameProfile && !others.includes('gateway.profile')) others.unshift('gateway.profile');
  return { taken: { ...running, config }, applied: differences(before, config), needRestart: others };
}

/** Whether nothing that the new routes lead to waits for a restart itself. Who is named nowhere connects, and is there or not. */
function routesFit(running: Config, next: Config): boolean {
  const named = <T extends { readonly id: string }>(list: readonly T[], id: string) =>
    list.find((each) => each.id === id);
  return Object.values(next.routes).every(({ route }) => {
    const { sink } = readRoute(route);
    if (sink.kind === 'upstream') return true;
    if (sink.kind === 'child')
      return named(next.children, sink.child) === undefined || named(running.children, sink.child) !== undefined;
    const module = named(next.modules, sink.module);
    // With another query it may have other inputs.
    return module === undefined || isDeepStrictEqual(named(running.modules, sink.module), module);
  });
}

/** Children that connect come, go and change what they are granted at once; those that are read over a wire do not. */
function withConnected(before: Config['children'], after: Config['children']): Config['children'] {
  const wired = before.filter(({ connected }) => connected === undefined);
  const stay = new Set(wired.map(({ id }) => id));
  const becomeWired = new Set(after.flatMap(({ id, connected }) => (connected === undefined ? [id] : [])));
  return [
    ...wired,
    // Until the restart that has it read over a wire it connects.
    ...before.filter(({ id, connected }) => connected !== undefined && becomeWired.has(id)),
    ...after.filter(({ id, connected }) => connected !== undefined && !stay.has(id)),
  ];
}

/** `base` with these keys as they are in `from`: also absent where they are absent there. */
function withKeys<T extends object>(base: T, from: T, keys: readonly (keyof T)[]): T {
  const made = { ...base };
  for (const key of keys) {
    if (from[key] === undefined) delete made[key];
    else made[key] = from[key];
  }
  return made;
}

/** What differs, as `section.key`, or the section's name where one of them lacks it; children and modules by their ids. */
function differences(before: Config, after: Config): string[] {
  const [a, b] = [before, after].map(sections) as [Sections, Sections];
  return namesIn(a, b).flatMap((name) => {
    const [mine, others] = [a[name], b[name]];
    if (mine === undefined || others === undefined) return [name];
    return namesIn(mine, others)
      .filter((key) => !isDeepStrictEqual(mine[key], others[key]))
      .map((key) => `${name}.${key}`);
  });
}

type Sections = Record<string, Record<string, unknown>>;

function sections({ children, modules, ...others }: Config): Sections {
  const byId = (each: readonly { readonly id: string }[]) => Object.fromEntries(each.map((one) => [one.id, one]));
  return { ...others, children: byId(children), modules: byId(modules) };
}

function namesIn(a: object, b: object): string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])];
}
