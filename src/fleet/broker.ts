import { setMaxListeners } from 'node:events';
import type { MqttClient } from 'mqtt';
import type { Clock } from '../clock/clock.ts';
import { PREFIX } from '../dialects/holdfast.ts';
import { covers } from '../dialects/topic-filter.ts';
import { Dialer } from '../upstream/dialer.ts';
import { visit, type GuestOptions } from '../upstream/guest.ts';
import { Resolver } from '../upstream/resolver.ts';
import { FleetError } from './fleet-error.ts';

/** How long the broker may take to let us in, ms, and to acknowledge what we publish. */
const CONNECT_MS_MAX = 10_000;
const PUBLISH_MS_MAX = 30_000;
/** How long a goodbye may take, ms. */
const LEAVE_MS_MAX = 1000;
/** No broker says which retained message is the last: nothing for so long, ms, after a round trip, is taken for the end. */
const SETTLE_MS = 200;
const SETTLE_MS_MAX = 30_000;
/** Nobody subscribes to it: leaving it costs a round trip and does nothing else. */
const NOWHERE = `${PREFIX}/-/nothing`;

/** Who calls at which broker, and by which way. */
export interface BrokerOptions extends Omit<GuestOptions, 'purpose' | 'clientId' | 'dialer'> {
  /** Asked instead of the system's resolver: addresses, with a port when it is not 53. */
  readonly dnsServers?: readonly string[] | undefined;
}

/** The same as a guest of the broker, with a client id of its own each time. */
export function fleetGuest({ dnsServers: servers, ...options }: BrokerOptions, clock: Clock): GuestOptions {
  const dialer = new Dialer({ clock, resolver: new Resolver({ servers, clock, book: null }) });
  return { ...options, dialer, clientId: 'holdfast', purpose: 'fleet' };
}

/** A PUBLISH as it comes, with the properties of MQTT 5. */
export interface Heard {
  readonly topic: string;
  readonly body: Buffer;
  readonly contentType: string | undefined;
  readonly userProperties: Record<string, string | string[]> | undefined;
}

interface Follower {
  readonly filters: readonly string[];
  readonly listener: (heard: Heard) => void;
}

/**
 * One connection to a broker, as a guest: with a client id of its own, and no session that stays. It does not come back by
 * itself: when it is lost, everything that is under way rejects with a {@link FleetError}.
 */
export class Broker {
  readonly #client: MqttClient;
  readonly #clock: Clock;
  readonly #followers = new Set<Follower>();
  readonly #ended = new AbortController();
  readonly #waiting = new Set<() => void>();
  /** As people may see it: without a password. */
  readonly url: string;

  private constructor(client: MqttClient, clock: Clock, url: string) {
    this.#client = client;
    this.#clock = clock;
    this.url = url;
    // As many wait at once as is asked for at once.
    setMaxListeners(0, this.#ended.signal);
    client.on('close', () => this.#ended.abort());
    client.on('message', (topic, body, { properties }) => {
      const heard = { topic, body, contentType: properties?.contentType, userProperties: properties?.userProperties };
      for (const { filters, listener } of this.#followers) {
        if (filters.some((filter) => covers(filter, topic))) listener(heard);
      }
      for (const look of this.#waiting) look();
    });
  }

  /** Rejects with a {@link FleetError} when the broker cannot be reached or does not let us in. */
  static async connect(options: BrokerOptions, clock: Clock, signal?: AbortSignal): Promise<Broker> {
    const url = options.url.replace(/\/\/[^@/]*@/, '//');
    try {
      const { client } = await visit(fleetGuest(options, clock), CONNECT_MS_MAX, signal);
      return new Broker(client, clock, url);
    } catch (error) {
      throw new FleetError(`cannot connect to ${url}: ${(error as Error).message}`);
    }
  }

  /** Aborted when the connection is over. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** Hands on what comes under these filters, what is retained first. Resolves, once subscribed, with what ends it. */
  async follow(filters: readonly string[], listener: (heard: Heard) => void): Promise<() => Promise<void>> {
    const follower = { filters, listener };
    this.#followers.add(follower);
    const stop = async () => {
      this.#followers.delete(follower);
      const others = [...this.#followers].flatMap((each) => each.filters);
      const unused = filters.filter((filter) => !others.includes(filter));
      if (unused.length > 0 && !this.ended.aborted) await this.#client.unsubscribeAsync([...unused]);
    };
    try {
      await this.whileConnected(this.#client.subscribeAsync([...filters], { qos: 1 }));
    } catch (error) {
      this.#followers.delete(follower);
      if (error instanceof FleetError) throw error;
      throw new FleetError(`${this.url} does not let us read ${filters.join(', ')}: ${(error as Error).message}`);
    }
    return stop;
  }

  /** What is retained under these filters, by topic. */
  async retained(filters: readonly string[]): Promise<Map<string, Buffer>> {
    const found = new Map<string, Buffer>();
    let heard = 0;
    const stop = await this.follow(filters, ({ topic, body }) => {
      heard++;
      if (body.length === 0) found.delete(topic);
      else found.set(topic, body);
    });
    await this.settled(() => heard);
    await stop();
    return found;
  }

  /** Resolves when what is retained has probably come: `count` of what was heard grows no more. */
  async settled(count: () => number): Promise<void> {
    const until = this.#clock.monotonic() + SETTLE_MS_MAX;
    for (let before = -1; before !== count() && this.#clock.monotonic() < until;) {
      await this.whileConnected(this.#client.unsubscribeAsync(NOWHERE));
      before = count();
      await this.pause(SETTLE_MS);
    }
  }

  /** Resolves when the broker has acknowledged it, with QoS 0 when it is on its way. */
  async publish(topic: string, body: Buffer, { qos = 1, retain = false }: PublishOptions = {}): Promise<void> {
    const published = this.#client.publishAsync(topic, body, { qos, retain });
    const late = this.pause(PUBLISH_MS_MAX).then(() => {
      throw new Error(`no acknowledgement within ${PUBLISH_MS_MAX / 1000} s`);
    });
    late.catch(() => undefined);
    try {
      await this.whileConnected(Promise.race([published, late]));
    } catch (error) {
      if (error instanceof FleetError) throw error;
      throw new FleetError(`${this.url} does not take what we publish to ${topic}: ${(error as Error).message}`);
    }
  }

  /** Resolves with what `look` finds (it looks again after each message that comes), or with null after `ms`. */
  async until<T>(look: () => T | null, ms: number): Promise<T | null> {
    let again: () => void = () => undefined;
    const found = new Promise<T>((resolve) => {
      again = () => {
        const it = look();
        if (it !== null) resolve(it);
      };
    });
    this.#waiting.add(again);
    again();
    try {
      return await Promise.race([found, this.pause(ms).then(() => null)]);
    } finally {
      this.#waiting.delete(again);
    }
  }

  /** Rejects when the connection is lost meanwhile. */
  pause(ms: number): Promise<void> {
    let done: () => void = () => undefined;
    const timer = this.#clock.after(ms, () => done());
    const passed = new Promise<void>((resolve) => (done = resolve));
    return this.whileConnected(passed).finally(() => timer.cancel());
  }

  /** The same promise, except that it rejects with a {@link FleetError} when the connection is lost before it settles. */
  whileConnected<T>(promise: Promise<T>): Promise<T> {
    const { signal } = this.#ended;
    return new Promise<T>((resolve, reject) => {
      const lost = () => reject(new FleetError(`the connection to ${this.url} was lost`));
      if (signal.aborted) lost();
      signal.addEventListener('abort', lost);
      const over = () => signal.removeEventListener('abort', lost);
      void promise.then(resolve, reject).finally(over);
    });
  }

  /** Says goodbye; a broker that does not answer is not waited for. */
  async leave(): Promise<void> {
    if (this.ended.aborted) return;
    // Not `end(true)`: what has begun to end cannot be ended otherwise.
    const forced = this.#clock.after(LEAVE_MS_MAX, () => this.#client.stream.destroy());
    await new Promise<void>((resolve) => {
      this.ended.addEventListener('abort', () => resolve());
      this.#client.end();
    });
    forced.cancel();
  }
}

interface PublishOptions {
  readonly qos?: 0 | 1;
  readonly retain?: boolean;
}
