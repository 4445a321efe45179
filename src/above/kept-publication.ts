import type { UpPublication } from '../dialects/upstream-dialect.ts';

const FORMAT = 1;
const FIXED_BYTES = 5;

/** What is kept of a publication that passes through. */
export type KeptPublication = Pick<UpPublication, 'topic' | 'body' | 'qos' | 'retain' | 'contentType'>;

/** A record: format version, length of the head (u32 BE), head (JSON), body. */
export function encodePublication({ body, ...rest }: KeptPublication): Buffer {
  const head = Buffer.from(JSON.stringify(rest), 'utf8');
  const fixed = Buffer.alloc(FIXED_BYTES);
  fixed[0] = FORMAT;
  fixed.writeUInt32BE(head.length, 1);
  return Buffer.concat([fixed, head, body]);
}

/** Throws when it is of a format that is not known here. */
export function decodePublication(record: Buffer): KeptPublication {
  if (record[0] !== FORMAT) throw new Error(`a kept publication of format ${record[0]}, which is not known here`);
  const headEnd = FIXED_BYTES + record.readUInt32BE(1);
  const head = JSON.parse(record.toString('utf8', FIXED_BYTES, headEnd)) as Omit<KeptPublication, 'body'>;
  return { ...head, body: record.subarray(headEnd) };
}
