import { isIP } from 'node:net';
import * as z from 'zod';
import {
  ALONGSIDE,
  ALONGSIDE_LIST,
  complain,
  integer,
  list,
  misfit,
  seconds,
  section,
  show,
  size,
  text,
} from './values.ts';

/** Most messages on the way without an answer. Beyond this a crash repeats more than it is worth. */
export const WINDOW_MAX = 10_000;
/** Largest keepalive that MQTT can say, seconds (MQTT 5, section 3.1.2.10). */
export const KEEPALIVE_SECS_MAX = 65_535;

/** Largest bounds that `maxRate` takes: more than any gateway sends. */
const MESSAGES_PER_SEC_MAX = 1_000_000;
const BYTES_PER_SEC_MAX = 1024 ** 3;

const SCHEMES = new Set(['mqtt:', 'mqtts:', 'ws:', 'wss:']);
const EXAMPLE_URL = 'mqtts://broker.example:8883';
const URL_PATTERN = '^(mqtts?|wss?)://[^@]+$';

/** What is wrong with the broker's address, or undefined. A password that stands in it is never repeated. */
function urlFault(url: string): string | undefined {
  if (url.includes('@'))
    return 'an address with a user name or password in it; write username and passwordFile instead';
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !SCHEMES.has(parsed.protocol) || parsed.hostname === '' || parsed.hash !== '') {
    return `${show(url)} is not an address that begins with mqtt, mqtts, ws or wss; write for example ${EXAMPLE_URL}`;
  }
  const webSocket = parsed.protocol === 'ws:' || parsed.protocol === 'wss:';
  if (!webSocket && (parsed.search !== '' || (parsed.pathname !== '' && parsed.pathname !== '/'))) {
    return `${show(url)} has a path, which only ws and wss take; write for example ${EXAMPLE_URL}`;
  }
  return undefined;
}

function decodes(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

const EXAMPLE_PROXY = 'http://proxy.example:3128';

/** The same of a proxy's address, in which a user may stand, but no password. */
function proxyFault(url: string): string | undefined {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed !== undefined && parsed.password !== '')
    return 'an address with a password in it; leave the user name there and name a file with the password in proxyPasswordFile';
  if (parsed !== undefined && !decodes(parsed.username))
    return 'a user name in it with a % that begins no character; write %25 for the sign itself';
  if (
    parsed === undefined ||
    !['http:', 'https:'].includes(parsed.protocol) ||
    parsed.hostname === '' ||
    !['', '/'].includes(parsed.pathname) ||
    parsed.search !== '' ||
    parsed.hash !== ''
  ) {
    // An address that cannot be read may have a password in it all the same.
    const shown = url.includes('@') ? 'this' : show(url);
    return `${shown} is not the address of an HTTP proxy; write for example ${EXAMPLE_PROXY}`;
  }
  return undefined;
}

/** Most name servers that are asked. */
const DNS_SERVERS_MAX = 8;

/** An address, `address:port`, or `[IPv6 address]:port`. */
function isNameServer(text: string): boolean {
  if (isIP(text) !== 0) return true;
  const [, six, four, port] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  if (port !== undefined && (Number(port) < 1 || Number(port) > 65_535)) return false;
  return six === undefined ? isIP(four ?? '') === 4 : isIP(six) === 6;
}

const serverWrong = misfit('the address of a name server', 'for example 192.0.2.53, or 192.0.2.53:5353');

const DnsServers = list(z.string({ error: serverWrong }), '[192.0.2.53]')
  .superRefine((servers, context) => {
    servers.forEach((server, index) => {
      if (typeof server === 'string' && !isNameServer(server))
        complain(context, serverWrong({ input: server }), [index]);
    });
    if (servers.length === 0 || servers.length > DNS_SERVERS_MAX) {
      complain(context, `a list of ${servers.length}; write 1 to ${DNS_SERVERS_MAX}, or leave it out`);
    }
  }, ALONGSIDE_LIST)
  .describe(
    "Name servers that are asked instead of the system's resolver, after `/etc/hosts`: addresses, with a port when it is not 53. With or without them, the last known addresses are kept for when nobody answers; see [network.md](network.md).",
  );

const versionWrong = misfit('a version of TLS', '1.2 or 1.3');

/** YAML reads a bare 1.2 as a number: both spellings come out as text. */
const TlsVersion = z
  .union([z.literal(['1.2', '1.3']), z.literal([1.2, 1.3])], { error: versionWrong })
  .transform((version): '1.2' | '1.3' => (String(version) === '1.3' ? '1.3' : '1.2'))
  .meta({ title: '1.2 or 1.3' });

const protocolWrong = misfit('a protocol version', 'auto, 5 or 3.1.1');

/** YAML reads a bare 5 as a number: both spellings come out as text. */
const Protocol = z
  .union([z.literal(['auto', '5', '3.1.1']), z.literal(5)], { error: protocolWrong })
  .transform((version): 'auto' | '5' | '3.1.1' => (version === 5 ? '5' : version))
  .meta({ title: 'auto, 5 or 3.1.1' });

/** A bound of the wait before the next attempt, seconds. */
const reconnectSecs = seconds({ min: 0.01, max: 86_400, fractions: true }, '1 or 1s');

const Reconnect = section({
  minSecs: reconnectSecs.describe('Bound of the first wait.').prefault(1),
  maxSecs: reconnectSecs.describe('Largest bound.').prefault(60),
})
  .superRefine(({ minSecs, maxSecs }, context) => {
    if (minSecs > maxSecs) {
      complain(context, `${maxSecs} is less than minSecs, ${minSecs}; write ${minSecs} or more`, ['maxSecs']);
    }
  })
  .describe(
    'Waits between attempts to connect: each is a random part of a bound that begins at `minSecs` and doubles up to `maxSecs`.',
  );

export const MaxRate = section({
  messagesPerSec: integer(1, MESSAGES_PER_SEC_MAX).describe('Messages a second.').exactOptional(),
  bytesPerSec: size(1, BYTES_PER_SEC_MAX, '64KiB').describe('Size of their PUBLISH packets a second.').exactOptional(),
})
  .superRefine((rate, context) => {
    if (rate.messagesPerSec === undefined && rate.bytesPerSec === undefined) {
      complain(context, 'bounds nothing; write messagesPerSec, bytesPerSec or both');
    }
  }, ALONGSIDE)
  .describe(
    'Bounds of sending, for a line that has other uses: at least one of the two. What was not used in the last second may be made up for.',
  )
  .meta({ anyOf: [{ required: ['messagesPerSec'] }, { required: ['bytesPerSec'] }] });

const Dialect = z
  .literal(['holdfast', 'iothub'], { error: misfit('a topic contract', 'holdfast or iothub') })
  .describe(
    'The topic contract: `holdfast` works with any MQTT broker; `iothub` is that of Azure IoT Hub, where the gateway is the device `clientId`. See [cloud.md](cloud.md).',
  )
  .meta({ title: 'holdfast or iothub' });

/** Keys that need another key beside them. */
const COMPANIONS = [
  ['passwordFile', 'username'],
  ['clientCert', 'clientKey'],
  ['clientKey', 'clientCert'],
  ['proxyPasswordFile', 'proxy'],
] as const;

export const UpstreamSchema = section({
  dialect: Dialect.default('holdfast'),
  url: z
    .string({ error: misfit('an address', `for example ${EXAMPLE_URL}`) })
    .superRefine((url, context) => {
      const fault = urlFault(url);
      if (fault !== undefined) complain(context, fault);
    })
    .meta({
      description: 'The broker: mqtt, mqtts (TLS), ws or wss (TLS).',
      examples: [EXAMPLE_URL],
      pattern: URL_PATTERN,
    }),
  protocol: Protocol.describe(
    'The version of MQTT. `auto` begins with 5 and falls back when the broker refuses it.',
  ).prefault('auto'),
  clientId: text('an MQTT client id', 'line-4')
    .describe('The MQTT client id. Left out: the id of the gateway.')
    .exactOptional(),
  username: text('a user name', 'line-4').describe('The MQTT user name.').exactOptional(),
  passwordFile: text('a file name', 'upstream-password')
    .describe('File that holds the password: looked for in `$CREDENTIALS_DIRECTORY` first, then beside this file.')
    .exactOptional(),
  sharedAccessKeyFile: text('a file name', 'device-key')
    .describe(
      'With `iothub`: file that holds the shared access key of the device, base64; looked for as `passwordFile` is.',
    )
    .exactOptional(),
  iothubName: text('a host name', 'myhub.azure-devices.net')
    .describe(
      'With `iothub`: the name of the hub. Left out: the host in `url`. Another where that is a gateway above us.',
    )
    .exactOptional(),
  clientCert: text('a file name', 'client.pem')
    .describe('Client certificate, PEM; a relative path starts at the folder of this file.')
    .exactOptional(),
  clientKey: text('a file name', 'client.key').describe('Private key of the client certificate, PEM.').exactOptional(),
  ca: text('a file name', 'ca.pem')
    .describe('Certificates that the broker is judged by, PEM. Left out: those that Node.js brings.')
    .exactOptional(),
  tlsMinVersion: TlsVersion.describe('The oldest version of TLS that is spoken.').prefault('1.2'),
  proxy: z
    .string({ error: misfit('an address', `for example ${EXAMPLE_PROXY}`) })
    .superRefine((url, context) => {
      const fault = proxyFault(url);
      if (fault !== undefined) complain(context, fault);
    })
    .describe(
      'An HTTP proxy on the way to the broker, asked for a tunnel with CONNECT; http or https, with a user name where it wants one: `http://user@proxy.example:3128`. It also looks up the name of the broker.',
    )
    .meta({ examples: [EXAMPLE_PROXY], pattern: '^https?://[^:@/]*@?[^@/]+/?$' })
    .exactOptional(),
  proxyPasswordFile: text('a file name', 'proxy-password')
    .describe("File that holds the password for the proxy's user: looked for as `passwordFile` is.")
    .exactOptional(),
  dnsServers: DnsServers.exactOptional(),
  keepaliveSecs: seconds({ min: 1, max: KEEPALIVE_SECS_MAX }, '30 or 30s')
    .describe('The connection is probed this often; silence ends it after 1.5 times as long.')
    .prefault(30),
  window: integer(1, WINDOW_MAX)
    .describe('Most messages on the way without an answer. The broker may allow fewer.')
    .default(128),
  reconnect: Reconnect.prefault({}),
  maxRate: MaxRate.exactOptional(),
})
  .superRefine((upstream, context) => {
    for (const [key, companion] of COMPANIONS) {
      if (upstream[key] !== undefined && upstream[companion] === undefined) {
        complain(context, `${show(upstream[key])} needs ${companion} beside it`, [key]);
      }
    }
    for (const fault of dialectFaults(upstream)) complain(context, fault.message, [fault.key]);
    const { proxy, proxyPasswordFile } = upstream;
    if (
      proxyPasswordFile !== undefined &&
      typeof proxy === 'string' &&
      URL.canParse(proxy) &&
      !new URL(proxy).username
    ) {
      complain(
        context,
        `${show(proxyPasswordFile)} needs a user in proxy; write for example http://user@proxy.example`,
        ['proxyPasswordFile'],
      );
    }
  }, ALONGSIDE)
  .meta({
    description: 'The broker above. Left out: the gateway only stores.',
    dependentRequired: Object.fromEntries(COMPANIONS.map(([key, companion]) => [key, [companion]])),
  });

/** Where Azure IoT Hub takes WebSockets, when the address does not say. */
export function withPath(url: string, dialect: 'holdfast' | 'iothub'): string {
  if (dialect !== 'iothub' || !/^wss?:/.test(url)) return url;
  const parsed = new URL(url);
  return parsed.pathname === '/' ? `${parsed.protocol}//${parsed.host}/$iothub/websocket` : url;
}

/** Keys that mean nothing, or the wrong thing, in the dialect. */
function dialectFaults(upstream: Readonly<Record<string, unknown>>): { key: string; message: string }[] {
  const { dialect, protocol, sharedAccessKeyFile, clientCert } = upstream;
  const ours = ['sharedAccessKeyFile', 'iothubName'];
  const theirs = ['username', 'passwordFile'];
  if (dialect !== 'iothub') {
    return ours
      .filter((key) => upstream[key] !== undefined)
      .map((key) => ({
        key,
        message: `${show(upstream[key])} is for the iothub dialect; remove it, or write dialect: iothub`,
      }));
  }
  const faults = theirs
    .filter((key) => upstream[key] !== undefined)
    .map((key) => ({
      key,
      message: `${show(upstream[key])} is not for the iothub dialect; write sharedAccessKeyFile, or clientCert and clientKey`,
    }));
  if (protocol === '5') faults.push({ key: 'protocol', message: '5 is not what Azure IoT Hub speaks; write 3.1.1' });
  if (sharedAccessKeyFile === undefined && clientCert === undefined) {
    faults.push({
      key: 'dialect',
      message: `"iothub" needs sharedAccessKeyFile, or clientCert and clientKey, beside it`,
    });
  }
  if (sharedAccessKeyFile !== undefined && clientCert !== undefined) {
    faults.push({
      key: 'sharedAccessKeyFile',
      message: `${show(sharedAccessKeyFile)} and a clientCert are one too many; remove one`,
    });
  }
  return faults;
}
