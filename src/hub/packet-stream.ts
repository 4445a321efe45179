/** A fixed header: the type, and a length of at most four bytes (MQTT 3.1.1 and 5, section 2.2). */
const HEADER_BYTES_MAX = 5;

/** What came is no MQTT, or not what may come; `reason` is MQTT 5's name for it. */
export class Malformed extends Error {
  readonly reason: number;

  constructor(why: string, reason = 0x81, options?: ErrorOptions) {
    super(why, options);
    this.reason = reason;
  }
}

const PUBLISH = 3;

/** A packet claims to be larger than any may be. */
export class PacketTooLarge extends Malformed {
  /** It is, or would be, a message. */
  readonly isMessage: boolean;

  constructor(size: number, bytesMax: number, firstByte: number) {
    super(`a packet of ${size} bytes, at most ${bytesMax}`, 0x95);
    this.isMessage = firstByte >> 4 === PUBLISH;
  }
}

/**
 * Cuts a stream of bytes into packets before anybody parses them: the library behind reads from whatever it has been given,
 * so it is given exactly one packet, and one that claims to be too large is refused at its first bytes.
 */
export class PacketStream {
  bytesMax: number;
  #chunks: Buffer[] = [];
  /** Where the bytes begin, in the first chunk, that have not been given away. */
  #at = 0;
  #length = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  /** The next packet, whole; null: there is none yet. Throws {@link Malformed}. */
  next(): Buffer | null {
    const size = this.#size();
    if (size === null || this.#length < size) return null;
    if (this.#chunks[0]!.length - this.#at < size) this.#join(this.#chunks.length);
    const first = this.#chunks[0]!;
    const packet = first.subarray(this.#at, this.#at + size);
    this.#at += size;
    this.#length -= size;
    if (this.#at === first.length) {
      this.#chunks.shift();
      this.#at = 0;
    }
    return packet;
  }

  #size(): number | null {
    if (this.#length < 2) return null;
    while (this.#chunks.length > 1 && this.#chunks[0]!.length - this.#at < HEADER_BYTES_MAX) this.#join(2);
    const size = sizeOf(this.#chunks[0]!, this.#at);
    if (size !== null && size > this.bytesMax)
      throw new PacketTooLarge(size, this.bytesMax, this.#chunks[0]![this.#at]!);
    return size;
  }

  /** Makes one chunk of the first few. */
  #join(count: number): void {
    const [first, ...others] = this.#chunks.splice(0, count);
    this.#chunks.unshift(Buffer.concat([first!.subarray(this.#at), ...others]));
    this.#at = 0;
  }
}

/** The size that the packet that begins `at` says it has; null: its header is not there yet. Throws {@link Malformed}. */
export function sizeOf(head: Buffer, at = 0): number | null {
  let remaining = 0;
  for (let digit = 0; digit < HEADER_BYTES_MAX - 1; digit++) {
    const byte = head[at + 1 + digit];
    if (byte === undefined) return null;
    remaining |= (byte & 127) << (7 * digit);
    if (byte < 128) return 2 + digit + remaining;
  }
  throw new Malformed('a length of more than four bytes');
}
