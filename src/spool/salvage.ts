import { constants, inflateRawSync } from 'node:zlib';
import { LANES, type Stored } from '../message/message.ts';
import { openRemnants, type Remnant, type Remnants, type Stretch } from '../store/page-salvage.ts';
import {
  BLOCK_HEADER_BYTES,
  BlockDamaged,
  checksumOf,
  CODEC_DEFLATE,
  decodeBlock,
  headerAsItStands,
  readHeader,
  type BlockHeader,
} from './block.ts';
import type { Books } from './books.ts';

/** Longest block that is opened, raw bytes: a body of the largest size and what belongs to it, many times. */
const RAW_BYTES_MAX = 8 * 2 ** 20;

/** Where a block lies. */
export interface Find {
  readonly places: readonly Stretch[];
  readonly bytes: number;
  readonly header: BlockHeader;
  /** By which a block is known from another copy of the same messages. */
  readonly checksum: number;
}

/**
 * Finds blocks in a file whose tree cannot be walked: everything in it that begins like a block and matches its checksum. Much of
 * it may be delivered or dropped and not written over yet; where there are books, what they call settled is left out. Yields
 * message by message, each number once, in the order of lanes, epochs and numbers; `unreadable` hears of what the medium refuses.
 * Holds about 100 bytes in memory for each block.
 */
export function* salvage(
  path: string,
  books: Books | null,
  unreadable: (error: Error) => void,
): Generator<Stored, void, void> {
  const remnants = openRemnants(path);
  try {
    let [lane, epoch, last] = [-1, -1, 0];
    for (const { header, places, bytes } of newestOf(findsIn(remnants, unreadable)).toSorted(inOrder)) {
      if (header.lane !== lane || header.epoch !== epoch) {
        ({ lane, epoch } = header);
        const settled = books !== null && books.epoch === epoch;
        last = settled ? (books.lanes[lane]?.settledTo ?? 0) : 0;
      }
      if (header.lastSeq <= last) continue;
      try {
        for (const stored of decodeBlock(remnants.read(places, bytes)).messages) {
          if (stored.seq <= last) continue;
          last = stored.seq;
          yield stored;
        }
      } catch (error) {
        unreadable(error as Error);
      }
    }
  } finally {
    remnants.close();
  }
}

/** All blocks that lie in a file, also several copies of one. */
export function* findsIn(remnants: Remnants, unreadable: (error: Error) => void): Generator<Find, void, void> {
  for (const remnant of remnants.all(unreadable)) {
    const find = findIn(remnant);
    if (find !== null) yield find;
  }
}

/** Of several copies of a block the newest. */
export function newestOf(finds: Iterable<Find>): Find[] {
  const newest = new Map<string, Find>();
  for (const find of finds) {
    const { lane, epoch, firstSeq } = find.header;
    const name = `${lane}/${epoch}/${firstSeq}`;
    const before = newest.get(name);
    // A block that was merged with the next has grown, one that was thinned has a higher level: these are the newer ones.
    if (before === undefined || newer(find.header, before.header)) newest.set(name, find);
  }
  return [...newest.values()];
}

function findIn({ places, bytes: rest }: Remnant): Find | null {
  const bytes = blockBytes(rest);
  if (bytes === null) return null;
  try {
    return { places, bytes, header: readHeader(rest.subarray(0, bytes)), checksum: checksumOf(rest) };
  } catch (error) {
    if (error instanceof BlockDamaged) return null;
    throw error;
  }
}

/** How long the block is with which these bytes begin; null when it is none. */
function blockBytes(bytes: Buffer): number | null {
  if (bytes.length < BLOCK_HEADER_BYTES) return null;
  const { lane, count, rawBytes } = headerAsItStands(bytes);
  if (lane >= LANES || count === 0 || rawBytes > RAW_BYTES_MAX) return null;
  if (bytes[1] !== CODEC_DEFLATE) return BLOCK_HEADER_BYTES + rawBytes;
  try {
    // Deflate says itself where it ends.
    const options = { info: true, maxOutputLength: rawBytes + 1, finishFlush: constants.Z_SYNC_FLUSH };
    const { engine } = inflateRawSync(bytes.subarray(BLOCK_HEADER_BYTES), options) as unknown as {
      engine: { bytesWritten: number };
    };
    return BLOCK_HEADER_BYTES + engine.bytesWritten;
  } catch {
    return null;
  }
}

function newer(a: BlockHeader, b: BlockHeader): boolean {
  return a.lastSeq !== b.lastSeq ? a.lastSeq > b.lastSeq : a.level >= b.level;
}

function inOrder({ header: a }: Find, { header: b }: Find): number {
  return a.lane - b.lane || a.epoch - b.epoch || a.firstSeq - b.firstSeq;
}
