import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import type { CommandResult, Commands } from './commands.ts';

/** What rules tell children before these have been started, at the most. */
const WAITING_MAX = 1000;
/** A failure is said once in so long, ms: it may be each reading's, and the log may lie on a card. */
const SAID_EVERY_MS = 60_000;

/** Somebody is to do something. */
export interface Order {
  readonly child: string;
  readonly command: string;
  readonly payload: unknown;
  /** The same when it comes again after a crash. */
  readonly id: string;
}

/** Sees each order that was given, and what came of it. */
export type OrderSeen = (order: Order, result: CommandResult) => void;

/** Orders that rules and routes give to children: given at once, or when children have been started; nobody waits for the answer. */
export class Orders {
  readonly #commands: Commands;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #seen: OrderSeen | undefined;
  readonly #failed = new Set<string>();
  #waiting: Order[] | null = [];

  constructor(commands: Commands, clock: Clock, log: Logger, seen?: OrderSeen) {
    this.#commands = commands;
    this.#clock = clock;
    this.#log = log;
    this.#seen = seen;
  }

  /** Children have been started: what waited is given. */
  start(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = null;
    for (const order of waiting) this.give(order);
  }

  give(order: Order): void {
    if (this.#waiting === null) void this.#carryOut(order);
    else if (this.#waiting.length < WAITING_MAX) this.#waiting.push(order);
  }

  async #carryOut(order: Order): Promise<void> {
    const { child, command, payload, id } = order;
    const result = await this.#commands.invoke(child, command, payload, undefined, id);
    this.#seen?.(order, result);
    if (result.status < 400 || this.#failed.has(child)) return;
    this.#failed.add(child);
    this.#clock.after(SAID_EVERY_MS, () => this.#failed.delete(child));
    this.#log.warn({ child, command, id, ...result }, 'a command by a rule or a route failed');
  }
}
