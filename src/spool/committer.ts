import type { Logger } from 'pino';
import type { AgeClock } from '../clock/age.ts';
import type { Clock, Timer } from '../clock/clock.ts';
import type { Message } from '../message/message.ts';
import { storeError, type StoreError } from '../store/store-error.ts';
import type { Accompaniment } from './accompaniment.ts';
import type { Amendments } from './amendments.ts';
import type { Books } from './books.ts';
import type { BootTable } from './boot-table.ts';
import { CommitTimer } from './commit-timer.ts';
import { drawEpoch } from './epoch.ts';
import type { Lane, Sealed } from './lane.ts';
import type { Medium } from './late-environment.ts';
import type { Losses } from './losses.ts';
import { MediumFault } from './medium-fault.ts';
import { Records } from './records.ts';
import type { Room } from './room.ts';
import type { Durable } from './unwritten.ts';
import { WaitingBlocks } from './waiting-blocks.ts';
import type { WearMeter } from './wear.ts';

/** Wait before a failed commit is tried again, ms. */
const RETRY_MS = 1000;
/** A medium that has taken nothing for so long is not waited for any more: messages are sent from memory, ms. */
const FROM_MEMORY_AFTER_MS = 5000;
/** The age clock is written at least this often, ms; so is the account where nothing else is to be written. */
const AGE_EVERY_MS = 60_000;
/** Part of the quota that one commit may carry: what it frees is of use only to the next but one, and the file must not grow for it. */
const COMMIT_SHARE = 1 / 40;

export interface CommitterParts {
  readonly environment: Medium;
  readonly books: Books;
  readonly losses: Losses;
  readonly lanes: readonly Lane[];
  readonly amendments: Amendments;
  readonly accompaniment: Accompaniment;
  readonly room: Room;
  readonly age: AgeClock;
  readonly boots: BootTable;
  readonly wear: WearMeter;
  readonly clock: Clock;
  readonly log: Logger;
  readonly commitEveryMs: () => number;
  /** A block is on the medium; true when that gave rise to more changes. */
  readonly onWritten: (block: Sealed) => boolean;
  /** The file is damaged, and trying again does not help. */
  readonly onDamaged: (fault: StoreError) => void;
  /** There may be more to send from memory. */
  readonly onMore: () => void;
}

/** What a message waits for. */
export interface Waits {
  /** Somebody holds back an acknowledgement ... */
  readonly senderWaits: boolean;
  /** ... and there is nobody else but the medium to say that it is durable. */
  readonly soon: boolean;
  /** It is not sent before it is on the medium. */
  readonly mustBeWritten: boolean;
}

/**
 * Takes everything that changed since the last commit to the medium in one transaction, one at a time: blocks cut from the
 * tails, amendments of what is there, the books. What a failed commit carried goes again with the next.
 */
export class Committer {
  readonly #parts: CommitterParts;
  readonly #timer: CommitTimer;
  readonly #ageTimer: Timer;
  readonly #listeners: (() => void)[] = [];
  /** Messages may be sent before they are on the medium, and need not be written when they are acknowledged first. */
  readonly #whenNeeded: boolean;
  readonly #blocks: WaitingBlocks;
  readonly #records: Records;
  #unmarked = 0;
  readonly #whenDurable: Durable[] = [];
  /** Something besides messages and marks is to be written; at the start the books themselves, which name this boot. */
  #dirty = true;
  /** All that waits is to be written, also what is not due. */
  #wantsAll = false;
  #underWay: Promise<void> | null = null;
  readonly #fault: MediumFault;
  /** The medium takes nothing, so messages are sent from memory, in an epoch that it does not know of. */
  #fromMemory = false;
  #begunAt = 0;

  constructor(parts: CommitterParts) {
    this.#parts = parts;
    const { clock, commitEveryMs, books, wear } = parts;
    this.#blocks = new WaitingBlocks({ ...parts, bytesMax: () => parts.room.quotaBytes * COMMIT_SHARE });
    this.#fault = new MediumFault(parts);
    this.#whenNeeded = books.write === 'when-needed';
    this.#timer = new CommitTimer(
      clock,
      () => wear.stretched(commitEveryMs()),
      () => void this.#commit(),
      () => this.#messagesDueAt(),
    );
    this.#ageTimer = clock.every(AGE_EVERY_MS, () => {
      this.#dirty = true;
      this.#timer.now();
    });
    this.#records = new Records(parts);
  }

  /** Bytes that wait for the medium. */
  get waitingBytes(): number {
    let bytes = this.#blocks.bytes;
    for (const lane of this.#parts.lanes) bytes += lane.tailBytes;
    return bytes;
  }

  /** Numbers that were sent and never written will not be used again: the next start will know of this run, or of none. */
  get maySendUnwritten(): boolean {
    return this.#records.began || this.#fromMemory;
  }

  /** The medium has taken nothing for so long that it is not waited for. */
  get givesUpWaiting(): boolean {
    return this.#fault.ms >= FROM_MEMORY_AFTER_MS;
  }

  get fault(): MediumFault {
    return this.#fault;
  }

  /** The block of a lane that waits in memory and holds `seq`, or the first after it; null unless they are sent from there. */
  waiting(lane: number, seq: number): Sealed | null {
    return this.#fromMemory ? this.#blocks.from(lane, seq) : null;
  }

  get underWay(): boolean {
    return this.#underWay !== null;
  }

  /** How long the commit under way has been, ms; 0 when there is none. */
  get underWayMs(): number {
    return this.#underWay === null ? 0 : this.#parts.clock.monotonic() - this.#begunAt;
  }

  /** Settled messages whose marks are not on the medium; 0 while it takes none, since waiting for that would end nowhere. */
  get unmarked(): number {
    return this.givesUpWaiting ? 0 : this.#unmarked;
  }

  /** The books' main record as it is on the medium. */
  get durableBooks(): Buffer {
    return this.#records.durableBooks;
  }

  onCommit(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Appends a message to its lane; resolves when it is durable. */
  append(lane: Lane, message: Message, lifeMs: number, waits: Waits): Promise<void> {
    const { books, clock } = this.#parts;
    const { senderWaits, soon, mustBeWritten } = waits;
    if (senderWaits) this.#blocks.awaits(lane);
    let durable = this.#blocks.durable;
    if (this.#whenNeeded) {
      durable = new Promise((resolve, reject) => {
        const done = (error: Error | null) => (error === null ? resolve() : reject(error));
        lane.append(message, books.epoch, lifeMs, clock.monotonic(), done, mustBeWritten);
      });
      // As with a group's: who does not wait does not look.
      durable.catch(() => undefined);
    } else lane.append(message, books.epoch, lifeMs, 0, null, false);
    if (lane.tailFull) {
      this.#blocks.cut(lane);
      this.#timer.now();
    }
    if (soon || mustBeWritten) this.#wantsAll = true;
    this.#timer.message(soon);
    return durable;
  }

  /** A commit is wanted that carries all, though no message came. */
  accompany(soon: boolean): void {
    this.#wantsAll = true;
    this.#timer.message(soon);
  }

  /** Something in the books changed that can wait for the next commit. */
  touch(): void {
    this.#dirty = true;
  }

  /** The same, but not for much longer than so many ms; in what rests the card, for as long as the account may wait there. */
  touchWithin(ms: number): void {
    this.#dirty = true;
    if (!this.#whenNeeded) this.#timer.within(this.#parts.wear.stretched(ms));
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

  /** One more message is settled. Its mark goes to the medium with others; what was never written needs none. */
  settled(onMedium: boolean): void {
    if (!onMedium) {
      this.#dirty = true;
      return;
    }
    this.#unmarked++;
    this.#timer.marks(this.#unmarked);
  }

  /** Calls `durable` once what has changed so far is on the medium. */
  whenDurable(durable: Durable): void {
    this.#whenDurable.push(durable);
    this.touchSoon();
  }

  /** Makes everything so far durable. Rejects with the StoreError when the medium does not take it now. */
  async flush(): Promise<void> {
    while (this.#underWay !== null) await this.#underWay;
    let waits: (() => boolean) | null = null;
    do {
      this.#wantsAll = true;
      await this.#commit();
      if (this.#fault.now !== null) throw this.#fault.now;
      waits ??= this.#blocks.waitsStill;
    } while (waits());
  }

  /** The last commit; what the medium does not take is reported to its senders as failed. Rejects as {@link flush} does. */
  async stop(): Promise<void> {
    this.#ageTimer.cancel();
    this.#dirty = true;
    try {
      await this.flush();
      // Only now is it known that everything is there.
      this.#parts.books.clean = true;
      this.#dirty = true;
      await this.flush();
    } catch (error) {
      const fault = storeError(error, this.#parts.environment.directory);
      this.#blocks.failed(fault);
      for (const tell of this.#whenDurable) tell(fault);
      throw error;
    } finally {
      this.#timer.stop();
      this.#parts.accompaniment.stop();
    }
  }

  /** Does something with the file while no commit is under way; those that become due wait for it. */
  async exclusively(act: () => Promise<void>): Promise<void> {
    while (this.#underWay !== null) await this.#underWay;
    this.#timer.begun();
    this.#begunAt = this.#parts.clock.monotonic();
    const doing = (async () => act())().finally(() => {
      this.#underWay = null;
      this.#timer.now();
      this.#timer.ended();
    });
    this.#underWay = doing.catch(() => undefined);
    await doing;
  }

  /** See {@link WaitingBlocks.shed}. */
  shed(from: number): Sealed | null {
    return this.#blocks.shed(from);
  }

  /** When the oldest message is due that is not on the medium; it may have been acknowledged meanwhile. */
  #messagesDueAt(): number {
    if (!this.#whenNeeded) return -Infinity;
    const { lanes, wear, commitEveryMs } = this.#parts;
    const everyMs = wear.stretched(commitEveryMs());
    return Math.min(...lanes.map((lane) => lane.unwrittenSince + everyMs));
  }

  #commit(): Promise<void> {
    this.#underWay ??= this.#commitOnce().finally(() => {
      this.#underWay = null;
      this.#blocks.notWritten();
      this.#timer.ended();
    });
    return this.#underWay;
  }

  async #commitOnce(): Promise<void> {
    const { environment, lanes, amendments, accompaniment, room, wear } = this.#parts;
    this.#timer.begun();
    this.#begunAt = this.#parts.clock.monotonic();
    try {
      // Before anything is cut: what comes while the file grows is in this commit as well.
      await room.prepare(() => this.#blocks.pages(environment.pageBytes));
    } catch (error) {
      // As it is where a write fails: what goes along would pile up uncut.
      this.#cutDue();
      this.#failed(storeError(error, environment.directory));
      return;
    }
    this.#cutDue();
    const sealed = this.#blocks.carry();
    if (!this.#blocks.waits && this.#unmarked === 0 && !this.#dirty && amendments.size === 0) return;
    try {
      room.make(sealed, accompaniment.pages(environment.pageBytes, true));
    } catch (error) {
      this.#failed(storeError(error, environment.directory));
      return;
    }
    const carried = amendments.snapshot();
    const unmarked = this.#unmarked;
    const durable = this.#whenDurable.length;
    const changes = this.#records.changes(this.#blocks.notCarried());
    for (const block of sealed) changes.push([block.key, block.value]);
    changes.push(...amendments.changes(carried), ...accompaniment.changes());
    this.#dirty = false;
    try {
      await environment.write(changes);
    } catch (error) {
      this.#records.notWritten();
      this.#dirty = true;
      this.#failed(storeError(error, environment.directory));
      return;
    }
    this.#records.written();
    this.#blocks.written();
    amendments.settled(carried);
    this.#unmarked -= unmarked;
    for (const tell of this.#whenDurable.splice(0, durable)) tell(null);
    wear.committed(changes);
    this.#working();
    let more = room.wanting || this.#blocks.waits;
    for (const block of sealed) {
      lanes[block.header.lane]!.written(block);
      if (this.#parts.onWritten(block)) more = true;
      block.group.written();
    }
    if (more) this.#timer.now();
    else if (amendments.size > 0) this.#timer.marks(1);
    for (const listener of this.#listeners) listener();
  }

  /** Cuts the tails into blocks, where they are due; and blocks anew of which the upstream has taken a part meanwhile. */
  #cutDue(): void {
    const { lanes, clock, wear, commitEveryMs, accompaniment } = this.#parts;
    if (this.#whenNeeded || this.#fromMemory) this.#cutAgain();
    const dueSince = clock.monotonic() + 0.5 - wear.stretched(commitEveryMs());
    const due = lanes.filter((lane) => lane.unwrittenSince <= dueSince);
    // What goes along with messages does so with all of them, or with none.
    const together = accompaniment.changed && (due.length > 0 || this.#blocks.size > 0);
    const all = this.#wantsAll || !this.#whenNeeded || together;
    this.#wantsAll = false;
    this.#blocks.cutThese(all ? lanes : due, all || !accompaniment.changed);
    this.#blocks.closeGroup();
  }

  /** What the upstream has acknowledged leaves the blocks that wait. */
  #cutAgain(): void {
    this.#blocks.cutAgain((durable) => this.whenDurable(durable));
  }

  #failed(fault: StoreError): void {
    this.#fault.failed(fault);
    if (this.givesUpWaiting) this.#sendFromMemory();
    this.#timer.retryAfter(RETRY_MS);
  }

  /** The medium takes nothing. What is in memory is sent from there, as far as it is not already. */
  #sendFromMemory(): void {
    const { books, losses, lanes, onMore } = this.#parts;
    if (!this.#fromMemory && !(this.#whenNeeded && this.maySendUnwritten)) {
      const durableTo = lanes.map((lane) => lane.durableTo);
      drawEpoch(books, losses, durableTo);
      for (const lane of lanes) lane.renumber(books.epoch);
      this.#blocks.renumber(books.epoch);
      // Until all of it is written: what a crash takes then is what it takes with `when-needed`.
      books.write = 'when-needed';
      this.#fromMemory = this.#dirty = true;
    }
    if (!this.#whenNeeded) {
      this.#blocks.cutThese(lanes, true);
      this.#blocks.closeGroup();
    }
    this.#cutAgain();
    onMore();
  }

  #working(): void {
    this.#fault.ended();
    if (!this.#fromMemory || this.#blocks.size > 0) return;
    this.#fromMemory = false;
    this.#parts.books.write = this.#whenNeeded ? 'when-needed' : 'always';
    this.touchSoon();
  }
}
