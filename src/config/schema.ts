import * as z from 'zod';
import { ChildrenSchema } from './children.ts';
import { HealthSchema } from './health.ts';
import { HubSchema } from './hub.ts';
import { ModulesSchema } from './modules.ts';
import { RegistrySchema } from './registry.ts';
import { RoutesSchema } from './routes.ts';
import { StoreAndForwardSchema } from './storage.ts';
import { UpstreamSchema, withPath } from './upstream.ts';
import { ALONGSIDE, complain, identifier, section, show, text } from './values.ts';

/** Where everything durable lies when nothing is said. */
export const DATA_DIR = '/var/lib/holdfast';

export const GatewaySchema = section({
  id: identifier('line-4').describe('Names this gateway to the world above; a level of every topic.'),
  profile: text('a profile', 'raspberry-pi-4')
    .describe('The kind of board: the name of a file in `device-profiles`, or a path.')
    .default('simulated'),
  dataDir: text('a folder', DATA_DIR)
    .describe('Where everything durable lives; a relative path starts at the folder of this file.')
    .default(DATA_DIR),
}).describe('Who this gateway is, on which board, and where it keeps its data.');

/**
 * `gateway.yaml`: the one source of its types, its defaults, its JSON Schema and its reference page. What comes out has
 * every default applied, times in milliseconds or seconds as the key's name says (`every`: milliseconds), sizes in bytes.
 * Three things need more than the file itself and are added by `loadConfig`: what the profile suggests, absolute paths,
 * and whether the profile has the ports and lines that children name.
 */
export const ConfigSchema = section({
  gateway: GatewaySchema,
  upstream: UpstreamSchema.exactOptional(),
  hub: HubSchema.exactOptional(),
  registry: RegistrySchema.prefault({}),
  storeAndForward: StoreAndForwardSchema.prefault({}),
  routes: RoutesSchema.prefault({}),
  health: HealthSchema.prefault({}),
  children: ChildrenSchema.prefault([]),
  modules: ModulesSchema.prefault([]),
})
  .superRefine(({ gateway, children }, context) => {
    if (!Array.isArray(children)) return;
    children.forEach((child, index) => {
      if (typeof child?.id !== 'string' || child.id !== gateway?.id) return;
      complain(context, `${show(child.id)} is the id of the gateway; ids are unique`, ['children', index, 'id']);
    });
  }, ALONGSIDE)
  .transform(({ gateway, upstream, ...others }) => ({
    gateway,
    ...(upstream && {
      upstream: {
        ...upstream,
        url: withPath(upstream.url, upstream.dialect),
        clientId: upstream.clientId ?? gateway.id,
      },
    }),
    ...others,
  }));

export type Config = z.output<typeof ConfigSchema>;
export type GatewayConfig = Config['gateway'];
export type UpstreamConfig = NonNullable<Config['upstream']>;
export type HubConfig = NonNullable<Config['hub']>;
export type StoreAndForwardConfig = Config['storeAndForward'];
export type RouteConfig = Config['routes'][string];
export type ChildConfig = Config['children'][number];
export type ModuleConfig = Config['modules'][number];
export type SimulatedConfig = NonNullable<ChildConfig['simulated']>;
export type SerialConfig = NonNullable<ChildConfig['serial']>;
export type GpioConfig = NonNullable<ChildConfig['gpio']>;
export type HostConfig = NonNullable<ChildConfig['host']>;
export type DecoderConfig = SerialConfig['decoder'];

/** The JSON Schema (draft 2020-12) of what one may write, for editors and other checkers. */
export function configJsonSchema(): z.core.JSONSchema.JSONSchema {
  return { title: 'Holdfast gateway.yaml', ...z.toJSONSchema(ConfigSchema, { io: 'input' }) };
}
