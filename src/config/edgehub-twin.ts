import { asMapping } from './document.ts';
import { SCHEMAS, schemaVersionOf } from './edgehub.ts';
import { RouteNames } from './route-names.ts';
import { TIME_TO_LIVE_SECS_MAX } from './storage.ts';
import { show } from './values.ts';

/*
 * The desired properties of IoT Edge's hub, as they stand in a twin: "Properties of the IoT Edge agent and IoT Edge hub module
 * twins". Of them `routes` and `storeAndForwardConfiguration.timeToLiveSecs` have a counterpart; what else is there is left.
 */

const HUB_KEYS = ['schemaVersion', 'storeAndForwardConfiguration'];

/** An edge hub's desired properties in our form, before they are checked. */
export interface EdgeHubTwin {
  /** Absent: it says nothing of them. */
  readonly routes?: unknown;
  readonly timeToLiveSecs?: unknown;
  /** What is wrong with it before anything of it is looked at, by its key. */
  readonly problems: readonly (readonly [key: string, message: string])[];
}

/** Whether desired properties are an edge hub's, rather than ours. */
export function isEdgeHubTwin(desired: Readonly<Record<string, unknown>>): boolean {
  return HUB_KEYS.some((key) => Object.hasOwn(desired, key));
}

export function edgeHubTwin(desired: Readonly<Record<string, unknown>>): EdgeHubTwin {
  const problems: [string, string][] = [];
  const version = schemaVersionOf(desired['schemaVersion']);
  if (!SCHEMAS.includes(version))
    problems.push(['schemaVersion', `${show(version)} is not known; there are ${SCHEMAS.join(', ')}`]);
  const { routes, storeAndForwardConfiguration: stored = {} } = desired;
  const keys = asMapping(stored);
  if (keys === undefined) problems.push(['storeAndForwardConfiguration', `${show(stored)} is not a mapping`]);
  const life = lifeSecs(keys?.['timeToLiveSecs']);
  const mapping = asMapping(routes);
  return {
    // What is no mapping stays as it is, to be complained about.
    ...(routes === undefined ? {} : { routes: mapping === undefined ? routes : routesOf(mapping, version) }),
    ...(life === undefined ? {} : { timeToLiveSecs: life }),
    problems,
  };
}

function routesOf(routes: Readonly<Record<string, unknown>>, version: string): Record<string, unknown> {
  const names = new RouteNames();
  const ours = Object.entries(routes).flatMap(([name, written]): [string, unknown][] => {
    const entry = asMapping(written);
    const text = entry === undefined ? written : entry['route'];
    // Schema 1.0 takes an empty route for none.
    if (version === '1.0' && typeof text === 'string' && text.trim() === '') return [];
    return [[names.nameFor(name), entry === undefined ? written : routeEntry(entry)]];
  });
  return Object.fromEntries(ours);
}

function routeEntry({ route, priority, timeToLiveSecs }: Record<string, unknown>): Record<string, unknown> {
  const life = lifeSecs(timeToLiveSecs);
  return {
    route,
    ...(priority === undefined ? {} : { priority }),
    ...(life === undefined ? {} : { timeToLiveSecs: life }),
  };
}

/** There a number may be text, 0 is no word of it, and less than that is for ever. */
function lifeSecs(written: unknown): unknown {
  const secs = typeof written === 'string' && /^-?\d+$/.test(written) ? Number(written) : written;
  if (secs === 0) return undefined;
  return typeof secs === 'number' && (secs < 0 || secs > TIME_TO_LIVE_SECS_MAX) ? TIME_TO_LIVE_SECS_MAX : secs;
}
