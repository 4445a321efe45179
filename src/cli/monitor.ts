import { readFileSync } from 'node:fs';
import { kernelTimeSynchronised } from '../clock/kernel-time.ts';
import { SystemClock } from '../clock/system-clock.ts';
import { readCredentials } from '../config/credentials.ts';
import { BUILT_AT } from '../config/version.ts';
import { eventFilters, lossesTopic, parseEvent, type SeenEvent } from '../dialects/holdfast.ts';
import { visit, type GuestOptions } from '../health/checks/guest.ts';
import { readableBody } from '../health/shown.ts';
import { Dialer } from '../upstream/dialer.ts';
import { Resolver } from '../upstream/resolver.ts';
import { configured, type CommonOptions } from './configured.ts';
import { untilInterrupted } from './ending.ts';
import { MonitorOrder, rangeText } from './monitor-order.ts';
import { CliError, coloured, FINE, print, printable, printJsonLine, say } from './output.ts';

/** How long the broker may take to let us in, ms. */
const CONNECT_MS_MAX = 10_000;
/** Between attempts to come back, ms: at first, and at most. */
const RETRY_MS = { min: 250, max: 5000 };

export interface MonitorOptions extends CommonOptions {
  readonly url?: string;
  readonly ca?: string;
  readonly gateway?: string;
  readonly child?: string;
  readonly all?: boolean;
  readonly count?: number;
}

/** `holdfast monitor`: messages as they arrive at the broker, seen by a guest with a client id of its own. */
export async function monitor(options: MonitorOptions): Promise<number> {
  const { broker, gateway } = aim(options);
  const monitoring = new Monitor(broker, gateway, options, untilInterrupted());
  await monitoring.run();
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
  readonly #broker: GuestOptions;
  readonly #gateway: string | undefined;
  readonly #options: MonitorOptions;
  readonly #signal: AbortSignal;
  readonly #order = new MonitorOrder();
  #left: number;

  constructor(broker: GuestOptions, gateway: string | undefined, options: MonitorOptions, signal: AbortSignal) {
    this.#broker = broker;
    this.#gateway = gateway;
    this.#options = options;
    this.#signal = signal;
    this.#left = options.count ?? Infinity;
  }

  /** Resolves when it was interrupted or has shown what was asked for. Rejects when the first attempt to connect fails. */
  async run(): Promise<void> {
    let waitMs = RETRY_MS.min;
    for (let first = true; !this.#done; first = false) {
      try {
        await this.#listen(first);
        waitMs = RETRY_MS.min;
      } catch (error) {
        if (this.#signal.aborted) return;
        if (first) throw new CliError(`cannot watch ${this.#where}: ${(error as Error).message}`);
        await this.#pause(waitMs);
        waitMs = Math.min(waitMs * 2, RETRY_MS.max);
      }
    }
  }

  get #done(): boolean {
    return this.#left <= 0 || this.#signal.aborted;
  }

  get #where(): string {
    return this.#broker.url.replace(/\/\/[^@/]*@/, '//');
  }

  /** One connection, to its end. Rejects when there was none. */
  async #listen(first: boolean): Promise<void> {
    const { client } = await visit(this.#broker, CONNECT_MS_MAX, this.#signal);
    const end = new Promise<void>((resolve) => client.once('close', resolve));
    const leave = () => client.end(true);
    this.#signal.addEventListener('abort', leave);
    client.on('message', (topic, body, { properties }) => {
      const event = parseEvent(topic, properties?.contentType, properties?.userProperties);
      if (event !== null) this.#event(event, body);
      else if (topic.endsWith('/losses')) this.#loss(topic, body);
      if (this.#done) leave();
    });
    try {
      if (this.#signal.aborted) leave();
      else {
        await client.subscribeAsync([...eventFilters(this.#gateway), lossesTopic(this.#gateway ?? '+')], { qos: 1 });
        say(`${first ? 'watching' : 'watching again:'} ${this.#gateway ?? 'every gateway'} at ${this.#where}`);
        await end;
      }
    } finally {
      this.#signal.removeEventListener('abort', leave);
      leave();
    }
    if (this.#done) return;
    say('the connection was lost; trying to come back. What arrives meanwhile is not seen here');
    this.#order.forget();
  }

  #event(event: SeenEvent, body: Buffer): void {
    if (this.#done) return;
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
    try {
      const { epoch, lane, reason, firstSeq, lastSeq, count } = JSON.parse(body.toString('utf8')) as LossReport;
      const what = `lost, as it reports: ${count} of ${rangeText(firstSeq, lastSeq)}, reason ${reason}`;
      say(coloured('yellow', printable(`${gateway}, epoch ${epoch}, lane ${lane}: ${what}`), process.stderr));
    } catch {
      say(printable(`${gateway}: a loss report that cannot be read: ${body.toString('utf8')}`));
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      const signal = this.#signal;
      signal.addEventListener('abort', done);
      function done(): void {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      }
    });
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
