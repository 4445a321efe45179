import type { Logger } from 'pino';
import type { AgeClock } from '../clock/age.ts';
import type { Clock, Timer } from '../clock/clock.ts';
import type { Message } from '../message/message.ts';
import type { Change, Environment } from '../store/environment.ts';
import { storeError, type StoreError } from '../store/store-error.ts';
import type { BootTable } from './boot-table.ts';
import { encodeBooks, seal, type Books } from './books.ts';
import { CommitGroup } from './commit-group.ts';
import { CommitTimer } from './commit-timer.ts';
import { Evictor, pagesOf } from './evictor.ts';
import { BOOKS_KEY, keyLane, LOSSES_KEY } from './keys.ts';
import type { Lane, Sealed } from './lane.ts';
import type { Losses } from './losses.ts';
import type { Quota } from './quota.ts';
import { WearEstimate } from './wear.ts';

/** Wait before a failed commit is tried again, ms. */
const RETRY_MS = 1000;
/** The age clock is written at least this often, ms. */
const AGE_EVERY_MS = 60_000;
/** Part of the quota that one commit may carry: what it frees is of use only to the next but one, and the file must not grow for it. */
const COMMIT_SHARE = 1 / 40;
/** Pages that a commit may add besides its blocks: tree pages and the books. */
const COMMIT_OVERHEAD_PAGES = 8;

/** A block on its way to the medium, and who waits for it. */
interface Waiting extends Sealed {
  readonly group: CommitGroup;
}

export interface CommitterParts {
  readonly environment: Environment;
  readonly books: Books;
  readonly losses: Losses;
  readonly lanes: readonly Lane[];
  readonly age: AgeClock;
  readonly boots: BootTable;
  readonly quota: Quota;
  readonly whenFull: 'thin' | 'drop-oldest' | 'reject-new';
  readonly commitEveryMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called before blocks are evicted: what is worth less may go first. */
  readonly onFull: () => void;
}

/**
 * Takes everything that changed since the last commit to the medium in one transaction, one at a time: blocks cut from the
 * tails, marks, deletions, evictions, dead letters, the books. What a failed commit carried goes again with the next.
 */
export class Committer {
  readonly #parts: CommitterParts;
  readonly #timer: CommitTimer;
  readonly #ageTimer: Timer;
  readonly #evictor: Evictor;
  readonly #listeners: (() => void)[] = [];
  readonly wear: WearEstimate;
  #group = new CommitGroup();
  #sealed: Waiting[] = [];
  #sealedBytes = 0;
  #deletions: Buffer[] = [];
  #additions: Change[] = [];
  /** Pages that evictions will free once they are on the medium: a commit that failed must not evict as much again. */
  #evictedPages = 0;
  #durableBooks: Buffer;
  #unmarked = 0;
  /** Something besides messages and marks is to be written; at the start the books themselves, which name this boot. */
  #dirty = true;
  #underWay: Promise<void> | null = null;
  #full = false;
  #fault: StoreError | null = null;
  #begunAt = 0;

  constructor(parts: CommitterParts) {
    this.#parts = parts;
    const { clock, commitEveryMs, lanes, books, losses } = parts;
    this.#timer = new CommitTimer(clock, commitEveryMs, () => void this.#commit());
    this.#ageTimer = clock.every(AGE_EVERY_MS, () => {
      this.#dirty = true;
      this.#timer.now();
    });
    this.#evictor = new Evictor(lanes, books, losses);
    this.wear = new WearEstimate(clock);
    this.#durableBooks = encodeBooks(books);
  }

  /** Bytes that wait for the medium. */
  get waitingBytes(): number {
    let bytes = this.#sealedBytes;
    for (const lane of this.#parts.lanes) bytes += lane.tailBytes;
    return bytes;
  }

  /** The quota is used up. */
  get full(): boolean {
    return this.#full;
  }

  /** Why the last commit failed; null when it did not. */
  get fault(): StoreError | null {
    return this.#fault;
  }

  get underWay(): boolean {
    return this.#underWay !== null;
  }

  /** How long the commit under way has been, ms; 0 when there is none. */
  get underWayMs(): number {
    return this.#underWay === null ? 0 : this.#parts.clock.monotonic() - this.#begunAt;
  }

  /** Settled messages whose marks are not on the medium. */
  get unmarked(): number {
    return this.#unmarked;
  }

  /** The books as they are on the medium, encoded. */
  get durableBooks(): Buffer {
    return this.#durableBooks;
  }

  onCommit(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Appends a message to its lane; resolves when it is on the medium. */
  append(lane: Lane, message: Message, lifeMs: number, senderWaits: boolean): Promise<void> {
    if (lane.append(message, lifeMs)) {
      this.#cut(lane);
      this.#timer.now();
    }
    this.#timer.message(senderWaits);
    return this.#group.durable;
  }

  /** Something in the books changed that can wait for the next commit. */
  touch(): void {
    this.#dirty = true;
  }

  /** The same, but not for longer than marks may wait. */
  touchSoon(): void {
    this.#dirty = true;
    this.#timer.marks(1);
  }

  /** The same, with somebody waiting for it. */
  touchNow(): void {
    this.#dirty = true;
    this.#timer.now();
  }

  /** One more message is settled; its mark goes to the medium with others. */
  settled(): void {
    this.#unmarked++;
    this.#timer.marks(this.#unmarked);
  }

  /** Deletes a block with the next commit. */
  remove(key: Buffer): void {
    this.#deletions.push(key);
    this.#dirty = true;
    this.#timer.now();
  }

  /** Writes a record of its own with the next commit. */
  add(change: Change): void {
    this.#additions.push(change);
    this.#dirty = true;
  }

  /** Makes everything so far durable. Rejects with the StoreError when the medium does not take it now. */
  async flush(): Promise<void> {
    while (this.#underWay !== null) await this.#underWay;
    do {
      await this.#commit();
      if (this.#fault !== null) throw this.#fault;
    } while (this.#sealed.length > 0);
  }

  /** The last commit; what the medium does not take is reported to its senders as failed. Rejects as {@link flush} does. */
  async stop(): Promise<void> {
    this.#ageTimer.cancel();
    this.#dirty = true;
    try {
      await this.flush();
    } catch (error) {
      const fault = storeError(error, this.#parts.environment.directory);
      for (const { group } of this.#sealed) group.failed(fault);
      this.#group.failed(fault);
      throw error;
    } finally {
      this.#timer.stop();
    }
  }

  #cut(lane: Lane): void {
    const sealed = lane.cut(this.#parts.books.epoch);
    if (sealed === null) return;
    this.#sealed.push({ ...sealed, group: this.#group });
    this.#group.holds();
    this.#sealedBytes += sealed.value.length;
  }

  #commit(): Promise<void> {
    this.#underWay ??= this.#commitOnce().finally(() => {
      this.#underWay = null;
      this.#timer.ended();
    });
    return this.#underWay;
  }

  async #commitOnce(): Promise<void> {
    const { environment, lanes } = this.#parts;
    this.#timer.begun();
    this.#begunAt = this.#parts.clock.monotonic();
    for (const lane of lanes) this.#cut(lane);
    // All that was accepted so far is in blocks now, so a group is whole when its last block is on the medium.
    this.#group = new CommitGroup();
    const sealed = this.#front();
    if (sealed.length === 0 && this.#unmarked === 0 && !this.#dirty) return;
    try {
      this.#makeRoom(sealed);
    } catch (error) {
      this.#failed(storeError(error, environment.directory));
      return;
    }
    const finished = lanes.map((lane) => lane.finished.length);
    const deletions = this.#deletions.length;
    const additions = this.#additions.length;
    const unmarked = this.#unmarked;
    const changes = this.#changes(sealed);
    const encoded = changes[0]![1]!;
    this.#dirty = false;
    try {
      await environment.write(changes);
    } catch (error) {
      this.#parts.losses.markChanged();
      this.#dirty = true;
      this.#failed(storeError(error, environment.directory));
      return;
    }
    this.#parts.losses.written();
    this.#sealed.splice(0, sealed.length);
    for (const block of sealed) this.#sealedBytes -= block.value.length;
    for (const block of sealed) lanes[block.header.lane]!.durableTo = block.header.lastSeq;
    lanes.forEach((lane, number) => lane.finished.splice(0, finished[number]));
    for (const key of this.#deletions.splice(0, deletions)) lanes[keyLane(key)]!.deleted(key);
    this.#evictedPages = 0;
    this.#additions.splice(0, additions);
    this.#unmarked -= unmarked;
    this.#durableBooks = encoded;
    this.wear.committed(changes);
    if (this.#fault !== null) this.#parts.log.warn('the spool takes writes again');
    this.#fault = null;
    for (const { group } of sealed) group.written();
    if (this.#sealed.length > 0) this.#timer.now();
    for (const listener of this.#listeners) listener();
  }

  /** The oldest blocks, as many as one commit may carry: at least one. */
  #front(): readonly Waiting[] {
    const bytesMax = this.#parts.quota.bytes * COMMIT_SHARE;
    let count = 0;
    for (let bytes = 0; count < this.#sealed.length; count++) {
      bytes += this.#sealed[count]!.value.length;
      if (count > 0 && bytes > bytesMax) break;
    }
    return this.#sealed.slice(0, count);
  }

  /** The books without what this commit does not carry. */
  #booksUpTo(carried: number): Books {
    const { books } = this.#parts;
    if (carried === this.#sealed.length) return books;
    const lanes = books.lanes.map((lane) => ({ ...lane }));
    const ledger = { ...books.ledger };
    for (const { header } of this.#sealed.slice(carried).toReversed()) {
      lanes[header.lane]!.nextSeq = header.firstSeq;
      lanes[header.lane]!.pending -= header.count;
      ledger.accepted -= header.count;
    }
    return { ...books, lanes, ledger };
  }

  /** All that goes into one transaction, the books first. */
  #changes(sealed: readonly Sealed[]): Change[] {
    const { books, losses, lanes, age, boots } = this.#parts;
    books.age = age.mark();
    boots.learn();
    const changes: Change[] = [[BOOKS_KEY, encodeBooks(this.#booksUpTo(sealed.length))]];
    if (losses.takeChanged()) changes.push([LOSSES_KEY, seal(losses.rows)]);
    for (const block of sealed) changes.push([block.key, block.value]);
    for (const lane of lanes) for (const key of lane.finished) changes.push([key, null]);
    for (const key of this.#deletions) changes.push([key, null]);
    // The last word on each: pages that a transaction takes and gives back are never written, and a file that ends before
    // them looks cut short.
    const last = new Map(this.#additions.map((change) => [change[0].toString('latin1'), change]));
    changes.push(...last.values());
    return changes;
  }

  #failed(fault: StoreError): void {
    const { log } = this.#parts;
    if (this.#fault === null) {
      log.error({ fault: fault.fault }, `the spool cannot write: ${fault.message}; readings wait in memory`);
    }
    this.#fault = fault;
    this.#timer.retryAfter(RETRY_MS);
  }

  /** Evicts until the new blocks fit into what the quota allows. */
  #makeRoom(sealed: readonly Sealed[]): void {
    const { environment, quota, clock, whenFull, log } = this.#parts;
    const { live, pageBytes } = environment.read((reader) => reader.livePages());
    const allowed = quota.pagesAllowed(clock.monotonic(), live, pageBytes, environment.fileBytes());
    let wanted = live + COMMIT_OVERHEAD_PAGES - allowed - this.#evictedPages;
    for (const block of sealed) wanted += pagesOf(block.value.length, pageBytes);
    for (const [, value] of this.#additions) if (value !== null) wanted += pagesOf(value.length, pageBytes);
    const full = wanted > 0;
    if (full) this.#parts.onFull();
    if (full && whenFull !== 'reject-new') {
      const { keys, messages, freed } = this.#evictor.evict(environment, wanted, pageBytes);
      this.#deletions.push(...keys);
      this.#evictedPages += freed;
      if (!this.#full) log.warn({ messages }, 'the spool is full: the oldest messages are being dropped, and counted');
    }
    this.#full = full;
  }
}
