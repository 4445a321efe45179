import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import {
  methodRequests,
  methodResponseTopic,
  parseMethodRequest,
  statusTopic,
  type MethodRequestTopic,
} from '../dialects/holdfast.ts';
import { backoff, STABLE_MS } from './backoff.ts';
import { Dialer } from './dialer.ts';
import { Drain } from './drain.ts';
import { LinkWatch } from './link-watch.ts';
import type { Outbox } from './outbox.ts';
import type { RateLimit } from './rate.ts';
import { ConnectFailed, Session } from './session.ts';
import { TimeWait } from './time-wait.ts';
import type { WayOut } from './way-out.ts';

/** The status topic is written again this often while connected, ms. */
const STATUS_EVERY_MS = 60_000;
/** Closed without a CONNACK so many times in a row: perhaps the broker does not know MQTT 5. */
const SILENT_CLOSES_BEFORE_311 = 2;
/** Most reasons for not being connected that are said in one outage: some faults word themselves anew each time. */
const REASONS_SAID_MAX = 20;
/** On stopping, how long what is in flight may take to be acknowledged, ms ... */
const FINISH_MS_MAX = 1000;
/** ... and then the offline status. */
const FAREWELL_MS_MAX = 750;

export interface UpstreamOptions {
  readonly gateway: string;
  readonly url: string;
  readonly protocol: 'auto' | '5' | '3.1.1';
  readonly clientId: string;
  readonly username: string | undefined;
  readonly keepaliveSecs: number;
  readonly window: number;
  readonly maxRate?: RateLimit | undefined;
  readonly reconnect: { readonly minSecs: number; readonly maxSecs: number };
  /** Read anew for each attempt, so that a replaced file is taken up without a restart. */
  readonly credentials: () => Credentials;
  readonly outbox: Outbox;
  /** Left out: one that asks the system's resolver. */
  readonly dialer?: Dialer | undefined;
  /** What the status topic says besides `state` and `since`. */
  readonly status: () => Record<string, unknown>;
  readonly onMethod: (request: MethodRequestTopic, body: Buffer) => Promise<Buffer | null>;
  readonly clock: Clock;
  /** Whether the time will become known soon, as far as can be told: then messages wait for it. */
  readonly timeExpected?: (() => boolean) | undefined;
  readonly log: Logger;
  readonly random: () => number;
}

export interface Credentials extends Pick<WayOut, 'tls' | 'proxy'> {
  readonly password?: string | undefined;
}

export type UpstreamState = 'stopped' | 'connecting' | 'waiting' | 'online';

/** The one connection to the broker above: made, kept, made again; what it carries is the {@link Drain}'s business. */
export class Upstream {
  readonly #options: UpstreamOptions;
  readonly #drain: Drain;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #dialer: Dialer;
  readonly #links: LinkWatch;
  #waits: Iterator<number, never>;
  #version: 4 | 5;
  #silentCloses = 0;
  #state: UpstreamState = 'stopped';
  #since: number;
  #session: Session | null = null;
  #connecting: Promise<void> = Promise.resolve();
  #giveUp = new AbortController();
  #retry: Timer | null = null;
  #stable: Timer | null = null;
  #statusTimer: Timer | null = null;
  #link: Timer | null = null;
  #retryAt: number | null = null;
  #lastError: string | null = null;
  /** Reasons that were logged since the last connection. */
  readonly #said = new Set<string>();
  #attempts = 0;
  #attemptedAt = -Infinity;
  readonly #madeAt: number;
  #timeWait: TimeWait | null = null;

  constructor(options: UpstreamOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#dialer = options.dialer ?? new Dialer({ clock: options.clock });
    this.#links = new LinkWatch(options.clock);
    this.#drain = new Drain({ ...options });
    this.#waits = this.#newWaits();
    this.#version = options.protocol === '3.1.1' ? 4 : 5;
    this.#since = options.clock.wall();
    this.#madeAt = options.clock.monotonic();
  }

  start(): void {
    if (this.#state !== 'stopped') return;
    if (this.#options.timeExpected?.() ?? true) {
      this.#timeWait = new TimeWait(this.#clock, this.#madeAt, this.#log, () => this.#drain.wake());
      this.#drain.waitFor(this.#timeWait);
    }
    this.#attempt();
  }

  /** Says goodbye to the broker and closes; bounded in time. */
  async stop(): Promise<void> {
    const session = this.#session;
    this.#become('stopped');
    this.#cancelTimers();
    this.#timeWait?.stop();
    this.#giveUp.abort();
    await this.#connecting;
    if (session === null) return;
    // What is on its way is settled first, or it would come again after the next start.
    await this.#within(FINISH_MS_MAX, (done) => this.#drain.finish(done));
    await this.#within(FAREWELL_MS_MAX, (done) => this.#publishStatus('offline', done));
    this.#session = null;
    await session.leave();
    this.#drain.stop(false);
  }

  /** Bounds sending anew from now on; undefined: no bounds. */
  limit(maxRate: RateLimit | undefined): void {
    this.#drain.limit(maxRate);
  }

  snapshot() {
    return {
      state: this.#state,
      url: redact(this.#options.url),
      since: this.#since,
      protocol: this.#version === 5 ? '5' : '3.1.1',
      attempts: this.#attempts,
      inFlight: this.#drain.inFlight,
      sent: this.#drain.sent,
      waitsForClock: this.#timeWait?.waiting ?? false,
      waitsForRate: this.#drain.waitsForRate,
      stalledSecs: this.#drain.stalledSecs,
      lastError: this.#lastError,
      retryInMs: this.#retryAt === null ? null : Math.max(0, Math.round(this.#retryAt - this.#clock.monotonic())),
    };
  }

  #within(ms: number, act: (done: () => void) => void): Promise<void> {
    return new Promise((resolve) => {
      const deadline = this.#clock.after(ms, resolve);
      act(() => {
        deadline.cancel();
        resolve();
      });
    });
  }

  #attempt(): void {
    this.#link?.cancel();
    this.#retry = this.#link = null;
    this.#retryAt = null;
    this.#attempts++;
    this.#attemptedAt = this.#clock.monotonic();
    this.#giveUp = new AbortController();
    this.#become('connecting');
    this.#connecting = this.#connect().catch((error: unknown) => this.#lost(error as Error));
  }

  async #connect(): Promise<void> {
    const { gateway, url, clientId, username, keepaliveSecs } = this.#options;
    const will = { topic: statusTopic(gateway), body: this.#statusBody('offline') };
    const credentials = this.#options.credentials();
    const version = this.#version;
    const session = await Session.connect(
      { url, version, clientId, username, keepaliveSecs, will, dialer: this.#dialer, ...credentials },
      this.#clock,
      this.#giveUp.signal,
    );
    if (this.#state !== 'connecting') {
      await session.leave();
      return;
    }
    this.#silentCloses = 0;
    this.#lastError = null;
    this.#said.clear();
    this.#session = session;
    this.#become('online');
    this.#stable = this.#clock.after(STABLE_MS, () => (this.#waits = this.#newWaits()));
    this.#log.info({ protocol: version === 5 ? '5' : '3.1.1' }, `connected to ${redact(url)}`);
    session.attach({
      puback: (id, reason) => this.#drain.puback(id, reason),
      writable: () => this.#drain.writable(),
      message: (topic, body) => this.#message(topic, body),
      closed: (why, byPeer) => {
        if (this.#session !== session) return;
        this.#session = null;
        this.#drain.stop(byPeer);
        this.#lost(new Error(why));
      },
    });
    if (this.#session !== session) return;
    this.#link = this.#links.onGone(session.localAddress, () => session.abort('the network link went down'));
    this.#drain.start(session);
    this.#publishStatus('online');
    this.#statusTimer = this.#clock.every(STATUS_EVERY_MS, () => this.#publishStatus('online'));
    session.subscribe([methodRequests(gateway)], 0).catch((error: unknown) => {
      if (this.#session === session)
        this.#log.warn(`the broker does not let us receive methods: ${(error as Error).message}`);
    });
  }

  /** No connection, or no more: tries again after a wait. One line in the log for each reason, not for each attempt. */
  #lost(error: Error): void {
    this.#cancelTimers();
    if (this.#state === 'stopped') return;
    this.#chooseVersion(error);
    const wait = this.#waits.next().value;
    const why = error.message;
    if (this.#state === 'online')
      this.#log.warn(`connection to ${redact(this.#options.url)} lost: ${why}; messages are kept`);
    else if (!this.#said.has(why) && this.#said.size < REASONS_SAID_MAX)
      this.#log.warn(`cannot connect to ${redact(this.#options.url)}: ${why}; messages are kept`);
    this.#lastError = why;
    if (this.#said.size < REASONS_SAID_MAX) this.#said.add(why);
    this.#become('waiting');
    this.#attemptIn(wait);
    this.#link = this.#links.onBack(() => this.#hurry());
  }

  #attemptIn(wait: number): void {
    this.#retry?.cancel();
    this.#retryAt = this.#clock.monotonic() + wait;
    this.#retry = this.#clock.after(wait, () => this.#attempt());
  }

  /** There is a network again: no need to wait longer, but for the shortest wait since the last attempt. */
  #hurry(): void {
    const now = this.#clock.monotonic();
    const soonest = Math.max(now, this.#attemptedAt + this.#options.reconnect.minSecs * 1000);
    if (this.#retryAt !== null && soonest < this.#retryAt) this.#attemptIn(soonest - now);
  }

  #chooseVersion(error: Error): void {
    if (this.#options.protocol !== 'auto' || !(error instanceof ConnectFailed) || !error.wrongVersion) return;
    if (error.refusal === null && ++this.#silentCloses < SILENT_CLOSES_BEFORE_311) return;
    this.#silentCloses = 0;
    this.#version = this.#version === 5 ? 4 : 5;
  }

  #message(topic: string, body: Buffer): void {
    const request = parseMethodRequest(this.#options.gateway, topic);
    if (request === null) return;
    this.#options
      .onMethod(request, body)
      .then((response) => {
        if (response === null) return;
        this.#drain.publish(
          { topic: methodResponseTopic(this.#options.gateway, request), body: response },
          () => undefined,
        );
      })
      .catch((error: unknown) =>
        this.#log.error({ err: error }, `method ${request.method} of ${request.child} failed`),
      );
  }

  #publishStatus(state: 'online' | 'offline', done: () => void = () => undefined): void {
    const topic = statusTopic(this.#options.gateway);
    this.#drain.publish({ topic, body: this.#statusBody(state), retain: true, contentType: 'application/json' }, done);
  }

  #statusBody(state: 'online' | 'offline'): Buffer {
    const since = new Date(state === 'online' ? this.#since : this.#clock.wall()).toISOString();
    return Buffer.from(JSON.stringify({ state, since, ...this.#options.status() }));
  }

  #become(state: UpstreamState): void {
    this.#state = state;
    this.#since = this.#clock.wall();
  }

  #cancelTimers(): void {
    this.#retry?.cancel();
    this.#stable?.cancel();
    this.#statusTimer?.cancel();
    this.#link?.cancel();
    this.#retry = this.#stable = this.#statusTimer = this.#link = null;
    this.#retryAt = null;
  }

  #newWaits(): Iterator<number, never> {
    const { minSecs, maxSecs } = this.#options.reconnect;
    return backoff(minSecs * 1000, maxSecs * 1000, this.#options.random);
  }
}

/** A URL without what may be secret in it. */
export function redact(url: string): string {
  return url.replace(/\/\/[^@/]*@/, '//');
}
