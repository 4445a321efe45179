import type { Logger } from 'pino';
import { Cabinet } from './above/cabinet.ts';
import { Errands } from './above/errands.ts';
import { Liaison } from './above/liaison.ts';
import { Relay } from './above/relay.ts';
import { Settings } from './above/settings.ts';
import type { Clock } from './clock/clock.ts';
import { Commands } from './commands/commands.ts';
import { GatewayMethods, type ProcessServices } from './commands/gateway-methods.ts';
import { Orders, type OrderSeen } from './commands/orders.ts';
import { readCredentials } from './config/credentials.ts';
import { takenUp, type Reconfigured } from './config/change.ts';
import type { LoadedConfig } from './config/load.ts';
import type { UpstreamConfig } from './config/schema.ts';
import { namedRoutes } from './config/routes.ts';
import { upstreamDialect } from './dialects/upstream-dialects.ts';
import { WiredChildren } from './drivers/wired-children.ts';
import { BoardHealth } from './health/board-health.ts';
import { readableBody } from './health/shown.ts';
import { publishedStatus } from './health/published-status.ts';
import type { SafeMode } from './health/start-record.ts';
import { statusOf } from './health/status.ts';
import { twinIds } from './health/twin-requests.ts';
import { FrontDoor } from './hub/front-door.ts';
import type { Reading } from './message/message.ts';
import type { Enrolment } from './registry/enrolment.ts';
import { KnownTime } from './registry/known-time.ts';
import { Reception } from './registry/reception.ts';
import { Deliveries } from './router/deliveries.ts';
import { Router } from './router/router.ts';
import { Modules } from './rules/modules.ts';
import { SpoolDesk } from './spool/desk.ts';
import { LateState } from './spool/late-state.ts';
import { openSpool, openSpoolLate } from './spool/opening.ts';
import type { SpoolSettings } from './spool/settings.ts';
import { sendOff } from './spool/send-off.ts';
import type { Spool } from './spool/spool.ts';
import { openState } from './store/state-rescue.ts';
import type { State } from './store/state.ts';
import { Twins, type TwinChange } from './twins/twins.ts';
import { Dialer } from './upstream/dialer.ts';
import { Resolver } from './upstream/resolver.ts';
import { Upstream } from './upstream/upstream.ts';
import { BUILT_AT, VERSION } from './config/version.ts';

/** The platform, passed in. */
export interface Platform extends ProcessServices {
  readonly clock: Clock;
  readonly log: Logger;
  /** Nothing is started that brings messages; those that are stored are sent. */
  readonly safeMode?: SafeMode | null;
  /** Chance, 0 to 1. */
  readonly random: () => number;
  /** Whether somebody is there to set the clock, so that messages wait a while for it. */
  readonly timeExpected?: () => boolean;
  /** Called again and again while the start takes long: it goes on. */
  readonly progress?: (() => void) | undefined;
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
  readonly #children: WiredChildren;
  readonly #upstream: Upstream | null;
  readonly #liaison: Liaison | null;
  readonly #relay: Relay;
  #twins: Twins | null = null;
  readonly #time: KnownTime;
  readonly #startedAt: number;
  readonly #board: BoardHealth;
  /** Who may connect. */
  readonly reception: Reception;
  /** What people ask about the spool, and have done to it. */
  readonly spoolDesk: SpoolDesk;
  /** What comes from above and lies over the file. */
  readonly settings: Settings;
  readonly #deliveries: Deliveries;
  readonly #door: FrontDoor;

  private constructor(settings: Settings, platform: Platform, state: State | LateState, spool: Spool) {
    this.settings = settings;
    this.#loaded = settings.laid;
    this.#platform = platform;
    this.#state = state;
    this.#spool = spool;
    const { config } = settings.laid;
    const { clock, log, onOrder: seen } = platform;
    this.spoolDesk = new SpoolDesk(spool, config.gateway.dataDir, clock);
    this.#startedAt = clock.monotonic();
    this.#time = new KnownTime(clock, state, BUILT_AT ?? 0);
    this.reception = new Reception({ config, medium: state, clock, log, time: this.#time });
    this.#commands = new Commands(clock);
    this.#relay = new Relay({
      config,
      spool,
      accept: (source, content, hops) => this.#router.said(source, content, true, hops),
      mustBeKnown: () => this.#door.mailroom,
      clock,
      log,
    });
    this.#door = new FrontDoor(
      {
        config,
        commands: this.#commands,
        clock,
        log,
        age: () => spool.stamp().age,
        accept: (source, content, senderWaits) => this.#router.said(source, content, senderWaits),
        hasRoom: () => spool.snapshot().hasRoom,
        tooLarge: () => spool.refused('too-large'),
        noticesWanted: () => this.#router.takesNotices,
        below: this.#relay,
      },
      () => this.reception.start(),
      (enrolment) => this.#twinsIn(enrolment),
    );
    const touch = () => spool.touch(false);
    this.#orders = new Orders({ commands: this.#commands, clock, log, seen, touch });
    this.#deliveries = new Deliveries({
      rules: { has: (id) => this.#modules.has(id), feed: (...fed) => this.#modules.feed(...fed) },
      front: () => this.#door.front,
      isWired: (child) => this.#children.has(child),
      order: (order) => this.#orders.give(order),
      readable: readableBody,
      clock,
      log,
    });
    const refused = (id: string) => (error: unknown) => this.#deliveries.refused(id, error as Error);
    this.#router = new Router({
      gateway: config.gateway.id,
      routes: namedRoutes(config.routes),
      destinations: {
        upstream: spool,
        modules: (message, inputs) => this.#deliveries.modules(message, inputs),
        child: (child, input, message) => this.#deliveries.child(child, input, message),
        kept: (senderWaits) => spool.kept(senderWaits),
      },
      onTaken: (message) => this.#door.front?.observe(message),
    });
    this.#modules = new Modules({
      modules: config.modules,
      clock,
      log,
      quotaBytes: () => spool.snapshot().quotaBytes,
      put: (out) => void this.#router.moduleOutput(out, false).catch(refused(out.module)),
      order: (order) => this.#orders.give(order),
      touch,
    });
    const me = { id: config.gateway.id, gateway: this, process: platform, clock, statusText: statusOf };
    this.#commands.register(config.gateway.id, new GatewayMethods(me));
    this.#children = new WiredChildren({
      loaded: settings.laid,
      clock,
      log,
      onReading: (child, reading) => {
        platform.onReading?.(child, reading);
        this.#router.reading(child, reading, false).catch(refused(child));
      },
    });
    for (const [id, target] of this.#children) this.#commands.register(id, target);
    this.#board = new BoardHealth({ loaded: settings.laid, clock, log, own: () => this.#own() });
    const { upstream } = config;
    this.#liaison = upstream === undefined ? null : this.#makeLiaison(upstream);
    this.#upstream = upstream === undefined ? null : this.#makeUpstream(upstream, this.#liaison!);
    settings.start((laid, logLevel) => {
      platform.level?.fromAbove(logLevel);
      return this.#takeUp(laid);
    });
  }

  /** Opens the data directory. Throws when it cannot be used: the message says what to do. */
  static async open(loaded: LoadedConfig, platform: Platform): Promise<Gateway> {
    const state = await openState(`${loaded.config.gateway.dataDir}/state`, platform.log);
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
      // Before the spool is opened: its quota may come from above.
      const settings = new Settings({ base: loaded, keep: state, log: platform.log });
      const spool = await open(spoolSettings(settings.laid), state, platform.clock, platform.log, platform.progress);
      return new Gateway(settings, platform, state, spool);
    } catch (error) {
      await state.close();
      throw error;
    }
  }

  /** Readings flow when it resolves; a child or an upstream that is not there yet is tried again for ever. */
  async start(): Promise<void> {
    const whole = !this.#platform.safeMode;
    // In safe mode what rules and orders have kept stays in the spool as it is.
    if (whole) {
      const records = this.#spool.companionRecords();
      this.#relay.marks.start(records);
      this.#spool.accompany(this.#modules, this.#orders, this.#relay.marks);
      this.#orders.restore(records);
      // Rules go on where they were before anything new comes.
      await this.#modules.start(records);
    }
    this.#time.start();
    if (whole) await this.#door.open();
    this.#upstream?.start();
    if (whole) await this.#children.start();
    this.#board.start();
    if (whole) this.#orders.start();
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
    this.#board.stop();
    await this.#orders.stop();
    await this.#children.stop();
    await this.#door.stop();
    this.#relay.stop();
    this.#liaison?.stop();
    await this.#modules.stop();
    await this.reception.stop();
    this.#time.stop();
    // Now rather than after the farewell to a broker that may not answer. What fails here is said by `close`.
    await this.#spool.flush().catch((error: unknown) => log.debug({ err: error }, 'flush before stopping'));
    await sendOff(this.#spool, clock);
    await this.#upstream?.stop();
    await this.#spool.close();
    await this.#state.close();
  }

  /** Stops and starts one child's driver. False when there is no such child. */
  restart(id: string): Promise<boolean> {
    return this.#children.restart(id);
  }

  /** The twins, with a hub or without one. Rejects while what is sealed cannot be opened. */
  async twins(): Promise<Twins> {
    return this.#twinsIn(await this.reception.enrolment());
  }

  /** It is opened once: with what is sealed, or not at all. */
  #twinsIn({ store }: Enrolment): Twins {
    this.#twins ??= new Twins({
      store,
      changed: (change) => this.#twinChanged(change),
      forgotten: (child, module) => this.#liaison?.twinPost.forgotten(child, module),
    });
    return this.#twins;
  }

  #twinChanged(change: TwinChange): void {
    this.#door.front?.twinChanged(change);
    this.#liaison?.twinPost.changed(change);
  }

  /** All that have a twin: the gateway, its children, and their modules as `child/module`. */
  async twinIds(): Promise<readonly string[]> {
    return twinIds(this.#loaded.config, (await this.reception.enrolment()).registry);
  }

  get commands(): Commands {
    return this.#commands;
  }

  /** The children, and how each is doing. */
  list() {
    const wired = this.#children.snapshots().map((child) => ({ type: 'child' as const, ...child }));
    return [...wired, ...(this.#door.front?.children() ?? [])];
  }

  status() {
    const own = this.#own();
    return { ...own, board: this.#board.status(own) };
  }

  /** The status without the board, which is judged by it. */
  #own() {
    const { clock } = this.#platform;
    const { config, profile } = this.#loaded;
    return {
      gateway: config.gateway.id,
      version: VERSION,
      profile: profile.name,
      safeMode: this.#platform.safeMode ?? null,
      uptimeSecs: Math.round((clock.monotonic() - this.#startedAt) / 1000),
      clock: { known: clock.known(), wall: new Date(clock.wall()).toISOString() },
      upstream: this.#upstream?.snapshot() ?? null,
      settings: this.settings.report(),
      commands: this.#liaison?.status() ?? null,
      spool: this.#spool.snapshot(),
      ledger: this.#spool.ledger,
      children: this.#children.summary(),
      registry: this.reception.syncStatus(),
      ...this.#door.status(),
      below: this.#relay.status(),
      modules: this.#modules.status(),
      memory: { rssBytes: process.memoryUsage.rss() },
      lastReadings: this.#children.lastReadings(),
    };
  }

  /** Takes up what may change while it runs; the rest is named, and waits for a restart. */
  reconfigure(file: LoadedConfig): Reconfigured {
    return this.settings.rebase(file);
  }

  #takeUp(loaded: LoadedConfig): Reconfigured {
    const { taken, ...changed } = takenUp(this.#loaded, loaded);
    this.#loaded = taken;
    this.#spool.configure(spoolSettings(taken));
    this.#router.configure(namedRoutes(taken.config.routes));
    this.#upstream?.limit(taken.config.upstream?.maxRate);
    this.reception.configure(taken.config);
    this.#door.configure(taken.config);
    return changed;
  }

  #makeLiaison(upstream: UpstreamConfig): Liaison {
    const { clock, log } = this.#platform;
    const gateway = this.#loaded.config.gateway.id;
    const enrolment = () => this.reception.enrolment();
    const cabinet = new Cabinet({ enrolment, twins: () => this.twins(), clock, log });
    const isWired = (child: string) => this.#children.has(child);
    const isRegistered = (child: string, module: string | null) => this.#door.mailroom?.has(child, module) ?? false;
    return new Liaison({
      gateway,
      version: VERSION,
      dialect: upstreamDialect(gateway, upstream),
      open: () => cabinet.open(),
      settings: this.settings,
      isOurs: (child, module) =>
        child === gateway || (module === null && isWired(child)) || isRegistered(child, module),
      errands: new Errands({
        gateway,
        clock,
        log,
        invoke: (...order) => this.#commands.invoke(...order),
        isWired,
        takesMessages: isRegistered,
        accept: (source, content) => this.#router.said(source, content, true),
        queue: (child, module, message) => this.#door.mailroom!.queue(child, module, message, message.expiresAfterSecs),
      }),
      below: this.#relay,
      clock,
      log,
    });
  }

  #makeUpstream(upstream: UpstreamConfig, downlink: Liaison): Upstream {
    const { clock, log, random, safeMode } = this.#platform;
    const resolver = new Resolver({ servers: upstream.dnsServers, clock, book: this.#state, log });
    return new Upstream({
      ...upstream,
      dialect: downlink.dialect,
      credentials: () => readCredentials(upstream, this.#loaded.path, this.#time),
      outbox: this.#spool,
      dialer: new Dialer({ clock, resolver, time: this.#time }),
      status: () => ({ ...publishedStatus(this, this.#loaded), ...(safeMode && { safeMode }) }),
      downlink,
      clock,
      timeExpected: this.#platform.timeExpected,
      log,
      random,
    });
  }
}

function spoolSettings({ config }: LoadedConfig): SpoolSettings {
  return { dataDir: config.gateway.dataDir, prefill: true, builtAt: BUILT_AT, ...config.storeAndForward };
}
