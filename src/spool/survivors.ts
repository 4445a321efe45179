import { LANES } from '../message/message.ts';
import type { Loss } from '../message/loss.ts';
import { PageFile } from '../store/page-file.ts';
import type { Remnants } from '../store/page-salvage.ts';
import { StoreError } from '../store/store-error.ts';
import { BLOCK_HEADER_BYTES, BlockDamaged, checksumOf, decodeBlock } from './block.ts';
import { emptyBooks, readBooks, type Books } from './books.ts';
import { isLetter } from './dead-letters.ts';
import { beforeOf, booksFrom, succeed, type Before, type Totals } from './fresh-books.ts';
import { isDeadLetter, isReserved, keyLane, keySeq, KEY_BYTES, LOSSES_KEY } from './keys.ts';
import { findsIn, newestOf, type Find } from './salvage.ts';
import { unseal } from './seal.ts';

/** What of a damaged spool goes on in the one that follows it. Kept with that until all is carried over. */
export interface Plan {
  readonly before: Before;
  /** Whether the accounts of the children are known: without them, theirs begin with what is carried over. */
  readonly childrenKnown: boolean;
  /** By their checksums: the number after which the messages of each block wait, and whether others hold those before it. */
  readonly blocks: readonly (readonly [checksum: number, after: number, cut: boolean])[];
  readonly letters: readonly (readonly [checksum: number, number: number])[];
}

export interface Survivors {
  readonly plan: Plan;
  /** Of the spool that follows: nothing is carried over yet. */
  readonly books: Books;
  /** Reports that waited. */
  readonly losses: readonly Loss[];
}

/** What can be known of a damaged file by its trees. */
interface Seen {
  readonly books: Books | null;
  readonly losses: readonly Loss[];
  /** Checksums of the blocks in the lanes; null where a part of the tree is out of sight. */
  readonly blocks: ReadonlySet<number> | null;
  /** Checksums of the dead letters, with their numbers. */
  readonly letters: ReadonlyMap<number, number>;
}

/**
 * Looks for what can be read of a spool that cannot be used. Where its tree can be walked, what that leads to goes on, and what
 * came in a commit of which only the blocks are left; where it cannot, all that begins like a block, matches its checksum and is
 * not known to be settled: some of that may have been let go before. `totals` is what is known besides of where it stood.
 */
export function survivorsIn(
  path: string,
  remnants: Remnants,
  totals: Totals | undefined,
  progress: () => void,
): Survivors {
  const seen = lookAt(path, progress);
  const { books: basis, own } = basisOf(seen.books, totals);
  const letters = own ? seen.letters : new Map<number, number>();
  const waits = ({ header: { lane, firstSeq, lastSeq, count }, checksum, places, bytes }: Find): boolean => {
    if (lastSeq <= basis.lanes[lane]!.settledTo || seen.letters.has(checksum)) return false;
    if (seen.blocks?.has(checksum) === true) return true;
    if (seen.blocks !== null && firstSeq < (seen.books?.lanes[lane]!.nextSeq ?? Infinity)) return false;
    // A dead letter looks like a block of one message.
    return count > 1 || !holdsLetter(remnants, places, bytes);
  };
  const finds = [...findsIn(remnants, () => undefined)];
  const waiting = newestOf(finds.filter(waits)).toSorted(
    ({ header: a }, { header: b }) => a.lane - b.lane || a.firstSeq - b.firstSeq || a.epoch - b.epoch,
  );
  const blocks: [number, number, boolean][] = [];
  const last = basis.lanes.map(({ settledTo }) => settledTo);
  for (const { header, checksum } of waiting) {
    const { lane, epoch, firstSeq, lastSeq, lastAge } = header;
    if (lastSeq <= last[lane]!) continue;
    blocks.push([checksum, last[lane]!, firstSeq <= last[lane]! && last[lane]! > basis.lanes[lane]!.settledTo]);
    last[lane] = lastSeq;
    // Commits that the books do not know of have used these.
    basis.epoch = Math.max(basis.epoch, epoch);
    basis.lanes[lane]!.nextSeq = Math.max(basis.lanes[lane]!.nextSeq, lastSeq + 1);
    if (!own && lastAge > basis.age.age) basis.age = { ...basis.age, age: lastAge };
  }
  const before = beforeOf(basis);
  succeed(basis);
  before.lanes.forEach(({ settledTo }, lane) => {
    if (last[lane]! > settledTo) basis.lanes[lane]!.settledTo = settledTo;
  });
  const there = new Set(finds.map(({ checksum }) => checksum));
  const plan = {
    before,
    childrenKnown: own,
    blocks,
    letters: [...letters].filter(([checksum]) => there.has(checksum)),
  };
  return { plan, books: basis, losses: seen.losses };
}

/** The newest account that there is, and whether it is the spool's own. */
function basisOf(books: Books | null, totals: Totals | undefined): { readonly books: Books; readonly own: boolean } {
  if (totals === undefined) return { books: books ?? emptyBooks(0), own: books !== null };
  // One commit back in the file: what came after it, only the copy knows.
  const older = books === null || totals.epoch > books.epoch || totals.ledger.accepted > books.ledger.accepted;
  if (!older) return { books, own: true };
  const { age, boots } = books ?? emptyBooks(0);
  return { books: { ...booksFrom(totals), age, boots }, own: false };
}

function lookAt(path: string, progress: () => void): Seen {
  const blocks = new Set<number>();
  const letters = new Map<number, number>();
  try {
    const file = PageFile.open(path, () => undefined, false, progress);
    try {
      const walkable = file.walkable();
      file.scanHeads(Buffer.of(0), BLOCK_HEADER_BYTES, ({ key, value }) => {
        if (key.length !== KEY_BYTES || isReserved(key) || value.length < BLOCK_HEADER_BYTES) return true;
        if (keyLane(key) < LANES) blocks.add(checksumOf(value));
        else if (isDeadLetter(key)) letters.set(checksumOf(value), keySeq(key));
        return true;
      });
      return {
        books: orNull(() => readBooks(file)),
        losses: lossesIn(file),
        blocks: walkable ? blocks : null,
        letters,
      };
    } finally {
      file.close();
    }
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    return { books: null, losses: [], blocks: null, letters };
  }
}

function lossesIn(file: PageFile): readonly Loss[] {
  const rows = orNull(() => file.get(LOSSES_KEY));
  return rows === null ? [] : (orNull(() => unseal(rows, 'the loss reports') as Loss[]) ?? []);
}

/** Null where it is damaged. */
function orNull<T>(look: () => T): T | null {
  try {
    return look();
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    return null;
  }
}

function holdsLetter(remnants: Remnants, places: Find['places'], bytes: number): boolean {
  try {
    return decodeBlock(remnants.read(places, bytes)).messages.some(({ message }) => isLetter(message));
  } catch (error) {
    if (error instanceof BlockDamaged || error instanceof StoreError) return true;
    throw error;
  }
}
