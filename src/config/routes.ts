import * as z from 'zod';
import { readRoute, type NamedRoute } from '../router/route.ts';
import { TIME_TO_LIVE_SECS_MAX } from './storage.ts';
import { identifier, integer, misfit, seconds, section } from './values.ts';

/** What absent or empty routes mean. */
export const ROUTE_ALL = 'FROM /messages/* INTO $upstream';
/** The name under which {@link ROUTE_ALL} appears when no route was written. */
export const ROUTE_ALL_NAME = 'upstream';

const error = misfit('a route', `"${ROUTE_ALL}"`);

/** Whether it is a route is found out where its place in the file is known (route-check.ts). */
const RouteText = z.string({ error }).min(1, { error });

const RouteEntry = section({
  route: RouteText.describe(
    'The route: `[SELECT *] FROM <source> [WHERE <condition>] INTO $upstream`, or into `BrokeredEndpoint("/modules/NAME/inputs/INPUT")` or `BrokeredEndpoint("/children/NAME/inputs/INPUT")`; see [routes.md](routes.md).',
  ),
  priority: integer(0, 9).describe('0 goes first. Left out: after 9.').exactOptional(),
  timeToLiveSecs: seconds({ min: 0, max: TIME_TO_LIVE_SECS_MAX }, '7200 or 2h')
    .describe('Overrides storeAndForward.timeToLiveSecs for what takes this route. 0: does not.')
    .exactOptional(),
});

/** IoT Edge's `routes`: a name to a route, as text or with a priority and a time to live. Comes out never empty. */
export const RoutesSchema = z
  .record(identifier('telemetry'), z.union([RouteText, RouteEntry], { error }), {
    error: misfit('a mapping', `for example "telemetry: ${ROUTE_ALL}"`),
  })
  .transform((routes): Record<string, z.output<typeof RouteEntry>> => {
    const named = Object.entries(routes).map(([name, route]) => {
      if (typeof route === 'string') return [name, { route }] as const;
      const { timeToLiveSecs = 0, ...others } = route;
      return [name, timeToLiveSecs === 0 ? others : { ...others, timeToLiveSecs }] as const;
    });
    return Object.fromEntries(named.length === 0 ? [[ROUTE_ALL_NAME, { route: ROUTE_ALL }]] : named);
  })
  .describe(`Where messages go: a name to a route as text, or to a mapping. Absent or empty: \`${ROUTE_ALL}\`.`);

/** The routes as the router takes them. Throws a `QueryProblem` when one is none: `loadConfig` has refused it before. */
export function namedRoutes(routes: z.output<typeof RoutesSchema>): NamedRoute[] {
  return Object.entries(routes).map(([name, { route, ...others }]) => ({ name, route: readRoute(route), ...others }));
}
