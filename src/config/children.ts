import { ConnectedSchema, GrantsSchema } from './connected.ts';
import { GpioSchema } from './gpio.ts';
import { SerialSchema } from './serial.ts';
import {
  ALONGSIDE,
  ALONGSIDE_LIST,
  choice,
  complain,
  duration,
  identifier,
  integer,
  list,
  milliseconds,
  section,
  show,
} from './values.ts';

/** Most children that a configuration may name. */
export const CHILDREN_MAX = 1000;
export const HOST_METRICS = [
  'cpuTemperature',
  'load',
  'memory',
  'disk',
  'network',
  'power',
  'wear',
  'lastReadings',
] as const;
const CHILD_KINDS = ['simulated', 'serial', 'gpio', 'host', 'connected'] as const;
const DAY_MS = 86_400_000;

export const SimulatedSchema = section({
  sendIntervalMs: milliseconds({ min: 1, max: DAY_MS }, '5000 or 5s').describe('Time between messages.').prefault(5000),
  messageCount: integer(-1, 2_147_483_647).describe('Stops after so many messages; -1 for no limit.').default(500),
}).describe('A sensor that is made up: temperature, pressure and humidity.');

export const HostSchema = section({
  every: duration(1000, 7 * DAY_MS, 'from 1s to 7d, with its unit', '60s')
    .describe('Time between messages.')
    .prefault('60s'),
  metrics: list(choice(HOST_METRICS))
    .min(1, { error: `an empty list; write some of ${HOST_METRICS.join(', ')}` })
    .transform((metrics) => [...new Set(metrics)])
    .describe('What is measured.')
    .prefault([...HOST_METRICS]),
}).describe('The health of this board.');

export const ChildSchema = section({
  id: identifier('press-1').describe('Its name: unique, and not the id of the gateway.'),
  simulated: SimulatedSchema.exactOptional(),
  serial: SerialSchema.exactOptional(),
  gpio: GpioSchema.exactOptional(),
  host: HostSchema.exactOptional(),
  connected: ConnectedSchema.exactOptional(),
  grants: GrantsSchema.exactOptional(),
})
  .superRefine((child, context) => {
    // A kind that is unknown or of a later release has been reported; that none is left is then no second problem.
    if (context.issues.some(({ code }) => code === 'unrecognized_keys')) return;
    const [first, ...others] = CHILD_KINDS.filter((kind) => child[kind] !== undefined);
    if (first === undefined) complain(context, `says nothing of what it is; write one of ${CHILD_KINDS.join(', ')}`);
    for (const other of others) complain(context, `this child is ${first} already; make two children of it`, [other]);
    if (child.grants !== undefined && child.connected === undefined && first !== undefined) {
      complain(context, 'grants are for children that connect: this one only does what it is told', ['grants']);
    }
  }, ALONGSIDE)
  .meta({ oneOf: CHILD_KINDS.map((kind) => ({ required: [kind] })) });

export const ChildrenSchema = list(ChildSchema)
  .max(CHILDREN_MAX, { error: `more than ${CHILDREN_MAX} children` })
  .superRefine((children, context) => {
    const seen = new Set<string>();
    children.forEach((child, index) => {
      const id: unknown = child?.id;
      if (typeof id !== 'string') return;
      if (seen.has(id)) {
        complain(context, `${show(id)} is the id of an earlier child; ids are unique`, [index, 'id']);
      }
      seen.add(id);
    });
  }, ALONGSIDE_LIST)
  .describe('What this gateway reads: each has an id and exactly one of simulated, serial, gpio, host, connected.');
