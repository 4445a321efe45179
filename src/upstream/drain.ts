import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import { eventProperties, eventTopic, lossBody, lossesTopic, propertyLevel } from '../dialects/holdfast.ts';
import type { Stored } from '../message/message.ts';
import { Flight } from './flight.ts';
import type { Outbox } from './outbox.ts';
import { PublishBatch, type Publication } from './publish-packet.ts';
import { PACKET_IDS, type Session } from './session.ts';

/** Sent and not durably marked beyond the window: bounds what a crash makes us send twice, whatever the card's speed. */
export const UNMARKED_MAX = 1000;
/** Bytes put together before they go to the socket. */
const WRITE_BYTES = 64 * 1024;
/** Disconnects by the peer with the same oldest message in flight, before it is sent alone. */
const SUSPECT_AFTER = 3;
/** How often dead letters are spoken of, ms. */
const DEAD_SAID_EVERY_MS = 60_000;
/** Packet identifiers for loss reports and status, above the messages'. */
const CONTROL_IDS_FROM = PACKET_IDS + 1;
const CONTROL_IDS = 4000;
/** Of them waiting or unanswered at the most; beyond it they are dropped. */
const CONTROLS_MAX = 1000;

const NO_MATCHING_SUBSCRIBERS = 0x10;
const FIRST_FAILURE = 0x80;
const QUOTA_EXCEEDED = 0x97;

export interface DrainOptions {
  readonly gateway: string;
  readonly window: number;
  readonly outbox: Outbox;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Sends what is in the outbox over a session: oldest first, QoS 1, within a window, each message settled in order once its
 * PUBACK has come. Outlives sessions, so that it knows a message that keeps breaking them.
 */
export class Drain {
  readonly #options: DrainOptions;
  readonly #outbox: Outbox;
  readonly #flight = new Flight();
  /** What is not a message of the spool: waiting to be sent, and sent without an answer yet, by packet identifier. */
  #waiting: { readonly publication: Publication; readonly done: () => void }[] = [];
  readonly #controls = new Map<number, () => void>();
  /** Read, and not sent for want of room. */
  #next: Stored | null = null;
  #session: Session | null = null;
  #batch = new PublishBatch(5, 4096);
  #pumpSoon = false;
  #blocked = false;
  #lossesInFlight = 0;
  #nextControl = 0;
  /** The message in front when the peer closed on us, and how often in a row. */
  #suspect: { readonly lane: number; readonly seq: number; times: number } | null = null;
  /** Messages to send alone yet: one of them may be what the peer closes on, and it need not be the oldest. */
  #alone = 0;
  /** The broker said its quota is used up: one at a time until a message gets through. */
  #cautious = false;
  #finished: (() => void) | null = null;
  /** This session has carried something: the broker acknowledged it. */
  #carries = false;
  #deadSaidAt = -Infinity;
  #deadUnsaid = 0;
  sent = 0;

  constructor(options: DrainOptions) {
    this.#options = options;
    this.#outbox = options.outbox;
    options.outbox.onCommit(() => this.#pumpLater());
  }

  get inFlight(): number {
    return this.#flight.size;
  }

  /** Sends nothing new; calls back once everything in flight is settled, or never. */
  finish(done: () => void): void {
    this.#finished = done;
    this.#pumpLater();
  }

  start(session: Session): void {
    this.#session = session;
    this.#carries = false;
    this.#batch = new PublishBatch(session.version, WRITE_BYTES);
    this.#blocked = false;
    this.#pumpLater();
  }

  /** The session is over; what was in flight will be sent again over the next. */
  stop(byPeer: boolean): void {
    if (this.#session === null) return;
    this.#session = null;
    if (byPeer) this.#suspectOldest();
    this.#flight.clear();
    this.#controls.clear();
    this.#waiting = [];
    this.#next = null;
    this.#lossesInFlight = 0;
    this.#outbox.rewind();
  }

  /** Publishes something that is not a message of the spool; calls back on its PUBACK, or never. */
  publish(publication: Publication, done: () => void): void {
    if (this.#session === null || this.#waiting.length + this.#controls.size >= CONTROLS_MAX) return;
    this.#waiting.push({ publication, done });
    this.#pumpLater();
  }

  puback(packetId: number, reason: number): void {
    this.#carries = true;
    if (packetId > PACKET_IDS) {
      const done = this.#controls.get(packetId);
      this.#controls.delete(packetId);
      done?.();
    } else if (reason < FIRST_FAILURE) {
      this.#flight.answered(packetId, { kind: 'delivered', matched: reason !== NO_MATCHING_SUBSCRIBERS });
    } else {
      this.#flight.answered(packetId, { kind: 'refused', reason });
    }
    // Acknowledgements come many to a chunk: settle and send again once for all of them.
    this.#pumpLater();
  }

  writable(): void {
    this.#blocked = false;
    this.#pumpLater();
  }

  #pumpLater(): void {
    if (this.#pumpSoon || this.#session === null) return;
    this.#pumpSoon = true;
    this.#options.clock.soon(() => {
      this.#pumpSoon = false;
      this.#settle();
      this.#pump();
    });
  }

  #settle(): void {
    for (let item = this.#flight.shift(); item !== null; item = this.#flight.shift()) {
      const { stored, answer } = item;
      this.#alone = Math.max(0, this.#alone - 1);
      if (this.#suspect?.lane === stored.lane && this.#suspect.seq === stored.seq) this.#suspect = null;
      if (answer.kind === 'delivered') {
        this.#cautious = false;
        this.#outbox.delivered(stored, answer.matched);
      } else if (answer.reason === QUOTA_EXCEEDED) {
        this.#cautious = true;
        this.#session?.abort('the upstream says that its quota is used up');
        return;
      } else {
        this.#outbox.deadLetter(stored, `refused with reason 0x${answer.reason.toString(16)}`);
        this.#sayDead(stored, answer.reason);
      }
    }
  }

  /** One line a minute: a mistake in the broker's rights refuses everything. */
  #sayDead({ message, lane, seq }: Stored, reason: number): void {
    this.#deadUnsaid++;
    const now = this.#options.clock.monotonic();
    if (now < this.#deadSaidAt + DEAD_SAID_EVERY_MS) return;
    this.#deadSaidAt = now;
    this.#options.log.warn(
      { child: message.source.child, lane, seq, reason: `0x${reason.toString(16)}`, count: this.#deadUnsaid },
      'the upstream refuses messages for good: they are dead letters now; are we allowed to publish?',
    );
    this.#deadUnsaid = 0;
  }

  get #window(): number {
    const window = this.#cautious || this.#alone > 0 ? 1 : this.#options.window;
    // The broker counts everything that we publish.
    return Math.min(window, (this.#session?.receiveMaximum ?? 1) - this.#controls.size);
  }

  #pump(): void {
    const session = this.#session;
    if (this.#finished !== null && this.#flight.size === 0) this.#finished();
    if (session === null || this.#blocked) return;
    if (this.#finished === null) this.#reportLosses();
    this.#sendControls(session);
    while (this.#finished === null && this.#hasRoom) {
      this.#next ??= this.#outbox.next();
      if (this.#next === null) break;
      // Reading may have found a loss: it is reported before what comes after the gap.
      this.#reportLosses();
      this.#sendControls(session);
      // One round at a time: what was lost while the last is on its way holds up what may come after it.
      if (!this.#hasRoom || this.#outbox.lossesUnreported) break;
      this.#send(session, this.#next);
      this.#next = null;
      if (this.#batch.length >= WRITE_BYTES && !this.#write(session)) return;
    }
    if (this.#batch.length > 0) this.#write(session);
  }

  /** Whether one more message may be sent now. */
  get #hasRoom(): boolean {
    const window = this.#window;
    const { size } = this.#flight;
    // Under suspicion it goes only where something else got through before it: our status, which is sent first.
    if (this.#alone > 0 && !this.#carries) return false;
    return this.#waiting.length === 0 && size < window && size + this.#outbox.unmarked < window + UNMARKED_MAX;
  }

  #sendControls(session: Session): void {
    while (this.#waiting.length > 0 && this.#flight.size + this.#controls.size < session.receiveMaximum) {
      const { publication, done } = this.#waiting.shift()!;
      this.#batch.add(this.#controlId(done), publication);
    }
  }

  #write(session: Session): boolean {
    this.#blocked = !session.write(this.#batch.take());
    return !this.#blocked;
  }

  #send(session: Session, stored: Stored): void {
    const { gateway } = this.#options;
    const { message } = stored;
    const pairs = eventProperties(stored, this.#outbox.acceptedTime(message.acceptedAt));
    const topic = eventTopic(gateway, message.source);
    const publication: Publication =
      session.version === 5
        ? { topic, body: message.body, contentType: message.contentType, userProperties: pairs }
        : { topic: `${topic}/${propertyLevel(message.contentType, pairs)}`, body: message.body };
    const size = this.#batch.add(this.#flight.nextId, publication, session.packetBytesMax);
    this.#flight.add(stored);
    if (size === -1) {
      // It could never be taken; it keeps its place in the order of settling.
      this.#flight.answered(lastId(this.#flight), { kind: 'refused', reason: 0x95 });
      this.#pumpLater();
      return;
    }
    this.sent++;
  }

  /** One round of reports at a time: what is lost meanwhile goes with the next. */
  #reportLosses(): void {
    if (this.#lossesInFlight > 0) return;
    const rows = this.#outbox.lossesToReport();
    this.#lossesInFlight = rows.length;
    let open = rows.length;
    const done = () => {
      if (--open > 0) return;
      this.#lossesInFlight = 0;
      this.#outbox.lossesReported(rows.length);
    };
    const topic = lossesTopic(this.#options.gateway);
    for (const row of rows) {
      this.#waiting.push({ publication: { topic, body: lossBody(row), contentType: 'application/json' }, done });
    }
  }

  #controlId(done: () => void): number {
    const id = CONTROL_IDS_FROM + this.#nextControl;
    this.#nextControl = (this.#nextControl + 1) % CONTROL_IDS;
    this.#controls.set(id, done);
    return id;
  }

  #suspectOldest(): void {
    const oldest = this.#flight.oldest;
    if (oldest === null) return;
    const { lane, seq } = oldest;
    const again = this.#suspect !== null && this.#suspect.lane === lane && this.#suspect.seq === seq;
    const times = again ? this.#suspect!.times + 1 : 1;
    // A line that breaks at whatever is sent says nothing of this message.
    if (times > SUSPECT_AFTER && this.#flight.size === 1 && this.#carries) {
      this.#suspect = null;
      this.#outbox.deadLetter(oldest, 'poison');
      this.#options.log.error(
        { child: oldest.message.source.child, lane, seq },
        'the upstream has closed on this message alone, again and again: it is a dead letter now',
      );
      return;
    }
    this.#suspect = { lane, seq, times };
    if (times >= SUSPECT_AFTER) this.#alone = Math.max(this.#alone, this.#flight.size);
  }
}

function lastId(flight: Flight): number {
  // The identifier before the next one.
  return ((flight.nextId - 2 + PACKET_IDS) % PACKET_IDS) + 1;
}
