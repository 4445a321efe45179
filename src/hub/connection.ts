import type { Packet } from 'mqtt-packet';
import type { Timer } from '../clock/clock.ts';
import type { ChildDialect, Publication, PublicationProperties } from '../dialects/child-dialect.ts';
import { BODY_BYTES_MAX } from '../message/message.ts';
import { Acknowledgements, type Outcome } from './acknowledgements.ts';
import { Allowance } from './allowance.ts';
import { Conversation } from './conversation.ts';
import type { Client } from './gatekeeper.ts';
import type { House, Newcomer, Origin, Testament } from './house.ts';
import * as limits from './limits.ts';
import { PacketTooLarge } from './packet-stream.ts';
import type { ClientPacket, Connect, Publish } from './packets.ts';
import type { Line, Session } from './session.ts';
import { isFilter } from './topics.ts';
import type { Wire } from './wire.ts';

/** Told once; `will`: what its connection leaves behind, when it was not closed as it should be. */
export type Left = (connection: Connection, will: Testament | null) => void;

/** The connection of a client that was let in, to its end. */
export class Connection implements Line {
  readonly client: Client;
  readonly origin: Origin;
  readonly dialect: ChildDialect;
  readonly session: Session;
  /** The most that may be on its way to it. */
  readonly window: number;
  /** Wall ms. */
  readonly since: number;
  /** Room in its socket again, or in its window. */
  onRoom: () => void = () => {};
  readonly #house: House;
  readonly #wire: Wire;
  readonly #connect: Connect;
  readonly #left: Left;
  readonly #will: Testament | null;
  readonly #conversation: Conversation;
  readonly #acknowledgements: Acknowledgements;
  readonly #messages: Allowance;
  readonly #bytes: Allowance;
  readonly #share: number;
  #noRoomTimer: Timer | null = null;
  #here = true;

  constructor({ wire, origin, client, connect, will }: Newcomer, session: Session, house: House, left: Left) {
    const now = house.clock.monotonic();
    this.#share = client.gateway === true ? limits.GATEWAY_SHARE : 1;
    const messagesPerSec = house.limits.messagesPerSec * this.#share;
    const bytesPerSec = house.limits.bytesPerSec * this.#share;
    this.client = client;
    this.origin = origin;
    this.dialect = house.dialects[client.dialect];
    this.session = session;
    this.window = Math.min(limits.WINDOW, connect.receiveMaximum);
    this.since = house.clock.wall();
    this.#house = house;
    this.#wire = wire;
    this.#connect = connect;
    this.#left = left;
    this.#will = will;
    this.#messages = new Allowance(messagesPerSec, now);
    this.#bytes = new Allowance(bytesPerSec, now, Math.max(bytesPerSec, BODY_BYTES_MAX));
    this.#acknowledgements = new Acknowledgements(
      (id, outcome) => this.#answer(id, outcome),
      () => this.#eased(),
    );
    this.#conversation = new Conversation(
      client,
      this.dialect,
      session,
      house.services,
      (rid, status, body) => house.answered(client, rid, status, body),
      house.log.child(this.#who()),
    );
    wire.events = {
      packet: (packet) => this.#packet(packet),
      malformed: (error) => {
        session.counts.refused++;
        if (error instanceof PacketTooLarge && error.isMessage) house.services.tooLarge();
        if (error.cause !== undefined) house.log.error({ ...this.#who(), err: error.cause }, error.message);
        this.#fail(error.message, error.reason);
      },
      drained: () => {
        session.pump();
        this.#room();
      },
      closed: () => this.#gone(true),
    };
    wire.bytesMax = limits.PACKET_BYTES_MAX;
  }

  get mqtt5(): boolean {
    return this.#wire.mqtt5;
  }

  /** When something last came from it, wall ms. */
  get heardAt(): number {
    const { clock } = this.#house;
    return Math.round(clock.wall() - (clock.monotonic() - this.#wire.heardAt));
  }

  get roomy(): boolean {
    return this.#wire.open && this.#wire.unsent < limits.UNSENT_BYTES_MAX;
  }

  /** Says that it is in, and what has waited for it; then listens. */
  begin(sessionPresent: boolean): void {
    this.#greet(sessionPresent);
    this.session.attach(this);
    for (const filter of this.session.subscriptions.keys()) this.#startWithDesired(filter);
    this.#wire.release('admission');
  }

  publish(publication: Publication, id: number, dup: boolean): boolean {
    const { topic, payload, properties } = publication;
    const packet: Packet = {
      cmd: 'publish',
      topic,
      payload,
      qos: id > 0 ? 1 : 0,
      dup,
      retain: false,
      ...(id > 0 ? { messageId: id } : {}),
      ...(this.mqtt5 ? { properties: sayable(properties) } : {}),
    };
    try {
      const bytes = this.#wire.encode(packet);
      if (bytes.length > this.#connect.packetBytesMax) return false;
      this.#wire.write(bytes);
      return true;
    } catch (error) {
      this.#house.log.warn({ err: error, topic: topic.slice(0, 200) }, 'a message cannot be said in MQTT');
      return false;
    }
  }

  /** Its whole desired document, or the patch alone, as its dialect has it. */
  desired(version: number, patch: object): void {
    if (this.dialect.desiredAs === 'document') void this.#conversation.desired();
    else {
      const body = Buffer.from(JSON.stringify({ ...patch, $version: version }), 'utf8');
      this.session.say(this.dialect.desiredPatch(this.client, version, body));
    }
  }

  /** The house's limits are others now. */
  limitsChanged(): void {
    const now = this.#house.clock.monotonic();
    const messagesPerSec = this.#house.limits.messagesPerSec * this.#share;
    const bytesPerSec = this.#house.limits.bytesPerSec * this.#share;
    this.#messages.change(messagesPerSec, now);
    this.#bytes.change(bytesPerSec, now, Math.max(bytesPerSec, BODY_BYTES_MAX));
    // How long it waits was reckoned by the rate of before.
    this.#wire.release('rate');
  }

  /** Called now and then: whether it is alive, and may still be here. */
  look(): void {
    const { clock } = this.#house;
    const silentMs = clock.monotonic() - this.#wire.heardAt;
    // Whoever is not read cannot be heard.
    if (this.#connect.keepaliveSecs > 0 && !this.#wire.heldByUs && silentMs > this.#connect.keepaliveSecs * 1500) {
      this.#fail('its keepalive passed', 0x8d);
    } else if (this.client.expiresAt !== null && clock.known() && clock.wall() > this.client.expiresAt) {
      this.close('its token expired', 0x87, true);
    }
  }

  /** Closes it, with MQTT 5's reason; `will`: as when it broke. */
  close(why: string, reason: number, will: boolean): void {
    if (this.#here) this.#house.log.info({ ...this.#who(), why }, 'a client is disconnected');
    this.#gone(will);
    this.#wire.end(this.mqtt5 ? { cmd: 'disconnect', reasonCode: reason } : undefined);
  }

  #who(): object {
    const { child, module } = this.client;
    return { child, ...(module === null ? {} : { module }), address: this.origin.address };
  }

  /** It did what it must not. */
  #fail(why: string, reason: number): void {
    this.#house.refused('connection', why, this.origin);
    this.close(why, reason, true);
  }

  /** It counts no more, whatever becomes of its socket. */
  #gone(will: boolean): void {
    if (!this.#here) return;
    this.#here = false;
    this.#noRoomTimer?.cancel();
    this.#left(this, will ? this.#will : null);
  }

  #packet(packet: ClientPacket): void {
    if (packet.kind !== 'publish' && packet.kind !== 'puback') this.#slowDown(0);
    switch (packet.kind) {
      case 'connect':
        this.#fail('a second CONNECT', 0x82);
        break;
      case 'publish':
        this.#publish(packet);
        break;
      case 'puback':
        // One for nothing is the echo of a session that we no longer have.
        if (this.session.acknowledged(packet.id)) this.#room();
        break;
      case 'subscribe':
        this.#subscribe(packet.id, packet.filters);
        break;
      case 'unsubscribe':
        this.#unsubscribe(packet.id, packet.filters);
        break;
      case 'pingreq':
        this.#wire.send({ cmd: 'pingresp' });
        break;
      case 'disconnect':
        // A session that was to end with its connection cannot be given a life at its end (section 3.14.2.2.2).
        if (packet.sessionExpirySecs !== undefined && this.#connect.sessionExpirySecs > 0)
          this.session.keeping = keepingOf(packet.sessionExpirySecs);
        this.#gone(packet.reason === 0x04);
        this.#wire.cut();
        break;
    }
  }

  #greet(sessionPresent: boolean): void {
    if (!this.mqtt5) {
      this.#wire.send({ cmd: 'connack', sessionPresent, returnCode: 0 });
      return;
    }
    const cut = this.#connect.sessionExpirySecs > limits.SESSION_SECS_MAX;
    this.#wire.send({
      cmd: 'connack',
      sessionPresent,
      reasonCode: 0,
      properties: {
        receiveMaximum: limits.UNACKNOWLEDGED_MAX * this.#share,
        maximumQoS: 1,
        maximumPacketSize: limits.PACKET_BYTES_MAX,
        topicAliasMaximum: 0,
        subscriptionIdentifiersAvailable: false,
        sharedSubscriptionAvailable: false,
        ...(cut ? { sessionExpiryInterval: limits.SESSION_SECS_MAX } : {}),
      },
    });
  }

  #publish(packet: Publish): void {
    const { topic, payload, qos, id, retain, properties } = packet;
    if (qos === 2) {
      this.#fail('a PUBLISH of QoS 2', 0x9b);
      return;
    }
    if (payload.length > BODY_BYTES_MAX) {
      this.session.counts.refused++;
      this.#house.services.tooLarge();
      this.#fail(`a body of ${payload.length} bytes`, 0x95);
      return;
    }
    const bytes = payload.length + topic.length;
    const said = this.#conversation.meaning({ topic, payload, retain, properties });
    if (said.kind === 'nothing') this.#house.refused('message', said.why, this.origin);
    this.#acknowledgements.add(id, bytes, this.#conversation.hear(said));
    this.#slowDown(bytes);
  }

  /** Stops reading when too much came, or too much is unanswered. */
  #slowDown(bytes: number): void {
    const { clock } = this.#house;
    const now = clock.monotonic();
    const wait = Math.max(this.#messages.take(1, now), this.#bytes.take(bytes, now));
    if (wait > 0) {
      this.#wire.hold('rate');
      clock.after(wait, () => this.#wire.release('rate'));
    }
    if (this.#crowded) this.#wire.hold('unanswered');
  }

  get #crowded(): boolean {
    const { count, bytes } = this.#acknowledgements;
    return count >= limits.UNACKNOWLEDGED_MAX * this.#share || bytes >= limits.UNACKNOWLEDGED_BYTES_MAX * this.#share;
  }

  #eased(): void {
    if (!this.#crowded) this.#wire.release('unanswered');
  }

  #room(): void {
    this.#conversation.room();
    this.onRoom();
  }

  /** What is to be said of a message, when its turn has come. */
  #answer(id: number, { reason, stuck, explained }: Outcome): boolean {
    if (reason === 0) this.session.counts.in++;
    else this.session.counts.refused++;
    if (!this.#here) return false;
    // MQTT 3.1.1 has no word for "not taken" (section 3.3.5): no PUBACK, and no connection.
    if (reason !== 0 && id > 0 && !this.mqtt5 && explained !== true) {
      if (stuck === true) this.#noRoom();
      else this.#fail('a message that is not taken', reason);
      return false;
    }
    if (id === 0) return true;
    if (reason === 0 || !this.mqtt5) this.#wire.acknowledge(id);
    else this.#wire.send({ cmd: 'puback', messageId: id, reasonCode: reason });
    return true;
  }

  #noRoom(): void {
    this.session.turnedAway = true;
    this.#wire.hold('no room');
    this.#noRoomTimer = this.#house.clock.after(limits.NO_ROOM_MS, () => this.#fail('there was no room', 0x97));
  }

  #subscribe(id: number, wishes: readonly { readonly filter: string; readonly qos: 0 | 1 | 2 }[]): void {
    const { session } = this;
    let changed = false;
    const granted = wishes.map(({ filter, qos }) => {
      const verdict = this.#grant(filter, qos);
      if (verdict < 0x80) changed = session.subscribe(filter, verdict as 0 | 1) || changed;
      else session.counts.refused++;
      return verdict;
    });
    const suback = () => {
      if (!this.#here) return;
      this.#wire.send({ cmd: 'suback', messageId: id, granted: this.mqtt5 ? granted : granted.map(refusedAs311) });
      for (const [at, { filter }] of wishes.entries()) {
        if (granted[at]! >= 0x80) continue;
        this.#startWithDesired(filter);
        if (this.client.gateway === true) this.#house.services.below?.subscribed(this.client.child, filter);
      }
      session.pump();
    };
    if (changed) void this.#house.subscribed(session).then(suback);
    else suback();
  }

  /** The QoS, or the reason why not. */
  #grant(filter: string, qos: 0 | 1 | 2): number {
    const { subscriptions } = this.session;
    if (!isFilter(filter)) return 0x8f;
    if (filter.startsWith('$share/')) return 0x9e;
    const { client } = this;
    const most = client.gateway === true ? limits.GATEWAY_SUBSCRIPTIONS_MAX : this.#house.limits.subscriptionsMax;
    if (!subscriptions.has(filter) && subscriptions.size >= most) return 0x97;
    const lower = this.dialect.lower?.(client, filter) ?? null;
    const granted = this.dialect.subscribes(client, filter, qos);
    const may = lower === null || this.#house.services.below?.claim(client.child, lower) === true;
    if (granted !== null && may) return granted;
    this.#house.refused('subscription', 'not its own topic', this.origin);
    return 0x87;
  }

  #unsubscribe(id: number, filters: readonly string[]): void {
    const granted = filters.map((filter) => (this.session.subscriptions.delete(filter) ? 0 : 0x11));
    const unsuback = () => {
      if (this.#here) this.#wire.send({ cmd: 'unsuback', messageId: id, granted: this.mqtt5 ? granted : [] });
    };
    if (granted.includes(0)) void this.#house.subscribed(this.session).then(unsuback);
    else unsuback();
  }

  #startWithDesired(filter: string): void {
    if (this.dialect.startsWithDesired(this.client, filter)) void this.#conversation.desired();
  }
}

/** Without what is empty. */
function sayable(properties: PublicationProperties = {}): object {
  const { contentType, userProperties = {}, messageExpiryInterval } = properties;
  return {
    ...(messageExpiryInterval === undefined ? {} : { messageExpiryInterval }),
    ...(contentType === undefined ? {} : { contentType }),
    ...(Object.keys(userProperties).length === 0 ? {} : { userProperties }),
  };
}

function refusedAs311(code: number): number {
  return code < 0x80 ? code : 0x80;
}

/** MQTT 5, section 3.1.2.11.2. */
export function keepingOf(sessionExpirySecs: number): Session['keeping'] {
  if (sessionExpirySecs === 0) return 'not';
  return { secs: Math.min(sessionExpirySecs, limits.SESSION_SECS_MAX) };
}
