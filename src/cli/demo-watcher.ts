import mqtt, { type MqttClient } from 'mqtt';
import type { Clock } from '../clock/clock.ts';
import { eventFilters, parseEvent } from '../dialects/holdfast.ts';
import { Arrivals, type Arrived, type Place } from './demo-arrivals.ts';
import { maxEventTimeOf, RULE } from './demo-rule.ts';
import { address } from '../upstream/address.ts';

/** Arrivals that are remembered for whoever shows them. */
const LATEST_MAX = 50;

/** A message as it came to those who watch the broker. */
export interface Arrival extends Place {
  /** The child, or the module that put it out. */
  readonly from: string;
  /** When it was measured, ms since 1970; null when it does not say. */
  readonly eventTime: number | null;
  /** From there to its arrival, ms. */
  readonly ageMs: number | null;
  /** degrees C */
  readonly temperature: number | null;
  /** The `maxEventTime` of a reset by the rule. */
  readonly reset: string | null;
  readonly arrived: Arrived;
}

/** Someone in the world above who subscribes to a gateway's events, and holds it to its promises. */
export class Watcher {
  readonly arrivals = new Arrivals();
  readonly latest: Arrival[] = [];
  /** The most that a message took to come, ms. */
  oldestMs = 0;
  readonly #client: MqttClient;
  readonly #clock: Clock;
  readonly #onArrival: (arrival: Arrival) => void;

  private constructor(client: MqttClient, clock: Clock, onArrival: (arrival: Arrival) => void) {
    this.#client = client;
    this.#clock = clock;
    this.#onArrival = onArrival;
    client.on('error', () => undefined);
    client.on('message', (topic, body) => this.#seen(topic, body));
  }

  /** Subscribed when it resolves. */
  static async subscribe(
    url: string,
    gateway: string,
    clock: Clock,
    onArrival: (arrival: Arrival) => void,
  ): Promise<Watcher> {
    const client = await mqtt.connectAsync({
      ...address(url),
      protocolVersion: 4,
      reconnectPeriod: 0,
      clientId: 'watcher',
    });
    const watcher = new Watcher(client, clock, onArrival);
    await client.subscribeAsync(eventFilters(gateway), { qos: 1 });
    return watcher;
  }

  async stop(): Promise<void> {
    await this.#client.endAsync(true);
  }

  #seen(topic: string, body: Buffer): void {
    const event = parseEvent(topic, undefined, undefined);
    if (event === null || !Number.isSafeInteger(event.seq)) return;
    const { child, module, epoch, lane, seq } = event;
    const eventTime = event.eventTime === null ? null : Date.parse(event.eventTime);
    const ageMs = eventTime === null ? null : Math.max(0, this.#clock.wall() - eventTime);
    if (ageMs !== null) this.oldestMs = Math.max(this.oldestMs, ageMs);
    const arrived = this.arrivals.seen(event);
    const said = { temperature: temperatureIn(body), reset: module === RULE ? maxEventTimeOf(parsed(body)) : null };
    const arrival = { from: module ?? child, epoch, lane, seq, eventTime, ageMs, ...said, arrived };
    this.latest.push(arrival);
    if (this.latest.length > LATEST_MAX) this.latest.shift();
    this.#onArrival(arrival);
  }
}

/** What the simulated sensor's machine has, degrees C; null in a body that is not from one. */
export function temperatureIn(body: Buffer): number | null {
  const { machine } = (parsed(body) ?? {}) as { machine?: { temperature?: unknown } };
  return typeof machine?.temperature === 'number' ? machine.temperature : null;
}

/** A body as JSON; null when it is none. */
function parsed(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8')) as unknown;
  } catch {
    return null;
  }
}
