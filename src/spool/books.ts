import type { AgeMark } from '../clock/age.ts';
import { LANES } from '../message/message.ts';
import type { ChildCounts } from './block.ts';
import { ChildAccounts } from './child-accounts.ts';
import { BOOKS_KEY, BOOTS_KEY, CHILDREN_KEY } from './keys.ts';
import { emptyAccount, restOf, type Account, type LaneBooks, type Ledger } from './ledger.ts';
import { seal, unseal } from './seal.ts';

/**
 * Format of the whole spool; an older program refuses a newer one and leaves it alone. Version 1 had no accounts of lanes
 * and children, and the table of boots among the books; version 2 kept each value in one piece.
 */
export const SPOOL_VERSION = 3;
const SPOOL_VERSION_OLDEST = 1;

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

/** How messages reach the medium: see `storeAndForward.write`. */
export type WriteMode = 'always' | 'when-needed';

/** All that the spool counts, written with every commit in the same transaction as what it counts. */
export interface Books {
  epoch: number;
  /** The gateway stopped properly: everything it took on is in here. Taken back by the first commit after the start. */
  clean: boolean;
  /** Stops in a row that were not clean, without a restart of the machine between them. */
  crashes: number;
  /** How the gateway that wrote this wrote messages. */
  write: WriteMode;
  ledger: Ledger;
  lanes: LaneBooks[];
  nextDeadLetter: number;
  age: AgeMark;
  /** The last boots of this machine; a message taken on with an unknown clock names its boot by number. */
  boots: Boot[];
  children: ChildAccounts;
}

export function emptyBooks(epoch: number, nextSeqs?: readonly number[]): Books {
  return {
    epoch,
    clean: false,
    crashes: 0,
    write: 'always',
    ledger: { ...emptyAccount(), unmatched: 0, refused: {} },
    lanes: Array.from({ length: LANES }, (_, lane) => emptyLane(nextSeqs?.[lane] ?? 1)),
    nextDeadLetter: 1,
    age: { age: 0, wall: null },
    boots: [],
    children: new ChildAccounts(),
  };
}

function emptyLane(nextSeq: number): LaneBooks {
  return { nextSeq, settledTo: nextSeq - 1, pending: 0, ...emptyAccount() };
}

/** Messages that are neither delivered, nor dead letters, nor dropped. */
export function pendingOf(books: Pick<Books, 'lanes'>): number {
  let pending = 0;
  for (const lane of books.lanes) pending += lane.pending;
  return pending;
}

/** What a commit leaves out of the books, since it does not carry the messages yet. */
export interface NotCarried {
  /** By lane: the number of the first message that is left out, and how many there are. */
  readonly lanes: ReadonlyMap<number, { readonly firstSeq: number; readonly count: number }>;
  readonly children: ChildCounts;
}

export const CARRIES_ALL: NotCarried = { lanes: new Map(), children: new Map() };

/** The books' main record: CRC-32C u32 of the rest, then JSON with the format's version. Lanes that were never used are left out. */
export function encodeBooks(books: Books, without: NotCarried = CARRIES_ALL): Buffer {
  const { epoch, clean, crashes, write, nextDeadLetter, age } = books;
  let { accepted } = books.ledger;
  const lanes: (LaneBooks & { lane: number })[] = [];
  books.lanes.forEach((lane, number) => {
    if (lane.nextSeq === 1 && lane.accepted === 0) return;
    const left = without.lanes.get(number);
    if (left === undefined) lanes.push({ lane: number, ...lane });
    else {
      const { firstSeq, count } = left;
      accepted -= count;
      lanes.push({
        lane: number,
        ...lane,
        nextSeq: firstSeq,
        pending: lane.pending - count,
        accepted: lane.accepted - count,
      });
    }
  });
  const ledger = { ...books.ledger, accepted };
  return seal({ version: SPOOL_VERSION, epoch, clean, crashes, write, ledger, lanes, nextDeadLetter, age });
}

/** Reads what {@link encodeBooks} made. Throws when the record is damaged or of a newer format. */
export function decodeBooks(bytes: Buffer): Omit<Books, 'children' | 'boots'> {
  const { version, ...found } = unseal(bytes, 'the books') as Books & { version: number };
  if (!(version >= SPOOL_VERSION_OLDEST && version <= SPOOL_VERSION)) {
    throw new Error(`the spool has format ${version}, this program knows ${SPOOL_VERSION}; it was left as it is`);
  }
  const books = { ...emptyBooks(1), ...found };
  if (version === 1) {
    // What became of earlier messages of a lane was not kept: its account begins with what waits.
    books.lanes = found.lanes.map((lane) => ({ ...emptyLane(1), ...lane, accepted: lane.pending }));
    return books;
  }
  const lanes = books.lanes as (LaneBooks & { lane: number })[];
  books.lanes = emptyBooks(1).lanes;
  for (const { lane, ...rest } of lanes) books.lanes[lane] = rest;
  return books;
}

/** The books as they are in one read transaction; null when there are none. Throws as {@link decodeBooks} does. */
export function readBooks(reader: { get(key: Buffer): Buffer | null }): Books | null {
  const main = reader.get(BOOKS_KEY);
  if (main === null) return null;
  const books: Books = { ...emptyBooks(1), ...decodeBooks(main) };
  const children = reader.get(CHILDREN_KEY);
  if (children !== null) books.children = ChildAccounts.decode(children);
  const boots = reader.get(BOOTS_KEY);
  if (boots !== null) books.boots = unseal(boots, 'the table of boots') as Boot[];
  return books;
}

/** Whether an account is even. */
export function even(account: Account, pending: number): boolean {
  return restOf(account) === pending;
}
