import type { UpPublication } from '../dialects/upstream-dialect.ts';

/** PUBLISH packets, many to a buffer: one write to the socket for a whole window is what makes draining fast. */

const PUBLISH = 0x30;
const QOS1 = 0x02;
const RETAIN = 0x01;
const CONTENT_TYPE = 0x03;
const USER_PROPERTY = 0x26;
/** A text's length has two bytes (MQTT 5, section 1.5.4). */
const TEXT_BYTES_MAX = 65_535;

/** Encodes packets one behind the other (MQTT 3.1.1 and 5, section 3.3). */
export class PublishBatch {
  readonly #version: 4 | 5;
  #bytes: Buffer;
  #length = 0;
  #scratch = Buffer.allocUnsafeSlow(4096);
  // Of the packet whose size was asked for last; its properties lie in the scratch.
  #topicBytes = 0;
  #propertyBytes = 0;
  #remaining = 0;

  constructor(version: 4 | 5, initialBytes: number) {
    this.#version = version;
    this.#bytes = Buffer.allocUnsafeSlow(initialBytes);
  }

  get length(): number {
    return this.#length;
  }

  /** The size that a packet would have, bytes; -1: it has a topic or property longer than MQTT can say. */
  sizeOf(publication: UpPublication): number {
    const { topic, body, contentType, userProperties } = publication;
    const topicBytes = Buffer.byteLength(topic, 'utf8');
    if (topicBytes > TEXT_BYTES_MAX || tooLong(contentType ?? '') || userProperties?.some(tooLong) === true) return -1;
    const propertyBytes = this.#version === 5 ? this.#properties(publication) : 0;
    const propertyHead = this.#version === 5 ? varintBytes(propertyBytes) : 0;
    const idBytes = publication.qos === 0 ? 0 : 2;
    const remaining = 2 + topicBytes + idBytes + propertyHead + propertyBytes + body.length;
    this.#topicBytes = topicBytes;
    this.#propertyBytes = propertyBytes;
    this.#remaining = remaining;
    return 1 + varintBytes(remaining) + remaining;
  }

  /**
   * Appends one packet; with QoS 0 its identifier is left out. Returns its size in bytes, or -1 when it was left out: it is larger than `sizeMax`, or has a topic or
   * property longer than MQTT can say.
   */
  add(packetId: number, publication: UpPublication, sizeMax = Infinity): number {
    const { topic, body } = publication;
    const size = this.sizeOf(publication);
    if (size === -1 || size > sizeMax) return -1;
    this.#need(size);
    // As `sizeOf` left them.
    const [topicBytes, propertyBytes, remaining] = [this.#topicBytes, this.#propertyBytes, this.#remaining];
    const bytes = this.#bytes;
    let at = this.#length;
    const hasId = publication.qos !== 0;
    bytes[at++] = PUBLISH | (hasId ? QOS1 : 0) | (publication.retain === true ? RETAIN : 0);
    at = writeVarint(bytes, at, remaining);
    bytes[at++] = topicBytes >>> 8;
    bytes[at++] = topicBytes & 255;
    at += bytes.write(topic, at, 'utf8');
    if (hasId) {
      bytes[at++] = packetId >>> 8;
      bytes[at++] = packetId & 255;
    }
    if (this.#version === 5) {
      at = writeVarint(bytes, at, propertyBytes);
      this.#scratch.copy(bytes, at, 0, propertyBytes);
      at += propertyBytes;
    }
    bytes.set(body, at);
    this.#length = at + body.length;
    return size;
  }

  /** All packets so far; the batch begins anew with a buffer of its own, since the socket keeps this one. */
  take(): Buffer {
    const taken = this.#bytes.subarray(0, this.#length);
    this.#bytes = Buffer.allocUnsafeSlow(Math.max(4096, this.#length));
    this.#length = 0;
    return taken;
  }

  #properties(publication: UpPublication): number {
    let at = 0;
    if (publication.contentType !== undefined) {
      this.#scratchNeeds(at + 3 + publication.contentType.length * 3);
      this.#scratch[at++] = CONTENT_TYPE;
      at = this.#text(publication.contentType, at);
    }
    const pairs = publication.userProperties ?? [];
    for (let i = 0; i + 1 < pairs.length; i += 2) {
      const name = pairs[i]!;
      const value = pairs[i + 1]!;
      this.#scratchNeeds(at + 5 + (name.length + value.length) * 3);
      this.#scratch[at++] = USER_PROPERTY;
      at = this.#text(name, at);
      at = this.#text(value, at);
    }
    return at;
  }

  #text(text: string, at: number): number {
    const written = this.#scratch.write(text, at + 2, 'utf8');
    this.#scratch[at] = written >>> 8;
    this.#scratch[at + 1] = written & 255;
    return at + 2 + written;
  }

  #scratchNeeds(bytes: number): void {
    if (bytes <= this.#scratch.length) return;
    const grown = Buffer.allocUnsafeSlow(bytes * 2);
    this.#scratch.copy(grown);
    this.#scratch = grown;
  }

  #need(more: number): void {
    const wanted = this.#length + more;
    if (wanted <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(wanted, this.#bytes.length * 2));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}

function tooLong(text: string): boolean {
  return text.length * 3 > TEXT_BYTES_MAX && Buffer.byteLength(text, 'utf8') > TEXT_BYTES_MAX;
}

function varintBytes(value: number): number {
  if (value < 128) return 1;
  if (value < 16_384) return 2;
  return value < 2_097_152 ? 3 : 4;
}

function writeVarint(bytes: Buffer, from: number, value: number): number {
  let at = from;
  let v = value;
  while (v >= 128) {
    bytes[at++] = (v & 127) | 128;
    v >>>= 7;
  }
  bytes[at++] = v;
  return at;
}
