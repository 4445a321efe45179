import type { DropReason, Loss } from '../message/loss.ts';
import { LANES } from '../message/message.ts';
import type { Environment } from '../store/environment.ts';
import { BlockDamaged, decodeBlock, readHeader } from './block.ts';
import type { Books } from './books.ts';
import { keySeq } from './keys.ts';
import { lastOfDamaged, type Lane, type Placed } from './lane.ts';
import type { Losses } from './losses.ts';

/** Blocks dropped in one transaction at the most: a huge one would hold up the acknowledgements behind it. */
const BLOCKS_A_COMMIT_MAX = 256;

/** Pages a value of so many bytes takes: its own overflow pages, or a share of a leaf when it is small. */
export function pagesOf(valueBytes: number, pageBytes: number): number {
  return Math.ceil((valueBytes + 16) / pageBytes);
}

/** Makes room: whole blocks, lowest lane first, oldest first, never one that is in flight; and keeps the account of it. */
export class Evictor {
  readonly #lanes: readonly Lane[];
  readonly #books: Books;
  readonly #losses: Losses;

  constructor(lanes: readonly Lane[], books: Books, losses: Losses) {
    this.#lanes = lanes;
    this.#books = books;
    this.#losses = losses;
  }

  /**
   * Drops blocks until `pages` pages will be free, as far as that goes in one commit. Returns the keys to delete, and the
   * pages that they free.
   */
  evict(
    env: Environment,
    pages: number,
    pageBytes: number,
  ): { readonly keys: Buffer[]; readonly messages: number; readonly freed: number } {
    const keys: Buffer[] = [];
    let freed = 0;
    let messages = 0;
    for (let number = LANES - 1; number >= 0 && freed < pages; number--) {
      const lane = this.#lanes[number]!;
      while (freed < pages && keys.length < BLOCKS_A_COMMIT_MAX) {
        const entry = env.read((reader) => lane.blockWith(reader, lane.evictFrom));
        if (entry === null) break;
        messages += this.#drop(lane, entry);
        keys.push(entry.key);
        freed += pagesOf(entry.value.length, pageBytes);
      }
    }
    return { keys, messages, freed };
  }

  #drop(lane: Lane, block: Placed): number {
    const loss = this.#lossOf(lane, block);
    const books = this.#books.lanes[lane.number]!;
    books.pending -= loss.count;
    this.#books.ledger.dropped[loss.reason] = (this.#books.ledger.dropped[loss.reason] ?? 0) + loss.count;
    if (loss.count > 0) this.#losses.add(loss);
    lane.evicted(block.key, loss.lastSeq);
    return loss.count;
  }

  /** What goes with a block: exact while it can be read, else what its neighbours say. */
  #lossOf(lane: Lane, block: Placed): Loss & { readonly reason: DropReason } {
    try {
      const header = readHeader(block.value);
      let { firstSeq, count } = header;
      if (firstSeq <= lane.settledTo) {
        const alive = decodeBlock(block.value).messages.filter((stored) => stored.seq > lane.settledTo);
        count = alive.length;
        firstSeq = alive[0]?.seq ?? header.lastSeq;
      }
      const { epoch, lastSeq, firstEventTime, lastEventTime } = header;
      const times = { firstEventTime, lastEventTime };
      return { epoch, lane: lane.number, reason: 'evicted', firstSeq, lastSeq, count, ...times, exact: true };
    } catch (error) {
      if (!(error instanceof BlockDamaged)) throw error;
      const firstSeq = Math.max(keySeq(block.key), lane.settledTo + 1);
      const lastSeq = Math.max(firstSeq, lastOfDamaged(block));
      const count = lastSeq - firstSeq + 1;
      const times = { firstEventTime: null, lastEventTime: null };
      const epoch = this.#books.epoch;
      return { epoch, lane: lane.number, reason: 'quarantined', firstSeq, lastSeq, count, ...times, exact: false };
    }
  }
}
