import { join } from 'node:path';
import type { Logger } from 'pino';
import { RunMarker } from '../board/run-marker.ts';
import type { Clock } from '../clock/clock.ts';
import type { LoadedConfig } from '../config/load.ts';
import type { ChildConfig } from '../config/schema.ts';
import type { Reading } from '../message/message.ts';
import { catalogue } from './catalogue.ts';
import { driverOf } from './child-driver.ts';
import { SerialPorts } from './serial-ports.ts';
import { DriverSupervisor } from './supervisor.ts';

/** How long children may take to stop, ms: with the broker's farewell and the last commit a stop stays under 5 s. */
const STOP_MS_MAX = 1500;

/** In `dataDir`, while outputs with a safe state are driven. */
const OUTPUTS_IN_USE = 'outputs-in-use';

export interface WiredChildrenOptions {
  readonly loaded: Pick<LoadedConfig, 'config' | 'profile'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onReading: (child: string, reading: Reading) => void;
}

/** The children that the gateway reads itself, each with its driver. */
export class WiredChildren {
  readonly #clock: Clock;
  readonly #supervisors: ReadonlyMap<string, DriverSupervisor>;
  /** Only where somebody asks: nobody else's card is written for it. */
  readonly #outputs: RunMarker | null;
  #crashed = false;
  /** A contact may have nothing to tell for days, and an output never has. */
  readonly #regular: ReadonlySet<string>;

  constructor(options: WiredChildrenOptions) {
    const { loaded, clock, log, onReading } = options;
    const { gateway, children, storeAndForward } = loaded.config;
    const { dataDir } = gateway;
    const { ratedTerabytesWritten = null } = storeAndForward;
    const around = { dataDir, ratedTerabytesWritten, lastReadings: () => this.lastReadings() };
    this.#clock = clock;
    const wired = children.filter(({ connected }) => connected === undefined);
    const ports = new SerialPorts(clock);
    const isRegular = ({ gpio }: ChildConfig) => gpio === undefined || gpio.count !== undefined;
    this.#regular = new Set(wired.filter(isRegular).map(({ id }) => id));
    const hasSafe = wired.some(({ gpio }) => gpio?.safe !== undefined);
    this.#outputs = hasSafe ? new RunMarker(join(dataDir, OUTPUTS_IN_USE)) : null;
    this.#supervisors = new Map(
      wired.map((child) => {
        const { kind, create } = driverOf(child, loaded.profile, ports, around);
        const { backoff } = catalogue[kind];
        const afterCrash = () => this.#crashed;
        const watched = { child: child.id, kind, create, clock, log, onReading, afterCrash };
        return [child.id, new DriverSupervisor({ ...watched, ...(backoff === undefined ? {} : { backoff }) })];
      }),
    );
  }

  has(id: string): boolean {
    return this.#supervisors.has(id);
  }

  /** By id: who takes commands for them. */
  [Symbol.iterator](): IterableIterator<[string, DriverSupervisor]> {
    return this.#supervisors.entries();
  }

  async start(): Promise<void> {
    this.#crashed = this.#outputs?.begin() ?? false;
    await Promise.all([...this.#supervisors.values()].map((child) => child.start()));
  }

  /** A driver that hangs keeps nobody else waiting: it ends with the process. */
  async stop(): Promise<void> {
    const all = Promise.all([...this.#supervisors.values()].map((child) => child.stop()));
    const late = new Promise<false>((resolve) => this.#clock.after(STOP_MS_MAX, () => resolve(false)));
    if ((await Promise.race([all, late])) !== false) this.#outputs?.end();
  }

  /** Stops and starts one child's driver. False when there is no such child. */
  async restart(id: string): Promise<boolean> {
    const child = this.#supervisors.get(id);
    await child?.restart();
    return child !== undefined;
  }

  /** Of those that read at intervals: when each gave its last good reading, monotonic ms; null: it gave none yet. */
  lastReadings(): Record<string, number | null> {
    const expected = [...this.#supervisors].filter(
      ([id, child]) => this.#regular.has(id) && !['finished', 'stopped'].includes(child.snapshot().state),
    );
    return Object.fromEntries(expected.map(([id, { heardAt }]) => [id, heardAt]));
  }

  /** How many there are and run, and which do not. */
  summary(): { total: number; running: number; failing: string[] } {
    const all = this.snapshots();
    return {
      total: all.length,
      running: all.filter(({ state }) => state === 'running' || state === 'finished').length,
      failing: all.filter(({ state }) => state === 'waiting').map(({ id }) => id),
    };
  }

  snapshots() {
    return [...this.#supervisors.values()].map((child) => child.snapshot());
  }
}
