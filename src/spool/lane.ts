import type { Message, Stored } from '../message/message.ts';
import type { Reader } from '../store/environment.ts';
import { BLOCK_RAW_BYTES, BlockBuilder, BlockDamaged, decodeBlock, type BlockHeader } from './block.ts';
import type { LaneBooks } from './books.ts';
import { blockKey, keyLane, keySeq } from './keys.ts';

/** A block on its way to the medium. */
export interface Sealed {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly header: BlockHeader;
}

/** A block that has been read for sending and is not settled yet: nothing may evict it. */
interface Pinned {
  readonly key: Buffer;
  readonly lastSeq: number;
}

/** A block as it lies in its lane: `nextSeq` is where the block after it begins. */
export interface Placed {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly nextSeq: number;
}

/** A block that could not be read; its messages are gone. */
export interface Unreadable {
  readonly key: Buffer;
  readonly why: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
}

/**
 * One priority's first-in-first-out line: the tail that is not on the medium yet, and the place up to which it has been
 * read for sending. Pure bookkeeping; the spool commits.
 */
export class Lane {
  readonly number: number;
  readonly #books: LaneBooks;
  readonly #tail: BlockBuilder;
  /** The last number that is on the medium. */
  durableTo: number;
  /** The next number to read for sending. */
  #readFrom: number;
  /** Where eviction goes on: everything between what was pinned and here has been evicted. */
  #evictedTo = 0;
  /** First numbers of blocks that the next commit deletes unsent: still on the medium, and gone all the same. */
  readonly #gone = new Set<number>();
  #reading: Stored[] = [];
  #readAt = 0;
  #pinned: Pinned[] = [];
  /** Keys of blocks that are settled whole, to be deleted with the next commit. */
  finished: Buffer[] = [];

  constructor(number: number, books: LaneBooks) {
    this.number = number;
    this.#books = books;
    this.#tail = new BlockBuilder(number);
    this.durableTo = books.nextSeq - 1;
    this.#readFrom = books.settledTo + 1;
  }

  /** Appends to the tail; true when the tail is large enough to be cut. */
  append(message: Message, lifeMs: number): boolean {
    const seq = this.#books.nextSeq++;
    this.#books.pending++;
    this.#tail.add(seq, message, lifeMs);
    return this.#tail.rawBytes >= BLOCK_RAW_BYTES;
  }

  /** Cuts the tail into a block, if it holds anything. */
  cut(epoch: number): Sealed | null {
    if (this.#tail.count === 0) return null;
    const { header, value } = this.#tail.cut(epoch);
    return { key: blockKey(this.number, header.firstSeq), value, header };
  }

  get tailBytes(): number {
    return this.#tail.rawBytes;
  }

  /** Whether {@link next} would find a message. */
  get readable(): boolean {
    return this.#readAt < this.#reading.length || this.#readFrom <= this.durableTo;
  }

  /** The next message to send, oldest first; reads a block when the last one is used up. */
  next(read: <T>(look: (reader: Reader) => T) => T, lost: (block: Unreadable) => void): Stored | null {
    while (this.#readAt >= this.#reading.length) {
      if (this.#readFrom > this.durableTo) return null;
      const entry = read((reader) => this.blockWith(reader, this.#readFrom));
      if (entry === null) {
        // Everything up to here is gone (evicted, or lost with a damaged block).
        this.#readFrom = this.durableTo + 1;
        return null;
      }
      try {
        const { header, messages } = decodeBlock(entry.value);
        this.#readFrom = header.lastSeq + 1;
        this.#readAt = 0;
        this.#reading = messages;
        while ((messages[this.#readAt]?.seq ?? Infinity) <= this.#books.settledTo) this.#readAt++;
        if (this.#readAt < messages.length) this.#pinned.push({ key: entry.key, lastSeq: header.lastSeq });
      } catch (error) {
        if (!(error instanceof BlockDamaged)) throw error;
        const firstSeq = Math.max(keySeq(entry.key), this.#books.settledTo + 1);
        const lastSeq = Math.max(firstSeq, lastOfDamaged(entry));
        this.#readFrom = entry.nextSeq;
        this.#gone.add(keySeq(entry.key));
        lost({ key: entry.key, why: error.message, firstSeq, lastSeq });
      }
    }
    return this.#reading[this.#readAt++]!;
  }

  /** The block on the medium that holds number `from`, or the first after it; not one that is being deleted. */
  blockWith(reader: Reader, from: number): Placed | null {
    let block = this.#blockAt(reader, from);
    while (block !== null && this.#gone.has(keySeq(block.key))) block = this.#blockAt(reader, block.nextSeq);
    return block;
  }

  #blockAt(reader: Reader, from: number): Placed | null {
    let entry = reader.ceiling(blockKey(this.number, from));
    if (entry === null || keyLane(entry.key) !== this.number || keySeq(entry.key) !== from) {
      // Only the head can be half settled: its block begins before the number we want.
      const before = reader.below(blockKey(this.number, from));
      if (before !== null && keyLane(before.key) === this.number && lastSeqOf(before.value) >= from) entry = before;
    }
    if (entry === null || keyLane(entry.key) !== this.number) return null;
    const after = reader.ceiling(blockKey(this.number, keySeq(entry.key) + 1));
    const nextSeq = after !== null && keyLane(after.key) === this.number ? keySeq(after.key) : this.durableTo + 1;
    return { ...entry, nextSeq };
  }

  /** Everything up to `seq` is settled; blocks that are settled whole are finished. */
  settle(seq: number): void {
    this.#books.settledTo = Math.max(this.#books.settledTo, seq);
    while (this.#pinned.length > 0 && this.#pinned[0]!.lastSeq <= seq) this.finished.push(this.#pinned.shift()!.key);
  }

  /** Sending starts again at the first message that is not settled. */
  rewind(): void {
    this.#reading = [];
    this.#readAt = 0;
    this.#pinned = [];
    this.#readFrom = this.#books.settledTo + 1;
    // What was in flight lies before what was evicted meanwhile, and is the oldest again.
    this.#evictedTo = 0;
  }

  /** The first number that may be evicted: after what is pinned, settled or evicted already. */
  get evictFrom(): number {
    const pinned = this.#pinned.at(-1)?.lastSeq ?? 0;
    return Math.max(pinned, this.#books.settledTo, this.#evictedTo) + 1;
  }

  /** A block, up to number `lastSeq`, is being deleted unsent. */
  evicted(key: Buffer, lastSeq: number): void {
    this.#gone.add(keySeq(key));
    this.#evictedTo = lastSeq;
    // With nothing pinned in front of it, the head is what went: the settled mark moves over the gap.
    if (this.#pinned.length === 0) this.#books.settledTo = Math.max(this.#books.settledTo, lastSeq);
  }

  /** A block that was evicted or lost has left the medium. */
  deleted(key: Buffer): void {
    this.#gone.delete(keySeq(key));
  }

  get settledTo(): number {
    return this.#books.settledTo;
  }
}

/** The last number of a block that cannot be read: what its header says where that can be, else all up to the next block. */
export function lastOfDamaged(block: Placed): number {
  const said = lastSeqOf(block.value);
  const possible = Number.isSafeInteger(said) && said >= keySeq(block.key) && said < block.nextSeq;
  return possible ? said : block.nextSeq - 1;
}

function lastSeqOf(value: Buffer): number {
  return value.length >= 28 ? value.readDoubleBE(20) : -1;
}
