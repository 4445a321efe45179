import type { Logger } from 'pino';
import { AgeClock } from '../clock/age.ts';
import type { Clock } from '../clock/clock.ts';
import type { LossRow, RefusalReason } from '../message/loss.ts';
import type { AcceptedAt, Message, Stored } from '../message/message.ts';
import type { Environment } from '../store/environment.ts';
import { BlockBuilder } from './block.ts';
import { BootTable, type TimeOf } from './boot-table.ts';
import { decodeBooks, pendingOf, type Books } from './books.ts';
import { Committer } from './committer.ts';
import { deadLetterKey } from './keys.ts';
import { Lane, type Unreadable } from './lane.ts';
import type { Losses } from './losses.ts';
import type { Quota } from './quota.ts';

/** Bytes that may wait for a medium that does not keep up, before messages are refused at the door. */
const WAITING_BYTES_MAX = 16 * 2 ** 20;
/** Dead letters kept; beyond it, and when the quota is used up, the oldest are dropped. */
const DEAD_LETTERS_MAX = 1000;
/** Dead letters dropped at once to make room. */
const DEAD_LETTERS_A_COMMIT = 64;
/** Of so many messages one goes to a lower lane that has some, however much the higher ones hold. */
const LOWER_LANE_SHARE = 16;

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
  /** When this program was built, ms since 1970: a time that has certainly passed. */
  readonly builtAt?: number | undefined;
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
 * What is on the medium and when is the {@link Committer}'s business; which message is next, the {@link Lane}s'.
 */
export class Spool {
  readonly #options: SpoolOptions;
  readonly #books: Books;
  readonly #losses: Losses;
  readonly #clock: Clock;
  readonly #age: AgeClock;
  readonly #boots: BootTable;
  readonly #lanes: readonly Lane[];
  readonly #committer: Committer;
  #beforeClose: () => Promise<void> = () => Promise.resolve();
  #sinceLower = 0;
  #closing = false;

  constructor(options: SpoolOptions) {
    this.#options = options;
    const { books, clock } = options;
    this.#books = books;
    this.#losses = options.losses;
    this.#clock = clock;
    this.#age = new AgeClock(clock, books.age);
    const passed = Math.max(books.age.wall ?? -Infinity, options.builtAt ?? -Infinity);
    this.#boots = new BootTable(books.boots, clock, passed === -Infinity ? null : passed);
    this.#lanes = books.lanes.map((lane, number) => new Lane(number, lane));
    this.#committer = new Committer({
      ...options,
      lanes: this.#lanes,
      age: this.#age,
      boots: this.#boots,
      onFull: () => this.#discardDeadLetters(DEAD_LETTERS_A_COMMIT),
    });
  }

  /** The stamp for a message that is about to be accepted. */
  stamp(): AcceptedAt {
    return {
      wall: this.#clock.wall(),
      monotonic: this.#clock.monotonic(),
      boot: this.#boots.number,
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
    if (this.#committer.full && this.#options.whenFull === 'reject-new') {
      return this.#refuse('the quota is used up and storeAndForward.whenFull is reject-new');
    }
    if (this.#committer.waitingBytes > WAITING_BYTES_MAX) return this.#refuse('the medium does not keep up');
    const lane = this.#lanes[message.priority];
    if (lane === undefined) throw new Error(`no lane ${message.priority}`);
    this.#books.ledger.accepted++;
    this.#committer.wear.payload(message.body.length);
    const lifeMs = (message.expiresAfterSecs ?? this.#options.timeToLiveSecs) * 1000;
    return this.#committer.append(lane, message, lifeMs, senderWaits);
  }

  /** Counts what was turned away at the door before it came to a message. */
  refused(reason: RefusalReason): void {
    const { refused } = this.#books.ledger;
    refused[reason] = (refused[reason] ?? 0) + 1;
    this.#committer.touch();
  }

  /** Accepts and at once drops a message that no route wants: it was acknowledged, so it is in the account. */
  discard(reason: 'no-route' | 'loop'): void {
    const { ledger } = this.#books;
    ledger.accepted++;
    ledger.dropped[reason] = (ledger.dropped[reason] ?? 0) + 1;
    this.#committer.touch();
  }

  /** Calls `listener` whenever more may be there to send: after each commit. */
  onCommit(listener: () => void): void {
    this.#committer.onCommit(listener);
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

  /**
   * The upstream will never take a message: it is kept apart, with the reason among its properties, its gap is reported, and
   * the rest goes on.
   */
  deadLetter(stored: Stored, reason: string): void {
    this.#books.ledger.deadLetters++;
    if (this.#books.ledger.deadLetters > DEAD_LETTERS_MAX) this.#discardDeadLetters(1);
    const { lane, epoch, seq, message } = stored;
    const time = message.eventTime ?? message.acceptedAt.wall;
    const times = { firstEventTime: time, lastEventTime: time };
    this.#losses.add({
      epoch,
      lane,
      reason: 'dead-letter',
      firstSeq: seq,
      lastSeq: seq,
      count: 1,
      ...times,
      exact: true,
    });
    const properties = { ...stored.message.properties, 'dead-letter-reason': reason };
    const builder = new BlockBuilder(stored.lane);
    builder.add(stored.seq, { ...stored.message, properties }, Infinity);
    this.#committer.add([deadLetterKey(this.#books.nextDeadLetter++), builder.cut(stored.epoch).value]);
    this.#settle(stored);
  }

  /** Sending begins again at the first message of each lane that is not settled; what was in flight will come again. */
  rewind(): void {
    for (const lane of this.#lanes) lane.rewind();
    this.#losses.pause();
  }

  /** When a message was accepted, as well as it is known by now: a boot that learned the time later corrects its stamps. */
  acceptedTime(accepted: AcceptedAt): TimeOf {
    return this.#boots.timeOf(accepted);
  }

  /** Settled messages whose marks are not on the medium: they would be sent again after a crash. */
  get unmarked(): number {
    return this.#committer.unmarked;
  }

  /** Losses to report before any further message; they stay as they are until they are reported. */
  lossesToReport(): readonly LossRow[] {
    if (this.#losses.size === 0) return [];
    const rows = this.#losses.freeze();
    if (!this.#losses.durable && this.#losses.changed) this.#committer.touchNow();
    return rows;
  }

  /**
   * Whether {@link lossesToReport} may be sent: its rows are on the medium as they are, so that a crash neither undoes what
   * was reported nor has it reported again as more. A medium that takes nothing holds nothing up.
   */
  get lossesDurable(): boolean {
    return this.#losses.durable || this.#committer.fault !== null;
  }

  /** Whether there are losses besides those handed out last. */
  get lossesUnreported(): boolean {
    return this.#losses.unreported;
  }

  /** The upstream has acknowledged these of {@link lossesToReport}. */
  lossesReported(rows: readonly LossRow[]): void {
    this.#losses.reported(rows);
    this.#committer.touchSoon();
  }

  /** Makes everything accepted so far durable. Rejects with the StoreError when the medium does not take it now. */
  flush(): Promise<void> {
    return this.#committer.flush();
  }

  /** Flushes and closes. What the medium does not take is reported to its senders as failed, and logged. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    const { log, environment } = this.#options;
    await this.#committer.stop().catch((error: unknown) => {
      log.error({ err: error }, 'the last commit failed; readings of the last moments are lost');
    });
    await this.#beforeClose().catch((error: unknown) => log.warn({ err: error }, 'the totals could not be copied'));
    await environment.close();
  }

  /** Calls `last` when everything is on the medium and before the environment is closed. */
  onClose(last: () => Promise<void>): void {
    this.#beforeClose = last;
  }

  /** The account as it stands on the medium. */
  durableBooks(): Books {
    return decodeBooks(this.#committer.durableBooks);
  }

  /** How the spool is doing now. */
  snapshot(): SpoolSnapshot {
    const { environment, quota } = this.#options;
    const { live, pageBytes } = environment.read((reader) => reader.livePages());
    const committer = this.#committer;
    return {
      pending: pendingOf(this.#books),
      age: this.#age.now(),
      livePages: live,
      freePages: Math.max(0, environment.usedPages() - live),
      pageBytes,
      fileBytes: environment.fileBytes(),
      quotaBytes: quota.bytes,
      full: committer.full,
      fault: committer.fault?.message ?? null,
      commitUnderWayMs: Math.round(committer.underWayMs),
      commitUnderWay: committer.underWay,
      commits: committer.wear.commits,
      wear: committer.wear.figures(),
      lossRows: this.#losses.size,
    };
  }

  /** For tools: a look at the medium. */
  get environment(): Environment {
    return this.#options.environment;
  }

  #nextOf(lane: Lane): Stored | null {
    return lane.next(
      (look) => this.#options.environment.read(look),
      (block) => this.#lost(lane.number, block),
    );
  }

  #settle(stored: Stored): void {
    this.#books.lanes[stored.lane]!.pending--;
    this.#lanes[stored.lane]!.settle(stored.seq);
    this.#committer.settled();
  }

  /** A block on the medium is not what was written there: its messages are lost, and the account says so. */
  #lost(lane: number, { key, why, firstSeq, lastSeq }: Unreadable): void {
    this.#options.log.error({ lane, firstSeq, lastSeq }, `spool: ${why}`);
    const { epoch, ledger, lanes } = this.#books;
    const count = Math.min(lastSeq - firstSeq + 1, lanes[lane]!.pending);
    lanes[lane]!.pending -= count;
    ledger.dropped.quarantined = (ledger.dropped.quarantined ?? 0) + count;
    const times = { firstEventTime: null, lastEventTime: null };
    this.#losses.add({ epoch, lane, reason: 'quarantined', firstSeq, lastSeq, count, ...times, exact: false });
    this.#committer.remove(key);
  }

  /** Drops the oldest dead letters. Their gaps were reported when they became dead letters. */
  #discardDeadLetters(count: number): void {
    const { ledger, nextDeadLetter } = this.#books;
    const going = Math.min(count, ledger.deadLetters);
    if (going === 0) return;
    // Numbers are given in turn and the oldest goes first, so those that there are have no gap.
    const oldest = nextDeadLetter - ledger.deadLetters;
    for (let number = oldest; number < oldest + going; number++) this.#committer.add([deadLetterKey(number), null]);
    ledger.deadLetters -= going;
    ledger.dropped.discarded = (ledger.dropped.discarded ?? 0) + going;
  }

  #refuse(why: string): Promise<never> {
    this.refused('rejected');
    return Promise.reject(new SpoolFull(why));
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
  /** How long the commit under way has been; 0 when there is none. */
  readonly commitUnderWayMs: number;
  readonly commitUnderWay: boolean;
  readonly commits: number;
  readonly wear: { readonly bytesPerDay: number; readonly bytesPerPayloadByte: number; readonly measured: boolean };
  readonly lossRows: number;
}
