import type { Message, Source } from './message.ts';

/*
 * The binary form of a message, as it lies in a block of the spool:
 *
 *   flags u16 | hops u8 | id 16 B | accepted wall ms u48 | accepted age ms u48
 *   [boot varint | monotonic ms u48]   when the clock was not known
 *   [event time ms f64] [expires after s u32]
 *   child | [module] | [output] | [content type] | [content encoding]     each: length varint, UTF-8
 *   [properties: count varint, then name and value]
 *   body: length varint, bytes
 *
 * Big-endian. A bracketed part is there when its flag is. Blocks are deflated as a whole, so repetition costs little.
 */
const HAS_CLOCK_UNKNOWN = 1;
const HAS_EVENT_TIME = 2;
const HAS_EXPIRY = 4;
const HAS_MODULE = 8;
const HAS_OUTPUT = 16;
const HAS_CONTENT_TYPE = 32;
const HAS_CONTENT_ENCODING = 64;
const HAS_PROPERTIES = 128;
const EVENT_TIME_OURS = 256;
const CLOCK_RESTORED = 512;

/** Bytes of the fixed part: flags to age. */
const FIXED_BYTES = 31;

/** A buffer that grows, written front to back and used again: messages are encoded straight into their block. */
export class RecordBuffer {
  #bytes: Buffer;
  #length = 0;

  constructor(initialBytes: number) {
    this.#bytes = Buffer.allocUnsafeSlow(initialBytes);
  }

  get length(): number {
    return this.#length;
  }

  /** What has been written; valid until the next write or clear. */
  view(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
  }

  /** A whole number from 0 to 2^53, seven bits to a byte, lowest first. */
  varint(value: number): void {
    this.#need(8);
    let v = value;
    while (v >= 128) {
      this.#bytes[this.#length++] = (v % 128) | 128;
      v = Math.floor(v / 128);
    }
    this.#bytes[this.#length++] = v;
  }

  bytes(bytes: Buffer): void {
    this.#need(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  message(message: Message): void {
    const { source, acceptedAt, properties, body } = message;
    const names = properties === undefined ? [] : Object.keys(properties);
    let flags = 0;
    if (acceptedAt.clock === 'unknown') flags |= HAS_CLOCK_UNKNOWN;
    else if (acceptedAt.clock === 'restored') flags |= CLOCK_RESTORED;
    if (message.eventTime !== undefined) flags |= HAS_EVENT_TIME;
    if (message.eventTimeOurs === true) flags |= EVENT_TIME_OURS;
    if (message.expiresAfterSecs !== undefined) flags |= HAS_EXPIRY;
    if (source.module !== undefined) flags |= HAS_MODULE;
    if (source.output !== undefined) flags |= HAS_OUTPUT;
    if (message.contentType !== undefined) flags |= HAS_CONTENT_TYPE;
    if (message.contentEncoding !== undefined) flags |= HAS_CONTENT_ENCODING;
    if (names.length > 0) flags |= HAS_PROPERTIES;

    this.#need(FIXED_BYTES + 8 + 6 + 8 + 4);
    const bytes = this.#bytes;
    let at = this.#length;
    bytes[at] = flags >>> 8;
    bytes[at + 1] = flags & 255;
    bytes[at + 2] = message.hops;
    bytes.set(message.id, at + 3);
    bytes.writeUIntBE(Math.max(0, Math.floor(acceptedAt.wall)), at + 19, 6);
    bytes.writeUIntBE(Math.max(0, Math.floor(acceptedAt.age)), at + 25, 6);
    this.#length = at + FIXED_BYTES;
    if (acceptedAt.clock === 'unknown') {
      this.varint(acceptedAt.boot);
      this.#length = this.#bytes.writeUIntBE(Math.max(0, Math.floor(acceptedAt.monotonic)), this.#length, 6);
    }
    at = this.#length;
    if (message.eventTime !== undefined) at = this.#bytes.writeDoubleBE(message.eventTime, at);
    if (message.expiresAfterSecs !== undefined) at = this.#bytes.writeUInt32BE(message.expiresAfterSecs, at);
    this.#length = at;
    this.text(source.child);
    if (source.module !== undefined) this.text(source.module);
    if (source.output !== undefined) this.text(source.output);
    if (message.contentType !== undefined) this.text(message.contentType);
    if (message.contentEncoding !== undefined) this.text(message.contentEncoding);
    if (properties !== undefined && names.length > 0) {
      this.varint(names.length);
      for (const name of names) {
        this.text(name);
        this.text(properties[name] ?? '');
      }
    }
    this.varint(body.length);
    this.bytes(body);
  }

  /** Length and UTF-8. */
  text(text: string): void {
    // Up to three bytes of UTF-8 for a UTF-16 unit; the length goes first, and short texts need one byte for it.
    this.#need(text.length * 3 + 8);
    if (text.length < 42) {
      const written = this.#bytes.write(text, this.#length + 1, 'utf8');
      this.#bytes[this.#length] = written;
      this.#length += 1 + written;
      return;
    }
    this.varint(Buffer.byteLength(text, 'utf8'));
    this.#length += this.#bytes.write(text, this.#length, 'utf8');
  }

  #need(more: number): void {
    const wanted = this.#length + more;
    if (wanted <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(wanted, this.#bytes.length * 2));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}

function clockIn(flags: number): Message['acceptedAt']['clock'] {
  if (flags & HAS_CLOCK_UNKNOWN) return 'unknown';
  return flags & CLOCK_RESTORED ? 'restored' : 'synced';
}

/** Reads what {@link RecordBuffer} wrote. Throws a RangeError where the bytes end too soon. */
export class RecordReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get at(): number {
    return this.#at;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw new RangeError('record ends within a number');
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
  }

  /** Decodes one message of the given lane. Its buffers are views into the block. */
  message(priority: number): Message {
    const bytes = this.#bytes;
    const start = this.#at;
    if (start + FIXED_BYTES > bytes.length) throw new RangeError('record ends within its fixed part');
    const flags = (bytes[start]! << 8) | bytes[start + 1]!;
    const hops = bytes[start + 2]!;
    const id = bytes.subarray(start + 3, start + 19);
    const wall = bytes.readUIntBE(start + 19, 6);
    const age = bytes.readUIntBE(start + 25, 6);
    this.#at = start + FIXED_BYTES;
    let boot = 0;
    let monotonic = 0;
    if (flags & HAS_CLOCK_UNKNOWN) {
      boot = this.varint();
      monotonic = bytes.readUIntBE(this.#take(6), 6);
    }
    const eventTime = flags & HAS_EVENT_TIME ? bytes.readDoubleBE(this.#take(8)) : undefined;
    const expiresAfterSecs = flags & HAS_EXPIRY ? bytes.readUInt32BE(this.#take(4)) : undefined;
    const source: { child: string; module?: string; output?: string } = { child: this.text() };
    if (flags & HAS_MODULE) source.module = this.text();
    if (flags & HAS_OUTPUT) source.output = this.text();
    const contentType = flags & HAS_CONTENT_TYPE ? this.text() : undefined;
    const contentEncoding = flags & HAS_CONTENT_ENCODING ? this.text() : undefined;
    let properties: Record<string, string> | undefined;
    if (flags & HAS_PROPERTIES) {
      // No prototype: a property may be called __proto__.
      properties = Object.create(null) as Record<string, string>;
      for (let n = this.varint(); n > 0; n--) {
        const name = this.text();
        properties[name] = this.text();
      }
    }
    const bodyLength = this.varint();
    const bodyAt = this.#take(bodyLength);
    return {
      id,
      source: source satisfies Source,
      body: bytes.subarray(bodyAt, bodyAt + bodyLength),
      ...(contentType === undefined ? undefined : { contentType }),
      ...(contentEncoding === undefined ? undefined : { contentEncoding }),
      ...(properties === undefined ? undefined : { properties }),
      ...(eventTime === undefined ? undefined : { eventTime }),
      ...(flags & EVENT_TIME_OURS ? { eventTimeOurs: true as const } : undefined),
      acceptedAt: { wall, age, boot, monotonic, clock: clockIn(flags) },
      priority,
      ...(expiresAfterSecs === undefined ? undefined : { expiresAfterSecs }),
      hops,
    };
  }

  text(): string {
    const length = this.varint();
    const at = this.#take(length);
    return this.#bytes.toString('utf8', at, at + length);
  }

  #take(length: number): number {
    const at = this.#at;
    if (at + length > this.#bytes.length) throw new RangeError('record ends too soon');
    this.#at = at + length;
    return at;
  }
}
