import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import type { UpPublication, UpstreamDialect } from '../dialects/upstream-dialect.ts';
import type { Stored } from '../message/message.ts';
import { Flight } from './flight.ts';
import { LossReports } from './loss-reports.ts';
import { Obituary } from './obituary.ts';
import type { Outbox } from './outbox.ts';
import { PublishBatch } from './publish-packet.ts';
import { Rate, type RateLimit } from './rate.ts';
import { FIRST_FAILURE, PACKET_IDS, type Session } from './session.ts';
import { Stall } from './stall.ts';
import type { TimeWait } from './time-wait.ts';

/** Sent and not durably marked beyond the window: bounds what a crash makes us send twice, whatever the card's speed. */
export const UNMARKED_MAX = 1000;
/** Bytes put together before they go to the socket. */
const WRITE_BYTES = 64 * 1024;
/** Disconnects by the peer with the same oldest message in flight, before it is sent alone. */
const SUSPECT_AFTER = 3;
/** Shortest wait for `maxRate`, ms: what it lets through meanwhile goes in one write. */
const RATE_WAIT_MS_MIN = 20;
/** Packet identifiers for loss reports and status, above the messages'. */
const CONTROL_IDS_FROM = PACKET_IDS + 1;
const CONTROL_IDS = 4000;
/** Of them waiting or unanswered at the most; beyond it they are refused. */
const CONTROLS_MAX = 1000;

const NO_MATCHING_SUBSCRIBERS = 0x10;
const PACKET_TOO_LARGE = 0x95;
const QUOTA_EXCEEDED = 0x97;

export interface DrainOptions {
  readonly dialect: UpstreamDialect;
  readonly window: number;
  readonly maxRate?: RateLimit | undefined;
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
  #waiting: { readonly publication: UpPublication; readonly done: (reason: number) => void }[] = [];
  readonly #controls = new Map<number, (reason: number) => void>();
  readonly #losses: LossReports;
  readonly #stall: Stall;
  readonly #obituary: Obituary;
  #rate: Rate | null = null;
  #maxRate: RateLimit | undefined;
  #rateTimer: Timer | null = null;
  #timeWait: TimeWait | null = null;
  /** Read, and not sent for want of room. */
  #next: Stored | null = null;
  #session: Session | null = null;
  #batch = new PublishBatch(5, 4096);
  #pumpSoon = false;
  #blocked = false;
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
  sent = 0;

  constructor(options: DrainOptions) {
    this.#options = options;
    const { outbox, clock, log } = options;
    this.#outbox = outbox;
    this.#losses = new LossReports({
      ...options,
      publish: (publication, done) => this.#waiting.push({ publication, done }),
      again: () => this.#pumpLater(),
    });
    this.#obituary = new Obituary(clock, log);
    this.#stall = new Stall(clock, log, () => this.#flight.size + this.#controls.size);
    this.limit(options.maxRate);
    outbox.onCommit(() => this.#pumpLater());
  }

  /** Bounds sending from now on; what is as it was keeps what it has saved up. */
  limit(maxRate: RateLimit | undefined): void {
    if (isDeepStrictEqual(maxRate, this.#maxRate)) return;
    this.#maxRate = maxRate;
    this.#rate = maxRate === undefined ? null : new Rate(maxRate, this.#options.clock);
    this.#rateTimer?.cancel();
    this.#rateTimer = null;
    this.#pumpLater();
  }

  get inFlight(): number {
    return this.#flight.size;
  }

  /** Whether `maxRate` is what holds messages back at this moment. */
  get waitsForRate(): boolean {
    return this.#rateTimer !== null;
  }

  /** For how long the broker has acknowledged nothing, s; null while that is nothing to speak of. */
  get stalledSecs(): number | null {
    return this.#stall.secs;
  }

  /** Messages wait until this wait is over; all else goes. */
  waitFor(timeWait: TimeWait): void {
    this.#timeWait = timeWait;
  }

  /** There may be more to send than there was. */
  wake(): void {
    this.#pumpLater();
  }

  /** Sends nothing new over this session; calls back once everything in flight is settled, or never. */
  finish(done: () => void): void {
    this.#finished = done;
    this.#pumpLater();
  }

  start(session: Session): void {
    this.#session = session;
    this.#carries = false;
    this.#batch = new PublishBatch(session.version, WRITE_BYTES);
    this.#blocked = false;
    this.#stall.sessionBegan();
    this.#pumpLater();
  }

  /** The session is over; what was in flight will be sent again over the next. */
  stop(byPeer: boolean): void {
    if (this.#session === null) return;
    this.#session = null;
    // A report is blamed before a message: it can be left out for a while.
    if (!this.#losses.sessionEnded(byPeer) && byPeer) this.#suspectOldest();
    this.#flight.clear();
    this.#controls.clear();
    this.#waiting = [];
    this.#next = null;
    this.#finished = null;
    this.#rateTimer?.cancel();
    this.#rateTimer = null;
    this.#stall.sessionEnded();
    this.#outbox.rewind();
  }

  /**
   * Publishes something that is not a message of the spool; calls back with its PUBACK's reason, or never. With QoS 0 it calls back
   * when it has been handed to the socket.
   */
  publish(publication: UpPublication, done: (reason: number) => void): void {
    if (this.#session === null) return;
    if (this.#waiting.length + this.#controls.size >= CONTROLS_MAX) {
      // Whoever waits for an answer over this session waits no longer than for a refusal.
      this.#options.clock.soon(() => done(QUOTA_EXCEEDED));
      return;
    }
    this.#waiting.push({ publication, done });
    this.#pumpLater();
  }

  /** The broker has answered over this session: it is not the line that breaks at whatever is sent. */
  carried(): void {
    this.#carries = true;
  }

  puback(packetId: number, reason: number): void {
    this.#carries = true;
    this.#stall.acknowledged();
    if (packetId > PACKET_IDS) {
      const done = this.#controls.get(packetId);
      this.#controls.delete(packetId);
      done?.(reason);
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
      } else if (answer.kind === 'oversized') {
        this.#settleOversized(stored, answer.bytes, answer.bytesMax);
      } else if (answer.reason === QUOTA_EXCEEDED) {
        this.#cautious = true;
        this.#session?.abort('the upstream says that its quota is used up');
        return;
      } else {
        this.#outbox.deadLetter(stored, `refused with reason 0x${answer.reason.toString(16)}`);
        this.#obituary.refused(stored, answer.reason);
      }
    }
  }

  #settleOversized(stored: Stored, bytes: number, bytesMax: number): void {
    if (bytes === -1) {
      this.#outbox.deadLetter(stored, 'has a topic or property longer than MQTT can say');
      this.#obituary.unsayable(stored);
      return;
    }
    this.#outbox.deadLetter(stored, `larger than the broker takes: ${bytes} bytes, at most ${bytesMax}`);
    this.#obituary.oversized(stored, bytes, bytesMax);
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
    if (this.#finished === null) this.#losses.send();
    this.#sendControls(session);
    while (this.#finished === null && this.#hasRoom) {
      this.#next ??= this.#outbox.next();
      if (this.#next === null) break;
      // Reading may have found a loss: it is reported before what comes after the gap.
      this.#losses.send();
      this.#sendControls(session);
      if (!this.#hasRoom || this.#losses.holdsMessages) break;
      if (!this.#send(session, this.#next)) break;
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
    if (this.#timeWait?.waiting === true) return false;
    return this.#waiting.length === 0 && size < window && size + this.#outbox.unmarked < window + UNMARKED_MAX;
  }

  #sendControls(session: Session): void {
    while (this.#waiting.length > 0 && this.#flight.size + this.#controls.size < session.receiveMaximum) {
      const { publication, done } = this.#waiting.shift()!;
      const answered = publication.qos !== 0;
      // Not held up by `maxRate`; what it takes is missing for messages.
      const id = answered ? this.#controlId(done) : 0;
      const size = this.#batch.add(id, publication, session.packetBytesMax);
      this.#rate?.charge(Math.max(0, size));
      if (answered && size !== -1) continue;
      // Sent and done with, or larger than the broker takes anything.
      this.#controls.delete(id);
      done(size === -1 ? PACKET_TOO_LARGE : 0);
    }
  }

  #write(session: Session): boolean {
    this.#blocked = !session.write(this.#batch.take());
    return !this.#blocked;
  }

  /** False when `maxRate` has it wait. */
  #send(session: Session, stored: Stored): boolean {
    const { dialect } = this.#options;
    const known = this.#outbox.acceptedTime(stored.message.acceptedAt);
    const publication = dialect.event(stored, known, session.version === 5);
    if (this.#rate !== null && this.#mustWait(this.#rate, publication, session.packetBytesMax)) return false;
    if (this.#flight.size + this.#controls.size === 0) this.#stall.began();
    const size = this.#batch.add(this.#flight.nextId, publication, session.packetBytesMax);
    this.#flight.add(stored);
    if (size === -1) {
      // It could never be taken; it keeps its place in the order of settling.
      const [bytes, bytesMax] = [this.#batch.sizeOf(publication), session.packetBytesMax];
      this.#flight.answered(lastId(this.#flight), { kind: 'oversized', bytes, bytesMax });
      this.#pumpLater();
      return true;
    }
    this.#rate?.charge(size);
    this.sent++;
    return true;
  }

  /** Whether a message is too early for `maxRate`; then we come back when it is not. */
  #mustWait(rate: Rate, publication: UpPublication, sizeMax: number): boolean {
    const size = rate.countsBytes ? this.#batch.sizeOf(publication) : 0;
    // What will not be sent need not wait.
    const ms = size > sizeMax ? 0 : rate.waitMs(Math.max(0, size));
    if (ms === 0) return false;
    this.#rateTimer ??= this.#options.clock.after(Math.max(ms, RATE_WAIT_MS_MIN), () => {
      this.#rateTimer = null;
      this.#pumpLater();
    });
    return true;
  }

  #controlId(done: (reason: number) => void): number {
    if (this.#flight.size + this.#controls.size === 0) this.#stall.began();
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
