import { droppedOf, type Books } from '../../src/spool/books.ts';
import type { SpoolSettings } from '../../src/spool/opening.ts';
import { chance } from './chance.ts';

/** Lanes that a {@link History} uses: the first, one in the middle, the last. */
export const LANES_USED = [0, 5, 10] as const;
/** Longest body, bytes. */
const BODY_BYTES_MAX = 1600;

/** A spool's settings as a story has them; where it lies is the disk's business. */
export type StorySettings = Partial<Omit<SpoolSettings, 'dataDir'>>;

/** Something that happened to messages of one lane up to number `seq`, when so many entries were in the log of writes. */
export type Happened = readonly [entries: number, lane: number, seq: number];

/** What a spool on a disk that remembers its writes has promised, and when. */
export interface History {
  readonly settings: StorySettings;
  /** The books as each commit left them, the first of which made the spool. */
  readonly commits: readonly (readonly [entries: number, state: string, nextSeqs: readonly number[]])[];
  /** Numbers up to which senders have their acknowledgement. */
  readonly acknowledged: readonly Happened[];
  /** Numbers up to which messages have been handed out for sending, and up to which the upstream took or refused them. */
  readonly sent: readonly Happened[];
  readonly settled: readonly Happened[];
  readonly evicted: number;
}

/** The books in one text: two spools with the same one hold the same messages. */
export function stateOf({ epoch, lanes, ledger }: Books): string {
  const { accepted, delivered, deadLetters } = ledger;
  const each = lanes.map(({ nextSeq, settledTo, pending }) => `${nextSeq}/${settledTo}/${pending}`);
  return `${epoch}: ${each.join(' ')} ${accepted} ${delivered} ${deadLetters} ${droppedOf(ledger)}`;
}

/** What message `seq` of `lane` says: follows from its number, and compresses badly. */
export function bodyOf(lane: number, seq: number): Buffer {
  const random = chance(lane * 1_000_003 + seq);
  const body = Buffer.alloc(16 + Math.floor(random() * BODY_BYTES_MAX));
  for (let at = 0; at + 4 <= body.length; at += 4) body.writeUInt32LE(Math.floor(random() * 2 ** 32), at);
  body.write(`${lane}:${seq} `, 'latin1');
  return body;
}
