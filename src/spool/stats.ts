import type { Reader } from '../store/environment.ts';
import { readHeader } from './block.ts';
import { even, pendingOf, type Books } from './books.ts';
import { blockKey, keyLane } from './keys.ts';
import { restOf, type Account } from './ledger.ts';
import type { WearFigures } from './wear.ts';

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
  readonly wear: WearFigures;
  /** By their ids; `*` stands for those that came when there were too many, `?` for what could be put down to nobody. */
  readonly children: Readonly<Record<string, AccountStats>>;
}

/** An account with what waits: accepted = delivered + pending + deadLetters + dropped. */
export type AccountStats = Readonly<Account> & { readonly pending: number };

export interface LaneStats extends AccountStats {
  readonly lane: number;
  /** The oldest pending message's number; `nextSeq` when there is none. */
  readonly firstSeq: number;
  readonly nextSeq: number;
  /** How long the oldest has waited, in age; null when nothing waits. */
  readonly oldestAgeSecs: number | null;
}

/** What the books do not know. */
export interface Surroundings {
  readonly age: number;
  readonly fileBytes: number;
  readonly quotaBytes: number;
  readonly freePages: number;
  readonly wear: WearFigures;
}

/** The figures of one commit. */
export function spoolStats(reader: Reader, books: Books, around: Surroundings): SpoolStats {
  const { age, fileBytes, quotaBytes, freePages, wear } = around;
  const { live } = reader.livePages();
  const children = [...books.children.entries()].map(
    // What nobody could read was accepted in the accounts of others.
    ([child, account]) => [child, { ...account, pending: Math.max(0, restOf(account)) }] as const,
  );
  return {
    epoch: books.epoch,
    ledger: ledgerStats(books),
    lanes: laneStats(reader, books, age),
    file: { bytes: fileBytes, quotaBytes, livePages: live, freePages, shrinkPending: fileBytes > quotaBytes },
    wear,
    children: Object.fromEntries(children),
  };
}

/** The lanes as the medium has them; only those that were ever used. */
function laneStats(reader: Reader, books: Books, ageNow: number): LaneStats[] {
  const stats: LaneStats[] = [];
  books.lanes.forEach((lane, number) => {
    // A lane whose messages were all let go at once never gave a number.
    if (lane.nextSeq === 1 && lane.accepted === 0) return;
    const { pending, nextSeq, settledTo, accepted, delivered, deadLetters, dropped } = lane;
    const account = { accepted, delivered, deadLetters, dropped };
    if (pending === 0) {
      stats.push({ lane: number, pending, firstSeq: nextSeq, nextSeq, oldestAgeSecs: null, ...account });
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
      ...account,
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
