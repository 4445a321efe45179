import { deflateRawSync, inflateRawSync } from 'node:zlib';

/*
 * What the rules keep on the medium, each record by itself: format version u8 = 1 | codec u8: 0 as is, 1 raw deflate (level 1) |
 * length before the codec u32 BE | content. Its checksum is the spool's business.
 */
const VERSION = 1;
const CODEC_RAW = 0;
const CODEC_DEFLATE = 1;
const HEADER_BYTES = 6;
/** Below this, deflate's own overhead and time buy nothing. */
const DEFLATE_FROM_BYTES = 256;

/** A record of the rules that is not what they wrote, or was written by a newer program. */
export class RecordUnreadable extends Error {
  constructor(why: string) {
    super(why);
    this.name = 'RecordUnreadable';
  }
}

/** A record with this content. The result shares no memory with it. */
export function enclosed(content: Buffer): Buffer {
  const deflated = content.length < DEFLATE_FROM_BYTES ? content : deflateRawSync(content, { level: 1 });
  const smaller = deflated.length < content.length;
  const body = smaller ? deflated : content;
  const record = Buffer.allocUnsafeSlow(HEADER_BYTES + body.length);
  record[0] = VERSION;
  record[1] = smaller ? CODEC_DEFLATE : CODEC_RAW;
  record.writeUInt32BE(content.length, 2);
  body.copy(record, HEADER_BYTES);
  return record;
}

/** What {@link enclosed} was given. Throws {@link RecordUnreadable}. */
export function contentOf(record: Buffer): Buffer {
  if (record.length < HEADER_BYTES) throw new RecordUnreadable(`${record.length} bytes are no record`);
  if (record[0] !== VERSION) throw new RecordUnreadable(`it has format ${record[0]}, this program knows ${VERSION}`);
  const length = record.readUInt32BE(2);
  const body = record.subarray(HEADER_BYTES);
  try {
    const content = record[1] === CODEC_DEFLATE ? inflateRawSync(body, { maxOutputLength: length + 1 }) : body;
    if (content.length === length) return content;
  } catch (error) {
    throw new RecordUnreadable((error as Error).message);
  }
  throw new RecordUnreadable('it is not as long as it says');
}
