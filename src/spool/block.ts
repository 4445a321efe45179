import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { RecordBuffer, RecordReader } from '../message/binary.ts';
import type { Message, Stored } from '../message/message.ts';
import { crc32c } from '../store/crc32c.ts';

/** Format of a block's bytes; an older program refuses a newer one. Version 1 had no level and no range wider than its messages. */
export const BLOCK_VERSION = 2;
const BLOCK_VERSION_OLDEST = 1;
/** Raw bytes at which a block is cut: deflated they come to about 16 KiB, four pages. */
export const BLOCK_RAW_BYTES = 48 * 1024;

const CODEC_RAW = 0;
export const CODEC_DEFLATE = 1;
const DEFLATE_LEVEL = 1;
/** Below this, deflate's own overhead and time buy nothing. */
const DEFLATE_FROM_BYTES = 128;

/*
 * Header, big-endian:
 *    0 version u8 | 1 codec u8 | 2 lane u8 | 3 how often it was thinned u8
 *    4 epoch u32 | 8 count u32 | 12 first seq f64 | 20 last seq f64
 *      (the range that the block stands for: of one that was thinned or has expired in part it holds only some)
 *   28 earliest and 36 latest event time, ms f64 (acceptance time where a message has none)
 *   44 earliest and 52 latest age at acceptance, ms f64
 *   60 earliest expiry, age in ms f64
 *   68 raw length u32 | 72 CRC-32C u32 over header up to here and the body as stored
 */
export const BLOCK_HEADER_BYTES = 76;
const CRC_AT = 72;

export interface BlockHeader {
  readonly lane: number;
  /** How often its messages have been thinned: each time about half of them went. */
  readonly level: number;
  readonly epoch: number;
  readonly count: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly firstEventTime: number;
  readonly lastEventTime: number;
  readonly firstAge: number;
  readonly lastAge: number;
  readonly earliestExpiry: number;
  readonly rawBytes: number;
}

/** A block whose bytes are not what was written. */
export class BlockDamaged extends Error {
  constructor(why: string) {
    super(why);
    this.name = 'BlockDamaged';
  }
}

/** How many messages are of which child. */
export type ChildCounts = ReadonlyMap<string, number>;

export interface Cut {
  readonly header: BlockHeader;
  readonly value: Buffer;
  readonly children: ChildCounts;
}

/** What is known of a block besides its messages, where it takes the place of others. */
export interface Place {
  readonly level: number;
  /** The range that it stands for. */
  readonly firstSeq: number;
  readonly lastSeq: number;
}

/** Collects messages of one lane and cuts them into blocks. Used again after each cut. */
export class BlockBuilder {
  readonly #lane: number;
  readonly #records = new RecordBuffer(4096);
  #count = 0;
  #firstSeq = 0;
  #lastSeq = 0;
  #firstEventTime = Infinity;
  #lastEventTime = -Infinity;
  #firstAge = Infinity;
  #lastAge = -Infinity;
  #earliestExpiry = Infinity;
  #children = new Map<string, number>();

  constructor(lane: number) {
    this.#lane = lane;
  }

  get count(): number {
    return this.#count;
  }

  get rawBytes(): number {
    return this.#records.length;
  }

  /** The number of the first message; of no meaning while there is none. */
  get firstSeq(): number {
    return this.#firstSeq;
  }

  /**
   * Adds one message; its bytes are copied. `lifeMs` is how long it may live, in age. `from` is where the range that the
   * block stands for begins, when that is not with its first message.
   */
  add(seq: number, message: Message, lifeMs: number, from = seq): void {
    if (this.#count === 0) this.#firstSeq = from;
    this.#records.varint(seq - (this.#count === 0 ? from : this.#lastSeq));
    this.#records.message(message);
    this.#lastSeq = seq;
    this.#count++;
    const time = message.eventTime ?? message.acceptedAt.wall;
    const age = message.acceptedAt.age;
    this.#firstEventTime = Math.min(this.#firstEventTime, time);
    this.#lastEventTime = Math.max(this.#lastEventTime, time);
    this.#firstAge = Math.min(this.#firstAge, age);
    this.#lastAge = Math.max(this.#lastAge, age);
    this.#earliestExpiry = Math.min(this.#earliestExpiry, age + lifeMs);
    const { child } = message.source;
    this.#children.set(child, (this.#children.get(child) ?? 0) + 1);
  }

  /** The block's value, and the builder empty again. */
  cut(epoch: number, level = 0, lastSeq = this.#lastSeq): Cut {
    const header = this.header(epoch, level, lastSeq);
    const value = encodeBlock(header, this.#records.view());
    const children = this.#children;
    this.clear();
    return { header, value, children };
  }

  /** How many messages of whom. */
  get children(): ChildCounts {
    return this.#children;
  }

  /** The header that a block would have if it were cut now. */
  header(epoch: number, level = 0, lastSeq = this.#lastSeq): BlockHeader {
    return {
      lane: this.#lane,
      level,
      epoch,
      count: this.#count,
      firstSeq: this.#firstSeq,
      lastSeq,
      firstEventTime: this.#firstEventTime,
      lastEventTime: this.#lastEventTime,
      firstAge: this.#firstAge,
      lastAge: this.#lastAge,
      earliestExpiry: this.#earliestExpiry,
      rawBytes: this.#records.length,
    };
  }

  /** Forgets what it has collected. */
  clear(): void {
    this.#records.clear();
    this.#count = 0;
    this.#firstEventTime = this.#firstAge = this.#earliestExpiry = Infinity;
    this.#lastEventTime = this.#lastAge = -Infinity;
    this.#children = new Map();
  }
}

/**
 * Messages of one lane, in order, as blocks that stand for the whole of the range from `place.firstSeq` to `place.lastSeq`;
 * the first has the key of that number. At least one message. `lifeMs`: how long a message may live.
 */
export function pack(messages: readonly Stored[], place: Place, lifeMs: (message: Message) => number): Cut[] {
  const cuts: Cut[] = [];
  const { lane, epoch } = messages[0]!;
  const builder = new BlockBuilder(lane);
  let from = place.firstSeq;
  messages.forEach(({ seq, message }, n) => {
    builder.add(seq, message, lifeMs(message), builder.count === 0 ? from : seq);
    const last = n === messages.length - 1;
    if (!last && builder.rawBytes < BLOCK_RAW_BYTES) return;
    const lastSeq = last ? place.lastSeq : messages[n + 1]!.seq - 1;
    cuts.push(builder.cut(epoch, place.level, lastSeq));
    from = lastSeq + 1;
  });
  return cuts;
}

function encodeBlock(header: BlockHeader, raw: Buffer): Buffer {
  let codec = CODEC_RAW;
  let body: Buffer = raw;
  if (raw.length >= DEFLATE_FROM_BYTES) {
    const deflated = deflateRawSync(raw, { level: DEFLATE_LEVEL });
    if (deflated.length < raw.length) {
      codec = CODEC_DEFLATE;
      body = deflated;
    }
  }
  const value = Buffer.allocUnsafeSlow(BLOCK_HEADER_BYTES + body.length);
  value[0] = BLOCK_VERSION;
  value[1] = codec;
  value[2] = header.lane;
  value[3] = header.level;
  value.writeUInt32BE(header.epoch, 4);
  value.writeUInt32BE(header.count, 8);
  value.writeDoubleBE(header.firstSeq, 12);
  value.writeDoubleBE(header.lastSeq, 20);
  value.writeDoubleBE(header.firstEventTime, 28);
  value.writeDoubleBE(header.lastEventTime, 36);
  value.writeDoubleBE(header.firstAge, 44);
  value.writeDoubleBE(header.lastAge, 52);
  value.writeDoubleBE(header.earliestExpiry, 60);
  value.writeUInt32BE(header.rawBytes, 68);
  body.copy(value, BLOCK_HEADER_BYTES);
  value.writeUInt32BE(blockCrc(value), CRC_AT);
  return value;
}

/** The same block as one of another epoch. */
export function inEpoch<Block extends Cut>(block: Block, epoch: number): Block {
  const value = Buffer.from(block.value);
  value.writeUInt32BE(epoch, 4);
  value.writeUInt32BE(blockCrc(value), CRC_AT);
  return { ...block, header: { ...block.header, epoch }, value };
}

function blockCrc(value: Buffer): number {
  return crc32c(value, BLOCK_HEADER_BYTES, value.length, crc32c(value, 0, CRC_AT));
}

/** Reads a block's header. Throws {@link BlockDamaged} unless the whole block is as it was written. */
export function readHeader(value: Buffer): BlockHeader {
  if (value.length < BLOCK_HEADER_BYTES)
    throw new BlockDamaged(`block of ${value.length} bytes is shorter than its header`);
  if (value[0]! < BLOCK_VERSION_OLDEST || value[0]! > BLOCK_VERSION)
    throw new BlockDamaged(`block has format ${value[0]}, this program reads up to ${BLOCK_VERSION}`);
  if (value.readUInt32BE(CRC_AT) !== blockCrc(value)) throw new BlockDamaged('block does not match its checksum');
  return headerAsItStands(value);
}

/** Reads a header from a block's first {@link BLOCK_HEADER_BYTES} without the rest, so without knowing whether it is sound. */
export function headerAsItStands(value: Buffer): BlockHeader {
  return {
    lane: value[2]!,
    level: value[3]!,
    epoch: value.readUInt32BE(4),
    count: value.readUInt32BE(8),
    firstSeq: value.readDoubleBE(12),
    lastSeq: value.readDoubleBE(20),
    firstEventTime: value.readDoubleBE(28),
    lastEventTime: value.readDoubleBE(36),
    firstAge: value.readDoubleBE(44),
    lastAge: value.readDoubleBE(52),
    earliestExpiry: value.readDoubleBE(60),
    rawBytes: value.readUInt32BE(68),
  };
}

/** The checksum that a block says it has. */
export function checksumOf(value: Buffer): number {
  return value.readUInt32BE(CRC_AT);
}

/** Decodes a block: its header and all its messages, oldest first. Throws {@link BlockDamaged}. */
export function decodeBlock(value: Buffer): { readonly header: BlockHeader; readonly messages: Stored[] } {
  const header = readHeader(value);
  const stored = value.subarray(BLOCK_HEADER_BYTES);
  try {
    const raw = value[1] === CODEC_DEFLATE ? inflateRawSync(stored, { maxOutputLength: header.rawBytes + 1 }) : stored;
    if (raw.length !== header.rawBytes)
      throw new BlockDamaged(`block opens to ${raw.length} bytes, not ${header.rawBytes}`);
    const reader = new RecordReader(raw);
    const messages: Stored[] = [];
    let seq = header.firstSeq;
    for (let n = 0; n < header.count; n++) {
      seq += reader.varint();
      messages.push({ lane: header.lane, epoch: header.epoch, seq, message: reader.message(header.lane) });
    }
    if (!reader.done) throw new BlockDamaged('block holds more than its header says');
    if (seq > header.lastSeq) throw new BlockDamaged(`block ends at ${seq}, beyond ${header.lastSeq}`);
    return { header, messages };
  } catch (error) {
    if (error instanceof BlockDamaged) throw error;
    throw new BlockDamaged(`block cannot be decoded: ${(error as Error).message}`);
  }
}
