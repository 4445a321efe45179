import mqtt, { type Packet } from 'mqtt-packet';
import type { PacketClient } from './packet-client.ts';

/** Whom a bad client would like to be, or to hear. */
export interface Target {
  readonly id: string;
  readonly gateway: string;
  /** The bad client's own id, by which it was let in. */
  readonly self: string;
}

/** What one does who was let in with its own credentials, and what must come of it. */
export interface Deed {
  readonly name: string;
  /** MQTT 5 instead of 3.1.1. */
  readonly five?: boolean;
  /**
   * `cut`: the connection ends. `denied`: the subscription is refused, or the connection ends. `unheard`: nobody hears of it;
   * whether the connection ends is all the same.
   */
  readonly verdict: 'cut' | 'denied' | 'unheard';
  act(client: PacketClient, target: Target): void;
}

/** The body of everything that must never arrive anywhere. */
export const FORGED = 'forged';

function publish(topic: string, extra: Partial<Extract<Packet, { cmd: 'publish' }>> = {}): Packet {
  return { cmd: 'publish', topic, payload: FORGED, qos: 1, messageId: 7, retain: false, dup: false, ...extra };
}

/** A PUBLISH with any bytes as its topic. QoS 1, packet id 7. */
function rawPublish(topic: Buffer, flags = 0x32): Buffer {
  const body = Buffer.concat([
    Buffer.from([topic.length >> 8, topic.length & 255]),
    topic,
    Buffer.from([0, 7]),
    Buffer.from(FORGED),
  ]);
  return Buffer.concat([Buffer.from([flags]), remaining(body.length), body]);
}

function rawSubscribe(filter: Buffer, qos = 1): Buffer {
  const body = Buffer.concat([
    Buffer.from([0, 7, filter.length >> 8, filter.length & 255]),
    filter,
    Buffer.from([qos]),
  ]);
  return Buffer.concat([Buffer.from([0x82]), remaining(body.length), body]);
}

/** MQTT's variable byte integer. */
function remaining(length: number): Buffer {
  const bytes: number[] = [];
  for (let rest = length; rest > 0 || bytes.length === 0; rest >>= 7) bytes.push((rest & 127) | (rest > 127 ? 128 : 0));
  return Buffer.from(bytes);
}

function subscribe(...filters: readonly string[]): Packet {
  return { cmd: 'subscribe', messageId: 7, subscriptions: filters.map((topic) => ({ topic, qos: 1 as const })) };
}

const text = (before: string, bytes: readonly number[], after = '') =>
  Buffer.concat([Buffer.from(before), Buffer.from(bytes), Buffer.from(after)]);

type Topic = (target: Target) => string | Buffer;

/** Topics that are another's, the hub's own, or none at all. */
const TOPICS: Readonly<Record<string, Topic>> = {
  "another child's events": ({ id }) => `devices/${id}/messages/events/`,
  "another child's events, without a bag": ({ id }) => `devices/${id}/messages/events`,
  "the events of another child's module": ({ id }) => `devices/${id}/modules/filter/messages/events/`,
  "another child's events in the other dialect": ({ id, gateway }) => `holdfast/v1/${gateway}/${id}/events`,
  "another child's reported properties in the other dialect": ({ id, gateway }) =>
    `holdfast/v1/${gateway}/${id}/twin/reported`,
  "another child's commands in the other dialect": ({ id, gateway }) => `holdfast/v1/${gateway}/${id}/commands`,
  "another child's method": ({ id, gateway }) => `holdfast/v1/${gateway}/${id}/methods/reset/req/1`,
  "the gateway's events": ({ gateway }) => `holdfast/v1/${gateway}/${gateway}/events`,
  'the registry': ({ gateway }) => `holdfast/v1/${gateway}/children`,
  "the gateway's status": ({ gateway }) => `holdfast/v1/${gateway}/status`,
  'a message to another child': ({ id }) => `devices/${id}/messages/devicebound/`,
  'a message to itself': ({ self }) => `devices/${self}/messages/devicebound/`,
  'an input of a module': ({ id }) => `devices/${id}/modules/filter/inputs/in/`,
  'a desired property': () => '$iothub/twin/PATCH/properties/desired/?$version=99',
  'the answer to a twin': () => '$iothub/twin/res/200/?$rid=1',
  'a method of its own': () => '$iothub/methods/POST/reset/?$rid=1',
  'an answer to nothing': () => '$iothub/methods/res/200/?$rid=nobody-asked',
  'a status that is none': () => '$iothub/methods/res/abc/?$rid=1',
  'the broker itself': () => '$SYS/broker/version',
  'all children': () => 'devices/+/messages/events/',
  everything: () => '#',
  'a wildcard in a level': ({ self }) => `devices/${self}#/messages/events/`,
  'no topic': () => '',
  'a slash': () => '/',
  'some words': () => 'plant/hall/press',
  'the way by another child': ({ id, self }) => `devices/${self}/../${id}/messages/events/`,
  'another child, percent-encoded': ({ id }) =>
    `devices/%${id.charCodeAt(0).toString(16)}${id.slice(1)}/messages/events/`,
  'another child in capitals': ({ id }) => `DEVICES/${id}/MESSAGES/EVENTS/`,
  'another child after a shared name': ({ id }) => `$share/x/devices/${id}/messages/events/`,
  NUL: ({ self }) => text(`devices/${self}/messages/events/`, [0]),
  'NUL between two ids': ({ id, self }) => text(`devices/${self}`, [0], `/${id}/messages/events/`),
  'overlong UTF-8 for a slash': ({ id }) => text('devices', [0xc0, 0xaf], `${id}/messages/events/`),
  'overlong UTF-8 for NUL': ({ self }) => text(`devices/${self}/messages/events/`, [0xc0, 0x80]),
  'overlong UTF-8 of three bytes': ({ self }) => text(`devices/${self}/messages/events/`, [0xe0, 0x80, 0xaf]),
  'half a surrogate pair': ({ self }) => text(`devices/${self}/messages/events/`, [0xed, 0xa0, 0x80]),
  'UTF-8 that ends too soon': ({ self }) => text(`devices/${self}/messages/events/`, [0xe2, 0x82]),
  'a byte that UTF-8 does not have': ({ self }) => text(`devices/${self}/messages/events/`, [0xff]),
  'beyond Unicode': ({ self }) => text(`devices/${self}/messages/events/`, [0xf5, 0x80, 0x80, 0x80]),
  '65,535 bytes': ({ self }) => `devices/${self}/messages/events/`.padEnd(65_535, 'a='),
  '60,000 levels': ({ self }) => `devices/${self}/messages/events`.padEnd(60_000, '/'),
};

/** Filters that hear what is another's. */
const FILTERS: Readonly<Record<string, Topic>> = {
  everything: () => '#',
  'everything of one level': () => '+',
  'everything of two levels': () => '+/+',
  'everything below something': () => '+/#',
  'everything below nothing': () => '/#',
  'the broker itself': () => '$SYS/#',
  'the hub itself': () => '$iothub/#',
  'all devices': () => 'devices/#',
  'all of all devices': () => 'devices/+/#',
  "all devices' messages": () => 'devices/+/messages/devicebound/#',
  "all devices' events": () => 'devices/+/messages/events/#',
  "another child's messages": ({ id }) => `devices/${id}/messages/devicebound/#`,
  "another child's everything": ({ id }) => `devices/${id}/#`,
  "another child's module": ({ id }) => `devices/${id}/modules/+/inputs/#`,
  'the inputs of all modules': () => 'devices/+/modules/+/inputs/#',
  'the other dialect': () => 'holdfast/#',
  'all events': ({ gateway }) => `holdfast/v1/${gateway}/+/events/#`,
  'all gateways': () => 'holdfast/v1/+/+/events/#',
  "another child's commands": ({ id, gateway }) => `holdfast/v1/${gateway}/${id}/commands`,
  'all methods': ({ gateway }) => `holdfast/v1/${gateway}/+/methods/+/req/+`,
  'the registry': ({ gateway }) => `holdfast/v1/${gateway}/children`,
  'all, shared': () => '$share/group/#',
  "another child's messages, shared": ({ id }) => `$share/group/devices/${id}/messages/devicebound/#`,
  'a queue': () => '$queue/#',
  'a wildcard in the middle': () => 'devices/#/messages',
  'a wildcard beside a letter': ({ id }) => `devices/${id}+/messages/devicebound/#`,
  'no filter': () => '',
  NUL: ({ id }) => text(`devices/${id}`, [0], '/#'),
  'overlong UTF-8': ({ id }) => text('devices', [0xc0, 0xaf], `${id}/messages/devicebound/#`),
  '60,000 levels': () => '+'.padEnd(60_000, '/+'),
};

const many = (count: number, make: (n: number) => Packet) =>
  Buffer.concat(Array.from({ length: count }, (_, n) => mqtt.generate(make(n))));

/** What breaks the protocol, or tries to be too much. */
const RUDE: readonly Deed[] = [
  {
    name: 'a message of 300,000 bytes',
    verdict: 'cut',
    act: (client, { self }) =>
      client.send(publish(`devices/${self}/messages/events/`, { payload: FORGED.padEnd(300_000, '.') })),
  },
  {
    name: 'a message of 5 MiB',
    verdict: 'cut',
    act: (client, { self }) =>
      client.send(publish(`devices/${self}/messages/events/`, { payload: FORGED.padEnd(5 << 20, '.') })),
  },
  {
    name: 'the announcement of 268,435,455 bytes',
    verdict: 'cut',
    act: (client) => client.send(Buffer.from([0x32, 0xff, 0xff, 0xff, 0x7f, 0, 1])),
  },
  { name: 'a length that does not end', verdict: 'cut', act: (client) => client.send(Buffer.alloc(64, 0xff)) },
  {
    name: 'QoS 2',
    verdict: 'cut',
    act: (client, { self }) => client.send(publish(`devices/${self}/messages/events/`, { qos: 2 })),
  },
  {
    name: 'QoS 3',
    verdict: 'cut',
    act: (client, { self }) => client.send(rawPublish(Buffer.from(`devices/${self}/messages/events/`), 0x36)),
  },
  {
    name: 'a packet id of 0',
    verdict: 'cut',
    act: (client, { self }) =>
      client.send(
        rawPublish(Buffer.from(`devices/${self}/messages/events/`)).map((byte, at, all) =>
          at === all.length - FORGED.length - 1 ? 0 : byte,
        ) as Buffer,
      ),
  },
  { name: 'a second CONNECT', verdict: 'cut', act: (client, { self }) => client.connect({ clientId: self }) },
  { name: 'a CONNACK', verdict: 'cut', act: (client) => client.send(Buffer.from([0x20, 2, 0, 0])) },
  { name: 'a packet of type 0', verdict: 'cut', act: (client) => client.send(Buffer.from([0, 0])) },
  { name: 'a packet of type 15', verdict: 'cut', act: (client) => client.send(Buffer.from([0xf0, 0])) },
  {
    name: 'a SUBSCRIBE without its flags',
    verdict: 'cut',
    act: (client) => client.send(Buffer.from([0x80, 6, 0, 7, 0, 1, 0x61, 1])),
  },
  { name: 'a SUBSCRIBE of nothing', verdict: 'cut', act: (client) => client.send(Buffer.from([0x82, 2, 0, 7])) },
  {
    name: 'a SUBSCRIBE that ends too soon',
    verdict: 'cut',
    act: (client) => client.send(Buffer.from([0x82, 4, 0, 7, 0, 9])),
  },
  {
    name: 'a PUBLISH whose topic is longer than itself',
    verdict: 'cut',
    act: (client) => client.send(Buffer.from([0x32, 4, 0xff, 0xff, 0x61, 0x62])),
  },
  {
    name: 'a request in HTTP',
    verdict: 'cut',
    act: (client) => client.send(Buffer.from(`GET / HTTP/1.1\r\n${'Host: x\r\n'.repeat(20)}\r\n`)),
  },
  {
    name: 'one SUBSCRIBE of 5,000 filters',
    verdict: 'denied',
    act: (client, { id }) =>
      client.send(subscribe(...Array.from({ length: 5000 }, (_, n) => `devices/${id}/messages/devicebound/${n}`))),
  },
  {
    name: '5,000 SUBSCRIBEs',
    verdict: 'denied',
    act: (client, { id }) =>
      client.send(
        many(5000, (n) => ({
          cmd: 'subscribe',
          messageId: n + 1,
          subscriptions: [{ topic: `devices/${id}/${n}/#`, qos: 1 }],
        })),
      ),
  },
  {
    name: '5,000 UNSUBSCRIBEs',
    verdict: 'unheard',
    act: (client) =>
      client.send(many(5000, (n) => ({ cmd: 'unsubscribe', messageId: n + 1, unsubscriptions: [`a/${n}`] }))),
  },
  {
    name: '20,000 PUBACKs for nothing',
    verdict: 'unheard',
    act: (client) => client.send(many(20_000, (n) => ({ cmd: 'puback', messageId: n + 1 }))),
  },
  {
    name: '100,000 PINGREQs',
    verdict: 'unheard',
    act: (client) => client.send(Buffer.alloc(200_000, Buffer.from([0xc0, 0]))),
  },
  { name: 'a PUBREL for nothing', verdict: 'unheard', act: (client) => client.send({ cmd: 'pubrel', messageId: 9 }) },
  {
    name: 'a topic alias',
    five: true,
    verdict: 'cut',
    act: (client) => client.send(publish('', { properties: { topicAlias: 1 } })),
  },
  {
    name: 'a shared subscription',
    five: true,
    verdict: 'denied',
    act: (client) => client.send(subscribe('$share/group/#')),
  },
  {
    name: 'a property that MQTT 5 does not have',
    five: true,
    verdict: 'cut',
    act: (client) => client.send(Buffer.from([0x32, 8, 0, 1, 0x61, 0, 7, 2, 0x7e, 1])),
  },
  {
    name: 'a message of 300,000 bytes, MQTT 5',
    five: true,
    verdict: 'unheard',
    act: (client, { self }) =>
      client.send(publish(`devices/${self}/messages/events/`, { payload: FORGED.padEnd(300_000, '.') })),
  },
  { name: 'an AUTH for nothing', five: true, verdict: 'cut', act: (client) => client.send(Buffer.from([0xf0, 0])) },
];

function bytes(topic: string | Buffer): Buffer {
  return Buffer.isBuffer(topic) ? topic : Buffer.from(topic);
}

export const DEEDS: readonly Deed[] = [
  ...Object.entries(TOPICS).map(([name, topic]): Deed => ({
    name: `publishes to ${name}`,
    verdict: 'unheard',
    act: (client, target) => client.send(rawPublish(bytes(topic(target)))),
  })),
  ...Object.entries(FILTERS).map(([name, filter]): Deed => ({
    name: `subscribes to ${name}`,
    verdict: 'denied',
    act: (client, target) => client.send(rawSubscribe(bytes(filter(target)))),
  })),
  ...RUDE.map((deed) => ({ ...deed, name: `sends ${deed.name}` })),
];
