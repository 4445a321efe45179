import type { Logger } from 'pino';
import type { Clock } from './clock/clock.ts';
import { Commands } from './commands/commands.ts';
import { Orders, type OrderSeen } from './commands/orders.ts';
import { readCredentials } from './config/credentials.ts';
import { takenUp, type Reconfigured } from './config/change.ts';
import type { LoadedConfig } from './config/load.ts';
import type { ChildConfig, UpstreamConfig } from './config/schema.ts';
import { namedRoutes } from './config/routes.ts';
import { catalogue } from './drivers/catalogue.ts';
import { driverOf } from './drivers/child-driver.ts';
import { DriverSupervisor } from './drivers/supervisor.ts';
import { readableBody } from './health/shown.ts';
import { FrontDoor } from './hub/front-door.ts';
import type { Message, Reading } from './message/message.ts';
import { ulidText } from './message/ulid.ts';
import { KnownTime } from './registry/known-time.ts';
import { Reception } from './registry/reception.ts';
import { Router, type ModuleInput } from './router/router.ts';
import { Modules } from './rules/modules.ts';
import { SpoolDesk } from './spool/desk.ts';
import { LateState } from './spool/late-state.ts';
import { openSpool, openSpoolLate } from './spool/opening.ts';
import type { SpoolSettings } from './spool/settings.ts';
import type { Spool } from './spool/spool.ts';
import { ledgerStats } from './spool/stats.ts';
import { State } from './store/state.ts';
import { Twins } from './twins/twins.ts';
import { Dialer } from './upstream/dialer.ts';
import { Resolver } from './upstream/resolver.ts';
import { Upstream } from './upstream/upstream.ts';
import { BUILT_AT, VERSION } from './config/version.ts';

/** How long children may take to stop, ms: with the broker's farewell and the last commit it stays under 5 s. */
const CHILDREN_STOP_MS_MAX = 1500;
/** How long a stop waits for the upstream to take what the medium does not, ms, and how often it looks. */
const SEND_OFF_MS_MAX = 1500;
const SEND_OFF_LOOK_MS = 50;

/** The platform, passed in. */
export interface Platform {
  readonly clock: Clock;
  readonly log: Logger;
  /** Chance, 0 to 1. */
  readonly random: () => number;
  /** Whether somebody is there to set the clock, so that messages wait a while for it. */
  readonly timeExpected?: () => boolean;
  /** Sees each reading as the sensor gives it, whatever becomes of it; for those who show them. */
  readonly onReading?: (child: string, reading: Reading) => void;
  /** Sees each command that a rule or a route gave to a child, and what came of it; likewise. */
  readonly onOrder?: OrderSeen;
}

/** Everything together: builds each part from the configuration, starts and stops them in order. */
export class Gateway {
  #loaded: LoadedConfig;
  readonly #platform: Platform;
  readonly #state: State | LateState;
  readonly #spool: Spool;
  readonly #router: Router;
  readonly #modules: Modules;
  readonly #orders: Orders;
  readonly #commands: Commands;
  readonly #children = new Map<string, DriverSupervisor>();
  readonly #upstream: Upstream | null;
  readonly #time: KnownTime;
  readonly #startedAt: number;
  /** Who may connect. */
  readonly reception: Reception;
  /** What people ask about the spool, and have done to it. */
  readonly spoolDesk: SpoolDesk;
  #refusing = false;
  readonly #door: FrontDoor;

  private constructor(loaded: LoadedConfig, platform: Platform, state: State | LateState, spool: Spool) {
    this.#loaded = loaded;
    this.#platform = platform;
    this.#state = state;
    this.#spool = spool;
    this.spoolDesk = new SpoolDesk(spool, loaded.config.gateway.dataDir, platform.clock);
    this.#startedAt = platform.clock.monotonic();
    const { config } = loaded;
    const { clock, log } = platform;
    this.#time = new KnownTime(clock, state, BUILT_AT ?? 0);
    this.reception = new Reception({ config, medium: state, clock, log, time: this.#time });
    this.#commands = new Commands(clock);
    this.#door = new FrontDoor(
      {
        config,
        commands: this.#commands,
        clock,
        log,
        age: () => spool.stamp().age,
        accept: (source, content, senderWaits) => this.#router.said(source, content, senderWaits),
        hasRoom: () => spool.snapshot().hasRoom,
        noticesWanted: () => this.#router.takesNotices,
      },
      () => this.reception.start(),
    );
    this.#orders = new Orders(this.#commands, clock, log, platform.onOrder);
    this.#router = new Router({
      gateway: config.gateway.id,
      routes: namedRoutes(config.routes),
      destinations: {
        upstream: spool,
        modules: (message, inputs) => this.#feed(message, inputs),
        child: (child, input, message) => this.#giveChild(child, input, message),
        kept: (senderWaits) => spool.kept(senderWaits),
      },
      onTaken: (message) => this.#door.front?.observe(message),
    });
    this.#modules = new Modules({
      modules: config.modules,
      clock,
      log,
      quotaBytes: () => spool.snapshot().quotaBytes,
      put: (out) => {
        this.#router.moduleOutput(out, false).catch((error: unknown) => this.#refused(out.module, error as Error));
      },
      order: (order) => this.#orders.give(order),
      touch: () => spool.touch(false),
    });
    this.#commands.register(config.gateway.id, { command: (name) => this.#own(name) });
    for (const child of config.children) if (child.connected === undefined) this.#addChild(child);
    this.#upstream = config.upstream === undefined ? null : this.#makeUpstream(config.upstream);
  }

  /** Opens the data directory. Throws when it cannot be used: the message says what to do. */
  static async open(loaded: LoadedConfig, platform: Platform): Promise<Gateway> {
    const state = new State(`${loaded.config.gateway.dataDir}/state`);
    return Gateway.#opened(loaded, platform, state, openSpool);
  }

  /**
   * The same with a data directory that cannot be written, or not even read: the gateway runs from memory until it can be,
   * see {@link openSpoolLate}.
   */
  static async openLate(loaded: LoadedConfig, platform: Platform): Promise<Gateway> {
    const state = new LateState(`${loaded.config.gateway.dataDir}/state`);
    return Gateway.#opened(loaded, platform, state, openSpoolLate);
  }

  static async #opened(
    loaded: LoadedConfig,
    platform: Platform,
    state: State | LateState,
    open: typeof openSpool,
  ): Promise<Gateway> {
    try {
      const spool = await open(spoolSettings(loaded), state, platform.clock, platform.log);
      return new Gateway(loaded, platform, state, spool);
    } catch (error) {
      await state.close();
      throw error;
    }
  }

  /** Readings flow when it resolves; a child or an upstream that is not there yet is tried again for ever. */
  async start(): Promise<void> {
    const records = this.#spool.companionRecords();
    this.#spool.accompany(this.#modules);
    // Rules go on where they were before anything new comes.
    await this.#modules.start(records);
    this.#time.start();
    await this.#door.open();
    this.#upstream?.start();
    await Promise.all([...this.#children.values()].map((child) => child.start()));
    this.#orders.start();
    // The first readings are on the medium when we say that we run. What fails here has been said and is tried again.
    await this.#spool.flush().catch((error: unknown) => this.#platform.log.debug({ err: error }, 'flush at the start'));
  }

  /** Calls `listener` when only a new start can help: the spool's file is damaged. */
  onDamaged(listener: (fault: Error) => void): void {
    this.#spool.onDamaged(listener);
  }

  /** Stops in the order in which messages flow, within 5 s; everything accepted is on the medium when it resolves. */
  async stop(): Promise<void> {
    const { clock, log } = this.#platform;
    const children = Promise.all([...this.#children.values()].map((child) => child.stop()));
    // A driver that hangs keeps nobody else waiting: it ends with the process.
    await Promise.race([children, new Promise((resolve) => clock.after(CHILDREN_STOP_MS_MAX, () => resolve(null)))]);
    await this.#door.stop();
    await this.#modules.stop();
    await this.reception.stop();
    this.#time.stop();
    // Now rather than after the farewell to a broker that may not answer. What fails here is said by `close`.
    await this.#spool.flush().catch((error: unknown) => log.debug({ err: error }, 'flush before stopping'));
    await this.#sendOff();
    await this.#upstream?.stop();
    await this.#spool.close();
    await this.#state.close();
  }

  /** What a medium that takes nothing would lose goes upstream, as far as there is time. */
  async #sendOff(): Promise<void> {
    const { clock } = this.#platform;
    const until = clock.monotonic() + SEND_OFF_MS_MAX;
    while (this.#spool.sending && clock.monotonic() < until) {
      const { fault, waitingBytes } = this.#spool.snapshot();
      if (fault === null || waitingBytes === 0) return;
      await new Promise<void>((resolve) => clock.after(SEND_OFF_LOOK_MS, resolve));
      // What is not taken is ready to be sent, and what was acknowledged waits no more.
      await this.#spool.flush().catch(() => undefined);
    }
  }

  /** Stops and starts one child's driver. False when there is no such child. */
  async restart(id: string): Promise<boolean> {
    const child = this.#children.get(id);
    await child?.restart();
    return child !== undefined;
  }

  /** The twins, with a hub or without one. Rejects while what is sealed cannot be opened. */
  async twins(): Promise<Twins> {
    if (this.#door.front !== null) return this.#door.front.twins;
    return new Twins({ store: (await this.reception.enrolment()).store, changed: () => undefined });
  }

  /** All that have a twin: the gateway, its children, and their modules as `child/module`. */
  async twinIds(): Promise<readonly string[]> {
    const { registry } = await this.reception.enrolment();
    const { gateway, children } = this.#loaded.config;
    const registered = registry
      .all()
      .flatMap(({ id, modules }) => [id, ...modules.map((module) => `${id}/${module.id}`)]);
    return [...new Set([gateway.id, ...children.map(({ id }) => id), ...registered])];
  }

  get commands(): Commands {
    return this.#commands;
  }

  /** The children, and how each is doing. */
  list() {
    const wired = [...this.#children.values()].map((child) => ({ type: 'child' as const, ...child.snapshot() }));
    return [...wired, ...(this.#door.front?.children() ?? [])];
  }

  status() {
    const { clock } = this.#platform;
    const { config, profile } = this.#loaded;
    const children = [...this.#children.values()].map((child) => child.snapshot());
    return {
      gateway: config.gateway.id,
      version: VERSION,
      profile: profile.name,
      uptimeSecs: Math.round((clock.monotonic() - this.#startedAt) / 1000),
      clock: { known: clock.known(), wall: new Date(clock.wall()).toISOString() },
      upstream: this.#upstream?.snapshot() ?? null,
      spool: this.#spool.snapshot(),
      ledger: ledgerStats(this.#spool.durableBooks()),
      children: {
        total: children.length,
        running: children.filter(({ state }) => state === 'running' || state === 'finished').length,
        failing: children.filter(({ state }) => state === 'waiting').map(({ id }) => id),
      },
      hub: this.#door.front?.status() ?? null,
      modules: this.#modules.status(),
      memory: { rssBytes: process.memoryUsage.rss() },
    };
  }

  /** Takes up what may change while it runs; the rest is named, and waits for a restart. */
  reconfigure(loaded: LoadedConfig): Reconfigured {
    const { taken, ...changed } = takenUp(this.#loaded, loaded);
    this.#loaded = taken;
    this.#spool.configure(spoolSettings(taken));
    this.#upstream?.limit(taken.config.upstream?.maxRate);
    return changed;
  }

  #addChild(child: ChildConfig): void {
    const { clock, log } = this.#platform;
    const { kind, create } = driverOf(child, this.#loaded.profile);
    const supervisor = new DriverSupervisor({
      child: child.id,
      kind,
      create,
      clock,
      log,
      onReading: (id, reading) => {
        this.#platform.onReading?.(id, reading);
        this.#router.reading(id, reading, false).catch((error: unknown) => this.#refused(id, error as Error));
      },
      ...(catalogue[kind].backoff === undefined ? {} : { backoff: catalogue[kind].backoff }),
    });
    this.#children.set(child.id, supervisor);
    this.#commands.register(child.id, supervisor);
  }

  /** Rules, and modules of connected children that no rule has the name of. */
  #feed(message: Message, inputs: readonly ModuleInput[]): void {
    const rules = inputs.filter(({ module }) => this.#modules.has(module));
    if (rules.length > 0) this.#modules.feed(message, rules);
    for (const { module, input } of inputs) {
      if (this.#modules.has(module)) continue;
      this.#door.front
        ?.moduleInput(module, input, message)
        .catch((error: unknown) => this.#refused(module, error as Error));
    }
  }

  #giveChild(child: string, input: string, message: Message): void {
    if (this.#door.front === null || this.#children.has(child)) {
      const payload = readableBody(message.body);
      this.#orders.give({ child, command: input, payload, id: ulidText(message.id) });
    } else
      this.#door.front.input(child, input, message).catch((error: unknown) => this.#refused(child, error as Error));
  }

  /** A wired child cannot be told to wait: what is refused is counted by the spool, and said once until it ends. */
  #refused(id: string, error: Error): void {
    if (this.#refusing) return;
    this.#refusing = true;
    this.#platform.log.error({ child: id }, `readings are not taken: ${error.message}`);
    this.#platform.clock.after(60_000, () => (this.#refusing = false));
  }

  #makeUpstream(upstream: UpstreamConfig): Upstream {
    const { clock, log, random } = this.#platform;
    const { gateway } = this.#loaded.config;
    const resolver = new Resolver({ servers: upstream.dnsServers, clock, book: this.#state });
    return new Upstream({
      gateway: gateway.id,
      url: upstream.url,
      protocol: upstream.protocol,
      clientId: upstream.clientId,
      username: upstream.username,
      keepaliveSecs: upstream.keepaliveSecs,
      window: upstream.window,
      maxRate: upstream.maxRate,
      reconnect: upstream.reconnect,
      credentials: () => readCredentials(upstream, this.#loaded.path),
      outbox: this.#spool,
      dialer: new Dialer({ clock, resolver, time: this.#time }),
      status: () => ({ version: VERSION, spool: ledgerStats(this.#spool.durableBooks()) }),
      onMethod: ({ child, method }, body) => this.#commands.answer(child, method, body),
      clock,
      timeExpected: this.#platform.timeExpected,
      log,
      random,
    });
  }

  /** Methods of the gateway itself. */
  #own(name: string) {
    if (name === 'ping')
      return Promise.resolve({ status: 200, payload: { wall: new Date(this.#platform.clock.wall()).toISOString() } });
    return Promise.resolve({ status: 404, payload: { error: `the gateway has no method "${name}"; it has ping` } });
  }
}

function spoolSettings({ config }: LoadedConfig): SpoolSettings {
  return { dataDir: config.gateway.dataDir, prefill: true, builtAt: BUILT_AT, ...config.storeAndForward };
}
