import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import type { Profile } from '../config/profile-schema.ts';
import type { ChildConfig } from '../config/schema.ts';
import type { Reading } from '../message/message.ts';
import { catalogue } from './catalogue.ts';
import { driverOf } from './child-driver.ts';
import { SerialPorts } from './serial-ports.ts';
import { DriverSupervisor } from './supervisor.ts';

/** How long children may take to stop, ms: with the broker's farewell and the last commit a stop stays under 5 s. */
const STOP_MS_MAX = 1500;

export interface WiredChildrenOptions {
  /** Those that connect are left out. */
  readonly children: readonly ChildConfig[];
  readonly profile: Profile;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onReading: (child: string, reading: Reading) => void;
}

/** The children that the gateway reads itself, each with its driver. */
export class WiredChildren {
  readonly #clock: Clock;
  readonly #supervisors: ReadonlyMap<string, DriverSupervisor>;

  constructor({ children, profile, clock, log, onReading }: WiredChildrenOptions) {
    this.#clock = clock;
    const wired = children.filter(({ connected }) => connected === undefined);
    const ports = new SerialPorts(clock);
    this.#supervisors = new Map(
      wired.map((child) => {
        const { kind, create } = driverOf(child, profile, ports);
        const { backoff } = catalogue[kind];
        const watched = { child: child.id, kind, create, clock, log, onReading };
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
    await Promise.all([...this.#supervisors.values()].map((child) => child.start()));
  }

  /** A driver that hangs keeps nobody else waiting: it ends with the process. */
  async stop(): Promise<void> {
    const all = Promise.all([...this.#supervisors.values()].map((child) => child.stop()));
    await Promise.race([all, new Promise((resolve) => this.#clock.after(STOP_MS_MAX, () => resolve(null)))]);
  }

  /** Stops and starts one child's driver. False when there is no such child. */
  async restart(id: string): Promise<boolean> {
    const child = this.#supervisors.get(id);
    await child?.restart();
    return child !== undefined;
  }

  snapshots() {
    return [...this.#supervisors.values()].map((child) => child.snapshot());
  }
}
