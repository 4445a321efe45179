import { parser, type IPublishPacket } from 'mqtt-packet';
import type { DownPublication } from '../dialects/upstream-dialect.ts';

/** Messages that may wait for our acknowledgement: MQTT 5's Receive Maximum. With 3.1.1 brokers have bounds of their own. */
export const RECEIVE_MAXIMUM = 64;
/** So many bytes of them, or so many of them whatever the broker's bounds, and it has gone mad. */
const WAITING_BYTES_MAX = 16 * 1024 * 1024;
const WAITING_MAX = 10_000;

const PUBACK = 0x40;

/** What came from the broker is not what may come from one. */
export class BrokerAtFault extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'BrokerAtFault';
  }
}

interface Waiting {
  readonly packetId: number;
  readonly bytes: number;
  done: boolean;
}

/**
 * What a broker publishes to us: read, and acknowledged when whoever it is for says that it is stored. PUBACKs leave in the order
 * in which the messages came (MQTT 5, section 4.6), so one that is not stored yet holds back those behind it.
 */
export class Incoming {
  readonly #version: 4 | 5;
  readonly #write: (bytes: Buffer) => void;
  readonly #waiting: Waiting[] = [];
  #bytes = 0;

  constructor(version: 4 | 5, write: (bytes: Buffer) => void) {
    this.#version = version;
    this.#write = write;
  }

  /**
   * Reads a PUBLISH packet; `stored` has it acknowledged. Throws {@link BrokerAtFault} when it is none, or when more wait than
   * may.
   */
  read(packet: Buffer): { publication: DownPublication; stored: () => void } {
    const publish = publishIn(packet, this.#version);
    const { qos, topic, retain, messageId, properties } = publish;
    if (qos === 2) throw new BrokerAtFault('it sends with QoS 2, which was not asked for');
    const publication: DownPublication = {
      topic,
      body: typeof publish.payload === 'string' ? Buffer.from(publish.payload) : publish.payload,
      qos,
      retain,
      contentType: properties?.contentType,
      userProperties: properties?.userProperties,
      messageExpirySecs: properties?.messageExpiryInterval,
    };
    return { publication, stored: qos === 0 ? () => undefined : this.#held(messageId ?? 0, packet.length) };
  }

  /** A message that is too large to be read is acknowledged unread: it would come again for ever. */
  skipped(packetId: number): void {
    if (packetId !== 0) this.#held(packetId, 0)();
  }

  #held(packetId: number, bytes: number): () => void {
    const waiting: Waiting = { packetId, bytes, done: false };
    this.#waiting.push(waiting);
    this.#bytes += bytes;
    if (this.#bytes > WAITING_BYTES_MAX || this.#waiting.length > WAITING_MAX)
      throw new BrokerAtFault(`it sends on while ${this.#waiting.length} messages wait to be acknowledged`);
    return () => {
      waiting.done = true;
      this.#acknowledge();
    };
  }

  #acknowledge(): void {
    const pubacks: number[] = [];
    while (this.#waiting[0]?.done === true) {
      const { packetId, bytes } = this.#waiting.shift()!;
      this.#bytes -= bytes;
      pubacks.push(PUBACK, 2, packetId >>> 8, packetId & 255);
    }
    if (pubacks.length > 0) this.#write(Buffer.from(pubacks));
  }
}

function publishIn(bytes: Buffer, protocolVersion: 4 | 5): IPublishPacket {
  const reader = parser({ protocolVersion });
  let found: IPublishPacket | null = null;
  let fault: Error | null = null;
  reader.on('packet', (packet) => {
    if (packet.cmd === 'publish') found = packet;
  });
  reader.on('error', (error: Error) => (fault = error));
  try {
    reader.parse(bytes);
  } catch (error) {
    fault = error as Error;
  }
  if (fault !== null || found === null) throw new BrokerAtFault(`what it sends is no message: ${why(fault)}`);
  return found;
}

function why(fault: Error | null): string {
  return fault?.message ?? 'a packet that is not whole';
}
