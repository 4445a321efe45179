import type { Logger } from 'pino';
import { AgeClock } from '../clock/age.ts';
import type { Clock, Timer } from '../clock/clock.ts';
import type { Loss, RefusalReason } from '../message/loss.ts';
import type { AcceptedAt, Message, Stored } from '../message/message.ts';
import type { Change, Environment } from '../store/environment.ts';
import { storeError, type StoreError } from '../store/store-error.ts';
import { BlockBuilder } from './block.ts';
import { decodeBooks, encodeBooks, pendingOf, seal, type Books, type Boot } from './books.ts';
import { CommitGroup } from './commit-group.ts';
import { CommitTimer } from './commit-timer.ts';
import { Evictor, pagesOf } from './evictor.ts';
import { BOOKS_KEY, deadLetterKey, LOSSES_KEY } from './keys.ts';
import { Lane, type Sealed, type Unreadable } from './lane.ts';
import type { Losses } from './losses.ts';
import type { Quota } from './quota.ts';
import { WearEstimate } from './wear.ts';

/** Bytes that may wait for a medium that does not keep up, before messages are refused at the door. */
const WAITING_BYTES_MAX = 16 * 2 ** 20;
/** Wait before a failed commit is tried again, ms. */
const RETRY_MS = 1000;
/** Of so many messages one goes to a lower lane that has some, however much the higher ones hold. */
const LOWER_LANE_SHARE = 16;
/** The age clock is written at least this often, ms. */
const AGE_EVERY_MS = 60_000;
/** Boots whose clock is remembered; messages of earlier ones that never knew the time keep `clock: unknown`. */
const BOOTS_MAX = 64;
/** Pages that a commit may add besides its blocks: tree pages and the books. */
const COMMIT_OVERHEAD_PAGES = 8;

export interface SpoolOptions {
  readonly environment: Environment;
  readonly books: Books;
  readonly losses: Losses;
  readonly quota: Quota;
  readonly clock: Clock;
  readonly log: Logger;
  readonly whenFull: 'thin' | 'drop-oldest' | 'reject-new';
  readonly commitEveryMs: number;
  readonly timeToLiveSecs: number;
}

/** The spool has no room, or the medium does not keep up: the message was not taken on, and was counted as refused. */
export class SpoolFull extends Error {
  constructor(why: string) {
    super(why);
    this.name = 'SpoolFull';
  }
}

/**
 * The durable queue. Messages go in at {@link accept}, come out in order at {@link next}, and leave when they are settled.
 * Everything that changes between two commits goes to the medium in one transaction: blocks, marks, deletions, counts.
 */
export class Spool {
  readonly #options: SpoolOptions;
  readonly #env: Environment;
  readonly #books: Books;
  readonly #losses: Losses;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #age: AgeClock;
  readonly #boot: Boot;
  readonly #lanes: Lane[];
  readonly #timer: CommitTimer;
  readonly #ageTimer: Timer;
  readonly #evictor: Evictor;
  readonly #wear: WearEstimate;
  readonly #listeners: (() => void)[] = [];
  #beforeClose: () => Promise<void> = () => Promise.resolve();
  #group = new CommitGroup();
  #sealed: Sealed[] = [];
  #sealedBytes = 0;
  #evicted: Buffer[] = [];
  #deadLetters: Change[] = [];
  #committing: Promise<void> | null = null;
  #durableBooks: Buffer;
  #unmarked = 0;
  #dirty = false;
  #sinceLower = 0;
  #closing = false;
  #full = false;
  #fault: StoreError | null = null;
  #lastCommitAt: number;

  constructor(options: SpoolOptions) {
    this.#options = options;
    this.#env = options.environment;
    this.#books = options.books;
    this.#losses = options.losses;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#age = new AgeClock(options.clock, options.books.age);
    this.#boot = thisBoot(options.books, options.clock.bootId);
    this.#lanes = options.books.lanes.map((books, number) => new Lane(number, books));
    this.#timer = new CommitTimer(options.clock, options.commitEveryMs, () => void this.#commit());
    this.#ageTimer = options.clock.every(AGE_EVERY_MS, () => {
      this.#dirty = true;
      this.#timer.now();
    });
    this.#evictor = new Evictor(this.#lanes, this.#books, this.#losses);
    this.#wear = new WearEstimate(options.clock);
    this.#durableBooks = encodeBooks(this.#books);
    this.#lastCommitAt = this.#clock.monotonic();
  }

  /** The stamp for a message that is about to be accepted. */
  stamp(): AcceptedAt {
    return {
      wall: this.#clock.wall(),
      monotonic: this.#clock.monotonic(),
      boot: this.#boot.number,
      clock: this.#clock.known() ? 'synced' : 'unknown',
      age: this.#age.now(),
    };
  }

  /**
   * Takes a message on. Resolves when it is durable on the medium, and not before; rejects with {@link SpoolFull} when it
   * was refused, or with a StoreError when the spool was closed over a medium that did not take it. `senderWaits`: someone
   * holds back an acknowledgement until then, so the commit comes soon rather than within `commitEveryMs`.
   */
  accept(message: Message, senderWaits: boolean): Promise<void> {
    if (this.#closing) return Promise.reject(new SpoolFull('the gateway is stopping'));
    if (this.#full && this.#options.whenFull === 'reject-new') {
      return this.#refuse('the quota is used up and storeAndForward.whenFull is reject-new');
    }
    const lane = this.#lanes[message.priority];
    if (lane === undefined) throw new Error(`no lane ${message.priority}`);
    if (this.#waitingBytes > WAITING_BYTES_MAX) return this.#refuse('the medium does not keep up');
    const lifeMs = (message.expiresAfterSecs ?? this.#options.timeToLiveSecs) * 1000;
    const large = lane.append(message, lifeMs);
    this.#books.ledger.accepted++;
    this.#wear.payload(message.body.length);
    if (large) {
      this.#cut(lane);
      this.#timer.now();
    }
    this.#timer.message(senderWaits);
    return this.#group.durable;
  }

  /** Counts what was turned away at the door before it came to a message. */
  refused(reason: RefusalReason): void {
    const { refused } = this.#books.ledger;
    refused[reason] = (refused[reason] ?? 0) + 1;
    this.#dirty = true;
  }

  /** Accepts and at once drops a message that no route wants: it was acknowledged, so it is in the account. */
  discard(reason: 'no-route' | 'loop'): void {
    const { ledger } = this.#books;
    ledger.accepted++;
    ledger.dropped[reason] = (ledger.dropped[reason] ?? 0) + 1;
    this.#dirty = true;
  }

  /** Calls `listener` whenever more may be there to send: after a commit, and after losses were booked. */
  onCommit(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /**
   * The next message to send, in the order of its lane; null when there is none on the medium. Lane 0 goes first; lower
   * lanes keep a share of one in 16. Each message comes once until {@link rewind}.
   */
  next(): Stored | null {
    let first: Lane | null = null;
    for (const lane of this.#lanes) {
      if (!lane.readable) continue;
      if (first === null) {
        first = lane;
        if (this.#sinceLower < LOWER_LANE_SHARE) break;
      } else {
        this.#sinceLower = 0;
        const stored = this.#nextOf(lane);
        if (stored !== null) return stored;
      }
    }
    if (first === null) return null;
    this.#sinceLower++;
    return this.#nextOf(first) ?? this.next();
  }

  /** The upstream has a message: it was the oldest unsettled one of its lane. `matched` is false when nobody subscribed. */
  delivered(stored: Stored, matched: boolean): void {
    this.#books.ledger.delivered++;
    if (!matched) this.#books.ledger.unmatched++;
    this.#settle(stored);
  }

  /** The upstream will never take a message: it is kept apart, and the rest goes on. */
  deadLetter(stored: Stored, reason: string): void {
    this.#books.ledger.deadLetters++;
    const builder = new BlockBuilder(stored.lane);
    const { properties } = stored.message;
    builder.add(
      stored.seq,
      { ...stored.message, properties: { ...properties, 'dead-letter-reason': reason } },
      Infinity,
    );
    this.#deadLetters.push([deadLetterKey(this.#books.nextDeadLetter++), builder.cut(stored.epoch).value]);
    this.#settle(stored);
  }

  /** Sending begins again at the first message of each lane that is not settled; what was in flight will come again. */
  rewind(): void {
    for (const lane of this.#lanes) lane.rewind();
    this.#losses.thaw();
  }

  /** When a message was accepted, as well as it is known by now: a boot that learned the time later corrects its stamps. */
  acceptedTime(accepted: AcceptedAt): { at: number; clock: 'synced' | 'restored' | 'unknown' } {
    if (accepted.clock === 'synced') return { at: accepted.wall, clock: 'synced' };
    if (accepted.boot === this.#boot.number) this.#learnTime();
    const offset = this.#books.boots.find((boot) => boot.number === accepted.boot)?.offset ?? null;
    if (offset === null) return { at: accepted.wall, clock: 'unknown' };
    return { at: accepted.monotonic + offset, clock: 'restored' };
  }

  /** Settled messages whose marks are not on the medium: they would be sent again after a crash. */
  get unmarked(): number {
    return this.#unmarked;
  }

  /** Losses to report before any further message; frozen until they are reported or {@link rewind}. */
  lossesToReport(): readonly Loss[] {
    return this.#losses.size === 0 ? [] : this.#losses.freeze();
  }

  /** The upstream has acknowledged the first `count` of {@link lossesToReport}. */
  lossesReported(count: number): void {
    this.#losses.reported(count);
    this.#dirty = true;
    this.#timer.marks(1);
  }

  /** Makes everything accepted so far durable. Rejects with the StoreError when the medium does not take it now. */
  async flush(): Promise<void> {
    while (this.#committing !== null) await this.#committing;
    if (this.#groupWaits || this.#unmarked > 0 || this.#dirty) await this.#commit();
    if (this.#fault !== null) throw this.#fault;
  }

  /** Flushes and closes. What the medium does not take is reported to its senders as failed, and logged. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    this.#ageTimer.cancel();
    this.#dirty = true;
    try {
      await this.flush();
    } catch (error) {
      const fault = storeError(error, this.#env.directory);
      this.#group.failed(fault);
      this.#log.error({ err: fault }, 'the last commit failed; readings of the last moments are lost');
    }
    this.#timer.stop();
    await this.#beforeClose().catch((error: unknown) =>
      this.#log.warn({ err: error }, 'the totals could not be copied'),
    );
    await this.#env.close();
  }

  /** Calls `last` when everything is on the medium and before the environment is closed. */
  onClose(last: () => Promise<void>): void {
    this.#beforeClose = last;
  }

  /** The account as it stands on the medium. */
  durableBooks(): Books {
    return decodeBooks(this.#durableBooks);
  }

  /** How the spool is doing now. */
  snapshot(): SpoolSnapshot {
    const { live, pageBytes } = this.#env.read((reader) => reader.livePages());
    return {
      pending: pendingOf(this.#books),
      age: this.#age.now(),
      livePages: live,
      freePages: Math.max(0, this.#env.usedPages() - live),
      pageBytes,
      fileBytes: this.#env.fileBytes(),
      quotaBytes: this.#options.quota.bytes,
      full: this.#full,
      fault: this.#fault === null ? null : this.#fault.message,
      lastCommitMsAgo: this.#clock.monotonic() - this.#lastCommitAt,
      commitUnderWay: this.#committing !== null,
      commits: this.#wear.commits,
      wear: this.#wear.figures(),
      lossRows: this.#losses.size,
    };
  }

  /** For tools: a look at the medium. */
  get environment(): Environment {
    return this.#env;
  }

  #learnTime(): void {
    if (this.#boot.offset !== null || !this.#clock.known()) return;
    this.#boot.offset = this.#clock.wall() - this.#clock.monotonic();
  }

  #nextOf(lane: Lane): Stored | null {
    return lane.next(
      (look) => this.#env.read(look),
      (block) => this.#lost(block),
    );
  }

  #settle(stored: Stored): void {
    const lane = this.#lanes[stored.lane]!;
    this.#books.lanes[stored.lane]!.pending--;
    lane.settle(stored.seq);
    this.#unmarked++;
    this.#timer.marks(this.#unmarked);
  }

  /** A block on the medium is not what was written there: its messages are lost, and the account says so. */
  #lost(block: Unreadable): void {
    this.#log.error({ lane: block.key[0], firstSeq: block.firstSeq, lastSeq: block.lastSeq }, `spool: ${block.why}`);
    const lane = block.key[0]!;
    const { epoch, ledger, lanes } = this.#books;
    const count = Math.min(block.lastSeq - block.firstSeq + 1, lanes[lane]!.pending);
    lanes[lane]!.pending -= count;
    ledger.dropped.quarantined = (ledger.dropped.quarantined ?? 0) + count;
    const { firstSeq, lastSeq } = block;
    const times = { firstEventTime: null, lastEventTime: null };
    this.#losses.add({ epoch, lane, reason: 'quarantined', firstSeq, lastSeq, count, ...times, exact: false });
    this.#evicted.push(block.key);
    this.#dirty = true;
    this.#timer.now();
  }

  #refuse(why: string): Promise<never> {
    this.refused('rejected');
    return Promise.reject(new SpoolFull(why));
  }

  get #waitingBytes(): number {
    let bytes = this.#sealedBytes;
    for (const lane of this.#lanes) bytes += lane.tailBytes;
    return bytes;
  }

  get #groupWaits(): boolean {
    return this.#sealed.length > 0 || this.#lanes.some((lane) => lane.tailBytes > 0);
  }

  #cut(lane: Lane): void {
    const sealed = lane.cut(this.#books.epoch);
    if (sealed === null) return;
    this.#sealed.push(sealed);
    this.#sealedBytes += sealed.value.length;
  }

  #commit(): Promise<void> {
    this.#committing ??= this.#commitOnce().finally(() => {
      this.#committing = null;
      this.#timer.ended();
    });
    return this.#committing;
  }

  async #commitOnce(): Promise<void> {
    this.#timer.begun();
    for (const lane of this.#lanes) this.#cut(lane);
    const sealed = this.#sealed;
    const finished = this.#lanes.map((lane) => lane.finished.length);
    if (sealed.length === 0 && this.#unmarked === 0 && !this.#dirty && this.#deadLetters.length === 0) return;
    this.#makeRoom(sealed);

    const evicted = this.#evicted.length;
    const deadLetters = this.#deadLetters.length;
    const unmarked = this.#unmarked;
    this.#dirty = false;
    this.#books.age = this.#age.mark();
    this.#learnTime();
    const books = encodeBooks(this.#books);
    const changes: Change[] = [[BOOKS_KEY, books]];
    if (this.#losses.takeChanged()) changes.push([LOSSES_KEY, seal(this.#losses.rows)]);
    for (const block of sealed) changes.push([block.key, block.value]);
    for (const lane of this.#lanes) for (const key of lane.finished) changes.push([key, null]);
    for (const key of this.#evicted) changes.push([key, null]);
    for (const letter of this.#deadLetters) changes.push(letter);

    const group = this.#group;
    this.#group = new CommitGroup();
    this.#sealed = [];
    this.#sealedBytes = 0;
    try {
      await this.#env.write(changes);
    } catch (error) {
      group.joins(this.#group);
      // In front of what was cut meanwhile: a lane's blocks go to the medium in order.
      this.#sealed = [...sealed, ...this.#sealed];
      for (const block of sealed) this.#sealedBytes += block.value.length;
      this.#losses.markChanged();
      this.#dirty = true;
      this.#failed(storeError(error, this.#env.directory));
      return;
    }
    for (const block of sealed) this.#lanes[block.header.lane]!.durableTo = block.header.lastSeq;
    this.#lanes.forEach((lane, n) => lane.finished.splice(0, finished[n]));
    this.#evicted.splice(0, evicted);
    this.#deadLetters.splice(0, deadLetters);
    this.#unmarked -= unmarked;
    this.#durableBooks = books;
    this.#lastCommitAt = this.#clock.monotonic();
    this.#wear.committed(changes);
    if (this.#fault !== null) {
      this.#fault = null;
      this.#log.warn('the spool takes writes again');
    }
    group.committed();
    for (const listener of this.#listeners) listener();
  }

  #failed(fault: StoreError): void {
    if (this.#fault === null) {
      this.#log.error({ fault: fault.fault }, `the spool cannot write: ${fault.message}; readings wait in memory`);
    }
    this.#fault = fault;
    this.#timer.retryAfter(RETRY_MS);
  }

  /** Evicts until the new blocks fit into what the quota allows. */
  #makeRoom(sealed: readonly Sealed[]): void {
    const { live, pageBytes } = this.#env.read((reader) => reader.livePages());
    const fileBytes = this.#env.fileBytes();
    const allowed = this.#options.quota.pagesAllowed(this.#clock.monotonic(), live, pageBytes, fileBytes);
    let wanted = live + COMMIT_OVERHEAD_PAGES - allowed;
    for (const block of sealed) wanted += pagesOf(block.value.length, pageBytes);
    const full = wanted > 0;
    if (full && this.#options.whenFull !== 'reject-new') {
      const { keys, messages } = this.#evictor.evict(this.#env, wanted, pageBytes);
      this.#evicted.push(...keys);
      if (!this.#full)
        this.#log.warn({ messages }, 'the spool is full: the oldest messages are being dropped, and counted');
    }
    this.#full = full;
  }
}

export interface SpoolSnapshot {
  readonly pending: number;
  readonly age: number;
  readonly livePages: number;
  readonly freePages: number;
  readonly pageBytes: number;
  readonly fileBytes: number;
  readonly quotaBytes: number;
  readonly full: boolean;
  readonly fault: string | null;
  readonly lastCommitMsAgo: number;
  readonly commitUnderWay: boolean;
  readonly commits: number;
  readonly wear: { readonly bytesPerDay: number; readonly bytesPerPayloadByte: number; readonly measured: boolean };
  readonly lossRows: number;
}

/** Finds or makes this boot's row in the table of boots. */
function thisBoot(books: Books, id: string): Boot {
  const known = books.boots.find((boot) => boot.id === id);
  if (known !== undefined) return known;
  const boot: Boot = { number: (books.boots.at(-1)?.number ?? 0) + 1, id, offset: null };
  books.boots.push(boot);
  if (books.boots.length > BOOTS_MAX) books.boots.shift();
  return boot;
}
