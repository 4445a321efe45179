const PUBACK = 0x40;
/** Type and flags, then a remaining length of up to four bytes (MQTT 5, section 2.1). */
const HEADER_BYTES_MAX = 5;
/** A PUBACK with nothing but the number, and with the longest reason and some properties: others are none. */
const PUBACK_BYTES_MIN = 4;
const PUBACK_BYTES_MAX = 128 * 1024;

/**
 * Takes PUBACKs out of what a broker sends, and hands on the rest as it came. They are nearly all that comes while a backlog
 * drains, two bytes of meaning each; through MQTT.js's parser, queue and events each cost as much as sending its message.
 */
export class PubackTap {
  readonly #puback: (packetId: number, reason: number) => void;
  readonly #others: (bytes: Buffer) => void;
  /** Bytes of a packet that is not ours, still to come. */
  #passing = 0;
  /** The beginning of a packet of which more must come before it can be told what it is, or before it is whole. */
  #held: Buffer | null = null;

  constructor(puback: (packetId: number, reason: number) => void, others: (bytes: Buffer) => void) {
    this.#puback = puback;
    this.#others = others;
  }

  /** Takes the next bytes from the broker. */
  push(chunk: Buffer): void {
    const bytes = this.#held === null ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = null;
    let at = Math.min(this.#passing, bytes.length);
    this.#passing -= at;
    let passed = 0;
    while (at < bytes.length) {
      const size = packetBytes(bytes, at);
      if (size !== null && (size === NO_SIZE || (bytes[at] === PUBACK && !isPubackSize(size)))) {
        // No packet at all: MQTT.js sees it and all that follows, and refuses it.
        this.#passing = Infinity;
        break;
      }
      const whole = size !== null && at + size <= bytes.length;
      if (bytes[at] === PUBACK && whole) {
        if (at > passed) this.#others(bytes.subarray(passed, at));
        this.#acknowledged(bytes, at, size);
        passed = at + size;
      } else if (bytes[at] === PUBACK || size === null) {
        // Not whole, or too little to tell its length: look again when more has come.
        if (at > passed) this.#others(bytes.subarray(passed, at));
        this.#held = bytes.subarray(at);
        return;
      } else if (!whole) {
        this.#passing = at + size - bytes.length;
        break;
      }
      at += size;
    }
    if (passed < bytes.length) this.#others(passed === 0 ? bytes : bytes.subarray(passed));
  }

  /** Packet identifier, then from MQTT 5 on a reason, left out when it is 0 (section 3.4.2). */
  #acknowledged(bytes: Buffer, at: number, size: number): void {
    const body = at + (bytes[at + 1]! < 128 ? 2 : headerBytes(bytes, at));
    const packetId = (bytes[body]! << 8) | bytes[body + 1]!;
    this.#puback(packetId, at + size > body + 2 ? bytes[body + 2]! : 0);
  }
}

function headerBytes(bytes: Buffer, at: number): number {
  let length = 2;
  while (length < HEADER_BYTES_MAX && bytes[at + length - 1]! >= 128) length++;
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
