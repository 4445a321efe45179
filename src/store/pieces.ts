import { crc32c } from './crc32c.ts';
import type { Entry, Reader } from './reader.ts';

/*
 * LMDB keeps a value that has pages of its own on neighbouring ones, and where the free ones lie apart it lengthens its file,
 * however many there are. So no value has more than one: a longer one is kept in pieces, each under a key of its own.
 *
 *   the key                 the first 4,080 bytes
 *   the key, n u16 BE       piece n, from 1 on: 0xf1 0x70 | n u16 BE | CRC-32C u32 BE of the first 4,080 bytes | bytes
 *
 * All but the last are of 4,080 bytes, a page of 4 KiB with LMDB's header; with larger pages several lie in a leaf. A value of
 * just that length may have been cut, any other was not. The checksum ties the pieces of a value together, also for one who
 * finds them in a file whose trees are gone.
 */
export const PIECE_BYTES = 4080;
const HEADER_BYTES = 8;
const MAGIC = 0xf170;
const NUMBER_BYTES = 2;
const PIECES_MAX = 0xffff;

/** What a later piece says of itself. */
export interface PieceHeader {
  readonly number: number;
  /** The checksum of the value's first piece. */
  readonly tie: number;
}

/** A value as it is written: in one piece, or in several. Throws RangeError for one of 267 MB. */
export function inPieces(key: Buffer, value: Buffer): readonly (readonly [key: Buffer, value: Buffer])[] {
  if (value.length <= PIECE_BYTES) return [[key, value]];
  const tie = crc32c(value, 0, PIECE_BYTES);
  const pieces: [Buffer, Buffer][] = [[key, value.subarray(0, PIECE_BYTES)]];
  for (let at = PIECE_BYTES; at < value.length; at += PIECE_BYTES - HEADER_BYTES) {
    const number = pieces.length;
    if (number > PIECES_MAX) throw new RangeError(`a value of ${value.length} bytes is too long to be kept`);
    const bytes = value.subarray(at, at + PIECE_BYTES - HEADER_BYTES);
    const piece = Buffer.allocUnsafe(HEADER_BYTES + bytes.length);
    piece.writeUInt16BE(MAGIC, 0);
    piece.writeUInt16BE(number, 2);
    piece.writeUInt32BE(tie, 4);
    bytes.copy(piece, HEADER_BYTES);
    pieces.push([pieceKey(key, number), piece]);
  }
  return pieces;
}

/** The key of a value's piece `number`, 1 or more. */
export function pieceKey(key: Buffer, number: number): Buffer {
  const own = Buffer.allocUnsafe(key.length + NUMBER_BYTES);
  key.copy(own);
  own.writeUInt16BE(number, key.length);
  return own;
}

/** What a value says of itself that may be a later piece; null when it is none. */
export function pieceHeader(value: Buffer): PieceHeader | null {
  if (value.length <= HEADER_BYTES || value.readUInt16BE(0) !== MAGIC) return null;
  return { number: value.readUInt16BE(2), tie: value.readUInt32BE(4) };
}

/** The bytes of a later piece that belong to the value. */
export function pieceBytes(piece: Buffer): Buffer {
  return piece.subarray(HEADER_BYTES);
}

/** The key that the value has whose piece lies under `key`; null when the two do not say the same. */
function ownerOf(key: Buffer, value: Buffer): Buffer | null {
  const header = pieceHeader(value);
  const at = key.length - NUMBER_BYTES;
  if (header === null || at <= 0 || key.readUInt16BE(at) !== header.number) return null;
  return key.subarray(0, at);
}

/** What lies in a database, entry by entry, pieces as they are. */
export interface Entries {
  get(key: Buffer): Buffer | null;
  /** The last entry before `key`. */
  below(key: Buffer): Entry | null;
  /** Entries from `key` upwards until `visit` returns false: the first `bytes` of each, and how many it has. */
  scan(key: Buffer, bytes: number, visit: (entry: Entry, valueBytes: number) => boolean): void;
  livePages(): { readonly live: number; readonly pageBytes: number };
}

/** A value whose pieces are being read. */
interface Value {
  readonly key: Buffer;
  readonly parts: Buffer[];
  bytes: number;
  /** Null while only heads are read. */
  readonly tie: number | null;
}

/**
 * Puts values together from their pieces. One of whose pieces some are missing ends before the first of those, which its owner
 * finds out by its checksum; a piece whose value is not there is an entry under its own key, which its owner does not know.
 */
export class WholeValues implements Reader {
  readonly #entries: Entries;

  constructor(entries: Entries) {
    this.#entries = entries;
  }

  get(key: Buffer): Buffer | null {
    const value = this.#entries.get(key);
    return value === null || value.length !== PIECE_BYTES ? value : this.#whole(key, value);
  }

  ceiling(key: Buffer): Entry | null {
    let found: Entry | null = null;
    this.scan(key, (entry) => {
      found = entry;
      return false;
    });
    return found;
  }

  below(key: Buffer): Entry | null {
    const found = this.#entries.below(key);
    if (found === null) return null;
    const owner = ownerOf(found.key, found.value) ?? found.key;
    const value = this.get(owner);
    return value === null ? found : { key: owner, value };
  }

  scan(key: Buffer, visit: (entry: Entry) => boolean): void {
    this.scanHeads(key, Infinity, visit);
  }

  scanHeads(key: Buffer, bytes: number, visit: (entry: Entry, valueBytes: number) => boolean): void {
    const wanted = Math.max(bytes, HEADER_BYTES + 1);
    const heads = wanted < PIECE_BYTES;
    let value: Value | null = null;
    let more = true;
    const give = (entry: Entry, valueBytes: number) => {
      more = visit({ key: entry.key, value: entry.value.subarray(0, bytes) }, valueBytes);
      return more;
    };
    const giveWhole = (done: Value) =>
      give({ key: done.key, value: done.parts.length === 1 ? done.parts[0]! : Buffer.concat(done.parts) }, done.bytes);
    this.#entries.scan(key, wanted, (entry, valueBytes) => {
      if (value !== null) {
        const owner = ownerOf(entry.key, entry.value);
        const header = pieceHeader(entry.value);
        const next = owner?.equals(value.key) === true && header!.number === numberOf(value.bytes);
        if (next && (value.tie === null || value.tie === header!.tie)) {
          value.bytes += valueBytes - HEADER_BYTES;
          if (!heads) value.parts.push(pieceBytes(entry.value));
          return true;
        }
        const done = value;
        value = null;
        if (!giveWhole(done)) return false;
      } else if (entry.key.length > NUMBER_BYTES) {
        // The scan began among the pieces of a value that begins before it.
        const owner = ownerOf(entry.key, entry.value);
        if (owner !== null && begins(key, owner) && Buffer.compare(owner, key) < 0) return true;
      }
      if (valueBytes !== PIECE_BYTES) return give(entry, valueBytes);
      value = {
        key: entry.key,
        parts: [entry.value],
        bytes: valueBytes,
        tie: heads ? null : crc32c(entry.value),
      };
      return true;
    });
    if (more && value !== null) giveWhole(value);
  }

  livePages(): { readonly live: number; readonly pageBytes: number } {
    return this.#entries.livePages();
  }

  #whole(key: Buffer, first: Buffer): Buffer {
    const parts = [first];
    const tie = crc32c(first);
    this.#entries.scan(pieceKey(key, 1), Infinity, (entry) => {
      const header = pieceHeader(entry.value);
      if (ownerOf(entry.key, entry.value)?.equals(key) !== true) return false;
      if (header!.number !== parts.length || header!.tie !== tie) return false;
      parts.push(pieceBytes(entry.value));
      return true;
    });
    return parts.length === 1 ? first : Buffer.concat(parts);
  }
}

/** Which piece comes next in a value of which so many bytes are there, all pieces but the last being full. */
function numberOf(bytes: number): number {
  return (bytes - PIECE_BYTES) / (PIECE_BYTES - HEADER_BYTES) + 1;
}

function begins(key: Buffer, prefix: Buffer): boolean {
  return key.length >= prefix.length && key.subarray(0, prefix.length).equals(prefix);
}
