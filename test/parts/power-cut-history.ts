import type { Books } from '../../src/spool/books.ts';
import { droppedOf } from '../../src/spool/ledger.ts';
import type { SpoolSettings } from '../../src/spool/settings.ts';
import { chance } from './chance.ts';

/** Lanes that a {@link History} uses: the first, one in the middle, the last. */
export const LANES_USED = [0, 5, 10] as const;
/** Longest body, bytes. */
const BODY_BYTES_MAX = 1600;

/** A spool's settings as a story has them; where it lies is the disk's business. */
export type StorySettings = Partial<Omit<SpoolSettings, 'dataDir'>>;

/** A spool that a few thousand messages fill. */
export const STANDARD = {
  quota: { bytes: 3 * 2 ** 20 },
  keepFree: { bytes: 0 },
  whenFull: 'drop-oldest',
  durability: 'strict',
  commitEveryMs: 50,
  timeToLiveSecs: 7200,
  write: 'always',
  prefill: true,
} as const satisfies StorySettings;

/** Something that happened to a message when so many entries were in the log of writes. */
export type Happened = readonly [entries: number, lane: number, seq: number, epoch: number];

/** What a spool on a disk that remembers its writes has promised, and when. */
export interface History {
  readonly settings: StorySettings;
  /** The books as each commit left them, the first of which made the spool; {@link UNPROMISED}: as they were found. */
  readonly commits: (readonly [entries: number, state: string, nextSeqs: readonly number[]])[];
  /** Messages whose senders have their acknowledgement. */
  readonly acknowledged: Happened[];
  /** Messages that have been handed out for sending, once each, and those that the upstream took. */
  readonly sent: Happened[];
  readonly delivered: Happened[];
  evicted: number;
}

/** Books that a process found when it started: they may be in the kernel's memory only, so nobody relies on them yet. */
export const UNPROMISED: number = Number.MAX_SAFE_INTEGER;

/** The books in one text: two spools with the same one hold the same messages. */
export function stateOf({ epoch, lanes, ledger }: Pick<Books, 'epoch' | 'lanes' | 'ledger'>): string {
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
