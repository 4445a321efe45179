import mqtt, { type MqttClient } from 'mqtt';
import { eventFilters, lossesTopic, parseEvent, statusTopic, type SeenEvent } from '../../src/dialects/holdfast.ts';
import { Bell, WAIT_MS_MAX } from './until.ts';

export interface Arrival extends SeenEvent {
  readonly body: Buffer;
}

/** A loss report as it arrives. `after` is how many events had arrived before it. */
export interface SeenLoss {
  readonly epoch: number;
  readonly lane: number;
  readonly reason: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly count: number;
  readonly exact: boolean;
  readonly after: number;
}

export interface WatcherOptions {
  readonly url: string;
  /** The gateway to watch; all of them when left out. */
  readonly gateway?: string;
  readonly qos?: 0 | 1;
  readonly version?: 4 | 5;
  readonly username?: string;
  readonly password?: string;
}

let watchers = 0;

/**
 * One who subscribes to a gateway's events above it, and keeps them in the order of arrival. Its session outlives
 * connections; it comes back on its own when the broker does.
 */
export class Watcher {
  readonly events: Arrival[] = [];
  readonly losses: SeenLoss[] = [];
  /** Bodies of the status topic, oldest first; retained ones too. */
  readonly statuses: Record<string, unknown>[] = [];
  readonly #client: MqttClient;
  readonly #bell = new Bell();
  #subscribed = 0;

  constructor(options: WatcherOptions) {
    const { gateway = '+', version = 5, qos = 1 } = options;
    this.#client = mqtt.connect(options.url, {
      protocolVersion: version,
      clientId: `watcher-${process.pid}-${++watchers}`,
      clean: false,
      ...(version === 5 ? { properties: { sessionExpiryInterval: 0xffff_ffff } } : {}),
      ...(options.username === undefined ? {} : { username: options.username }),
      ...(options.password === undefined ? {} : { password: options.password }),
      reconnectPeriod: 20,
      connectTimeout: 2000,
      resubscribe: false,
    });
    // The broker's absence is what the tests are about.
    this.#client.on('error', () => undefined);
    this.#client.on('connect', () => {
      const filters = [...eventFilters(gateway), lossesTopic(gateway), statusTopic(gateway)];
      this.#client.subscribe(filters, { qos }, (error) => {
        if (error) return;
        this.#subscribed++;
        this.#bell.ring();
      });
    });
    this.#client.on('message', (topic, body, packet) => {
      const { contentType, userProperties } = packet.properties ?? {};
      const event = parseEvent(topic, contentType, userProperties);
      if (event !== null) this.events.push({ ...event, body });
      else if (topic.endsWith('/losses')) {
        this.losses.push({ ...(JSON.parse(body.toString()) as SeenLoss), after: this.events.length });
      } else if (topic.endsWith('/status')) {
        this.statuses.push(JSON.parse(body.toString()) as Record<string, unknown>);
      }
      this.#bell.ring();
    });
  }

  /** How often the broker has granted its subscriptions: one more for each time it came back. */
  get subscribed(): number {
    return this.#subscribed;
  }

  /** Resolves when it is subscribed, counting from the `times`-th time. */
  async whenSubscribed(times = 1): Promise<void> {
    await this.#bell.until(`the watcher to be subscribed (${times})`, () => this.#subscribed >= times);
  }

  /** Resolves with what `check` gives once that is true; looks again at each message. */
  until<T>(what: string | (() => string), check: (watcher: this) => T, msMax: number = WAIT_MS_MAX) {
    return this.#bell.until(what, () => check(this), msMax);
  }

  /** Each message once, in the order in which it was first seen. */
  firstSights(): Arrival[] {
    const seen = new Set<string>();
    return this.events.filter((event) => {
      const name = `${event.gateway} ${event.epoch} ${event.lane} ${event.seq}`;
      if (seen.has(name)) return false;
      seen.add(name);
      return true;
    });
  }

  /** Arrivals that had been there before. */
  repeats(): number {
    return this.events.length - this.firstSights().length;
  }

  /** Numbers that are missing between the first and the last of each epoch and lane, as inclusive ranges. */
  gaps(): { gateway: string; epoch: number; lane: number; from: number; to: number }[] {
    const found: { gateway: string; epoch: number; lane: number; from: number; to: number }[] = [];
    for (const line of this.#lines()) {
      const { gateway, epoch, lane } = line[0]!;
      const seqs = line.map((event) => event.seq).toSorted((a, b) => a - b);
      for (let i = 1; i < seqs.length; i++) {
        if (seqs[i]! > seqs[i - 1]! + 1) found.push({ gateway, epoch, lane, from: seqs[i - 1]! + 1, to: seqs[i]! - 1 });
      }
    }
    return found;
  }

  /** First sights that came after a later number of their lane. */
  outOfOrder(): Arrival[] {
    return this.#lines().flatMap((line) => {
      let last = -Infinity;
      return line.filter((event) => {
        const late = event.seq < last;
        last = Math.max(last, event.seq);
        return late;
      });
    });
  }

  /** Arrivals whose number had been another message's: numbers are never used again. */
  contradictions(): Arrival[] {
    const ids = new Map<string, string>();
    return this.events.filter((event) => {
      const name = `${event.gateway} ${event.epoch} ${event.lane} ${event.seq}`;
      const id = ids.get(name) ?? event.id;
      ids.set(name, id);
      return id !== event.id;
    });
  }

  /** What was seen so far was another gateway's, with the same name: its numbers begin anew. */
  forget(): void {
    for (const seen of [this.events, this.losses, this.statuses]) seen.length = 0;
  }

  async end(): Promise<void> {
    await this.#client.endAsync(true);
  }

  /** First sights by gateway, epoch and lane. */
  #lines(): Arrival[][] {
    const lines = new Map<string, Arrival[]>();
    for (const event of this.firstSights()) {
      const name = `${event.gateway} ${event.epoch} ${event.lane}`;
      const line = lines.get(name);
      if (line === undefined) lines.set(name, [event]);
      else line.push(event);
    }
    return [...lines.values()];
  }
}

/** Starts a watcher; it is subscribed when this resolves. {@link Watcher.end} it when the test is over. */
export async function startWatcher(options: WatcherOptions): Promise<Watcher> {
  const watcher = new Watcher(options);
  await watcher.whenSubscribed();
  return watcher;
}
