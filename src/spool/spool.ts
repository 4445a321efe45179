import type { Logger } from 'pino';
import { AgeClock } from '../clock/age.ts';
import type { Clock, Timer } from '../clock/clock.ts';
import type { LossRow, RefusalReason } from '../message/loss.ts';
import type { AcceptedAt, Message, Stored } from '../message/message.ts';
import type { Environment, Reader } from '../store/environment.ts';
import type { StoreError } from '../store/store-error.ts';
import { decodeBooks, pendingOf, readBooks, type Books } from './books.ts';
import { BootTable, type TimeOf } from './boot-table.ts';
import { together, type Companion, type KeptRecord } from './companion.ts';
import { recordsIn } from './companion-records.ts';
import type { Compacted } from './compaction.ts';
import type { Lane } from './lane.ts';
import { opened, type Medium } from './late-environment.ts';
import type { Losses } from './losses.ts';
import { spoolParts, type SpoolParts } from './parts.ts';
import { lossOf } from './pruning.ts';
import { mapBytesFor, type Quota } from './quota.ts';
import { lifeMsOf, type SpoolSettings } from './settings.ts';
import { snapshotOf, type SpoolSnapshot } from './snapshot.ts';
import { ledgerStats, type SpoolStats } from './stats.ts';
import { Turns } from './turns.ts';

/** How often it is looked for what has expired, ms. */
const SWEEP_EVERY_MS = 10_000;

export { SpoolFull } from './door.ts';

export interface SpoolOptions {
  readonly environment: Medium;
  readonly books: Books;
  readonly losses: Losses;
  readonly quota: Quota;
  readonly settings: SpoolSettings;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * The durable queue. Messages go in at {@link accept}, come out in order at {@link next}, and leave when they are settled.
 * What is on the medium and when is the committer's business; which message is next, the lanes'; what has to go, the
 * evictor's and the expirer's.
 */
export class Spool {
  readonly #environment: Medium;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** The account as it is in memory. */
  readonly books: Books;
  readonly #losses: Losses;
  readonly #quota: Quota;
  readonly #age: AgeClock;
  readonly #boots: BootTable;
  readonly #lanes: readonly Lane[];
  readonly #parts: SpoolParts;
  readonly #turns: Turns;
  readonly #sweepTimer: Timer;
  readonly #moreListeners: (() => void)[] = [];
  #settings: SpoolSettings;
  #beforeClose: () => Promise<void> = () => Promise.resolve();
  #sweeping = false;
  #sending = false;
  #closing = false;
  #givenUp: (fault: StoreError) => void = () => undefined;

  constructor(options: SpoolOptions) {
    const { books, clock } = options;
    this.#environment = options.environment;
    this.#clock = clock;
    this.#log = options.log;
    this.books = books;
    this.#losses = options.losses;
    this.#quota = options.quota;
    this.#settings = options.settings;
    books.write = options.settings.write;
    books.clean = false;
    this.#age = new AgeClock(clock, books.age);
    const passed = Math.max(books.age.wall ?? -Infinity, options.settings.builtAt ?? -Infinity);
    this.#boots = new BootTable(books.boots, clock, passed === -Infinity ? null : passed);
    this.#parts = spoolParts({
      ...options,
      age: this.#age,
      boots: this.#boots,
      settings: () => this.#settings,
      sending: () => this.#sending,
      onDamaged: (fault) => this.#givenUp(fault),
      onMore: () => this.#more(),
    });
    this.#lanes = this.#parts.lanes;
    this.#turns = new Turns(this.#lanes, this.#parts.reading);
    this.#sweepTimer = clock.every(SWEEP_EVERY_MS, () => this.#sweep());
    this.#parts.committer.onCommit(() => this.#committed());
  }

  /** Begins what goes on in the background: the index of what was there, and the filling of the file. */
  start(): void {
    this.#parts.indexing.start();
    if (this.#settings.prefill) this.#parts.room.fillUp();
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
   * Takes a message on. Resolves when it is durable (on the medium; with `write: when-needed` also when the upstream has
   * acknowledged it), and not before; rejects with {@link SpoolFull} when it was refused, or with a StoreError when the
   * spool was closed over a medium that did not take it. `senderWaits`: someone holds back an acknowledgement until then, so
   * the commit comes soon rather than within `commitEveryMs`; and what nobody waits for may be let go in memory, booked and
   * reported, when the medium cannot be written for long. `mustBeWritten`: it is not sent before it is on the medium, also
   * with `write: when-needed`, as long as the medium takes anything.
   */
  accept(message: Message, senderWaits: boolean, mustBeWritten = false): Promise<void> {
    const durable = this.#parts.door.accept(message, senderWaits, mustBeWritten);
    if (this.#sending && this.books.write === 'when-needed') this.#more();
    return durable;
  }

  /** Counts what was turned away at the door before it came to a message. */
  refused(reason: RefusalReason): void {
    this.#parts.door.refused(reason);
  }

  /** Accepts and drops a message that no route wants: it was acknowledged, so it is in the account. */
  discard(reason: 'no-route' | 'loop', message: Message): void {
    this.#parts.door.discard(reason, message);
  }

  /** Calls `listener` whenever more may be there to send: after each commit, and for each message that may go unwritten. */
  onCommit(listener: () => void): void {
    this.#moreListeners.push(listener);
  }

  /**
   * The next message to send, in the order of its lane; null when there is none. Lane 0 goes first; lower lanes keep a share
   * of one in 16. Each message comes once until {@link rewind}.
   */
  next(): Stored | null {
    this.#sending = true;
    return this.#turns.next();
  }

  /** The upstream has a message: it was the oldest unsettled one of its lane. `matched` is false when nobody subscribed. */
  delivered(stored: Stored, matched: boolean): void {
    this.#parts.bookkeeper.delivered(stored.lane, stored.message.source.child, matched);
    this.#parts.committer.settled(this.#lanes[stored.lane]!.settle(stored.seq));
  }

  /**
   * The upstream will never take a message: it is kept apart, with the reason among its properties, its gap is reported, and
   * the rest goes on.
   */
  deadLetter(stored: Stored, reason: string): void {
    this.#parts.deadLetters.add(stored, reason);
    this.#losses.add(lossOf([stored], 'dead-letter', (accepted) => this.#boots.timeOf(accepted)));
    const { committer } = this.#parts;
    committer.settled(this.#lanes[stored.lane]!.settle(stored.seq, (durable) => committer.whenDurable(durable)));
    committer.touchSoon();
  }

  /** Sending begins again at the first message of each lane that is not settled; what was in flight will come again. */
  rewind(): void {
    this.#sending = false;
    for (const lane of this.#lanes) lane.rewind();
    this.#losses.pause();
  }

  /** When a message was accepted, as well as it is known by now: a boot that learned the time later corrects its stamps. */
  acceptedTime(accepted: AcceptedAt): TimeOf {
    return this.#boots.timeOf(accepted);
  }

  /** Settled messages whose marks are not on the medium: they would be sent again after a crash. */
  get unmarked(): number {
    return this.#parts.committer.unmarked;
  }

  /** Losses to report before any further message; they stay as they are until they are reported. */
  lossesToReport(): readonly LossRow[] {
    if (this.#losses.size === 0) return [];
    const rows = this.#losses.freeze();
    if (!this.#losses.durable && this.#losses.changed) this.#parts.committer.touchNow();
    return rows;
  }

  /**
   * Whether {@link lossesToReport} may be sent: its rows are on the medium as they are, so that a crash neither undoes what
   * was reported nor has it reported again as more. A medium that takes nothing holds nothing up.
   */
  get lossesDurable(): boolean {
    return this.#losses.durable || this.#parts.committer.fault.now !== null;
  }

  /** Whether there are losses besides those handed out last. */
  get lossesUnreported(): boolean {
    return this.#losses.unreported;
  }

  /** The upstream has acknowledged these of {@link lossesToReport}. */
  lossesReported(rows: readonly LossRow[]): void {
    this.#losses.reported(rows);
    this.#parts.committer.touchSoon();
  }

  /** Makes everything accepted so far durable. Rejects with the StoreError when the medium does not take it now. */
  flush(): Promise<void> {
    return this.#parts.committer.flush();
  }

  /** From now on the records of `companions` go to the medium with the messages; {@link companionRecords} come first. */
  accompany(...companions: readonly Companion[]): void {
    this.#parts.accompaniment.join(together(companions));
  }

  /** The companions' records as they are on the medium; one that is damaged is named in the log, left out, and goes. */
  companionRecords(): readonly KeptRecord[] {
    return recordsIn(this.#environment, this.#parts.amendments, this.#log);
  }

  /** See {@link Accompaniment.touch}. */
  touch(soon: boolean): void {
    this.#parts.accompaniment.touch(soon);
  }

  /** See {@link Accompaniment.kept}. */
  kept(senderWaits: boolean): Promise<void> {
    return this.#parts.accompaniment.kept(senderWaits);
  }

  /** Takes up other settings while it runs; those of the files themselves (`durability`, `write`) wait for a restart. */
  configure(settings: SpoolSettings): void {
    const before = this.#settings;
    this.#settings = { ...settings, write: before.write, durability: before.durability };
    this.#quota.settings = settings;
    this.#parts.wear.budgetBytesPerDay = settings.wearBudget ?? null;
    if (before.timeToLiveSecs !== settings.timeToLiveSecs) this.#parts.indexing.start();
    this.#parts.committer
      .exclusively(async () => this.#environment.stretch(mapBytesFor(this.#quota.bytes)))
      .catch((error: unknown) => this.#log.error({ err: error }, 'the quota cannot be raised without a restart'));
    this.#parts.committer.touchNow();
  }

  /** See {@link Compaction.compact}; `copied` is told how many bytes are done. */
  compact(copied: (bytes: number) => void = () => undefined): Promise<Compacted> {
    return this.#parts.compaction.compact(copied);
  }

  /** Dead letters, oldest first. */
  get deadLetters() {
    return this.#parts.deadLetters.list();
  }

  /** Their numbers, also of those that cannot be read. */
  get deadLetterNumbers(): number[] {
    return this.#parts.deadLetters.numbers();
  }

  /** Sends dead letters again, as new messages at the end of their lanes; all of them when no numbers are given. */
  async retryDeadLetters(numbers?: ReadonlySet<number>): Promise<number> {
    let count = 0;
    for (const letter of this.#parts.deadLetters.list(numbers)) {
      // Each by itself, with nothing waiting in front of it: it leaves the dead letters in the commit that has it again.
      await this.flush();
      const revived = this.#parts.deadLetters.revive(letter);
      if (revived === null) continue;
      count++;
      const { message, lane } = revived;
      // Its time begins anew: it was laid apart, not waiting.
      const again = { ...message, acceptedAt: { ...message.acceptedAt, age: this.#age.now() } };
      const life = lifeMsOf(this.#settings, message);
      const waits = { senderWaits: false, soon: false, mustBeWritten: false };
      void this.#parts.committer.append(this.#lanes[lane]!, again, life, waits);
      await this.flush();
    }
    return count;
  }

  /** Lets dead letters go, counted as discarded; all of them when no numbers are given. */
  async dropDeadLetters(numbers?: ReadonlySet<number>): Promise<number> {
    const count = this.#parts.deadLetters.discardAll(numbers);
    this.#parts.committer.touchNow();
    await this.flush();
    return count;
  }

  /** Flushes and closes. What the medium does not take is reported to its senders as failed, and logged. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    this.#parts.door.close();
    this.#sweepTimer.cancel();
    this.#parts.indexing.stop();
    await this.#parts.room.stop();
    await this.#parts.committer.stop().catch((error: unknown) => {
      this.#log.error({ err: error }, 'the last commit failed; readings of the last moments are lost');
    });
    this.#parts.deadLetters.say();
    await this.#beforeClose().catch((error: unknown) =>
      this.#log.warn({ err: error }, 'the totals could not be copied'),
    );
    await this.#environment.close();
  }

  /** Calls `last` when everything is on the medium and before the environment is closed. */
  onClose(last: () => Promise<void>): void {
    const before = this.#beforeClose;
    this.#beforeClose = async () => {
      await last();
      await before();
    };
  }

  /**
   * Calls `listener` when LMDB refuses again and again because the file is damaged. Only a new start helps: it looks at the
   * file before LMDB does, and sets it aside.
   */
  onDamaged(listener: (fault: StoreError) => void): void {
    this.#givenUp = listener;
  }

  /** Tells {@link onDamaged}'s listener. */
  giveUp(fault: StoreError): void {
    this.#givenUp(fault);
  }

  /** The account as it stands on the medium, without the children's. */
  durableBooks(): Omit<Books, 'children' | 'boots'> {
    return decodeBooks(this.#parts.committer.durableBooks);
  }

  /** The account on the medium, and what was refused up to now: a full spool need not write until something has gone. */
  get ledger(): SpoolStats['ledger'] {
    return { ...ledgerStats(this.durableBooks()), refused: { ...this.books.ledger.refused } };
  }

  /** How the spool is doing now. */
  snapshot(): SpoolSnapshot {
    return snapshotOf({
      ...this.#parts,
      environment: this.#environment,
      quota: this.#quota,
      pending: pendingOf(this.books),
      age: this.#age.now(),
      commitEveryMs: this.#settings.commitEveryMs,
      losses: this.#losses,
    });
  }

  /** For tools: a look at the medium. */
  get medium(): Medium {
    return this.#environment;
  }

  /** The books as they lie on the medium; those in memory while there are none. */
  booksIn(reader: Reader): Books {
    return readBooks(reader) ?? this.books;
  }

  /** The upstream takes messages. */
  get sending(): boolean {
    return this.#sending;
  }

  /** {@link medium}, open for writing. Throws StoreError when it could not be written so far. */
  get environment(): Environment {
    return opened(this.#environment);
  }

  #committed(): void {
    // What is due may be more than one commit carries.
    if (this.#sweeping) this.#clock.soon(() => this.#sweep());
    if (!this.#closing) this.#parts.compaction.shrink();
    this.#more();
  }

  #more(): void {
    for (const listener of this.#moreListeners) listener();
  }

  #sweep(): void {
    if (this.#closing) return;
    // One that is under way is waited for, or a medium that is always busy would put expiry off for good.
    this.#sweeping = this.#parts.committer.underWay || this.#parts.expirer.sweep();
    if (this.#sweeping && !this.#parts.committer.underWay) this.#parts.committer.touchNow();
  }
}
