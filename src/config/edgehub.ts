import { stringify } from 'yaml';
import { placeOf, QueryProblem } from '../query/problem.ts';
import { readRoute, type Route } from '../router/route.ts';
import { asMapping } from './document.ts';
import { edgeHubIn, type EdgeHub } from './edgehub-manifest.ts';
import { RouteNames } from './route-names.ts';
import { TIME_TO_LIVE_SECS_DEFAULT, TIME_TO_LIVE_SECS_MAX } from './storage.ts';

/** Schema versions of the edge hub's desired properties that are known. */
export const SCHEMAS = ['1.0', '1.1', '1.2', '1.3'];
/** Names that the manifest does not know; whoever writes the configuration chooses them. */
const UNKNOWN_ID = 'edge-gateway';

export interface Imported {
  /** A `gateway.yaml`. What could not be carried and has a place in it stands there as a comment. */
  readonly yaml: string;
  /** What was not carried, or has changed its meaning; one line each. */
  readonly notes: readonly string[];
  /** Every route could be read. */
  readonly whole: boolean;
}

/** The manifest says nothing of an edge hub, or it is of a kind that is not known. */
export class NoEdgeHub extends Error {}

/**
 * Makes a configuration of an IoT Edge deployment: of the edge hub's routes and time to live, and of its container's settings those that have a
 * counterpart. `root` is the parsed JSON. Throws {@link NoEdgeHub}.
 */
export function importEdgeHub(root: unknown): Imported {
  const hub = edgeHubIn(root);
  if (hub === null) {
    throw new NoEdgeHub(
      'it has no desired properties of $edgeHub: neither modulesContent nor properties.desired nor routes',
    );
  }
  return new EdgeHubImport(hub).made();
}

class EdgeHubImport {
  readonly #hub: EdgeHub;
  readonly #notes: string[] = [];
  /** Names of environment variables, in lower case, that were carried. */
  readonly #used = new Set<string>();
  readonly #named = new Set<string>();
  #whole = true;

  constructor(hub: EdgeHub) {
    this.#hub = hub;
  }

  made(): Imported {
    const version = this.#schemaVersion();
    const sections = [
      '# Made by holdfast config import-edgehub.',
      ...this.#gateway(),
      ...this.#upstream(),
      ...this.#hubSection(),
      ...this.#storage(),
      ...this.#routes(version),
      ...this.#modules(),
    ];
    this.#leftOver();
    return { yaml: `${sections.join('\n')}\n`, notes: this.#notes, whole: this.#whole };
  }

  #note(text: string): void {
    this.#notes.push(text.replaceAll(/\s+/g, ' '));
  }

  #env(name: string): string | undefined {
    for (const [key, value] of this.#hub.env) {
      if (key.toLowerCase() !== name.toLowerCase()) continue;
      this.#used.add(key.toLowerCase());
      return value;
    }
    return undefined;
  }

  #schemaVersion(): string {
    const { schemaVersion } = this.#hub.desired;
    if (!['string', 'number'].includes(typeof schemaVersion)) this.#note('schemaVersion: missing; read as 1.1');
    const version = schemaVersionOf(schemaVersion);
    if (SCHEMAS.includes(version)) return version;
    throw new NoEdgeHub(`schemaVersion ${JSON.stringify(version)} is not known; there are ${SCHEMAS.join(', ')}`);
  }

  #gateway(): string[] {
    this.#note(`gateway.id: the manifest does not name the device; "${UNKNOWN_ID}" stands there`);
    const lines = ['gateway:', `  id: ${UNKNOWN_ID} # the name of the device`];
    const folder = this.#env('storageFolder');
    if (folder === undefined) return lines;
    const place = hostFolder(folder, this.#hub.binds);
    if (place === null) {
      this.#note(`env storageFolder: ${folder} is a folder of the container; dataDir is the same path on the host`);
    }
    return [...lines, `  dataDir: ${scalar(place ?? folder)}`];
  }

  #upstream(): string[] {
    const protocol = this.#env('UpstreamProtocol');
    const isWebSocket = /ws$/i.test(protocol ?? '');
    if (protocol !== undefined && !/^(mqtt|amqp)(ws)?$/i.test(protocol)) {
      this.#note(`env UpstreamProtocol: ${protocol} is none of Mqtt, MqttWs, Amqp, AmqpWs; mqtts stands there`);
    } else if (/^amqp/i.test(protocol ?? '')) {
      this.#note(`env UpstreamProtocol: there is no AMQP; ${isWebSocket ? 'wss' : 'mqtts'} (MQTT) stands there`);
    }
    this.#note('upstream: the manifest does not say where the hub is, nor its credentials; fill in the section');
    const url = isWebSocket ? 'wss://HOST:443/mqtt' : 'mqtts://HOST:8883';
    return ['# upstream: # where messages go', `#   url: ${url}`];
  }

  #hubSection(): string[] {
    const clients = this.#env('MaxConnectedClients');
    if (clients === undefined) return [];
    if (!/^[1-9]\d{0,8}$/.test(clients)) {
      this.#note(`env MaxConnectedClients: ${clients} is no number of clients`);
      return [];
    }
    this.#note(
      'env MaxConnectedClients: the manifest does not say what children call the gateway; "gateway.local" stands there',
    );
    return ['hub:', `  maxConnectedClients: ${clients}`, '  hostName: gateway.local # what children call the gateway'];
  }

  #storage(): string[] {
    const { storeAndForwardConfiguration: stored } = this.#hub.desired;
    const { timeToLiveSecs, ...others } = asMapping(stored) ?? {};
    for (const key of Object.keys(others)) this.#note(`storeAndForwardConfiguration.${key}: no counterpart`);
    const secs = this.#lifeSecs(timeToLiveSecs, 'storeAndForwardConfiguration.timeToLiveSecs');
    return ['storeAndForward:', `  timeToLiveSecs: ${secs ?? TIME_TO_LIVE_SECS_DEFAULT}`];
  }

  /** Undefined: the one of the whole gateway (of a route), or the default. */
  #lifeSecs(value: unknown, at: string): number | undefined {
    if (value === undefined || value === null) return undefined;
    const secs = Number(value);
    if (!Number.isInteger(secs)) this.#note(`${at}: ${JSON.stringify(value)} is no whole number of seconds; left out`);
    else if (secs < 0 || secs > TIME_TO_LIVE_SECS_MAX) {
      this.#note(`${at}: ${secs} means for ever; ${TIME_TO_LIVE_SECS_MAX} (68 years) stands there`);
      return TIME_TO_LIVE_SECS_MAX;
    } else if (secs > 0) return secs;
    else if (at.startsWith('storeAndForward')) this.#note(`${at}: 0 is no time to live; the default stands there`);
    return undefined;
  }

  #routes(version: string): string[] {
    const { routes: written } = this.#hub.desired;
    const lines = Object.entries(asMapping(written) ?? {}).flatMap(([name, route]) =>
      this.#route(name, route, version),
    );
    if (lines.every((line) => line.trimStart().startsWith('#'))) {
      this.#note('routes: none is left, and without any everything goes to $upstream');
    }
    return ['routes:', ...lines];
  }

  #route(name: string, written: unknown, version: string): string[] {
    const at = `routes.${name}`;
    const entry = asMapping(written);
    const text = entry === undefined ? written : entry['route'];
    if (written === null) {
      this.#note(`${at}: null, so it was deleted; left out`);
      return [];
    }
    if (typeof text !== 'string') {
      this.#whole = false;
      this.#note(`${at}: ${JSON.stringify(written).slice(0, 100)} is no route; left out`);
      return [];
    }
    if (text.trim() === '') {
      if (version !== '1.0') this.#whole = false;
      this.#note(`${at}: empty; left out${version === '1.0' ? ', as schema 1.0 does' : ''}`);
      return [];
    }
    const life = this.#lifeOf(at, entry ?? {});
    const key = this.#routeName(name);
    const value = life.length === 0 ? scalar(text) : `{ route: ${quoted(text)}, ${life.join(', ')} }`;
    const line = `${key}: ${value}`;
    try {
      return this.#carried(at, readRoute(text), line);
    } catch (error) {
      if (!(error instanceof QueryProblem)) throw error;
      this.#whole = false;
      const { line: row, column } = placeOf(text, error.at);
      const hint = error.hint === null ? '' : `; ${error.hint}`;
      this.#note(`${at}: ${row}:${column}: ${error.message}${hint}; it stands there as a comment`);
      return ['  # cannot be read:', `  # ${line}`];
    }
  }

  /** A route that can be read; a comment where it leads to a module, which nobody has written yet. */
  #carried(at: string, route: Route, line: string): string[] {
    for (const { message, hint } of route.warnings) this.#note(`${at}: ${message}${hint === null ? '' : `; ${hint}`}`);
    const [, , room, module] = route.source.text.split('/');
    if (room?.toLowerCase() === 'modules' && module !== undefined && module !== '*') this.#named.add(module);
    if (route.source.prefix.startsWith('/twinchangenotifications/')) {
      this.#note(`${at}: changes of reported properties do not take routes yet; it takes nothing`);
    }
    if (route.sink.kind === 'upstream') return [`  ${line}`];
    const name = route.sink.kind === 'module' ? route.sink.module : route.sink.child;
    if (route.sink.kind === 'module') this.#named.add(name);
    this.#note(`${at}: leads to ${route.sink.kind} ${name}, which is not there yet; it stands there as a comment`);
    return [`  # waits for ${route.sink.kind} ${name}:`, `  # ${line}`];
  }

  #lifeOf(at: string, { route: _, priority, timeToLiveSecs, ...others }: Record<string, unknown>): string[] {
    for (const key of Object.keys(others)) this.#note(`${at}.${key}: no counterpart`);
    const life: string[] = [];
    const isPriority = Number.isInteger(priority) && (priority as number) >= 0 && (priority as number) <= 9;
    if (isPriority) life.push(`priority: ${priority as number}`);
    else if (priority !== undefined) this.#note(`${at}.priority: ${JSON.stringify(priority)} is not 0 to 9; left out`);
    const secs = this.#lifeSecs(timeToLiveSecs, `${at}.timeToLiveSecs`);
    if (secs !== undefined) life.push(`timeToLiveSecs: ${secs}`);
    return life;
  }

  readonly #names = new RouteNames();

  #routeName(name: string): string {
    const ours = this.#names.nameFor(name);
    if (ours !== name) this.#note(`routes.${name}: is called ${ours} here`);
    return scalar(ours);
  }

  /** Modules that routes name, or that ran beside the edge hub. */
  #modules(): string[] {
    const { modules } = this.#hub;
    for (const [name, image] of modules) {
      this.#note(`module ${name} (${image}): images do not run here; write it as a query under modules`);
    }
    const known = new Set([...modules.keys()].map((name) => name.toLowerCase()));
    for (const name of this.#named) {
      if (!known.has(name.toLowerCase()))
        this.#note(`module ${name}: routes name it; write it as a query under modules`);
    }
    const names = new Map([...this.#named, ...modules.keys()].map((name) => [name.toLowerCase(), name]));
    if (names.size === 0) return [];
    const lines = [...names.values()].map((name) => `#   - id: ${scalar(name)}`);
    return ['# modules: # each needs a query', ...lines];
  }

  #leftOver(): void {
    const { desired, env, others } = this.#hub;
    const known = ['schemaVersion', 'routes', 'storeAndForwardConfiguration', '$version', '$metadata'];
    for (const key of Object.keys(desired).filter((each) => !known.includes(each))) {
      this.#note(`$edgeHub ${key}: no counterpart`);
    }
    for (const name of env.keys()) if (!this.#used.has(name.toLowerCase())) this.#note(`env ${name}: no counterpart`);
    for (const other of others) this.#note(other);
  }
}

/** What the edge hub's desired properties say of their schema; 1.1 when they do not. */
export function schemaVersionOf(written: unknown): string {
  // JSON may have it as a number, and then 1.0 is 1.
  if (typeof written === 'number') return written.toFixed(1);
  return typeof written === 'string' ? written : '1.1';
}

/** The folder of the host behind a folder of the container; null when no bind says it. */
function hostFolder(folder: string, binds: readonly string[]): string | null {
  for (const bind of binds) {
    const [host, container] = bind.split(':');
    if (host?.startsWith('/') !== true || container === undefined || container === '') continue;
    const base = container.replace(/\/+$/, '');
    if (folder === base || folder.startsWith(`${base}/`)) return host.replace(/\/+$/, '') + folder.slice(base.length);
  }
  return null;
}

/** Text as YAML on one line. */
function scalar(text: string): string {
  const plain = stringify(text, { lineWidth: 0 }).trimEnd();
  return plain.includes('\n') ? quoted(text) : plain;
}

function quoted(text: string): string {
  return JSON.stringify(text);
}
