import { asMapping } from './document.ts';

/** The desired properties of the edge hub, and what the edge agent was told about its container. */
export interface EdgeHub {
  readonly desired: Mapping;
  /** Environment variables of the container. */
  readonly env: ReadonlyMap<string, string>;
  /** `host:container` of folders that the container sees. */
  readonly binds: readonly string[];
  /** Other modules by name, with their images. */
  readonly modules: ReadonlyMap<string, string>;
  /** Parts of the manifest that are about something else, each by its path and why it is left. */
  readonly others: readonly string[];
}

export type Mapping = Readonly<Record<string, unknown>>;

/** Forms in which a value may be nested in others, from outside to inside. */
const WRAPPINGS = ['content', 'modulesContent', 'moduleContent'];
const HUB = '$edgeHub';
const AGENT = '$edgeAgent';

/**
 * Finds the edge hub in a deployment manifest (`modulesContent`), in a module twin (`properties.desired`), or in the desired properties alone.
 * Null when it is none of these.
 */
export function edgeHubIn(root: unknown): EdgeHub | null {
  let content = asMapping(root);
  for (const key of WRAPPINGS) content = asMapping(content?.[key]) ?? content;
  if (content === undefined) return null;
  const hub = asMapping(content[HUB]) ?? (content[AGENT] === undefined ? content : {});
  const desired = desiredIn(hub) ?? (looksDesired(hub) ? hub : undefined);
  if (desired === undefined) return null;
  const agent = desiredIn(asMapping(content[AGENT]) ?? {}) ?? {};
  const container = asMapping(asMapping(agent['systemModules'])?.['edgeHub']) ?? {};
  const options = createOptions(asMapping(container['settings']));
  return {
    desired,
    env: new Map([...envOfOptions(options), ...envOf(asMapping(container['env']))]),
    binds: texts(asMapping(options['HostConfig'])?.['Binds']),
    modules: new Map(
      Object.entries(asMapping(agent['modules']) ?? {}).map(([name, module]) => {
        const image = asMapping(asMapping(module)?.['settings'])?.['image'];
        return [name, typeof image === 'string' ? image : 'no image'];
      }),
    ),
    others: [...othersOf(content, agent), ...othersOfContainer(container, options)],
  };
}

/** `properties.desired` in each of its spellings: nested, as one key, and key by key as layered deployments have it. */
function desiredIn(twin: Mapping): Mapping | undefined {
  const whole = asMapping(twin['properties.desired']) ?? asMapping(asMapping(twin['properties'])?.['desired']);
  const prefix = 'properties.desired.';
  const layered = Object.entries(twin).filter(([key]) => key.startsWith(prefix));
  if (whole === undefined && layered.length === 0) return undefined;
  const desired: Record<string, unknown> = { ...whole };
  for (const [key, value] of layered) {
    const [section, ...rest] = key.slice(prefix.length).split('.');
    if (section === undefined || section === '') continue;
    const name = rest.join('.');
    desired[section] = name === '' ? value : { ...asMapping(desired[section]), [name]: value };
  }
  return desired;
}

function looksDesired(twin: Mapping): boolean {
  return ['schemaVersion', 'routes', 'storeAndForwardConfiguration'].some((key) => Object.hasOwn(twin, key));
}

/** The container's options: JSON within a text, which may go on in `createOptions01` and so on, or a mapping. */
function createOptions(settings: Mapping | undefined): Mapping {
  const { createOptions: options } = settings ?? {};
  if (typeof options !== 'string') return asMapping(options) ?? {};
  const more = Object.entries(settings ?? {})
    .filter(([key, value]) => /^createOptions\d\d$/.test(key) && typeof value === 'string')
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, value]) => value as string);
  try {
    return asMapping(JSON.parse([options, ...more].join(''))) ?? {};
  } catch {
    return {};
  }
}

function envOfOptions(options: Mapping): [string, string][] {
  return texts(options['Env']).map((line) => {
    const [name = '', ...value] = line.split('=');
    return [name, value.join('=')];
  });
}

function envOf(env: Mapping | undefined): [string, string][] {
  return Object.entries(env ?? {}).flatMap(([name, holder]): [string, string][] => {
    const value = asMapping(holder)?.['value'] ?? holder;
    return ['string', 'number', 'boolean'].includes(typeof value) ? [[name, String(value)]] : [];
  });
}

function texts(list: unknown): string[] {
  return Array.isArray(list) ? list.filter((each) => typeof each === 'string') : [];
}

function othersOf(content: Mapping, agent: Mapping): string[] {
  const others: string[] = [];
  if (asMapping(asMapping(asMapping(agent['runtime'])?.['settings'])?.['registryCredentials']) !== undefined) {
    others.push('$edgeAgent runtime.settings.registryCredentials: there are no images to fetch');
  }
  const twins = Object.keys(content).filter(
    (key) => ![HUB, AGENT].includes(key) && desiredIn(asMapping(content[key]) ?? {}),
  );
  for (const name of twins) others.push(`${name}: a module's desired properties have no counterpart`);
  return others;
}

function othersOfContainer(container: Mapping, options: Mapping): string[] {
  const others: string[] = [];
  const at = '$edgeAgent systemModules.edgeHub';
  const ports = Object.keys(asMapping(asMapping(options['HostConfig'])?.['PortBindings']) ?? {});
  if (ports.length > 0) others.push(`${at}: ports ${ports.join(', ')}: the gateway listens where its hub section says`);
  const { image } = asMapping(container['settings']) ?? {};
  if (typeof image === 'string') others.push(`${at}: image ${image}: the gateway is a program, not an image`);
  return others;
}
