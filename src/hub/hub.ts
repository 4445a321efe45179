import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import type { Fate } from '../commands/feedback.ts';
import type { ChildDialect, Publication, ToChild } from '../dialects/child-dialect.ts';
import type { Message } from '../message/message.ts';
import { Arrival } from './arrival.ts';
import { Awaited } from './awaited.ts';
import { Connection, keepingOf } from './connection.ts';
import type { Admission, Client, Gatekeeper, Presented } from './gatekeeper.ts';
import { carryOut, type House, type Newcomer, type Testament } from './house.ts';
import { LIMITS, type HubLimits } from './limits.ts';
import { Listeners, type ListenOptions, type ServerCertificate } from './listeners.ts';
import type { Errand } from './mailbox.ts';
import { Observers } from './observers.ts';
import { failure, Questions, type MethodResult } from './questions.ts';
import { Refusals } from './refusals.ts';
import type { Services } from './services.ts';
import type { Store } from './session-store.ts';
import type { Session } from './session.ts';
import { Sessions } from './sessions.ts';

/** How often connections are looked at, ms, and how many looks go by between two of the sessions. */
const LOOK_MS = 1000;
const LOOKS_PER_EXPIRY = 10;
/** How long a SUBACK waits for its subscription to be durable, ms: then a medium that refuses is not the client's trouble. */
const SUBSCRIBED_MS = 2000;
/** Largest payload of a method, bytes (Azure IoT Hub's). */
const METHOD_BYTES_MAX = 128 * 1024;
/** How often somebody is asked about again whose credentials changed while he was asked about. */
const ADMISSIONS_MAX = 3;

export interface HubOptions {
  /** The gateway's id. */
  readonly gateway: string;
  readonly listen: ListenOptions;
  readonly limits?: Partial<HubLimits>;
  readonly gatekeeper: Gatekeeper;
  readonly services: Services;
  readonly dialects: { readonly [name in Client['dialect']]: ChildDialect };
  readonly store: Store;
  readonly clock: Clock;
  /** How long the gateway has been accountable, ms: what waits expires by it. Runs on over restarts. */
  readonly age: () => number;
  readonly log: Logger;
  /** What became of a command. After a crash it may be told again, until what is given back has resolved. Null: nobody asked. */
  readonly settled?: (child: string, module: string | null, message: ToChild, fate: Fate) => Promise<void> | null;
}

/** A client as `status` and `list` show it. */
export interface Presence {
  readonly child: string;
  readonly module: string | null;
  readonly connected: boolean;
  /** Wall ms: since when it is connected, or away; null: it has not been here since the hub started. */
  readonly since: number | null;
  /** Wall ms at which it was last heard; null likewise. */
  readonly seenAt: number | null;
  readonly address: string | null;
  readonly protocol: string | null;
  readonly dialect: string | null;
  /** Messages since the hub started: taken, said, refused, and let go because the client was slow. */
  readonly in: number;
  readonly out: number;
  readonly refused: number;
  readonly slow: number;
  /** Messages that wait for it, and those that went without being delivered. */
  readonly queued: number;
  readonly dropped: number;
  /** Messages for it that found no room, and whether there is none now. */
  readonly overflow: number;
  readonly full: boolean;
}

/** Where children are connected. Not a general broker: what a client says goes where {@link Services} bring it. */
export class Hub {
  readonly #options: HubOptions;
  readonly #limits: { -readonly [limit in keyof HubLimits]: HubLimits[limit] };
  readonly #house: House;
  readonly #sessions: Sessions;
  readonly #observers: Observers;
  readonly #questions: Questions;
  readonly #awaited: Awaited;
  readonly #refusals: Refusals;
  readonly #listeners: Listeners;
  readonly #connections = new Map<Session, Connection>();
  /** Wills that wait for their client to come back first. */
  readonly #wills = new Map<Session, Timer>();
  #looking: Timer | null = null;
  readonly #hearNoMore: () => void;
  #revocations = 0;
  #stopping = false;

  constructor(options: HubOptions) {
    const { gateway, clock, log, gatekeeper, store, age, services, dialects } = options;
    const limits = { ...LIMITS, ...options.limits };
    this.#options = options;
    this.#limits = limits;
    this.#sessions = new Sessions(store, limits, age, clock, log, (child, module, { errand, message }, fate) =>
      errand === 'command' ? (options.settled?.(child, module, message, fate) ?? null) : null,
    );
    this.#observers = new Observers(gateway);
    this.#questions = new Questions(clock);
    this.#awaited = new Awaited(clock);
    this.#refusals = new Refusals(clock, log);
    this.#house = {
      limits,
      clock,
      log,
      services,
      dialects,
      admit: (presented) => this.#admit(presented),
      subscribed: (session) => this.#subscribed(session),
      answered: ({ child, module }, rid, status, body) =>
        this.#questions.answered(nameOf(child, module), rid, status, body),
      refused: (what, why, origin, said) => this.#refusals.add(what, why, origin.address, said),
    };
    this.#listeners = new Listeners(
      options.listen,
      limits,
      clock,
      log,
      (stream, origin) => void new Arrival(stream, origin, this.#house, (newcomer) => this.#enter(newcomer)),
      (why, address) => this.#refusals.add('connection', why, address),
    );
    this.#hearNoMore = gatekeeper.onRevoked((child, module, stays) => this.#revoked(child, module, stays));
  }

  /** Loads the sessions and listens. Rejects when a port cannot be had. */
  async start(): Promise<void> {
    this.#sessions.load();
    let looks = 0;
    this.#looking = this.#house.clock.every(LOOK_MS, () => {
      for (const connection of this.#connections.values()) connection.look();
      if (++looks % LOOKS_PER_EXPIRY === 0) this.#sessions.expire();
    });
    try {
      await this.#listeners.start();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Clients are told, and leave no will: it is we who go. What is to be kept is durable when it resolves, or cannot be. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#looking?.cancel();
    this.#questions.end();
    this.#awaited.end();
    this.#hearNoMore();
    for (const timer of this.#wills.values()) timer.cancel();
    for (const connection of this.#connections.values()) connection.close('the gateway stops', 0x8b, false);
    await this.#listeners.stop();
    await this.#sessions.flush();
  }

  /** The ports that are listened on, by protocol. */
  get ports(): { readonly [protocol: string]: number } {
    return this.#listeners.ports;
  }

  /** New connections are shown this certificate. Throws when it and its key do not fit. */
  setCertificate(certificate: ServerCertificate): void {
    this.#listeners.setCertificate(certificate);
  }

  /** From now on these limits. Whoever is in stays, also where there are more than may come. */
  setLimits(limits: HubLimits): void {
    Object.assign(this.#limits, limits);
    this.#listeners.limitsChanged();
    for (const connection of this.#connections.values()) connection.limitsChanged();
  }

  /** Who may be here, and what each may do, is no longer as it was: whoever may not stay is cut off, and what it may not do any more ends. */
  reconsider(): void {
    this.#revocations++;
    for (const connection of this.#connections.values()) {
      const objection = this.#options.gatekeeper.objection(connection.client);
      if (objection !== null) {
        connection.close(objection, 0x87, false);
        continue;
      }
      if (this.#withinGrants(connection)) void this.#sessions.save(connection.session);
      this.#observers.regrant(connection);
    }
  }

  /** Resolves when a client is there and has subscribed to this method, or has been waited for long enough. Never rejects. */
  whenItTakes(child: string, module: string | null, method: string, secs: number): Promise<void> {
    const takes = () => {
      const session = this.#sessions.find(child, module);
      const line = session?.line ?? null;
      if (session === undefined || line === null) return false;
      const { topic } = line.dialect.methodRequest(line.client, method, '0', Buffer.alloc(0));
      return session.granted(topic) !== null;
    };
    return this.#awaited.until(takes, secs);
  }

  /** Invokes a method of a client. Never rejects: 404 it is not there or does not listen, 413 too large, 504 no answer. */
  method(
    child: string,
    module: string | null,
    name: string,
    payload: unknown,
    timeoutSecs: number,
    id?: string,
  ): Promise<MethodResult> {
    const who = nameOf(child, module);
    const body = Buffer.from(payload === undefined ? '' : JSON.stringify(payload), 'utf8');
    if (body.length > METHOD_BYTES_MAX) return Promise.resolve(failure(413, `a payload of ${body.length} bytes`));
    return this.#questions.ask(who, timeoutSecs, (rid) => {
      const session = this.#sessions.find(child, module);
      const line = session?.line ?? null;
      if (session === undefined || line === null) return failure(404, `"${who}" is not connected`);
      const request = line.dialect.methodRequest(line.client, name, rid, body, timeoutSecs, id);
      if (session.granted(request.topic) === null) return failure(404, `"${who}" has not subscribed to its methods`);
      return session.say(request) ? null : failure(503, `"${who}" does not take what is sent to it`);
    });
  }

  /**
   * Brings a message to a client, now or when it comes: a command, or a message for an input. Resolves when it is durable or
   * delivered. Rejects with a `MailboxFull`. `expiresAfterSecs` null: the hub's own limit.
   */
  async deliver(
    child: string,
    module: string | null,
    errand: Errand,
    message: ToChild,
    expiresAfterSecs: number | null,
  ): Promise<void> {
    const session = this.#sessions.of(child, module);
    const secs = Math.min(expiresAfterSecs ?? Infinity, this.#house.limits.queuedSecsMax);
    session.expire();
    const kept = session.mailbox.add(errand, message, this.#options.age() + secs * 1000);
    session.pump();
    await kept;
  }

  /** Tells a client that is there of its new desired properties; one that is not asks when it comes. */
  desired(child: string, module: string | null, version: number, patch: object): void {
    const session = this.#sessions.find(child, module);
    if (session !== undefined) this.#connections.get(session)?.desired(version, patch);
  }

  /** Says something to a client that is there. `busy`: it takes nothing now; `deaf`: it is not there, or does not listen to this. */
  tell(child: string, publication: Publication): 'told' | 'busy' | 'deaf' {
    const session = this.#sessions.find(child, null);
    if (session === undefined || session.line === null || session.granted(publication.topic) === null) return 'deaf';
    if (!session.ready(publication.topic)) return 'busy';
    return session.say(publication) ? 'told' : 'deaf';
  }

  /** Shows a message that was accepted to those who observe. */
  observe(message: Message): void {
    this.#observers.show(message);
  }

  /** A client that there is no more: it is cut off, and nothing of it stays. */
  forget(child: string, module: string | null): void {
    this.#revoked(child, module);
    this.#sessions.forget(child, module);
  }

  clients(): Presence[] {
    return [...this.#sessions].map((session) => {
      const connection = this.#connections.get(session);
      return {
        child: session.child,
        module: session.module,
        connected: connection !== undefined,
        since: connection?.since ?? session.leftAt,
        seenAt: connection?.heardAt ?? session.seenAt,
        address: connection?.origin.address ?? null,
        protocol: connection?.origin.protocol ?? null,
        dialect: connection?.client.dialect ?? null,
        ...session.counts,
        queued: session.mailbox.count,
        dropped: session.mailbox.dropped,
        overflow: session.mailbox.overflow,
        full: session.mailbox.full,
      };
    });
  }

  /** What was refused since the start, by what it was. */
  get refused(): { readonly [what: string]: number } {
    return this.#refusals.counts;
  }

  async #admit(presented: Presented): Promise<Admission> {
    for (let asked = 0; asked < ADMISSIONS_MAX; asked++) {
      const before = this.#revocations;
      const admission = await this.#options.gatekeeper.admit(presented);
      if (before === this.#revocations) return admission;
    }
    return { refused: 'unavailable', why: 'credentials change faster than they can be looked at' };
  }

  #enter(newcomer: Newcomer): Connection | 'full' | 'no room' {
    const { client, connect } = newcomer;
    const session = this.#sessions.of(client.child, client.module);
    const older = this.#connections.get(session);
    if (this.#stopping) return 'full';
    if (older === undefined && this.#connections.size >= this.#house.limits.clientsMax) return 'full';
    if (!connect.mqtt5 && session.turnedAway && !this.#house.services.hasRoom()) return 'no room';
    // With MQTT 5 each message is told by itself, so a connection with that says nothing of whether there is room.
    if (!connect.mqtt5) session.turnedAway = false;
    older?.close('it is connected elsewhere', 0x8e, true);
    this.#wills.get(session)?.cancel();
    this.#wills.delete(session);
    const forEver = !connect.mqtt5 && !connect.clean;
    const present = this.#sessions.begin(
      session,
      connect.clean,
      forEver ? 'for ever' : keepingOf(connect.sessionExpirySecs),
    );
    const connection = new Connection(newcomer, session, this.#house, (gone, will) => this.#left(gone, will));
    this.#withinGrants(connection);
    this.#connections.set(session, connection);
    this.#observers.add(connection);
    this.#house.log.info(
      {
        child: client.child,
        module: client.module ?? undefined,
        address: newcomer.origin.address,
        sessionPresent: present,
      },
      'a client is connected',
    );
    this.#options.services.present(client, true);
    if (client.gateway === true) this.#options.services.below?.came(client.child);
    connection.begin(present);
    this.#awaited.look();
    return connection;
  }

  /** What it was allowed once it may no longer be: its subscriptions are asked about again. True: some went. */
  #withinGrants({ client, dialect, session }: Connection): boolean {
    let changed = false;
    for (const [filter, qos] of session.subscriptions)
      if (dialect.subscribes(client, filter, qos) === null) changed = session.subscriptions.delete(filter);
    return changed;
  }

  #left(connection: Connection, will: Testament | null): void {
    const { client, session } = connection;
    if (this.#connections.get(session) !== connection) return;
    this.#connections.delete(session);
    this.#observers.remove(connection);
    session.seenAt = connection.heardAt;
    session.leftAt = this.#house.clock.wall();
    session.detach(connection);
    this.#sessions.end(session);
    this.#options.services.present(client, false);
    if (will === null || this.#stopping) return;
    const say = () => {
      this.#wills.delete(session);
      carryOut(will, client, this.#options.services).catch((error: unknown) => {
        this.#house.log.warn({ err: error, child: client.child }, 'the will of a client is lost');
      });
    };
    const { keeping } = session;
    // Not longer than its session is kept (MQTT 5, section 3.1.3.2.2).
    const delaySecs = Math.min(
      will.delaySecs,
      keeping === 'not' ? 0 : keeping === 'for ever' ? Infinity : keeping.secs,
    );
    if (delaySecs === 0) say();
    else this.#wills.set(session, this.#house.clock.after(delaySecs * 1000, say));
  }

  #revoked(child: string, module: string | null, stays: (client: Client) => boolean = () => false): void {
    this.#revocations++;
    for (const connection of this.#connections.values()) {
      const { client } = connection;
      // A module may have come in with its child's key.
      if (client.child === child && (module === null || client.module === module) && !stays(client))
        connection.close('its credentials count no more', 0x87, false);
    }
  }

  #subscribed(session: Session): Promise<void> {
    return new Promise((resolve) => {
      const settled = () => {
        timer.cancel();
        resolve();
        // Its SUBACK goes first.
        setImmediate(() => this.#awaited.look());
      };
      const timer = this.#house.clock.after(SUBSCRIBED_MS, settled);
      void this.#sessions.save(session).then(settled);
    });
  }
}

function nameOf(child: string, module: string | null): string {
  return module === null ? child : `${child}/${module}`;
}
