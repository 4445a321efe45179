/** Bytes of a leaf page that a small value takes besides its own: key, node and pointer, and the half-filled page it may lie in. */
const NODE_SHARE = 1.35;
const NODE_BYTES = 18;
/** Values up to this share of a page lie in a leaf, with others; LMDB wants two in a page at least. */
const IN_LEAF_SHARE = 0.49;

/** Pages that a value of so many bytes takes: its own overflow pages, or a share of a leaf when it is small. */
export function pagesOf(valueBytes: number, pageBytes: number): number {
  if (valueBytes < pageBytes * IN_LEAF_SHARE) return ((valueBytes + NODE_BYTES) * NODE_SHARE) / pageBytes;
  return Math.ceil((valueBytes + 16) / pageBytes);
}
