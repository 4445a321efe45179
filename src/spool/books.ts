import type { AgeMark } from '../clock/age.ts';
import type { DropReason, RefusalReason } from '../message/loss.ts';
import { LANES } from '../message/message.ts';
import { StoreError } from '../store/store-error.ts';
import { crc32c } from './crc32c.ts';

/** Format of the whole spool; an older program refuses a newer one and leaves it alone. */
export const SPOOL_VERSION = 1;

/** accepted = delivered + pending + deadLetters + sum of dropped, at every commit. */
export interface Ledger {
  accepted: number;
  delivered: number;
  /** Of the delivered: the broker had nobody who subscribed. */
  unmatched: number;
  deadLetters: number;
  dropped: Partial<Record<DropReason, number>>;
  refused: Partial<Record<RefusalReason, number>>;
}

export interface Boot {
  readonly number: number;
  /** The kernel's boot id. */
  readonly id: string;
  /** Wall time minus monotonic time of this boot, ms; null until the boot knew what time it was. */
  offset: number | null;
  /** Wall time when its monotonic clock stood at 0 was not before this, ms; absent when nothing is known. */
  from?: number;
  /** How far its monotonic clock has been seen to run, ms. */
  ranTo?: number;
  /** The last wall time that was known in it, ms. */
  lastWall?: number;
}

export interface LaneBooks {
  /** The number that the lane's next message gets. */
  nextSeq: number;
  /** Everything up to this number is settled: delivered, dropped or a dead letter. */
  settledTo: number;
  pending: number;
}

/** All that the spool counts; one record, written with every commit in the same transaction as what it counts. */
export interface Books {
  epoch: number;
  ledger: Ledger;
  lanes: LaneBooks[];
  nextDeadLetter: number;
  age: AgeMark;
  /** The last boots of this machine; a message taken on with an unknown clock names its boot by number. */
  boots: Boot[];
}

export function emptyBooks(epoch: number, nextSeqs?: readonly number[]): Books {
  return {
    epoch,
    ledger: { accepted: 0, delivered: 0, unmatched: 0, deadLetters: 0, dropped: {}, refused: {} },
    lanes: Array.from({ length: LANES }, (_, lane) => {
      const nextSeq = nextSeqs?.[lane] ?? 1;
      return { nextSeq, settledTo: nextSeq - 1, pending: 0 };
    }),
    nextDeadLetter: 1,
    age: { age: 0, wall: null },
    boots: [],
  };
}

/** Messages that are neither delivered, nor dead letters, nor dropped. */
export function pendingOf(books: Books): number {
  let pending = 0;
  for (const lane of books.lanes) pending += lane.pending;
  return pending;
}

export function droppedOf(ledger: Ledger): number {
  let dropped = 0;
  for (const count of Object.values(ledger.dropped)) dropped += count;
  return dropped;
}

/** The books' bytes: CRC-32C u32 of the rest, then JSON with the format's version. */
export function encodeBooks(books: Books): Buffer {
  return seal({ version: SPOOL_VERSION, ...books });
}

/** Throws when the record is damaged or of a newer format. */
export function decodeBooks(bytes: Buffer): Books {
  const { version, ...books } = unseal(bytes, 'the books') as Books & { version: number };
  if (version !== SPOOL_VERSION) {
    throw new Error(`the spool has format ${version}, this program knows ${SPOOL_VERSION}; it was left as it is`);
  }
  return books;
}

/** JSON behind its CRC-32C: LMDB itself does not notice a flipped bit. */
export function seal(value: unknown): Buffer {
  const json = Buffer.from(JSON.stringify(value), 'utf8');
  const bytes = Buffer.allocUnsafeSlow(4 + json.length);
  json.copy(bytes, 4);
  bytes.writeUInt32BE(crc32c(bytes, 4), 0);
  return bytes;
}

export function unseal(bytes: Buffer, what: string): unknown {
  if (bytes.length < 4 || bytes.readUInt32BE(0) !== crc32c(bytes, 4)) {
    throw new StoreError('damaged', `${what} do not match their checksum`);
  }
  return JSON.parse(bytes.toString('utf8', 4));
}
