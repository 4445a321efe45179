import * as z from 'zod';
import { ALONGSIDE, choice, complain, integer, misfit, section, show, size, text } from './values.ts';

/** Most clients at once that a configuration may allow. */
const CLIENTS_MAX = 10_000;
const PORT_MAX = 65_535;
/** Largest limits that one may set: more than a board has room for. */
const CONNECTIONS_PER_SEC_MAX = 10_000;
const MESSAGES_PER_SEC_MAX = 1_000_000;
const BYTES_PER_SEC_MAX = 1024 ** 3;
const SUBSCRIPTIONS_MAX = 1000;
const QUEUED_MAX = 100_000;
/** All that waits for all children together is bounded by this as well (hub/limits.ts). */
const QUEUED_BYTES_MAX = 16 * 1024 ** 2;
const HOST_NAME =
  /^(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})(?:\.[A-Za-z0-9][A-Za-z0-9-]{0,62})*$|^[0-9a-fA-F:]*:[0-9a-fA-F:.]*$/;
/** `host:port`; an IPv6 address in brackets. */
const PLACE = /^(?:(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):)?(\d{1,5})$/;

/** Where a server listens. */
export interface Place {
  /** null: on every address. */
  readonly host: string | null;
  readonly port: number;
}

/** A port or `host:port`; `alone` is the host of a bare port. */
function place(alone: string | null) {
  const error = misfit('a port or host:port', 'for example 8883 or "192.0.2.1:8883"');
  return z
    .union([z.string().meta({ pattern: PLACE.source }), z.number().meta({ minimum: 1, maximum: PORT_MAX })], { error })
    .transform((input, context): Place => {
      const parts = typeof input === 'string' ? PLACE.exec(input) : null;
      const port = typeof input === 'number' ? input : Number(parts?.[3]);
      if (Number.isInteger(port) && port >= 1 && port <= PORT_MAX) {
        return { host: parts?.[1] ?? parts?.[2] ?? alone, port };
      }
      complain(context, error({ input }));
      return z.NEVER;
    })
    .meta({ title: 'port or host:port' });
}

function hostName(example: string): z.ZodString {
  const error = misfit('a host name or an address', `for example ${example}`);
  return z.string({ error }).regex(HOST_NAME, { error });
}

const LISTENERS = ['mqtts', 'wss', 'mqtt', 'https'] as const;

const ListenSchema = section({
  mqtts: place(null).describe('MQTT over TLS.').exactOptional(),
  wss: place(null).describe('MQTT over WebSockets over TLS, at `/$iothub/websocket` and `/mqtt`.').exactOptional(),
  mqtt: place('127.0.0.1')
    .describe('MQTT without TLS. A bare port listens on 127.0.0.1 only; write the host for more.')
    .exactOptional(),
  https: place(null).describe('The HTTPS call by which modules invoke methods.').exactOptional(),
})
  .superRefine((listen, context) => {
    if (LISTENERS.every((key) => listen[key] === undefined))
      complain(context, `listens nowhere; write some of ${LISTENERS.join(', ')}`);
    // What is no place is still there as it was written, and has been complained about.
    const plain = listen.mqtt?.port;
    for (const key of ['mqtts', 'wss', 'https'] as const) {
      if (plain !== undefined && listen[key]?.port === plain) {
        complain(context, `${plain} is the port of mqtt, which is without TLS`, [key]);
      }
    }
  }, ALONGSIDE)
  .describe(
    'Where the hub listens, each as a port or `host:port`; what is left out is off. Equal TLS ports share one server.',
  );

const LimitsSchema = section({
  connectionsPerSec: integer(1, CONNECTIONS_PER_SEC_MAX)
    .describe('New connections a second from one address; ten times as many at once.')
    .default(20),
  messagesPerSec: integer(1, MESSAGES_PER_SEC_MAX)
    .describe('Packets a second; what is over waits in the socket.')
    .default(1000),
  bytesPerSec: size(1024, BYTES_PER_SEC_MAX, '4MiB').describe('The same of their topics and bodies.').prefault('4MiB'),
  subscriptions: integer(1, SUBSCRIPTIONS_MAX).describe('Most subscriptions.').default(50),
  queuedMessages: integer(1, QUEUED_MAX).describe('Most messages that wait while it is away.').default(1000),
  queuedBytes: size(1024, QUEUED_BYTES_MAX, '1MiB').describe('Most bytes of them.').prefault('1MiB'),
}).describe('What one child may take up.');

export const HubSchema = section({
  hostName: hostName('gateway.local').describe('What children call this gateway: it stands in the server certificate.'),
  iothubName: hostName('myhub.azure-devices.net')
    .describe('The hub name that SDK children carry in their user names and tokens. Left out: `hostName`.')
    .exactOptional(),
  listen: ListenSchema.prefault({ mqtts: 8883 }),
  cert: text('a file name', 'server.pem')
    .describe('Server certificate and those between it and its authority, PEM. Left out: made by a local CA.')
    .exactOptional(),
  key: text('a file name', 'server.key').describe('Private key of the server certificate, PEM.').exactOptional(),
  clientCa: text('a file name', 'children-ca.pem')
    .describe('Certificates of the authorities whose certificates let children in (`children add --x509-ca`), PEM.')
    .exactOptional(),
  revoked: text('a file name', 'revoked.txt')
    .describe(
      'Certificates that do not count any more: a serial number or SHA-1 or SHA-256 fingerprint to a line, hex.',
    )
    .exactOptional(),
  maxConnectedClients: integer(1, CLIENTS_MAX).describe('Most clients connected at once.').default(100),
  limits: LimitsSchema.prefault({}),
  tokenExpiry: choice(['grace', 'strict'])
    .describe(
      'While the time is not known: `grace` takes tokens whenever they end and looks again once it is known, `strict` lets nobody in who depends on it.',
    )
    .default('grace'),
})
  .superRefine((hub, context) => {
    for (const [key, companion] of [
      ['cert', 'key'],
      ['key', 'cert'],
    ] as const) {
      if (hub[key] !== undefined && hub[companion] === undefined) {
        complain(context, `${show(hub[key])} needs ${companion} beside it`, [key]);
      }
    }
  }, ALONGSIDE)
  .describe('For children that connect. Left out: nobody can.')
  .meta({ dependentRequired: { cert: ['key'], key: ['cert'] } });
