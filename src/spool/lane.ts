import type { Message, Stored } from '../message/message.ts';
import type { Reader } from '../store/environment.ts';
import type { Amendments } from './amendments.ts';
import {
  BLOCK_RAW_BYTES,
  BlockBuilder,
  BlockDamaged,
  decodeBlock,
  type BlockHeader,
  type ChildCounts,
  type Cut,
} from './block.ts';
import { BlockIndex } from './block-index.ts';
import { blockKey, keyLane, keySeq } from './keys.ts';
import type { LaneBooks } from './ledger.ts';
import { pagesOf } from './pages.ts';
import { Unwritten, type Durable } from './unwritten.ts';

/** A block on its way to the medium. */
export interface Sealed extends Cut {
  readonly key: Buffer;
}

/** A block that has been read for sending and is not settled yet: nothing may change it. */
interface Pinned {
  readonly key: Buffer;
  /** Where the range ends that it stands for ... */
  readonly lastSeq: number;
  /** ... and the last message in it: those behind that one are gone. */
  readonly lastMessage: number;
  readonly pages: number;
}

/** A block as it lies in its lane: `nextSeq` is where the block after it begins. */
export interface Placed {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly nextSeq: number;
}

/** A block that could not be read; its messages are gone. */
export interface Unreadable {
  readonly placed: Placed;
  readonly why: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
}

export interface LaneParts {
  readonly number: number;
  readonly books: LaneBooks;
  readonly amendments: Amendments;
  readonly pageBytes: number;
  /** Messages may be sent before they are on the medium (`write: when-needed`). */
  readonly sendsUnwritten: boolean;
  /** Whether that may begin: not before the medium says that this run was, or its numbers could be used again. */
  readonly maySendUnwritten: (held: boolean) => boolean;
  /** The block that waits in memory and holds this number, or the first after it, while they are sent from there. */
  readonly waiting: (lane: number, seq: number) => Sealed | null;
  /** How long a message may live, as the settings are now, ms. */
  readonly lifeMs: (message: Message) => number;
  /** Age before which nothing in a block has expired, as the settings are now. */
  readonly earliest: (header: BlockHeader) => number;
}

/** What a lane asks of others while it reads a block. */
export interface ReadingParts {
  readonly read: <T>(look: (reader: Reader) => T) => T;
  /** A block could not be read: it is to be booked as lost, and taken away. */
  readonly lost: (block: Unreadable) => void;
  /** Books what has expired in a block that nobody sends from yet; returns what is left to send. */
  readonly alive: (placed: Placed, header: BlockHeader, messages: readonly Stored[]) => readonly Stored[];
  /** Whether a message that is not on the medium has expired; then it is booked, and goes. */
  readonly lapsed: (stored: Stored) => boolean;
}

/**
 * One priority's first-in-first-out line: the tail that is not on the medium yet, and the place up to which it has been
 * read for sending. Pure bookkeeping; the committer brings it to the medium.
 */
export class Lane {
  readonly number: number;
  readonly index: BlockIndex = new BlockIndex();
  readonly #books: LaneBooks;
  readonly #amendments: Amendments;
  readonly #pageBytes: number;
  readonly #tail: BlockBuilder;
  readonly #unwritten: Unwritten | null;
  readonly #maySendUnwritten: LaneParts['maySendUnwritten'];
  readonly #waiting: LaneParts['waiting'];
  readonly #lifeMs: LaneParts['lifeMs'];
  readonly #earliest: LaneParts['earliest'];
  /** The last message that was laid apart; 0 when none was. */
  laidApartTo = 0;
  /** The last number that is on the medium. */
  durableTo: number;
  /** The last number that has been cut into a block. */
  #sealedTo: number;
  /** The next number to read for sending. */
  #readFrom: number;
  #reading: readonly Stored[] = [];
  #readAt = 0;
  #pinned: Pinned[] = [];

  constructor(parts: LaneParts) {
    const { number, books, amendments, pageBytes, sendsUnwritten, maySendUnwritten, waiting, lifeMs, earliest } = parts;
    this.#maySendUnwritten = maySendUnwritten;
    this.#waiting = waiting;
    this.#lifeMs = lifeMs;
    this.number = number;
    this.#books = books;
    this.#amendments = amendments;
    this.#pageBytes = pageBytes;
    this.#tail = new BlockBuilder(number);
    this.#unwritten = sendsUnwritten ? new Unwritten() : null;
    this.#earliest = earliest;
    this.durableTo = this.#sealedTo = books.nextSeq - 1;
    this.#readFrom = books.settledTo + 1;
  }

  /** Appends to the tail. `durable`, `held`: see {@link Unwritten}, where messages may be sent unwritten. */
  append(message: Message, epoch: number, lifeMs: number, since: number, durable: Durable | null, held: boolean): void {
    const seq = this.#books.nextSeq++;
    this.#tail.add(seq, message, lifeMs);
    this.#unwritten?.add({ lane: this.number, epoch, seq, message, lifeMs, since, durable, held });
    if (this.tailBytes >= BLOCK_RAW_BYTES) this.#refill();
  }

  /** Cuts the tail into a block, if it holds anything that is to be written. */
  cut(epoch: number): Sealed | null {
    this.#refill();
    if (this.#tail.count === 0) return null;
    return this.#sealed(this.#tail.cut(epoch));
  }

  /** A block that waits for the medium, without what the upstream has acknowledged meanwhile; null when that is all. */
  cutAgain(sealed: Sealed): Sealed | null {
    const { firstSeq, lastSeq, epoch } = sealed.header;
    if (firstSeq > this.#books.settledTo) return sealed;
    if (lastSeq <= this.#books.settledTo) return null;
    const builder = new BlockBuilder(this.number);
    if (this.#unwritten !== null) {
      for (const { seq, message, lifeMs } of this.#unwritten.between(this.#books.settledTo + 1, lastSeq)) {
        builder.add(seq, message, lifeMs);
      }
    } else {
      for (const { seq, message } of decodeBlock(sealed.value).messages) {
        if (seq > this.#books.settledTo) builder.add(seq, message, this.#lifeMs(message));
      }
    }
    return this.#sealed(builder.cut(epoch));
  }

  get tailBytes(): number {
    return this.#tail.rawBytes;
  }

  /** The tail is large enough to be cut. */
  get tailFull(): boolean {
    return this.#tail.rawBytes >= BLOCK_RAW_BYTES;
  }

  /** The messages of the tail that the upstream has not acknowledged, counted; null when there are none. */
  get tail(): { readonly header: BlockHeader; readonly children: ChildCounts } | null {
    this.#refill();
    return this.#tail.count === 0 ? null : { header: this.#tail.header(0), children: this.#tail.children };
  }

  /** When the oldest message came that is neither on the medium nor acknowledged; where messages may be sent unwritten. */
  get unwrittenSince(): number {
    return this.#unwritten?.oldestSince ?? Infinity;
  }

  /** Whether {@link next} would find a message. */
  get readable(): boolean {
    if (this.#readAt < this.#reading.length || this.#readFrom <= this.durableTo) return true;
    if (this.#unwritten === null) return this.#waiting(this.number, this.#readFrom) !== null;
    const first = this.#unwritten.from(this.#readFrom);
    return first !== null && this.#maySendUnwritten(first.held);
  }

  /** The next message to send, oldest first; reads a block when the last one is used up. */
  next(parts: ReadingParts): Stored | null {
    for (;;) {
      if (this.#readAt < this.#reading.length) return this.#reading[this.#readAt++]!;
      if (this.#readFrom > this.durableTo) {
        if (this.#unwritten !== null) return this.#nextUnwritten(parts);
        if (!this.#readWaiting(parts)) return null;
        continue;
      }
      const placed = parts.read((reader) => this.blockWith(reader, this.#readFrom));
      if (placed === null) {
        // Everything up to here is gone (let go, or lost with a damaged block).
        this.#readFrom = this.durableTo + 1;
        continue;
      }
      this.#readBlock(placed, parts);
    }
  }

  #nextUnwritten({ lapsed }: ReadingParts): Stored | null {
    for (;;) {
      const stored = this.#unwritten?.from(this.#readFrom) ?? null;
      if (stored === null || !this.#maySendUnwritten(stored.held)) return null;
      this.#readFrom = stored.seq + 1;
      // Behind one in flight it stays: it will be on the medium before long, and is sent or expires there.
      const atHead = this.#pinned.length === 0 && this.#unwritten!.firstSeq === stored.seq;
      if (!atHead || !lapsed(stored)) return stored;
      this.settle(stored.seq);
    }
  }

  /** Reads a block that waits for a medium that takes none; false when there is none to read. */
  #readWaiting({ lapsed }: ReadingParts): boolean {
    const sealed = this.#waiting(this.number, this.#readFrom);
    if (sealed === null) return false;
    const messages = decodeBlock(sealed.value).messages.filter(({ seq }) => seq >= this.#readFrom);
    // Behind one in flight what has expired stays, and is sent.
    const atHead = this.#pinned.length === 0 && this.#readFrom - 1 <= this.#books.settledTo;
    while (atHead && messages.length > 0 && lapsed(messages[0]!)) this.settle(messages.shift()!.seq);
    this.#reading = messages;
    this.#readAt = 0;
    this.#readFrom = sealed.header.lastSeq + 1;
    return true;
  }

  #readBlock(placed: Placed, { lost, alive }: ReadingParts): void {
    try {
      const { header, messages } = decodeBlock(placed.value);
      const unsent = messages.filter(({ seq }) => seq >= this.#readFrom);
      const left = alive(placed, header, unsent);
      this.#readFrom = header.lastSeq + 1;
      this.#readAt = 0;
      this.#reading = left;
      const last = left.at(-1);
      if (last !== undefined) this.#pin(placed.key, header.lastSeq, last.seq, placed.value.length);
      // Those that were left in it are settled, and those behind them went: nothing else would take it away.
      else if (unsent.length === 0) this.remove(placed.key, pagesOf(placed.value.length, this.#pageBytes));
    } catch (error) {
      if (!(error instanceof BlockDamaged)) throw error;
      const firstSeq = Math.max(keySeq(placed.key), this.#books.settledTo + 1);
      const lastSeq = Math.max(firstSeq, lastOfDamaged(placed));
      this.#readFrom = placed.nextSeq;
      lost({ placed, why: error.message, firstSeq, lastSeq });
    }
  }

  #pin(key: Buffer, lastSeq: number, lastMessage: number, bytes: number): void {
    if (this.#pinned.at(-1)?.lastSeq === lastSeq) return;
    this.#pinned.push({ key, lastSeq, lastMessage, pages: pagesOf(bytes, this.#pageBytes) });
  }

  /** The block that holds number `from`, or the first after it, as it will be after the next commit. */
  blockWith(reader: Reader, from: number): Placed | null {
    let entry = this.#amendments.ceiling(reader, blockKey(this.number, from));
    if (entry === null || keyLane(entry.key) !== this.number || keySeq(entry.key) !== from) {
      // A block may begin before the number we want: one that is half settled.
      const before = this.#amendments.below(reader, blockKey(this.number, from));
      if (before !== null && keyLane(before.key) === this.number && lastSeqOf(before.value) >= from) entry = before;
    }
    if (entry === null || keyLane(entry.key) !== this.number) return null;
    const after = this.#amendments.ceiling(reader, blockKey(this.number, keySeq(entry.key) + 1));
    const nextSeq = after !== null && keyLane(after.key) === this.number ? keySeq(after.key) : this.durableTo + 1;
    return { ...entry, nextSeq };
  }

  /**
   * Everything up to `seq` is settled; blocks that are settled whole go with the next commit. True when it lies on the
   * medium. `kept`: it was not delivered but laid apart, so whoever waits for it waits for that to be on the medium.
   */
  settle(seq: number, kept: ((durable: Durable) => void) | null = null): boolean {
    this.#books.settledTo = Math.max(this.#books.settledTo, seq);
    while (this.#pinned.length > 0 && this.#pinned[0]!.lastMessage <= seq) {
      const { key, pages, lastSeq } = this.#pinned.shift()!;
      this.#books.settledTo = Math.max(this.#books.settledTo, lastSeq);
      this.remove(key, pages);
    }
    this.#unwritten?.durableTo(seq, kept);
    if (kept !== null) this.laidApartTo = seq;
    return seq <= this.durableTo;
  }

  /** A block is on the medium. */
  written({ key, value, header }: Sealed): void {
    const { firstSeq, lastSeq, level } = header;
    this.durableTo = lastSeq;
    const pages = pagesOf(value.length, this.#pageBytes);
    // Not as the header says: the time to live may have been made shorter since its messages came.
    this.index.set({ firstSeq, expiry: this.#earliest(header), level, pages });
    if (this.#readFrom > firstSeq) {
      // It was being sent from memory.
      if (lastSeq <= this.#books.settledTo) this.remove(key, pages);
      else {
        this.#pin(key, lastSeq, lastSeq, value.length);
        if (this.#readFrom <= lastSeq && this.#unwritten !== null) {
          this.#reading = this.#unwritten.between(this.#readFrom, lastSeq);
          this.#readAt = 0;
          this.#readFrom = lastSeq + 1;
        }
      }
    }
    this.#unwritten?.durableTo(lastSeq);
  }

  /** A block is done with: the next commit deletes it. */
  remove(key: Buffer, pages: number): void {
    this.#amendments.delete(key, pages);
    this.index.remove(keySeq(key));
  }

  /** Another block takes the place of the one at `key`, or stands among those that it was made of. */
  replace({ key, value, header }: Sealed, pagesBefore: number): void {
    const pages = pagesOf(value.length, this.#pageBytes);
    this.#amendments.put(key, value, pagesBefore - pages);
    const { firstSeq, earliestExpiry: expiry, level } = header;
    this.index.set({ firstSeq, expiry, level, pages });
  }

  /** Whether a block that begins so, and waits in memory, is being sent. */
  reads(firstSeq: number): boolean {
    return this.#readFrom > firstSeq;
  }

  /** Messages that wait in memory, that nobody waits for, and that are not being sent are let go. */
  forget({ header: { firstSeq, lastSeq } }: Sealed): void {
    this.#unwritten?.drop(firstSeq, lastSeq);
  }

  /** What has not been cut into blocks stands in another epoch. */
  renumber(epoch: number): void {
    this.#unwritten?.renumber(epoch);
  }

  /** Nothing will be written any more: whoever waits for it hears why. */
  failed(why: Error): void {
    this.#unwritten?.failed(why);
  }

  /** Sending starts again at the first message that is not settled. */
  rewind(): void {
    this.#reading = [];
    this.#readAt = 0;
    this.#pinned = [];
    this.#readFrom = this.#books.settledTo + 1;
  }

  /** The first number that may be let go: after what is pinned or settled. */
  get changeableFrom(): number {
    return Math.max(this.#pinned.at(-1)?.lastSeq ?? 0, this.#books.settledTo) + 1;
  }

  /** The oldest block that may be let go has been, up to number `lastSeq`. */
  evicted(lastSeq: number): void {
    // With nothing pinned in front of it, the head is what went: the settled mark moves over the gap.
    if (this.#pinned.length === 0) this.#books.settledTo = Math.max(this.#books.settledTo, lastSeq);
  }

  get settledTo(): number {
    return this.#books.settledTo;
  }

  #sealed(cut: Cut): Sealed {
    this.#sealedTo = Math.max(this.#sealedTo, cut.header.lastSeq);
    return { ...cut, key: blockKey(this.number, cut.header.firstSeq) };
  }

  /** Takes out of the tail what the upstream has acknowledged meanwhile. */
  #refill(): void {
    if (this.#unwritten === null || this.#tail.count === 0 || this.#tail.firstSeq > this.#books.settledTo) return;
    this.#tail.clear();
    const from = Math.max(this.#books.settledTo, this.#sealedTo) + 1;
    for (const { seq, message, lifeMs } of this.#unwritten.between(from, this.#books.nextSeq - 1)) {
      this.#tail.add(seq, message, lifeMs);
    }
  }
}

/** How many messages of whom, in a block that was read. */
export function countChildren(messages: readonly Stored[]): ChildCounts {
  const counts = new Map<string, number>();
  for (const { message } of messages) {
    const { child } = message.source;
    counts.set(child, (counts.get(child) ?? 0) + 1);
  }
  return counts;
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
