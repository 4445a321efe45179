import { readFileSync } from 'node:fs';
import type { IPublishPacket } from 'mqtt';
import { kernelTimeSynchronised } from '../clock/kernel-time.ts';
import { SystemClock } from '../clock/system-clock.ts';
import { readCredentials } from '../config/credentials.ts';
import { BUILT_AT } from '../config/version.ts';
import { eventFilters, lossesTopic, parseEvent, type SeenEvent } from '../dialects/holdfast.ts';
import { readableBody } from '../health/shown.ts';
import { Dialer } from '../upstream/dialer.ts';
import type { GuestOptions } from '../upstream/guest.ts';
import { Resolver } from '../upstream/resolver.ts';
import { BrokerWatch } from './broker-watch.ts';
import { configured, type CommonOptions } from './configured.ts';
import { untilInterrupted } from './ending.ts';
import { MonitorOrder, rangeText } from './monitor-order.ts';
import { CliError, coloured, FINE, print, printable, printJsonLine, say } from './output.ts';

export interface MonitorOptions extends Omit<CommonOptions, 'json'>, ShowOptions {
  readonly url?: string;
  readonly ca?: string;
  readonly gateway?: string;
  readonly all?: boolean;
}

/** `holdfast monitor`: messages as they arrive at the broker, seen by a guest with a client id of its own. */
export async function monitor(options: MonitorOptions): Promise<number> {
  const { broker, gateway } = aim(options);
  return watchEvents(broker, gateway, options);
}

export interface ShowOptions {
  readonly json?: boolean;
  /** Only what comes from this child. */
  readonly child?: string;
  /** Ends after so many. */
  readonly count?: number;
}

/** Shows messages, and losses as they are reported, until it is interrupted; `gateway`: undefined for all of them. */
export async function watchEvents(
  broker: GuestOptions,
  gateway: string | undefined,
  options: ShowOptions,
): Promise<number> {
  const monitor = new Monitor(options);
  await new BrokerWatch({
    broker,
    filters: [...eventFilters(gateway), lossesTopic(gateway ?? '+')],
    whose: gateway ?? 'every gateway',
    heard: (topic, body, properties) => monitor.heard(topic, body, properties),
    lost: () => monitor.forget(),
    done: () => monitor.done,
    signal: untilInterrupted(),
  }).run();
  return FINE;
}

/** Which broker, and which of its gateways (undefined: all of them). */
function aim(options: MonitorOptions): { broker: GuestOptions; gateway: string | undefined } {
  const purpose = 'monitor';
  const clock = new SystemClock(kernelTimeSynchronised, BUILT_AT);
  if (options.url !== undefined) {
    const tls = options.ca === undefined ? {} : { ca: readFileSync(options.ca, 'utf8') };
    const broker = {
      url: options.url,
      protocol: 'auto',
      clientId: 'holdfast',
      purpose,
      dialer: new Dialer({ clock }),
      tls,
    } as const;
    return { broker, gateway: options.gateway };
  }
  const { config, path } = configured(options.config);
  const { upstream } = config;
  if (upstream === undefined) {
    throw new CliError('the configuration names no upstream; name a broker with --url mqtt://broker.example:1883');
  }
  const { url, protocol, clientId, dialect } = upstream;
  if (dialect === 'iothub')
    throw new CliError('messages are seen at Azure IoT Hub itself: az iot hub monitor-events --hub-name NAME');
  const resolver = new Resolver({ servers: upstream.dnsServers, clock, book: null });
  const dialer = new Dialer({ clock, resolver });
  const broker = {
    url,
    protocol,
    clientId,
    purpose,
    dialer,
    ...readCredentials(upstream, path, { known: true, now: () => clock.wall() }),
  } as const;
  return { broker, gateway: options.all === true ? undefined : (options.gateway ?? config.gateway.id) };
}

class Monitor {
  readonly #options: ShowOptions;
  readonly #order = new MonitorOrder();
  #left: number;

  constructor(options: ShowOptions) {
    this.#options = options;
    this.#left = options.count ?? Infinity;
  }

  get done(): boolean {
    return this.#left <= 0;
  }

  heard(topic: string, body: Buffer, properties: IPublishPacket['properties']): void {
    const event = parseEvent(topic, properties?.contentType, properties?.userProperties);
    if (event !== null) this.#event(event, body);
    else if (topic.endsWith('/losses')) this.#loss(topic, body);
  }

  /** After a time of not listening. */
  forget(): void {
    this.#order.forget();
  }

  #event(event: SeenEvent, body: Buffer): void {
    if (this.done) return;
    const odd = this.#order.seen(event);
    if (odd !== null) say(coloured('yellow', printable(odd), process.stderr));
    const { gateway, child, module, output, epoch, lane, seq, id, eventTime, origin, properties } = event;
    if (this.#options.child !== undefined && child !== this.#options.child) return;
    const receivedAt = new Date().toISOString();
    const shown = readableBody(body);
    if (this.#options.json === true) {
      const place = { gateway, child, module, output, epoch, lane, seq, id };
      printJsonLine({ ...place, ...(origin && { origin }), eventTime, receivedAt, properties, body: shown });
    } else {
      const source = [gateway, child, module, output].filter((part) => part !== null).join('/');
      const named = Object.entries(properties).map(([name, value]) => ` ${name}=${value}`);
      const text = typeof shown === 'string' ? shown : JSON.stringify(shown);
      const first = origin === null ? '' : ` from ${origin.gateway} ${origin.epoch}.${origin.lane}.${origin.seq}`;
      const place = Number.isNaN(seq) ? '' : `  ${epoch}.${lane}.${seq}${first}`;
      print(`${receivedAt}  ${printable(source)}${place}  ${printable(text + named.join(''))}`);
    }
    this.#left--;
  }

  #loss(topic: string, body: Buffer): void {
    const gateway = topic.split('/')[2] ?? '';
    const text = lossText(body);
    if (text !== null) say(coloured('yellow', printable(`${gateway}, ${text}`), process.stderr));
    else say(printable(`${gateway}: a loss report that cannot be read: ${body.toString('utf8')}`));
  }
}

/** A loss report in words; null: it cannot be read. */
export function lossText(body: Buffer): string | null {
  try {
    const { epoch, lane, reason, firstSeq, lastSeq, count } = JSON.parse(body.toString('utf8')) as LossReport;
    const what = `lost, as it reports: ${count} of ${rangeText(firstSeq, lastSeq)}, reason ${reason}`;
    return `epoch ${epoch}, lane ${lane}: ${what}`;
  } catch {
    return null;
  }
}

interface LossReport {
  readonly epoch: number;
  readonly lane: number;
  readonly reason: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly count: number;
}
