import { mkdirSync } from 'node:fs';
import type { Clock } from '../clock/clock.ts';
import { controlPath } from '../config/control-path.ts';
import { loadConfig, type LoadedConfig } from '../config/load.ts';
import type { CommandResult } from '../commands/commands.ts';
import { Gateway, type Platform } from '../gateway.ts';
import { ControlServer } from '../health/control-server.ts';
import { LogLevel } from '../health/log-level.ts';
import type { LogRing } from '../health/log-ring.ts';
import { requests } from '../health/requests.ts';
import type { Order } from '../commands/orders.ts';
import type { SpoolStats } from '../spool/stats.ts';
import type { Arrivals, Place } from './demo-arrivals.ts';
import { StandInBroker } from './demo-broker.ts';
import type { DemoFolder } from './demo-folder.ts';
import { Outage } from './demo-outage.ts';
import { Resets } from './demo-resets.ts';
import { isByRule, maxEventTimeOf } from './demo-rule.ts';
import { Sensors, type SensorSight } from './demo-sensors.ts';
import { degrees } from './demo-text.ts';
import { Watcher, type Arrival } from './demo-watcher.ts';
import { CliError } from './output.ts';

const GATEWAY = 'demo';
/** At the end, how long what is on the way may take to arrive, ms. */
const LAST_ARRIVALS_MS_MAX = 1000;
/** How often a quiet moment is looked for, ms. */
const QUIET_LOOK_MS = 5;
/** Outages that are remembered. */
const OUTAGES_MAX = 1000;

export interface StageOptions {
  readonly folder: DemoFolder;
  readonly sensors: number;
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly ring: LogRing;
  /** Hears in a sentence of whatever happens that was not happening all the time. */
  readonly onHappened: (text: string) => void;
}

/** What there is to see at one moment. Times without a name are ms. */
export interface Scene {
  /** Monotonic. */
  readonly now: number;
  readonly runningMs: number;
  readonly sensors: readonly SensorSight[];
  readonly readings: number;
  readonly pending: number;
  readonly spoolBytes: number;
  readonly network: {
    readonly online: boolean;
    readonly cut: boolean;
    readonly forMs: number;
    readonly retryInMs: number | null;
    readonly url: string;
  };
  readonly watcher: Watcher;
  readonly outages: readonly Outage[];
  readonly resets: Resets;
}

/** What is left when all has stopped, as the medium has it. */
export interface Remains {
  readonly pending: number;
  readonly spoolBytes: number;
  /** What a look through the whole spool found wrong. */
  readonly problems: readonly string[];
}

interface Parts {
  readonly sensors: Sensors;
  readonly loaded: LoadedConfig;
  readonly platform: Platform;
  readonly gateway: Gateway;
  readonly control: ControlServer;
  readonly broker: StandInBroker;
  readonly watcher: Watcher;
  readonly resets: Resets;
}

/** Everything that plays: the sensors, a real gateway, the broker that stands in for the world above, and its watcher. */
export class Stage {
  readonly #options: StageOptions;
  readonly #parts: Parts;
  readonly #clock: Clock;
  readonly #arrivals: Arrivals;
  readonly #startedAt: number;
  readonly #outages: Outage[] = [];
  readonly #awaited = new Set<{ readonly places: readonly Place[]; readonly arrived: () => void }>();
  #offlineSince: number | null = null;
  #turning: Promise<void> = Promise.resolve();

  private constructor(options: StageOptions, parts: Parts) {
    this.#options = options;
    this.#parts = parts;
    this.#clock = options.clock;
    this.#arrivals = parts.watcher.arrivals;
    this.#startedAt = this.#clock.monotonic();
  }

  /** Sets everything up and starts it. When a part fails, those before it are stopped again. */
  static async open(options: StageOptions): Promise<Stage> {
    const { folder, clock, ring, intervalMs } = options;
    const undo: (() => Promise<void>)[] = [];
    try {
      const log = ring.logger(new LogLevel('info'), clock);
      // As with `run`: the other commands work on the simulation too, and a second one cannot take the same folder.
      const live: { gateway: Gateway | null } = { gateway: null };
      mkdirSync(folder.dataDir, { recursive: true });
      const handlers = requests({ live, ring, reload: null, endToBeStartedAgain: null });
      const control = new ControlServer(controlPath(folder.dataDir), handlers, clock, log);
      await control.start().catch((error: unknown) => {
        throw new CliError((error as Error).message);
      });
      undo.push(() => control.stop());

      const sensors = new Sensors(options.sensors);
      const broker = await StandInBroker.start();
      undo.push(() => broker.stop());
      folder.writeConfig({ gateway: GATEWAY, brokerUrl: broker.url, sensors: sensors.ids, intervalMs });
      const loaded = loadConfig(folder.config);
      const stage: { arrived?: (arrival: Arrival) => void; ordered?: Platform['onOrder'] } = {};
      const platform: Platform = {
        clock,
        log,
        random: Math.random,
        onReading: sensors.saw.bind(sensors),
        onOrder: (order, result) => stage.ordered?.(order, result),
      };
      const gateway = await Gateway.open(loaded, platform);
      undo.push(() => gateway.stop());
      live.gateway = gateway;

      const watcher = await Watcher.subscribe(broker.insideUrl, GATEWAY, clock, (arrival) => stage.arrived?.(arrival));
      undo.push(() => watcher.stop());
      const stats = statsOf(gateway);
      for (const lane of stats?.lanes ?? []) {
        watcher.arrivals.expect({ epoch: stats!.epoch, lane: lane.lane, seq: lane.firstSeq });
      }
      const resets = new Resets(lastPlaces(stats));
      const opened = new Stage(options, { sensors, loaded, platform, gateway, control, broker, watcher, resets });
      stage.arrived = (arrival) => opened.#arrived(arrival);
      stage.ordered = (order, result) => opened.#ordered(order, result);
      await gateway.start();
      return opened;
    } catch (error) {
      for (const step of undo.toReversed()) await step().catch(() => undefined);
      throw error;
    }
  }

  get brokerUrl(): string {
    return this.#parts.broker.url;
  }

  scene(): Scene {
    const now = this.#clock.monotonic();
    const { upstream, spool } = this.#parts.gateway.status();
    const online = upstream?.state === 'online';
    this.#offlineSince = online ? null : (this.#offlineSince ?? now);
    const cut = this.#parts.broker.isCut;
    const offlineSince = cut ? this.#outages.at(-1)!.cutAt : (this.#offlineSince ?? now);
    return {
      now,
      runningMs: now - this.#startedAt,
      sensors: this.#parts.sensors.sights,
      readings: this.#parts.sensors.readings,
      pending: spool.pending,
      spoolBytes: spool.fileBytes,
      network: {
        online,
        cut,
        forMs: online ? Math.max(0, this.#clock.wall() - upstream.since) : now - offlineSince,
        retryInMs: upstream?.retryInMs ?? null,
        url: this.#parts.broker.url,
      },
      watcher: this.#parts.watcher,
      outages: this.#outages,
      resets: this.#parts.resets,
    };
  }

  get isCut(): boolean {
    return this.#parts.broker.isCut;
  }

  /** Cuts the gateway's network, or gives it back. Calls that overlap take their turns. */
  async turnNetwork(to: 'on' | 'off'): Promise<void> {
    const turned = this.#turning.then(() => (to === 'off' ? this.#cut() : this.#restore()));
    this.#turning = turned.catch(() => undefined);
    await turned;
  }

  /** Sends `reset` to every sensor, the way a direct method would. */
  async reset(): Promise<void> {
    for (const id of this.#parts.sensors.ids) {
      const { done, text } = outcome(await this.#parts.gateway.commands.invoke(id, 'reset', null));
      const came = done ? `cooled down to ${text}` : `refused: ${text}`;
      const where = this.#parts.broker.isCut ? '; local control needs no network' : '';
      this.#options.onHappened(`reset sent to ${id}: ${came}${where}`);
    }
  }

  /** Whether all that the last outage kept has arrived within `msMax`. */
  caughtUp(msMax: number): Promise<boolean> {
    return this.#haveArrived(this.#outages.at(-1)?.until ?? [], msMax);
  }

  /**
   * Stops everything; what was accepted is on the medium then. Reads the spool again from there, and judges by it whether
   * all that was taken off it has arrived.
   */
  async close(): Promise<Remains> {
    await this.#quietMoment();
    await this.#parts.control.stop();
    await this.#parts.gateway.stop();

    const again = await Gateway.open(this.#parts.loaded, this.#parts.platform);
    const stats = again.spoolDesk.stats();
    const { problems } = await again.spoolDesk.verify();
    await again.stop();
    const { epoch } = stats;
    const settled = stats.lanes.map(({ lane, nextSeq, pending }) => ({ epoch, lane, seq: nextSeq - 1 - pending }));
    await this.#haveArrived(settled, LAST_ARRIVALS_MS_MAX);
    for (const place of settled) this.#arrivals.settled(place);
    await this.#parts.watcher.stop();
    await this.#parts.broker.stop();
    return { pending: stats.ledger.pending, spoolBytes: stats.file.bytes, problems };
  }

  /** Waits for a moment in which nothing is on the way, if the network allows and readings leave one. */
  async #quietMoment(): Promise<void> {
    const deadline = this.#clock.monotonic() + LAST_ARRIVALS_MS_MAX;
    for (;;) {
      const { network, pending } = this.scene();
      if (!network.online || pending === 0 || this.#clock.monotonic() > deadline) return;
      await new Promise<void>((resolve) => {
        this.#clock.after(QUIET_LOOK_MS, resolve);
      });
    }
  }

  async #cut(): Promise<void> {
    if (this.#parts.broker.isCut) return;
    const last = this.#outages.at(-1);
    if (last !== undefined && last.caughtUpAt === null) last.cutAgain();
    else this.#outages.push(new Outage(this.#clock.monotonic(), this.#arrivals.outOfOrder));
    if (this.#outages.length > OUTAGES_MAX) this.#outages.shift();
    this.#options.onHappened('the network is cut');
    await this.#parts.broker.cut();
  }

  async #restore(): Promise<void> {
    const outage = this.#outages.at(-1);
    if (!this.#parts.broker.isCut || outage === undefined) return;
    try {
      await this.#parts.broker.restore();
    } catch (error) {
      this.#options.onHappened(`the broker cannot come back: ${(error as Error).message}`);
      return;
    }
    const stats = statsOf(this.#parts.gateway);
    outage.restored(this.#clock.monotonic(), stats?.ledger.pending ?? 0, lastPlaces(stats));
    this.#options.onHappened('the network is back');
    this.#review(outage);
  }

  /** The rule reset its sensor. It does so all the time: the first is told, and those that happen without a network. */
  #ordered(order: Order, result: CommandResult): void {
    const maxEventTime = maxEventTimeOf(order.payload);
    if (!isByRule(order) || maxEventTime === null) return;
    const { resets, broker } = this.#parts;
    const outage = broker.isCut ? (this.#outages.at(-1) ?? null) : null;
    const { done, text } = outcome(result);
    resets.gave(maxEventTime, done, outage, this.#clock.monotonic());
    if (outage === null && done && resets.done > 1) return;
    const came = done ? `the rule reset ${order.child} to ${text}` : `${order.child} refused the rule's reset: ${text}`;
    this.#options.onHappened(`${came}${outage === null ? '' : '; local control needs no network'}`);
  }

  #arrived(arrival: Arrival): void {
    if (arrival.reset !== null && arrival.arrived !== 'repeated') {
      this.#parts.resets.came(arrival.reset, arrival, this.#clock.monotonic());
    }
    const outage = this.#outages.at(-1);
    if (outage !== undefined && outage.restoredAt !== null && outage.caughtUpAt === null) {
      outage.oldestMs = Math.max(outage.oldestMs, arrival.ageMs ?? 0);
      this.#review(outage);
    }
    for (const awaited of this.#awaited) if (this.#all(awaited.places)) awaited.arrived();
  }

  #review(outage: Outage): void {
    if (!this.#all(outage.until)) return;
    outage.caughtUp(this.#clock.monotonic(), this.#arrivals.outOfOrder);
    this.#options.onHappened(outage.story);
  }

  #all(places: readonly Place[]): boolean {
    return places.every((place) => this.#arrivals.has(place));
  }

  #haveArrived(places: readonly Place[], msMax: number): Promise<boolean> {
    if (this.#all(places)) return Promise.resolve(true);
    return new Promise((resolve) => {
      const done = (all: boolean) => {
        this.#awaited.delete(awaited);
        deadline.cancel();
        resolve(all);
      };
      const awaited = { places, arrived: () => done(true) };
      const deadline = this.#clock.after(msMax, () => done(false));
      this.#awaited.add(awaited);
    });
  }
}

/** The spool as the medium has it; null while it has nothing. */
function statsOf(gateway: Gateway): SpoolStats | null {
  return gateway.status().ledger.accepted === 0 ? null : gateway.spoolDesk.stats();
}

/** The last message of each lane that is on the medium. */
function lastPlaces(stats: SpoolStats | null): Place[] {
  return (stats?.lanes ?? []).map(({ lane, nextSeq }) => ({ epoch: stats!.epoch, lane, seq: nextSeq - 1 }));
}

/** What a sensor made of `reset`: its temperature, or why it did not. */
function outcome({ status, payload }: CommandResult): { readonly done: boolean; readonly text: string } {
  const { temperature, error } = payload as { temperature?: number; error?: string };
  return status === 200 ? { done: true, text: degrees(temperature ?? null) } : { done: false, text: String(error) };
}
