import mqtt, { type MqttClient } from 'mqtt';
import { eventFilters, parseEvent } from '../src/dialects/holdfast.ts';

/** What came of one (gateway, epoch, lane). */
interface Line {
  readonly seen: Set<number>;
  first: number;
  last: number;
}

/** Counted from outside, over all lines. */
export interface Heard {
  readonly arrived: number;
  readonly unique: number;
  readonly again: number;
  /** Numbers missing between the first and the last of their line. */
  readonly missing: number;
  /** Came for the first time after one with a higher number had come. */
  readonly late: number;
}

/** One who takes events with a session that the broker keeps, and counts them by their numbers; not a part of Holdfast. */
export class Consumer {
  readonly #client: MqttClient;
  readonly #lines = new Map<string, Line>();
  #arrived = 0;
  #late = 0;
  #arrivedAt = performance.now();

  private constructor(client: MqttClient) {
    this.#client = client;
    client.on('error', () => undefined);
    client.on('message', (topic, _, { properties }) => this.#count(topic, properties?.userProperties));
  }

  /** Resolves when the broker has granted the subscription. */
  static async start(port: number, version: 4 | 5): Promise<Consumer> {
    const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
      protocolVersion: version,
      clientId: 'consumer',
      clean: false,
      reconnectPeriod: 250,
      ...(version === 5 ? { properties: { sessionExpiryInterval: 3600 } } : {}),
    });
    const consumer = new Consumer(client);
    await client.subscribeAsync(eventFilters(), { qos: 1 });
    return consumer;
  }

  get heard(): Heard {
    const lines = [...this.#lines.values()];
    const unique = lines.reduce((sum, { seen }) => sum + seen.size, 0);
    const missing = lines.reduce((sum, { seen, first, last }) => sum + (last - first + 1 - seen.size), 0);
    return { arrived: this.#arrived, unique, again: this.#arrived - unique, missing, late: this.#late };
  }

  /** How many different ones came from a gateway. */
  uniqueOf(gateway: string): number {
    let count = 0;
    for (const [key, { seen }] of this.#lines) if (key.startsWith(`${gateway}/`)) count += seen.size;
    return count;
  }

  /** Resolves when `count` have come, or nothing has for `quietMs`. */
  async until(count: number, quietMs: number): Promise<void> {
    this.#arrivedAt = performance.now();
    while (this.heard.unique < count && performance.now() - this.#arrivedAt < quietMs)
      await new Promise((resolve) => setTimeout(resolve, 250));
    // What comes twice may come last.
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }

  stop(): void {
    this.#client.end(true);
  }

  #count(topic: string, userProperties: Record<string, string | string[]> | undefined): void {
    const event = parseEvent(topic, undefined, userProperties);
    if (event === null) return;
    this.#arrived++;
    this.#arrivedAt = performance.now();
    const { gateway, epoch, lane, seq } = event;
    const key = `${gateway}/${epoch}/${lane}`;
    const line = this.#lines.get(key);
    if (line === undefined) {
      this.#lines.set(key, { seen: new Set([seq]), first: seq, last: seq });
      return;
    }
    if (seq < line.last && !line.seen.has(seq)) this.#late++;
    line.seen.add(seq);
    line.first = Math.min(line.first, seq);
    line.last = Math.max(line.last, seq);
  }
}
