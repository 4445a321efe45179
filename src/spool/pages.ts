import { PIECE_BYTES } from '../store/pieces.ts';

/** Bytes of a leaf page that a small value takes besides its own: key, node and pointer, and the half-filled page it may lie in. */
const NODE_SHARE = 1.35;
const NODE_BYTES = 18;
/** Values up to this share of a page lie in a leaf, with others; LMDB wants two in a page at least. */
const IN_LEAF_SHARE = 0.49;

/** What LMDB puts before a value with pages of its own, and we before each piece of a large one, bytes. */
const HEADER_BYTES = 16;
const PIECE_HEADER_BYTES = 8;

/** Pages that a value of so many bytes takes: pages of its own, piece by piece, or a share of a leaf when it is small. */
export function pagesOf(valueBytes: number, pageBytes: number): number {
  if (valueBytes < pageBytes * IN_LEAF_SHARE) return ((valueBytes + NODE_BYTES) * NODE_SHARE) / pageBytes;
  if (valueBytes <= PIECE_BYTES) return Math.ceil((valueBytes + HEADER_BYTES) / pageBytes);
  const pieces = Math.ceil((valueBytes - PIECE_BYTES) / (PIECE_BYTES - PIECE_HEADER_BYTES));
  const last = valueBytes - PIECE_BYTES - (pieces - 1) * (PIECE_BYTES - PIECE_HEADER_BYTES) + PIECE_HEADER_BYTES;
  const full = pagesOf(PIECE_BYTES, pageBytes) + (NODE_BYTES * NODE_SHARE) / pageBytes;
  return pieces * full + pagesOf(last, pageBytes);
}
