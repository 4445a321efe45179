import type { Reader } from '../store/environment.ts';
import { readHeader } from './block.ts';
import { even, pendingOf, type Books } from './books.ts';
import { blockKey, keyLane } from './keys.ts';

/** What `holdfast spool stats --json` prints: accepted = delivered + pending + deadLetters + dropped. */
export interface SpoolStats {
  readonly epoch: number;
  readonly ledger: Books['ledger'] & { readonly pending: number };
  readonly lanes: readonly LaneStats[];
  readonly file: {
    readonly bytes: number;
    readonly quotaBytes: number;
    readonly livePages: number;
    readonly freePages: number;
    readonly shrinkPending: boolean;
  };
  readonly wear: { readonly bytesPerDay: number; readonly bytesPerPayloadByte: number; readonly measured: boolean };
}

export interface LaneStats {
  readonly lane: number;
  readonly pending: number;
  /** The oldest pending message's number; `nextSeq` when there is none. */
  readonly firstSeq: number;
  readonly nextSeq: number;
  /** How long the oldest has waited, in age; null when nothing waits. */
  readonly oldestAgeSecs: number | null;
}

/** The lanes as the medium has them; only those that were ever used. */
export function laneStats(reader: Reader, books: Books, ageNow: number): LaneStats[] {
  const stats: LaneStats[] = [];
  books.lanes.forEach((lane, number) => {
    if (lane.nextSeq === 1) return;
    const { pending, nextSeq, settledTo } = lane;
    if (pending === 0) {
      stats.push({ lane: number, pending, firstSeq: nextSeq, nextSeq, oldestAgeSecs: null });
      return;
    }
    const head = reader.ceiling(blockKey(number, 0));
    const header = head !== null && keyLane(head.key) === number ? headerOrNull(head.value) : null;
    stats.push({
      lane: number,
      pending,
      firstSeq: Math.max(settledTo + 1, header?.firstSeq ?? 0),
      nextSeq,
      oldestAgeSecs: header === null ? null : Math.max(0, Math.round((ageNow - header.firstAge) / 1000)),
    });
  });
  return stats;
}

export function ledgerStats(books: Pick<Books, 'ledger' | 'lanes'>): SpoolStats['ledger'] {
  return { ...books.ledger, pending: pendingOf(books) };
}

/** Whether the account is even, of the whole and of each lane. */
export function balanced(books: Books): boolean {
  return even(books.ledger, pendingOf(books)) && books.lanes.every((lane) => even(lane, lane.pending));
}

function headerOrNull(value: Buffer) {
  try {
    return readHeader(value);
  } catch {
    return null;
  }
}
