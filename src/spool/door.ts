import type { Logger } from 'pino';
import type { RefusalReason } from '../message/loss.ts';
import type { Message } from '../message/message.ts';
import type { Books } from './books.ts';
import type { Committer } from './committer.ts';
import type { Lane, Sealed } from './lane.ts';
import type { Bookkeeper } from './bookkeeper.ts';
import type { Losses } from './losses.ts';
import { childOf } from './pruning.ts';
import type { Room } from './room.ts';
import { lifeMsOf, whenFullOf, type SpoolSettings } from './settings.ts';
import type { WearMeter } from './wear.ts';

/** Bytes that may wait for a medium that does not keep up or cannot be written, before the oldest of them go. */
const WAITING_BYTES_MAX = 16 * 2 ** 20;

/** That something was refused waits no longer for a commit, ms. */
const REFUSED_MS_MAX = 1000;

/** The spool has no room, or the medium does not keep up: the message was not taken on, and was counted as refused. */
export class SpoolFull extends Error {
  /** By which those know it that do not know the spool. */
  readonly reason = 'rejected';

  constructor(why: string) {
    super(why);
    this.name = 'SpoolFull';
  }
}

export interface DoorParts {
  readonly books: Books;
  readonly bookkeeper: Bookkeeper;
  readonly losses: Losses;
  readonly lanes: readonly Lane[];
  readonly committer: Committer;
  readonly room: Room;
  readonly wear: WearMeter;
  readonly settings: () => SpoolSettings;
  /** The upstream takes messages. */
  readonly sending: () => boolean;
  readonly log: Logger;
}

/** Where messages come in: what is taken on, what is refused, and what has to make way for it in memory. */
export class Door {
  readonly #parts: DoorParts;
  #shedding = false;
  #closed = false;

  constructor(parts: DoorParts) {
    this.#parts = parts;
    parts.committer.onCommit(() => (this.#shedding = false));
  }

  /** Nothing is taken on any more. */
  close(): void {
    this.#closed = true;
  }

  /** See {@link Spool.accept}. */
  accept(message: Message, senderWaits: boolean, mustBeWritten: boolean): Promise<void> {
    const { committer, room, wear, lanes, bookkeeper, books } = this.#parts;
    const lane = lanes[message.priority];
    if (lane === undefined) throw new Error(`no lane ${message.priority}`);
    if (this.#closed) return Promise.reject(new SpoolFull('the gateway is stopping'));
    const settings = this.#parts.settings();
    if (room.full) room.look();
    if (room.full) {
      if (whenFullOf(settings, lane.number) === 'reject-new') {
        return this.#refuse('the quota is used up and storeAndForward.whenFull is reject-new');
      }
      if (room.stuck) return this.#refuse('the quota is used up, and nothing can be let go');
    }
    if (committer.waitingBytes > WAITING_BYTES_MAX && !this.#shed(lane.number, message.body.length, senderWaits)) {
      return this.#refuse('the medium does not keep up');
    }
    bookkeeper.accepted(lane.number, message.source.child);
    wear.payload(message.body.length);
    // Where the upstream may acknowledge it first, the commit is in no hurry.
    const soon = senderWaits && !(books.write === 'when-needed' && this.#parts.sending());
    return committer.append(lane, message, lifeMsOf(settings, message), { senderWaits, soon, mustBeWritten });
  }

  /** Whether a message of any lane would be taken on now. */
  get hasRoom(): boolean {
    const { room, lanes, committer } = this.#parts;
    if (room.full) room.look();
    if (committer.waitingBytes > WAITING_BYTES_MAX) return false;
    const settings = this.#parts.settings();
    return !room.full || !(room.stuck || lanes.some(({ number }) => whenFullOf(settings, number) === 'reject-new'));
  }

  /** Counts what was turned away before it came to a message. */
  refused(reason: RefusalReason): void {
    this.#parts.bookkeeper.refused(reason);
    // A full spool may make no other commit; a flood of refusals must not make many.
    this.#parts.committer.touchWithin(REFUSED_MS_MAX);
  }

  /** See {@link Spool.discard}. */
  discard(reason: 'no-route' | 'loop', { priority: lane, source, eventTime, acceptedAt }: Message): void {
    const { bookkeeper, losses, books, committer } = this.#parts;
    const { child } = source;
    bookkeeper.turnedDown(reason, lane, child);
    const time = eventTime ?? acceptedAt.wall;
    // It never had a number.
    const range = { firstSeq: 0, lastSeq: 0, count: 1, firstEventTime: time, lastEventTime: time };
    losses.add({ epoch: books.epoch, lane, child, reason, ...range, exact: true });
    // No other message need ever come.
    committer.touchSoon();
  }

  /**
   * The memory for what waits is full: the oldest of the lowest lane go for a newer message, at least as much as it takes.
   * False when none may.
   */
  #shed(lane: number, bytes: number, senderWaits: boolean): boolean {
    const { committer, log, settings } = this.#parts;
    if (whenFullOf(settings(), lane) === 'reject-new') return false;
    let shed = 0;
    while (committer.waitingBytes > WAITING_BYTES_MAX && (shed === 0 || shed < bytes)) {
      // Who waits for an acknowledgement keeps the message: it displaces only what is worth less.
      const block = committer.shed(senderWaits ? lane + 1 : lane);
      if (block === null) break;
      if (!this.#shedding) log.error('memory is full of readings that the medium does not take: the oldest are let go');
      this.#shedding = true;
      this.#bookShed(block);
      shed += block.value.length;
    }
    return shed > 0;
  }

  #bookShed({ header, children }: Sealed): void {
    const { bookkeeper, losses } = this.#parts;
    bookkeeper.dropped('evicted', header.lane, children);
    const { epoch, firstSeq, lastSeq, count, firstEventTime, lastEventTime } = header;
    const range = { firstSeq, lastSeq, count, firstEventTime, lastEventTime };
    losses.add({ epoch, lane: header.lane, ...childOf(children), reason: 'evicted', ...range, exact: true });
  }

  #refuse(why: string): Promise<never> {
    this.refused('rejected');
    return Promise.reject(new SpoolFull(why));
  }
}
