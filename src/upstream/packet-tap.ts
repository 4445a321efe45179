const PUBLISH = 0x30;
const PUBACK = 0x40;
const TYPE = 0xf0;
/** Type and flags, then a remaining length of up to four bytes (MQTT 5, section 2.1). */
const HEADER_BYTES_MAX = 5;
/** A PUBACK with nothing but the number, and with the longest reason and some properties: others are none. */
const PUBACK_BYTES_MIN = 4;
const PUBACK_BYTES_MAX = 128 * 1024;
/** Largest PUBLISH that is read, bytes: a registry document of 4 MiB with what stands around it. Larger ones go by unread. */
export const PUBLISH_BYTES_MAX = 4 * 1024 * 1024 + 64 * 1024;

/** What is taken out of a broker's bytes. */
export interface Tapped {
  puback(packetId: number, reason: number): void;
  /** A whole PUBLISH packet. */
  publish(packet: Buffer): void;
  /** A PUBLISH that is too large to be read: its topic, its packet identifier (0 with QoS 0) and its size. */
  oversized(topic: string, packetId: number, bytes: number): void;
  /** All else, as it came. */
  others(bytes: Buffer): void;
}

/**
 * Takes PUBACKs and PUBLISHes out of what a broker sends, and hands on the rest as it came. PUBACKs are nearly all that comes
 * while a backlog drains, two bytes of meaning each; through MQTT.js's parser, queue and events each cost as much as sending its
 * message. PUBLISHes are ours because MQTT.js acknowledges them when it has read them, and we when they are stored.
 */
export class PacketTap {
  readonly #tapped: Tapped;
  /** Bytes of a packet that is not ours, still to come; handed on, or dropped with what was too large. */
  #passing = 0;
  #dropping = 0;
  /** The beginning of a packet of which more must come before it can be told what it is, or before it is whole. */
  #held: Buffer | null = null;
  /** Parts of a PUBLISH, and how many bytes are missing: put together once, however many chunks it comes in. */
  #parts: Buffer[] = [];
  #missing = 0;

  constructor(tapped: Tapped) {
    this.#tapped = tapped;
  }

  /** Takes the next bytes from the broker. */
  push(chunk: Buffer): void {
    let rest = this.#held === null ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = null;
    if (this.#missing > 0) rest = this.#gathered(rest);
    const dropped = Math.min(this.#dropping, rest.length);
    this.#dropping -= dropped;
    this.#read(dropped === 0 ? rest : rest.subarray(dropped));
  }

  #read(bytes: Buffer): void {
    let at = Math.min(this.#passing, bytes.length);
    this.#passing -= at;
    let passed = 0;
    while (at < bytes.length) {
      const size = packetBytes(bytes, at);
      const type = bytes[at]! & TYPE;
      if (size !== null && (size === NO_SIZE || (bytes[at] === PUBACK && !isPubackSize(size)))) {
        // No packet at all: MQTT.js sees it and all that follows, and refuses it.
        this.#passing = Infinity;
        break;
      }
      const ours = bytes[at] === PUBACK || type === PUBLISH;
      const whole = size !== null && at + size <= bytes.length;
      if (!ours && size !== null) {
        if (!whole) {
          this.#passing = at + size - bytes.length;
          break;
        }
        at += size;
        continue;
      }
      if (at > passed) this.#tapped.others(bytes.subarray(passed, at));
      // Not whole, or too little to tell its length: look again when more has come.
      if (size === null || (!whole && type !== PUBLISH)) {
        this.#held = bytes.subarray(at);
        return;
      }
      passed = at + this.#taken(bytes, at, size);
      // The rest of it is still to come, or more than its head is needed.
      if (passed > bytes.length || this.#held !== null) return;
      at = passed;
    }
    if (passed < bytes.length) this.#tapped.others(passed === 0 ? bytes : bytes.subarray(passed));
  }

  /** One of our packets, of which `size` bytes are there or will be. Returns `size`; holds it back when its head is not whole. */
  #taken(bytes: Buffer, at: number, size: number): number {
    const here = bytes.subarray(at, at + size);
    if (bytes[at] === PUBACK) this.#acknowledged(here);
    else if (size > PUBLISH_BYTES_MAX) {
      const head = publishHead(here);
      if (head === null) this.#held = here;
      else {
        this.#dropping = size - here.length;
        this.#tapped.oversized(head.topic, head.packetId, size);
      }
    } else if (here.length === size) this.#tapped.publish(here);
    else {
      this.#parts = [here];
      this.#missing = size - here.length;
    }
    return size;
  }

  /** More of a PUBLISH; returns what comes behind it. */
  #gathered(bytes: Buffer): Buffer {
    const part = bytes.subarray(0, this.#missing);
    this.#parts.push(part);
    this.#missing -= part.length;
    if (this.#missing === 0) {
      const packet = Buffer.concat(this.#parts);
      this.#parts = [];
      this.#tapped.publish(packet);
    }
    return bytes.subarray(part.length);
  }

  /** Packet identifier, then from MQTT 5 on a reason, left out when it is 0 (section 3.4.2). */
  #acknowledged(packet: Buffer): void {
    const body = headerBytes(packet);
    const packetId = (packet[body]! << 8) | packet[body + 1]!;
    this.#tapped.puback(packetId, packet.length > body + 2 ? packet[body + 2]! : 0);
  }
}

/** Topic and packet identifier of a PUBLISH (section 3.3.2); null when they are not there yet. */
function publishHead(packet: Buffer): { topic: string; packetId: number } | null {
  const from = headerBytes(packet) + 2;
  if (packet.length < from) return null;
  const to = from + packet.readUInt16BE(from - 2);
  if (packet.length < to + 2) return null;
  const hasId = (packet[0]! & 0x06) !== 0;
  return { topic: packet.toString('utf8', from, to), packetId: hasId ? packet.readUInt16BE(to) : 0 };
}

function headerBytes(packet: Buffer): number {
  let length = 2;
  while (length < HEADER_BYTES_MAX && packet[length - 1]! >= 128) length++;
  return length;
}

function isPubackSize(size: number): boolean {
  return size >= PUBACK_BYTES_MIN && size <= PUBACK_BYTES_MAX;
}

/** A length that no packet has. */
const NO_SIZE = -1;

/** The whole packet's size; null when its header is not there yet. */
function packetBytes(bytes: Buffer, at: number): number | null {
  let remaining = 0;
  for (let digit = 0; digit < HEADER_BYTES_MAX - 1; digit++) {
    const byte = bytes[at + 1 + digit];
    if (byte === undefined) return null;
    remaining += (byte & 127) * 128 ** digit;
    if (byte < 128) return 2 + digit + remaining;
  }
  return NO_SIZE;
}
