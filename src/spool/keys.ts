/*
 * Keys of the spool's environment, 8 bytes, in the order LMDB keeps them:
 *
 *   [lane u8, 0..10][first sequence number u56 BE]      a block of messages
 *   [0xfd][kind u8][number u48 BE]                      a record of whoever keeps something with the messages (see companion.ts)
 *   [0xfe][number u56 BE]                               a dead letter: a block of one message
 *   [0xff][0][...]                                      the books (see books.ts)
 *   [0xff][1][...]                                      the loss reports that wait (see losses.ts)
 *   [0xff][2][...]                                      the accounts of the children (see child-accounts.ts)
 *   [0xff][3][...]                                      the last boots of the machine (see boot-table.ts)
 */
export const KEY_BYTES = 8;
const COMPANION = 0xfd;
const DEAD = 0xfe;
const RESERVED = 0xff;

/** The key of the block of `lane` that begins with `seq`. */
export function blockKey(lane: number, seq: number): Buffer {
  const key = Buffer.alloc(KEY_BYTES);
  key[0] = lane;
  // Sequence numbers stay under 2^53; writeUIntBE reaches 48 bits.
  key.writeUInt8(Math.floor(seq / 2 ** 48), 1);
  key.writeUIntBE(seq % 2 ** 48, 2, 6);
  return key;
}

/** The first key that is after every block of `lane`. */
export function laneEnd(lane: number): Buffer {
  const key = Buffer.alloc(KEY_BYTES);
  key[0] = lane + 1;
  return key;
}

export function keyLane(key: Buffer): number {
  return key[0] ?? RESERVED;
}

export function keySeq(key: Buffer): number {
  return key.readUInt8(1) * 2 ** 48 + key.readUIntBE(2, 6);
}

export function deadLetterKey(number: number): Buffer {
  const key = blockKey(0, number);
  key[0] = DEAD;
  return key;
}

export function isDeadLetter(key: Buffer): boolean {
  return key[0] === DEAD;
}

/** The key of a companion's record; `kind` is a u8, `number` a u48. */
export function companionKey(kind: number, number: number): Buffer {
  const key = Buffer.alloc(KEY_BYTES);
  key[0] = COMPANION;
  key[1] = kind;
  key.writeUIntBE(number, 2, 6);
  return key;
}

export function isCompanion(key: Buffer): boolean {
  return key[0] === COMPANION;
}

/** The kind and number of which {@link companionKey} made a key. */
export function companionPlace(key: Buffer): { readonly kind: number; readonly number: number } {
  return { kind: key[1]!, number: key.readUIntBE(2, 6) };
}

/** Whether a key is for a record of the spool's own: sealed, whatever it is. */
export function isReserved(key: Buffer): boolean {
  return key[0] === RESERVED;
}

export const BOOKS_KEY: Buffer = Buffer.from([RESERVED, 0, 0, 0, 0, 0, 0, 0]);
export const LOSSES_KEY: Buffer = Buffer.from([RESERVED, 1, 0, 0, 0, 0, 0, 0]);
export const CHILDREN_KEY: Buffer = Buffer.from([RESERVED, 2, 0, 0, 0, 0, 0, 0]);
export const BOOTS_KEY: Buffer = Buffer.from([RESERVED, 3, 0, 0, 0, 0, 0, 0]);
/** What is still to be carried over from a spool that was set aside; gone before anybody else sees the one that follows it. */
export const PLAN_KEY: Buffer = Buffer.from([RESERVED, 4, 0, 0, 0, 0, 0, 0]);
/** The first key that is after every dead letter. */
export const RECORDS_FROM: Buffer = BOOKS_KEY;

/** Reserved records that there may be, numbered from 0 by their second byte. */
export const RECORDS = 4;
