/** A fixed header: the type, and a length of at most four bytes (MQTT 3.1.1 and 5, section 2.2). */
const HEADER_BYTES_MAX = 5;
const NOTHING = Buffer.alloc(0);

/** What came is no MQTT, or not what may come; `reason` is MQTT 5's name for it. */
export class Malformed extends Error {
  readonly reason: number;

  constructor(why: string, reason = 0x81, options?: ErrorOptions) {
    super(why, options);
    this.reason = reason;
  }
}

/**
 * Cuts a stream of bytes into packets before anybody parses them: the library behind reads from whatever it has been given,
 * so it is given exactly one packet, and one that claims to be too large is refused at its first bytes.
 */
export class PacketStream {
  bytesMax: number;
  #chunks: Buffer[] = [];
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
    if (this.#chunks[0]!.length < size) this.#chunks = [Buffer.concat(this.#chunks, this.#length)];
    const first = this.#chunks[0]!;
    const packet = first.subarray(0, size);
    if (first.length === size) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(size);
    this.#length -= size;
    return packet;
  }

  #size(): number | null {
    if (this.#length < 2) return null;
    while (this.#chunks.length > 1 && this.#chunks[0]!.length < HEADER_BYTES_MAX) {
      this.#chunks.unshift(Buffer.concat([this.#chunks.shift() ?? NOTHING, this.#chunks.shift() ?? NOTHING]));
    }
    const size = sizeOf(this.#chunks[0]!);
    if (size !== null && size > this.bytesMax)
      throw new Malformed(`a packet of ${size} bytes, at most ${this.bytesMax}`, 0x95);
    return size;
  }
}

/** The size that a packet says it has; null: its header is not there yet. Throws {@link Malformed}. */
export function sizeOf(head: Buffer): number | null {
  let remaining = 0;
  for (let digit = 0; digit < HEADER_BYTES_MAX - 1; digit++) {
    const byte = head[1 + digit];
    if (byte === undefined) return null;
    remaining += (byte & 127) * 128 ** digit;
    if (byte < 128) return 2 + digit + remaining;
  }
  throw new Malformed('a length of more than four bytes');
}
