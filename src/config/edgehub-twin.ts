import { asMapping } from './document.ts';
import { SCHEMAS, schemaVersionOf } from './edgehub.ts';
import { RouteNames } from './route-names.ts';
import { TIME_TO_LIVE_SECS_MAX } from './storage.ts';

/*
 * The desired properties of IoT Edge's hub, as they stand in a twin: "Properties of the IoT Edge agent and IoT Edge hub module
 * twins". Of them `routes` and `storeAndForwardConfiguration.timeToLiveSecs` have a counterpart; what else is there is left.
 */

const HUB_KEYS = ['schemaVersion', 'storeAndForwardConfiguration'];

/** An edge hub's desired properties in our form, before they are checked. */
export interface EdgeHubTwin {
  /** Absent: it says nothing of them. */
  readonly routes?: Readonly<Record<string, unknown>>;
  readonly timeToLiveSecs?: unknown;
  /** What is wrong with its `schemaVersion`. */
  readonly problem: string | null;
}

/** Whether desired properties are an edge hub's, rather than ours. */
export function isEdgeHubTwin(desired: Readonly<Record<string, unknown>>): boolean {
  return HUB_KEYS.some((key) => Object.hasOwn(desired, key));
}

export function edgeHubTwin(desired: Readonly<Record<string, unknown>>): EdgeHubTwin {
  const version = schemaVersionOf(desired['schemaVersion']);
  const known = SCHEMAS.includes(version);
  const problem = known ? null : `${JSON.stringify(version)} is not known; there are ${SCHEMAS.join(', ')}`;
  const life = lifeSecs(asMapping(desired['storeAndForwardConfiguration'])?.['timeToLiveSecs']);
  const routes = asMapping(desired['routes']);
  return {
    ...(routes === undefined ? {} : { routes: routesOf(routes, version) }),
    ...(life === undefined ? {} : { timeToLiveSecs: life }),
    problem,
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
