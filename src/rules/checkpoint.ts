import { RecordBuffer, RecordReader } from '../message/binary.ts';
import { contentOf, enclosed, RecordUnreadable } from './envelope.ts';
import type { Micros } from './row.ts';

/** All that a module remembers, as it was at one moment. */
export interface Checkpoint {
  readonly module: string;
  /** Names the query: what another one remembers is of no use. */
  readonly hash: string;
  /** All inputs up to this block of the journal are in it. */
  readonly position: number;
  /** The rules' timeline at that moment. */
  readonly arrival: Micros;
  readonly state: string;
}

/** module | hash: length varint, UTF-8 | position varint | arrival varint | state: UTF-8 up to the end. In an envelope. */
export function encodeCheckpoint({ module, hash, position, arrival, state }: Checkpoint): Buffer {
  const buffer = new RecordBuffer(128);
  buffer.text(module);
  buffer.text(hash);
  buffer.varint(position);
  buffer.varint(Math.max(0, arrival));
  buffer.bytes(Buffer.from(state, 'utf8'));
  return enclosed(buffer.view());
}

/** Reads what {@link encodeCheckpoint} made. Throws {@link RecordUnreadable}. */
export function decodeCheckpoint(record: Buffer): Checkpoint {
  const content = contentOf(record);
  try {
    const reader = new RecordReader(content);
    const module = reader.text();
    const hash = reader.text();
    const position = reader.varint();
    const arrival = reader.varint();
    return { module, hash, position, arrival, state: content.toString('utf8', reader.at) };
  } catch (error) {
    throw new RecordUnreadable((error as Error).message);
  }
}
