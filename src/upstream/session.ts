import { MqttClient, type IClientOptions } from 'mqtt';
import type { Clock } from '../clock/clock.ts';
import { brokerFault } from './broker-fault.ts';
import { reasonOf, type DialFailed } from './dial-failed.ts';
import type { Dialer, Dialed } from './dialer.ts';
import { disconnected } from './disconnected.ts';
import { RECEIVE_MAXIMUM } from './incoming.ts';
import { Inlet, type InletEvents } from './inlet.ts';
import type { WayOut } from './way-out.ts';

/*
 * MQTT.js 5.16 as a transport: over a connection that the {@link Dialer} made it says CONNECT, keeps it alive, subscribes and
 * parses what comes. It is kept away from everything that Holdfast promises, because it ignores Receive Maximum, keeps
 * publishes without bound while offline, re-sends on its own, acknowledges what it has read and may never call back after
 * `end(true)`. So PUBLISH packets and their PUBACKs go to its stream as bytes, and are taken from that stream before it sees
 * them, in both directions.
 */

/** Packet identifiers for messages: 1 to here; MQTT.js uses those above for its SUBSCRIBEs. */
export const PACKET_IDS = 60_000;
/** PUBACK's reason codes from here on refuse (MQTT 5, section 2.4). */
export const FIRST_FAILURE = 0x80;
const OWN_IDS_FROM = 65_000;

/** An attempt that has no CONNACK after this has failed, ms. */
const CONNECT_MS_MAX = 20_000;
/** On leaving, how long the last bytes may take to get out, ms. */
const LEAVE_MS_MAX = 500;
/** What MQTT.js calls it when a ping goes unanswered. */
const KEEPALIVE_TIMEOUT = 'Keepalive timeout';
/** MQTT 5: the broker keeps our session as long as it will. */
const SESSION_FOR_EVER = 0xffff_ffff;
/** MQTT 5's default when CONNACK names no Receive Maximum. */
const RECEIVE_MAXIMUM_DEFAULT = 65_535;

export interface ConnectOptions extends WayOut {
  readonly dialer: Dialer;
  readonly version: 4 | 5;
  readonly clientId: string;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly keepaliveSecs: number;
  /** Published by the broker when we are gone; null: nothing is. */
  readonly will: { readonly topic: string; readonly body: Buffer } | null;
}

/** Why there is no session. `refusal` is CONNACK's code when there was one. */
export class ConnectFailed extends Error {
  readonly refusal: number | null;
  /** The broker does not speak this version of MQTT, or seems not to. */
  readonly wrongVersion: boolean;
  /** What to do about it, when that is known. */
  readonly advice: string | undefined;

  constructor(message: string, refusal: number | null, wrongVersion: boolean, advice?: string) {
    super(message);
    this.name = 'ConnectFailed';
    this.refusal = refusal;
    this.wrongVersion = wrongVersion;
    this.advice = advice;
  }
}

export interface SessionEvents extends InletEvents {
  /** The socket takes more again. */
  writable(): void;
  /** Once, when the connection is gone. `byPeer`: the other side ended it, rather than silence or ourselves. */
  closed(why: string, byPeer: boolean): void;
}

/** One established connection. */
export class Session {
  readonly version: 4 | 5;
  /** Messages the broker lets be in flight. */
  readonly receiveMaximum: number;
  /** Largest packet the broker takes, bytes. */
  readonly packetBytesMax: number;
  /** The broker had kept our session: our subscriptions, and what came for us meanwhile. */
  readonly kept: boolean;
  /** The address of this machine that the connection leaves by. */
  readonly localAddress: string;
  readonly #client: MqttClient;
  readonly #clock: Clock;
  readonly #inlet: Inlet;
  #events: SessionEvents | null = null;
  #lastError: string | null = null;
  #closed = false;

  private constructor(
    client: MqttClient,
    inlet: Inlet,
    clock: Clock,
    version: 4 | 5,
    localAddress: string,
    connack: Connack,
  ) {
    this.#client = client;
    this.#inlet = inlet;
    this.localAddress = localAddress;
    this.#clock = clock;
    this.version = version;
    this.receiveMaximum = connack.properties?.receiveMaximum ?? RECEIVE_MAXIMUM_DEFAULT;
    this.packetBytesMax = connack.properties?.maximumPacketSize ?? Infinity;
    this.kept = connack.sessionPresent;
  }

  /** One attempt, bounded in time and given up when `signal` says so. Rejects with {@link ConnectFailed}. */
  static async connect(options: ConnectOptions, clock: Clock, signal: AbortSignal): Promise<Session> {
    const began = clock.monotonic();
    let line: Dialed;
    try {
      line = await options.dialer.dial(options, CONNECT_MS_MAX, signal);
    } catch (error) {
      const { message, advice } = error as DialFailed;
      throw new ConnectFailed(message, null, false, advice);
    }
    return Session.#introduce(line, options, clock, began + CONNECT_MS_MAX - clock.monotonic(), signal);
  }

  /** CONNECT and its answer. */
  static #introduce(
    { stream, localAddress }: Dialed,
    options: ConnectOptions,
    clock: Clock,
    msMax: number,
    signal: AbortSignal,
  ): Promise<Session> {
    return new Promise((resolve, reject) => {
      const client = new MqttClient(() => stream, clientOptions(options));
      const inlet = new Inlet(
        stream,
        options.version,
        (bytes) => stream.write(bytes),
        (why) => {
          // No error of a socket's: it counts as one of what was read.
          stream.destroy();
          client.emit('error', new Error(why));
        },
      );
      // Our listeners stay on after they have done their part: MQTT.js hangs its own on the same emitter, and an error
      // that nobody listens for would end the process.
      let settled = false;
      let lastError: string | null = null;
      let advice: string | undefined;
      const fail = (why: string, refusal: number | null, wrongVersion: boolean) => {
        if (settled) return;
        settled = true;
        deadline.cancel();
        client.end(true);
        reject(new ConnectFailed(why, refusal, wrongVersion, advice));
      };
      const deadline = clock.after(msMax, () => fail(`no answer within ${CONNECT_MS_MAX / 1000} s`, null, false));
      signal.addEventListener('abort', () => fail('given up', null, false), { once: true });
      if (signal.aborted || stream.destroyed) fail('the connection was closed before it was answered', null, false);
      client.on('error', (error) => {
        ({ what: lastError, advice } = brokerFault(error, options));
        const { code } = error as { code?: unknown };
        // A CONNACK that refuses comes as an error whose code is its number.
        if (typeof code === 'number') fail(lastError, code, code === 1 || code === 0x84);
        // One without a code is of what was read: that is no MQTT, or not this version of it.
        else fail(lastError, null, code === undefined);
      });
      client.on('close', () =>
        fail(lastError ?? 'the connection was closed before it was answered', null, lastError === null),
      );
      client.once('connect', (connack) => {
        if (settled) return;
        settled = true;
        deadline.cancel();
        const session = new Session(client, inlet, clock, options.version, localAddress, connack);
        session.#listen();
        resolve(session);
      });
    });
  }

  /** Names who hears of what happens; without one, nothing is read from the broker for us. */
  attach(events: SessionEvents): void {
    this.#events = events;
    if (this.#closed) events.closed(this.#lastError ?? 'closed', true);
    else this.#inlet.open(events);
  }

  /** Sends bytes that are whole packets. False: the socket's buffer is full, wait for `writable`. */
  write(bytes: Buffer): boolean {
    return this.#closed ? false : this.#client.stream.write(bytes);
  }

  /** Asks for messages; resolves when the broker has granted it, rejects when it has not or the connection goes. */
  subscribe(filters: readonly string[], qos: 0 | 1): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#client.subscribe([...filters], { qos }, (error) => (error ? reject(error) : resolve()));
    });
  }

  /** Cuts the connection at once, for what the other side did wrong. */
  abort(why: string): void {
    this.#lastError = why;
    this.#client.end(true);
    this.#end(false);
  }

  /** Says DISCONNECT, so that the broker does not publish our will, and closes. Bounded in time. */
  async leave(): Promise<void> {
    if (this.#closed) return;
    this.#events = null;
    this.#inlet.close();
    await new Promise<void>((resolve) => {
      const deadline = this.#clock.after(LEAVE_MS_MAX, resolve);
      this.#client.stream.end(Buffer.from([0xe0, 0]), () => {
        deadline.cancel();
        resolve();
      });
    });
    this.#client.end(true);
    this.#closed = true;
  }

  #listen(): void {
    const client = this.#client;
    client.on('disconnect', (packet) => {
      this.#lastError = disconnected(packet.reasonCode ?? 0);
    });
    client.on('error', (error) => {
      this.#lastError = reasonOf(error);
      if ((error as { code?: unknown }).code !== undefined || error.message === KEEPALIVE_TIMEOUT) return;
      // What was read is not MQTT. MQTT.js would throw the bytes away, answers to our messages among them, and read on.
      client.end(true);
      this.#end(true);
    });
    client.on('close', () => this.#end(this.#lastError !== KEEPALIVE_TIMEOUT));
    client.stream.on('drain', () => this.#events?.writable());
  }

  #end(byPeer: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#inlet.close();
    this.#events?.closed(this.#lastError ?? 'the broker closed the connection', byPeer);
  }
}

interface Connack {
  readonly sessionPresent: boolean;
  readonly properties?: { readonly receiveMaximum?: number; readonly maximumPacketSize?: number };
}

function clientOptions(options: ConnectOptions): IClientOptions {
  const v5 = options.version === 5;
  return {
    protocolVersion: options.version,
    clientId: options.clientId,
    ...(options.username === undefined ? {} : { username: options.username }),
    ...(options.password === undefined ? {} : { password: options.password }),
    clean: false,
    ...(v5 ? { properties: { sessionExpiryInterval: SESSION_FOR_EVER, receiveMaximum: RECEIVE_MAXIMUM } } : {}),
    ...(options.will && { will: { topic: options.will.topic, payload: options.will.body, qos: 1, retain: true } }),
    keepalive: options.keepaliveSecs,
    // A ping each keepalive whatever else flows: moving the timer for each PUBACK would cost more than the ping.
    reschedulePings: false,
    connectTimeout: CONNECT_MS_MAX,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    messageIdProvider: new OwnIds(),
    // Else it encodes all 65,536 numbers beforehand, for packets that we do not write with it: 9.5 MB.
    writeCache: false,
  };
}

/** Packet identifiers for MQTT.js's own packets, apart from ours. */
class OwnIds {
  #last = OWN_IDS_FROM;

  allocate(): number {
    this.#last = this.#last >= 65_535 ? OWN_IDS_FROM : this.#last + 1;
    return this.#last;
  }

  getLastAllocated(): number {
    return this.#last;
  }

  register(): boolean {
    return true;
  }

  deallocate(): void {}

  clear(): void {}
}
