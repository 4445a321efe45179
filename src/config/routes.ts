import { z } from 'zod';
import { RELEASE } from './later.ts';
import { TimeToLiveSecs } from './storage.ts';
import { complain, identifier, integer, misfit, section, show } from './values.ts';

/** The one route of this release; also what absent or empty routes mean. */
export const ROUTE_ALL = 'FROM /messages/* INTO $upstream';
/** The name under which {@link ROUTE_ALL} appears when no route was written. */
export const ROUTE_ALL_NAME = 'upstream';

/** Keywords in any case, white space folded, `SELECT *` allowed: as in IoT Edge's grammar. */
const ROUTE_ALL_PATTERN =
  '^\\s*([Ss][Ee][Ll][Ee][Cc][Tt]\\s+\\*\\s+)?[Ff][Rr][Oo][Mm]\\s+/messages/\\*\\s+[Ii][Nn][Tt][Oo]\\s+\\$upstream\\s*$';
const ROUTE_ALL_MATCH = new RegExp(ROUTE_ALL_PATTERN, 'i');

const RouteText = z
  .string({ error: misfit('a route', `"${ROUTE_ALL}"`) })
  .superRefine((route, context) => {
    if (ROUTE_ALL_MATCH.test(route)) return;
    const later = 'route conditions and other sinks come with the rules release';
    complain(context, `${show(route)} is not possible in Holdfast ${RELEASE}: ${later}; write "${ROUTE_ALL}"`);
  })
  .meta({ pattern: ROUTE_ALL_PATTERN });

const RouteEntry = section({
  route: RouteText.describe(
    `The route. This release has only \`${ROUTE_ALL}\`; conditions and other sinks come with the rules release.`,
  ),
  priority: integer(0, 9).describe('0 goes first. Left out: after 9.').exactOptional(),
  timeToLiveSecs: TimeToLiveSecs.describe(
    'Overrides storeAndForward.timeToLiveSecs for what takes this route.',
  ).exactOptional(),
});

/** IoT Edge's `routes`: a name to a route, as text or with a priority and a time to live. Comes out never empty. */
export const RoutesSchema = z
  .record(identifier('telemetry'), z.union([RouteText, RouteEntry], { error: misfit('a route', `"${ROUTE_ALL}"`) }), {
    error: misfit('a mapping', `for example "telemetry: ${ROUTE_ALL}"`),
  })
  .transform((routes): Record<string, z.output<typeof RouteEntry>> => {
    const named = Object.entries(routes).map(
      ([name, route]) => [name, typeof route === 'string' ? { route } : route] as const,
    );
    return Object.fromEntries(named.length === 0 ? [[ROUTE_ALL_NAME, { route: ROUTE_ALL }]] : named);
  })
  .describe(`Where messages go: a name to a route as text, or to a mapping. Absent or empty: \`${ROUTE_ALL}\`.`);
