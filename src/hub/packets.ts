import { parser, type IConnectPacket, type Packet, type Parser } from 'mqtt-packet';
import type { PublicationProperties } from '../dialects/child-dialect.ts';
import { FILTERS_MAX, LEVELS_MAX, TOPIC_BYTES_MAX } from './limits.ts';
import { Malformed } from './packet-stream.ts';
import { levels } from './topics.ts';

export interface Will {
  readonly topic: string;
  readonly payload: Buffer;
  readonly retain: boolean;
  readonly delaySecs: number;
  readonly properties?: PublicationProperties;
}

export interface Connect {
  readonly kind: 'connect';
  readonly mqtt5: boolean;
  readonly clientId: string;
  readonly username: string | undefined;
  readonly password: Buffer | undefined;
  readonly clean: boolean;
  readonly keepaliveSecs: number;
  readonly will: Will | null;
  /** MQTT 5; absent is 0. */
  readonly sessionExpirySecs: number;
  readonly receiveMaximum: number;
  readonly packetBytesMax: number;
}

export interface Publish {
  readonly kind: 'publish';
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** 0 with QoS 0. */
  readonly id: number;
  readonly properties: PublicationProperties | undefined;
}

/** What a client may send, with everything checked that MQTT itself says about it. */
export type ClientPacket =
  | Connect
  | Publish
  | { readonly kind: 'puback'; readonly id: number; readonly reason: number }
  | {
      readonly kind: 'subscribe';
      readonly id: number;
      readonly filters: readonly { readonly filter: string; readonly qos: 0 | 1 | 2 }[];
    }
  | { readonly kind: 'unsubscribe'; readonly id: number; readonly filters: readonly string[] }
  | { readonly kind: 'pingreq' }
  | { readonly kind: 'disconnect'; readonly reason: number; readonly sessionExpirySecs: number | undefined };

/** Type and flags of a PUBLISH, and of them the bit that only QoS 2 and 3 have (section 3.3.1). */
const PUBLISH = 3;
const QOS_ABOVE_1 = 4;

/**
 * Reads the packets of one client, whole ones. mqtt-packet does the taking apart; what it lets pass is looked at here. Nearly
 * all that children send is plain telemetry, and for that taking apart is a few comparisons, which are made here.
 */
export class PacketReader {
  readonly #parser: Parser = parser();
  #packet: Packet | null = null;
  #error: Error | null = null;
  #mqtt5 = false;
  /** The last one that was looked at: a client says most on one topic. */
  #topic: string | null = null;

  constructor() {
    this.#parser.on('packet', (packet) => (this.#packet = packet));
    this.#parser.on('error', (error: Error) => (this.#error = error));
  }

  /** `bytes`: a packet of the length that it says. Throws {@link Malformed}. */
  read(bytes: Buffer): ClientPacket {
    return this.#plainPublish(bytes) ?? this.#parsed(bytes);
  }

  /** A PUBLISH of QoS 0 or 1 with a whole head and without properties; null: anything else, sound or not. */
  #plainPublish(bytes: Buffer): Publish | null {
    const first = bytes[0]!;
    if (first >>> 4 !== PUBLISH || (first & QOS_ABOVE_1) !== 0) return null;
    let at = 2;
    while (bytes[at - 1]! >= 128) at++;
    const topicAt = at + 2;
    const topicEnd = topicAt + ((bytes[at]! << 8) | bytes[at + 1]!);
    const qos = ((first >>> 1) & 1) as 0 | 1;
    let payloadAt = topicEnd + 2 * qos;
    if (this.#mqtt5 && bytes[payloadAt++] !== 0) return null;
    const id = qos === 0 ? 0 : (bytes[topicEnd]! << 8) | bytes[topicEnd + 1]!;
    if (topicAt > bytes.length || payloadAt > bytes.length || (qos === 1 && id === 0)) return null;
    const name = bytes.toString('utf8', topicAt, topicEnd);
    const sound = name === this.#topic ? name : (this.#topic = topic(name));
    const payload = bytes.subarray(payloadAt);
    return { kind: 'publish', topic: sound, payload, qos, retain: (first & 1) !== 0, id, properties: undefined };
  }

  #parsed(bytes: Buffer): ClientPacket {
    this.#packet = null;
    let left = 0;
    try {
      left = this.#parser.parse(bytes);
    } catch (error) {
      throw new Malformed((error as Error).message);
    }
    const packet = this.#packet as Packet | null;
    if (this.#error !== null) throw new Malformed(this.#error.message);
    if (packet === null || left !== 0) throw new Malformed('its length is not that of its content');
    if (packet.cmd === 'connect') this.#mqtt5 = packet.protocolVersion === 5;
    return checked(packet);
  }
}

function checked(packet: Packet): ClientPacket {
  switch (packet.cmd) {
    case 'connect':
      return connect(packet);
    case 'publish': {
      if (packet.qos > 0) checkId(packet.messageId);
      if (packet.properties?.topicAlias !== undefined)
        throw new Malformed('a topic alias, of which we take none', 0x94);
      if (packet.properties?.subscriptionIdentifier !== undefined)
        throw new Malformed('a subscription identifier from a client', 0x82);
      return {
        kind: 'publish',
        topic: topic(packet.topic),
        payload: packet.payload as Buffer,
        qos: packet.qos,
        retain: packet.retain,
        id: packet.qos > 0 ? packet.messageId! : 0,
        properties: publicationProperties(packet.properties),
      };
    }
    case 'puback':
      return { kind: 'puback', id: checkId(packet.messageId), reason: packet.reasonCode ?? 0 };
    case 'subscribe':
      checkId(packet.messageId);
      if (packet.subscriptions.length === 0) throw new Malformed('a SUBSCRIBE to nothing', 0x82);
      if (packet.subscriptions.length > FILTERS_MAX) throw new Malformed('a SUBSCRIBE to too much', 0x97);
      return {
        kind: 'subscribe',
        id: packet.messageId!,
        filters: packet.subscriptions.map((wish) => ({ filter: text(wish.topic), qos: wish.qos })),
      };
    case 'unsubscribe':
      checkId(packet.messageId);
      if (packet.unsubscriptions.length === 0) throw new Malformed('an UNSUBSCRIBE from nothing', 0x82);
      if (packet.unsubscriptions.length > FILTERS_MAX) throw new Malformed('an UNSUBSCRIBE from too much', 0x97);
      return { kind: 'unsubscribe', id: packet.messageId!, filters: packet.unsubscriptions.map(text) };
    case 'pingreq':
      return { kind: 'pingreq' };
    case 'disconnect':
      return {
        kind: 'disconnect',
        reason: packet.reasonCode ?? 0,
        sessionExpirySecs: optionalNumber(packet.properties?.sessionExpiryInterval),
      };
    default:
      throw new Malformed(`a ${packet.cmd.toUpperCase()} from a client`, 0x82);
  }
}

function connect(packet: IConnectPacket): Connect {
  const { properties = {}, will } = packet;
  if ((packet as { bridgeMode?: boolean }).bridgeMode === true) throw new Malformed('a bridge', 0x84);
  const version = packet.protocolVersion ?? 4;
  if ((packet.protocolId === 'MQIsdp') !== (version === 3))
    throw new Malformed('a version that its name has not', 0x84);
  if (properties.authenticationMethod !== undefined) throw new Malformed('an extended authentication', 0x8c);
  const receiveMaximum = optionalNumber(properties.receiveMaximum) ?? 65_535;
  const packetBytesMax = optionalNumber(properties.maximumPacketSize) ?? Infinity;
  if (receiveMaximum === 0 || packetBytesMax === 0) throw new Malformed('a maximum of 0', 0x82);
  if (will !== undefined && (will.qos ?? 0) > 1) throw new Malformed('a will of QoS 2', 0x9b);
  return {
    kind: 'connect',
    mqtt5: version === 5,
    clientId: text(packet.clientId),
    username: packet.username === undefined ? undefined : text(packet.username),
    password: packet.password,
    clean: packet.clean === true,
    keepaliveSecs: packet.keepalive ?? 0,
    will:
      will === undefined
        ? null
        : {
            topic: topic(will.topic),
            payload: Buffer.from(will.payload),
            retain: will.retain === true,
            delaySecs: optionalNumber(will.properties?.willDelayInterval) ?? 0,
            ...present('properties', publicationProperties(will.properties)),
          },
    sessionExpirySecs: optionalNumber(properties.sessionExpiryInterval) ?? 0,
    receiveMaximum,
    packetBytesMax,
  };
}

/** A property that came twice is a list, one that was cut short is null or -1. */
function optionalNumber(value: unknown): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || value < 0) throw new Malformed('a property that is no number', 0x82);
  return value;
}

function publicationProperties(
  properties: { readonly contentType?: unknown; readonly userProperties?: unknown } | undefined,
): PublicationProperties | undefined {
  if (properties === undefined) return undefined;
  const user = Object.entries((properties.userProperties ?? {}) as Record<string, unknown>);
  // No prototype: a property may be called __proto__.
  const userProperties = Object.create(null) as Record<string, string | string[]>;
  for (const [name, value] of user)
    userProperties[text(name)] = Array.isArray(value) ? value.map((one) => text(one)) : text(value);
  return {
    ...(properties.contentType === undefined ? {} : { contentType: text(properties.contentType) }),
    ...(user.length === 0 ? {} : { userProperties }),
  };
}

function present<K extends string, V>(key: K, value: V | undefined): Partial<Record<K, V>> {
  return value === undefined ? {} : ({ [key]: value } as Record<K, V>);
}

function checkId(id: number | undefined): number {
  if (id === undefined || id < 1 || id > 65_535) throw new Malformed('a packet identifier of 0', 0x82);
  return id;
}

/**
 * A text without NUL (section 1.5.4), and one that was UTF-8: what was not has become U+FFFD on its way here. A client that
 * means that very character is refused with the others; nobody puts it into a name.
 */
function text(value: unknown): string {
  if (typeof value !== 'string' || /[\0\uFFFD]/.test(value))
    throw new Malformed('a text that is no UTF-8, or has a NUL');
  return value;
}

/** A topic that something can be published on (section 4.7), within our limits. */
function topic(value: unknown): string {
  const name = text(value);
  if (name === '' || /[+#]/.test(name)) throw new Malformed('a topic that is empty or has a wildcard', 0x90);
  if (Buffer.byteLength(name) > TOPIC_BYTES_MAX || levels(name) > LEVELS_MAX)
    throw new Malformed('a topic that is too long or too deep', 0x90);
  return name;
}
