import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import { STAGES, type UpstreamDialect } from '../dialects/upstream-dialect.ts';
import { backoff, STABLE_MS } from './backoff.ts';
import { ShortConnections } from './disconnected.ts';
import { Dialer } from './dialer.ts';
import type { Downlink, Line } from './downlink.ts';
import { Drain } from './drain.ts';
import { LinkWatch } from './link-watch.ts';
import type { Outbox } from './outbox.ts';
import type { RateLimit } from './rate.ts';
import { ConnectFailed, Session } from './session.ts';
import { SubackWatch } from './suback-watch.ts';
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
  readonly dialect: UpstreamDialect;
  readonly url: string;
  readonly protocol: 'auto' | '5' | '3.1.1';
  readonly clientId: string;
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
  readonly downlink: Downlink;
  readonly clock: Clock;
  /** Whether the time will become known soon, as far as can be told: then messages wait for it. */
  readonly timeExpected?: (() => boolean) | undefined;
  readonly log: Logger;
  readonly random: () => number;
}

export interface Credentials extends Pick<WayOut, 'tls' | 'proxy'> {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** When others are needed, ms from now: the connection is made anew with them then. */
  readonly renewInMs?: number | undefined;
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
  readonly #subacks: SubackWatch;
  #waits: Iterator<number, never>;
  #version: 4 | 5;
  #silentCloses = 0;
  /** This version has been spoken with the broker: silence says nothing of it any more. */
  #spoken: 4 | 5 | null = null;
  /** It is 3.1.1 for nothing but silence, from before the broker had ever let us in. */
  #guessed = false;
  #state: UpstreamState = 'stopped';
  #since: number;
  #session: Session | null = null;
  #connecting: Promise<void> = Promise.resolve();
  #giveUp = new AbortController();
  #retry: Timer | null = null;
  #stable: Timer | null = null;
  readonly #short = new ShortConnections();
  #statusTimer: Timer | null = null;
  #renewal: Timer | null = null;
  #link: Timer | null = null;
  #retryAt: number | null = null;
  #lastError: string | null = null;
  /** Reasons that were logged since the last connection. */
  readonly #said = new Set<string>();
  #refusedSaid = '';
  /** The dialect has a status to publish: that is acknowledged before messages under suspicion go. */
  readonly #says: boolean;
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
    this.#subacks = new SubackWatch(options.clock, options.keepaliveSecs, (...late) => this.#unanswered(...late));
    this.#drain = new Drain({ ...options });
    this.#waits = this.#newWaits();
    this.#says = options.dialect.status(Buffer.alloc(0), true) !== null;
    this.#version = options.dialect.onlyVersion ?? (options.protocol === '3.1.1' ? 4 : 5);
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
    if (session === null) {
      // Not with a session: a broker may leave a SUBSCRIBE without an answer for ever.
      await this.#connecting;
      return;
    }
    // What is on its way is settled first, or it would come again after the next start.
    await this.#within(FINISH_MS_MAX, (done) => this.#drain.finish(done));
    await this.#within(FAREWELL_MS_MAX, (done) => this.#publishStatus('offline', done));
    this.#ended(false);
    await session.leave();
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
    const { dialect, url, clientId, keepaliveSecs } = this.#options;
    const will = dialect.will(this.#statusBody('offline'));
    const { renewInMs, ...credentials } = this.#options.credentials();
    const version = this.#version;
    const session = await Session.connect(
      { url, version, clientId, keepaliveSecs, will, dialer: this.#dialer, ...credentials },
      this.#clock,
      this.#giveUp.signal,
    );
    if (this.#state !== 'connecting') {
      await session.leave();
      return;
    }
    this.#silentCloses = 0;
    this.#spoken = version;
    this.#lastError = null;
    this.#said.clear();
    this.#session = session;
    this.#become('online');
    this.#stable = this.#clock.after(STABLE_MS, () => {
      this.#stable = null;
      this.#waits = this.#newWaits();
      this.#short.lasted();
      if (this.#guessed) this.#tryFive(session);
    });
    this.#log.info({ protocol: version === 5 ? '5' : '3.1.1' }, `connected to ${redact(url)}`);
    if (renewInMs !== undefined) {
      const why = 'our credentials run out: connecting anew';
      this.#renewal = this.#clock.after(renewInMs, () => void this.#renew(session, () => this.#log.debug(why)));
    }
    const { downlink } = this.#options;
    // Before anything is heard: what was kept for us may have come already.
    downlink.connected(this.#line(session), session.kept);
    session.attach({
      puback: (id, reason) => this.#drain.puback(id, reason),
      writable: () => this.#drain.writable(),
      message: (publication, stored) => downlink.heard(publication, stored),
      oversized: (topic, bytes) => downlink.oversized(topic, bytes),
      closed: (why, byPeer) => {
        if (this.#session !== session) return;
        this.#ended(byPeer);
        const early = byPeer && this.#stable !== null;
        this.#lost(new Error(early ? this.#short.ended(why, this.#options.clientId) : why));
      },
    });
    if (this.#session !== session) return;
    this.#link = this.#links.onGone(session.localAddress, () => session.abort('the network link went down'));
    this.#drain.start(session);
    this.#publishStatus('online');
    this.#statusTimer = this.#clock.every(STATUS_EVERY_MS, () => this.#publishStatus('online'));
    await this.#ask(session);
  }

  /** Asks for what comes from above, stage by stage. What the broker refuses is said once, and the rest goes on. */
  async #ask(session: Session): Promise<void> {
    const refusals: string[] = [];
    for (const stage of STAGES) {
      for (const { filters, qos } of this.#options.dialect.subscriptions().filter((each) => each.stage === stage)) {
        const refused = (error: Error) => refusals.push(`${filters.join(', ')} (${error.message})`);
        await this.#subacks.subscribe(session, filters, qos).catch(refused);
        if (this.#session !== session) return;
        if (!this.#says) this.#drain.carried();
      }
      this.#options.downlink.asked(stage);
    }
    const refused = refusals.join('; ');
    if (refused !== '' && refused !== this.#refusedSaid)
      this.#log.warn(`the broker does not let us receive what comes from above: ${refused}`);
    this.#refusedSaid = refused;
  }

  #line(session: Session): Line {
    return {
      publish: (publication, done = () => undefined) => {
        if (this.#session === session) this.#drain.publish(publication, done);
      },
      subscribe: (filters, qos) => this.#subacks.subscribe(session, filters, qos),
    };
  }

  /** Brokers that were away may have kept silent then: now that one is there its silence would mean something. Once. */
  #tryFive(session: Session): void {
    this.#guessed = false;
    this.#version = 5;
    void this.#renew(session, () => this.#log.debug('the broker may know MQTT 5 after all: connecting anew'));
  }

  /** It may be our session that the broker has trouble with: another connection may be answered. */
  #unanswered(session: Session, filters: readonly string[], secs: number): void {
    const others = filters.length > 1 ? ` and ${filters.length - 1} more` : '';
    const what = `${filters[0]}${others}`;
    const why = `the broker keeps the connection and has not answered for ${secs} s that we subscribe to ${what}`;
    void this.#renew(session, () => this.#log.warn(`${why}: nothing of it comes from above; connecting anew`));
  }

  /** What is under way is settled, and the connection made anew at once. */
  async #renew(session: Session, say: () => void): Promise<void> {
    if (this.#session !== session) return;
    await this.#within(FINISH_MS_MAX, (done) => this.#drain.finish(done));
    if (this.#session !== session) return;
    say();
    this.#ended(false);
    this.#cancelTimers();
    await session.leave();
    if (this.#session === null && this.#state === 'online') this.#attempt();
  }

  #ended(byPeer: boolean): void {
    this.#session = null;
    this.#drain.stop(byPeer);
    this.#options.downlink.lost();
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
      this.#log.warn(`cannot connect to ${redact(this.#options.url)}: ${why}${hint(error)}; messages are kept`);
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
    if (
      this.#options.protocol !== 'auto' ||
      this.#options.dialect.onlyVersion !== null ||
      !(error instanceof ConnectFailed) ||
      !error.wrongVersion
    )
      return;
    if (error.refusal === null) {
      // A load balancer whose brokers are away closes as well, and would cost us what MQTT 5 gives.
      if (this.#version === this.#spoken || ++this.#silentCloses < SILENT_CLOSES_BEFORE_311) return;
    }
    this.#silentCloses = 0;
    this.#guessed = error.refusal === null && this.#version === 5 && this.#spoken === null;
    this.#version = this.#version === 5 ? 4 : 5;
  }

  #publishStatus(state: 'online' | 'offline', done: () => void = () => undefined): void {
    const publication = this.#options.dialect.status(this.#statusBody(state), this.#version === 5);
    if (publication === null) done();
    else this.#drain.publish(publication, done);
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
    this.#renewal?.cancel();
    this.#link?.cancel();
    this.#retry = this.#stable = this.#statusTimer = this.#renewal = this.#link = null;
    this.#retryAt = null;
  }

  #newWaits(): Iterator<number, never> {
    const { minSecs, maxSecs } = this.#options.reconnect;
    return backoff(minSecs * 1000, maxSecs * 1000, this.#options.random);
  }
}

/** What to do about it, where it is known. */
function hint(error: Error): string {
  const { advice, fix } = error as { advice?: string; fix?: string };
  const known = advice ?? fix;
  return known === undefined ? '' : `; ${known}`;
}

/** A URL without what may be secret in it. */
export function redact(url: string): string {
  return url.replace(/\/\/[^@/]*@/, '//');
}
