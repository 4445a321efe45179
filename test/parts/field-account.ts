import mqtt, { type MqttClient } from 'mqtt';
import { eventFilters, lossesTopic, parseEvent } from '../../src/dialects/holdfast.ts';
import type { SeenLoss } from './watcher.ts';
import { Bell, WAIT_MS_MAX } from './until.ts';

/** What was seen of one lane in one epoch. */
interface Line {
  readonly epoch: number;
  readonly lane: number;
  /** Message ids by number. */
  readonly ids: Map<number, string>;
  highest: number;
}

type Report = SeenLoss & { readonly id: string; readonly child?: string };

/** Reports of what is not in the ledger's `dropped`. */
const NOT_DROPPED = ['unclean-stop', 'dead-letter'];

/**
 * The account above: everything that arrives at the broker from one gateway, without the bodies, so that a day of it fits. Its
 * session outlives connections; it comes back on its own when the broker does.
 */
export class FieldAccount {
  /** Messages, each once. */
  arrived = 0;
  /** Arrivals that had been there before. */
  repeats = 0;
  /** First sights that came after a later number of their line. */
  outOfOrder = 0;
  /** Arrivals whose number had been another message's. */
  contradictions = 0;
  /** The `n` in the bodies of each child, and how often each came under numbers of its own. */
  readonly said = new Map<string, Map<number, number>>();
  /** Loss reports, by their ids. */
  readonly reports = new Map<string, Report>();
  /** Messages by who said them, each once. */
  readonly children = new Map<string, number>();
  readonly #lines = new Map<string, Line>();
  readonly #client: MqttClient;
  readonly #bell = new Bell();
  #subscribed = 0;

  constructor(url: string, gateway: string) {
    this.#client = mqtt.connect(url, {
      protocolVersion: 5,
      clientId: 'account',
      clean: false,
      properties: { sessionExpiryInterval: 0xffff_ffff },
      reconnectPeriod: 2000,
      connectTimeout: WAIT_MS_MAX,
      resubscribe: false,
    });
    this.#client.on('error', () => undefined);
    this.#client.on('connect', () => {
      this.#client.subscribe([...eventFilters(gateway), lossesTopic(gateway)], { qos: 1 }, (error) => {
        if (error) return;
        this.#subscribed++;
        this.#bell.ring();
      });
    });
    this.#client.on('message', (topic, body, packet) => {
      if (topic.endsWith('/losses')) {
        const report = JSON.parse(body.toString()) as Report;
        this.reports.set(report.id, report);
      } else {
        this.#take(topic, body, packet.properties?.userProperties);
      }
      this.#bell.ring();
    });
  }

  get subscribed(): number {
    return this.#subscribed;
  }

  /** Resolves when it has been subscribed so often. */
  async whenSubscribed(times: number): Promise<void> {
    await this.#bell.until('the account to be subscribed', () => this.#subscribed >= times);
  }

  /** Resolves once `check` holds; looks again at each arrival. */
  async until(what: () => string, check: () => boolean, msMax: number): Promise<void> {
    await this.#bell.until(what, check, msMax);
  }

  /** Messages that are missing from the numbers, and how many of them no report encloses. */
  gaps(): { missing: number; unreported: number } {
    let missing = 0;
    let unreported = 0;
    const firstEpoch = Math.min(...[...this.#lines.values()].map(({ epoch }) => epoch));
    for (const { epoch, lane, ids, highest } of this.#lines.values()) {
      const reports = [...this.reports.values()].filter((each) => each.epoch === epoch && each.lane === lane);
      let seq = epoch === firstEpoch ? 1 : Math.min(...ids.keys());
      for (; seq < highest; seq++) {
        if (ids.has(seq)) continue;
        missing++;
        if (!reports.some(({ firstSeq, lastSeq }) => firstSeq <= seq && seq <= lastSeq)) unreported++;
      }
    }
    return { missing, unreported };
  }

  /** Messages that reports say were dropped, by reason. */
  reported(): Record<string, number> {
    const sums: Record<string, number> = {};
    for (const { reason, count } of this.reports.values()) {
      if (!NOT_DROPPED.includes(reason)) sums[reason] = (sums[reason] ?? 0) + count;
    }
    return sums;
  }

  async end(): Promise<void> {
    await this.#client.endAsync(true);
  }

  #take(topic: string, body: Buffer, properties: Record<string, string | string[]> | undefined): void {
    const event = parseEvent(topic, undefined, properties);
    if (event === null) return;
    const { epoch, lane, seq, id, child } = event;
    const name = `${epoch} ${lane}`;
    let line = this.#lines.get(name);
    if (line === undefined) this.#lines.set(name, (line = { epoch, lane, ids: new Map(), highest: 0 }));
    const known = line.ids.get(seq);
    if (known !== undefined) {
      this.repeats++;
      if (known !== id) this.contradictions++;
      return;
    }
    line.ids.set(seq, id);
    if (seq < line.highest) this.outOfOrder++;
    line.highest = Math.max(line.highest, seq);
    this.arrived++;
    this.children.set(child, (this.children.get(child) ?? 0) + 1);
    const n = /"n": ?(\d+)/.exec(body.toString('latin1'))?.[1];
    if (n === undefined || event.module !== null) return;
    let numbers = this.said.get(child);
    if (numbers === undefined) this.said.set(child, (numbers = new Map()));
    numbers.set(Number(n), (numbers.get(Number(n)) ?? 0) + 1);
  }
}
