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
/** Packet identifiers for loss reports and status, above the messages'. */
const CONTROL_IDS_FROM = PACKET_IDS + 1;
const CONTROL_IDS = 4000;

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
  readonly #controls = new Map<number, () => void>();
  #session: Session | null = null;
  #batch = new PublishBatch(5, 4096);
  #pumpSoon = false;
  #blocked = false;
  #lossesInFlight = 0;
  #nextControl = 0;
  /** The message in front when the peer closed on us, and how often in a row. */
  #suspect: { readonly lane: number; readonly seq: number; times: number } | null = null;
  /** The broker said its quota is used up: one at a time until a message gets through. */
  #cautious = false;
  #finished: (() => void) | null = null;
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
    this.#lossesInFlight = 0;
    this.#outbox.rewind();
  }

  /** Publishes something that is not a message of the spool; calls back on its PUBACK, or never. */
  publish(publication: Publication, done: () => void): void {
    const session = this.#session;
    if (session === null) return;
    const batch = new PublishBatch(session.version, 1024);
    batch.add(this.#controlId(done), publication);
    session.write(batch.take());
  }

  puback(packetId: number, reason: number): void {
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
      if (answer.kind === 'delivered') {
        this.#suspect = null;
        this.#cautious = false;
        this.#outbox.delivered(stored, answer.matched);
      } else if (answer.reason === QUOTA_EXCEEDED) {
        this.#cautious = true;
        this.#session?.abort('the upstream says that its quota is used up');
        return;
      } else {
        this.#outbox.deadLetter(stored, `refused with reason 0x${answer.reason.toString(16)}`);
        this.#options.log.warn(
          { child: stored.message.source.child, lane: stored.lane, seq: stored.seq, reason: answer.reason },
          'the upstream refuses a message for good: it is a dead letter now',
        );
      }
    }
  }

  get #window(): number {
    if (this.#cautious || (this.#suspect !== null && this.#suspect.times >= SUSPECT_AFTER)) return 1;
    return Math.min(this.#options.window, this.#session?.receiveMaximum ?? 1);
  }

  #pump(): void {
    const session = this.#session;
    if (this.#finished !== null) {
      if (this.#flight.size === 0) this.#finished();
      return;
    }
    if (session === null || this.#blocked) return;
    const window = this.#window;
    if (this.#lossesInFlight === 0) this.#reportLosses();
    while (this.#flight.size < window && this.#flight.size + this.#outbox.unmarked < window + UNMARKED_MAX) {
      const stored = this.#outbox.next();
      if (stored === null) break;
      // Reading may have found a loss: it is reported before what comes after the gap.
      if (this.#lossesInFlight === 0) this.#reportLosses();
      this.#send(session, stored);
      if (this.#batch.length >= WRITE_BYTES && !this.#write(session)) return;
    }
    if (this.#batch.length > 0) this.#write(session);
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

  #reportLosses(): void {
    const rows = this.#outbox.lossesToReport();
    if (rows.length === 0) return;
    this.#lossesInFlight = rows.length;
    let open = rows.length;
    for (const row of rows) {
      const id = this.#controlId(() => {
        if (--open > 0) return;
        this.#lossesInFlight = 0;
        this.#outbox.lossesReported(rows.length);
      });
      this.#batch.add(id, {
        topic: lossesTopic(this.#options.gateway),
        body: lossBody(row),
        contentType: 'application/json',
      });
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
    if (times > SUSPECT_AFTER && this.#flight.size === 1) {
      this.#suspect = null;
      this.#outbox.deadLetter(oldest, 'poison');
      this.#options.log.error(
        { child: oldest.message.source.child, lane, seq },
        'the upstream has closed on this message alone, again and again: it is a dead letter now',
      );
      return;
    }
    this.#suspect = { lane, seq, times };
  }
}

function lastId(flight: Flight): number {
  // The identifier before the next one.
  return ((flight.nextId - 2 + PACKET_IDS) % PACKET_IDS) + 1;
}
