import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import type { CommandResult, Commands } from './commands.ts';

/** Orders that are kept at once, and their bytes: what is beyond that is given, and not kept. */
const KEPT_MAX = 1000;
const KEPT_BYTES_MAX = 2 ** 20;
/** So long after the start children that are not there yet are tried again, ms, and how often. */
const PATIENCE_MS = 60_000;
const AGAIN_MS = 1000;
/** How long a stop waits for what is being carried out, ms. */
const STOP_MS_MAX = 300;
/** A failure is said once in so long, ms: it may be each reading's, and the log may lie on a card. */
const SAID_EVERY_MS = 60_000;
/** What the end of an order takes in a commit, bytes, about. */
const GONE_BYTES = 64;
/** The kind of their records; the rules have 1 and 2. */
const KIND = 3;
const VERSION = 1;

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

export interface OrdersOptions {
  readonly commands: Commands;
  readonly clock: Clock;
  readonly log: Logger;
  /** There is something to be written, and nobody waits for it: see `Spool.touch`. */
  readonly touch: () => void;
  readonly seen?: OrderSeen | undefined;
}

/** A record as the spool keeps it: see `spool/companion.ts`. */
export interface OrderRecord {
  readonly kind: number;
  readonly number: number;
  readonly value: Buffer | null;
}

/** An order that has not been carried out. */
interface Open {
  readonly order: Order;
  /** Of its record; null: it is not kept. */
  readonly number: number | null;
  readonly value: Buffer;
  /** A commit has it, or will have. */
  cut: boolean;
}

/**
 * Orders that rules and routes give to children: given at once, or when children have been started; nobody waits for the answer.
 * Is a companion of the spool: an order that is not carried out yet when a commit is cut is in it, with the message that brought
 * it about, and is given again after a crash. One that was carried out before is never written.
 */
export class Orders {
  readonly #options: OrdersOptions;
  readonly #failed = new Set<string>();
  /** By number, in order. */
  readonly #kept = new Map<number, Open>();
  #keptBytes = 0;
  /** Bytes of those that the next cut has. */
  #uncutBytes = 0;
  /** Numbers of those that were carried out after they had been cut. */
  #gone: number[] = [];
  #next = 1;
  /** Orders that wait for the start, or for a child that is not there yet, and those behind them. */
  readonly #lines = new Map<string, Open[]>();
  readonly #underWay = new Set<Promise<void>>();
  #state: 'starting' | 'started' | 'stopped' = 'starting';
  #patientUntil = Infinity;

  constructor(options: OrdersOptions) {
    this.#options = options;
  }

  /** Takes up what lay on the medium, before anything is given: it waits for {@link start}, in its order. */
  restore(records: readonly OrderRecord[]): void {
    const { log } = this.#options;
    let count = 0;
    for (const { kind, number, value } of records.toSorted((a, b) => a.number - b.number)) {
      if (kind !== KIND || value === null) continue;
      this.#next = Math.max(this.#next, number + 1);
      const order = decode(value);
      if (order === null) {
        log.error({ record: number }, 'a command of before the restart cannot be read: it is not given');
        this.#gone.push(number);
        continue;
      }
      count++;
      const open = { order, number, value, cut: true };
      this.#kept.set(number, open);
      this.#keptBytes += value.length;
      this.#wait(open);
    }
    if (count > 0) log.info({ count }, 'commands of before the restart are given again');
  }

  /** Children have been started: what waited is given to each in its order. For a while a child that is not there yet is waited for. */
  start(): void {
    const { clock } = this.#options;
    this.#state = 'started';
    this.#patientUntil = clock.monotonic() + PATIENCE_MS;
    for (const [child, line] of this.#lines) this.#begin(this.#giveLine(child, line));
  }

  /** Resolves when what is under way has been carried out, or soon. What comes from now on waits for the next run, as does what failed meanwhile. */
  async stop(): Promise<void> {
    this.#state = 'stopped';
    const late = new Promise<void>((resolve) => this.#options.clock.after(STOP_MS_MAX, resolve));
    if (this.#underWay.size > 0) await Promise.race([Promise.all(this.#underWay), late]);
  }

  give(order: Order): void {
    const open = this.#keep(order);
    if (this.#state === 'started' && !this.#lines.has(order.child)) this.#begin(this.#carryOut(open));
    else if (open.number !== null) this.#wait(open);
    else this.#ended(open, { status: 503, payload: { error: 'too many commands wait' }, failed: true });
  }

  /** As a companion of the spool. */
  get bytes(): number {
    return this.#uncutBytes + this.#gone.length * GONE_BYTES;
  }

  /** As a companion of the spool. */
  cut(): OrderRecord[] {
    const records: OrderRecord[] = this.#gone.map((number) => ({ kind: KIND, number, value: null }));
    this.#gone = [];
    if (this.#uncutBytes === 0) return records;
    for (const [number, open] of this.#kept) {
      if (open.cut) continue;
      open.cut = true;
      records.push({ kind: KIND, number, value: open.value });
    }
    this.#uncutBytes = 0;
    return records;
  }

  #keep(order: Order): Open {
    const value = encode(order);
    const fits = this.#kept.size < KEPT_MAX && this.#keptBytes + value.length <= KEPT_BYTES_MAX;
    const open: Open = { order, number: fits ? this.#next++ : null, value, cut: false };
    if (open.number !== null) {
      this.#kept.set(open.number, open);
      this.#keptBytes += value.length;
      this.#uncutBytes += value.length;
    }
    return open;
  }

  #wait(open: Open): void {
    const { child } = open.order;
    const line = this.#lines.get(child);
    if (line === undefined) this.#lines.set(child, [open]);
    else line.push(open);
  }

  #begin(work: Promise<void>): void {
    const done = work.finally(() => this.#underWay.delete(done));
    this.#underWay.add(done);
  }

  /** One after the other while there is patience, the rest at once. */
  async #giveLine(child: string, line: Open[]): Promise<void> {
    const { clock } = this.#options;
    while (line.length > 0 && this.#patient) {
      const result = await this.#invoke(line[0]!.order);
      if (isAbsent(result) && this.#patient) await new Promise<void>((resolve) => clock.after(AGAIN_MS, resolve));
      else this.#ended(line.shift()!, result);
    }
    if (this.#state === 'stopped') return;
    this.#lines.delete(child);
    await Promise.all(line.map((open) => this.#carryOut(open)));
  }

  async #carryOut(open: Open): Promise<void> {
    const result = await this.#invoke(open.order);
    if (open.number === null || !isAbsent(result) || !this.#patient) {
      this.#ended(open, result);
      return;
    }
    this.#wait(open);
    const { child } = open.order;
    const line = this.#lines.get(child)!;
    if (line.length === 1) this.#begin(this.#giveLine(child, line));
  }

  /** Children may not be there yet. */
  get #patient(): boolean {
    return this.#state === 'started' && this.#options.clock.monotonic() < this.#patientUntil;
  }

  #invoke({ child, command, payload, id }: Order): Promise<CommandResult> {
    return this.#options.commands.invoke(child, command, payload, undefined, id);
  }

  #ended(open: Open, result: CommandResult): void {
    const { clock, log, touch, seen } = this.#options;
    const { order, number, value, cut } = open;
    // Its child was stopped over it: it is given again by the next run.
    if (this.#state === 'stopped' && number !== null && isUnanswered(result)) return;
    if (number !== null) {
      this.#kept.delete(number);
      this.#keptBytes -= value.length;
      if (cut) {
        this.#gone.push(number);
        touch();
      } else this.#uncutBytes -= value.length;
    }
    seen?.(order, result);
    const { child, command, id } = order;
    if (result.status < 400 || this.#failed.has(child)) return;
    this.#failed.add(child);
    clock.after(SAID_EVERY_MS, () => this.#failed.delete(child));
    log.warn({ child, command, id, ...result }, 'a command by a rule or a route failed');
  }
}

/** Nobody is there who could be told: not connected, not started yet, its port not there. */
function isAbsent({ status, failed }: CommandResult): boolean {
  return status === 503 || (status === 404 && failed === true);
}

/** Whoever was told has not said what came of it. */
function isUnanswered({ status, failed }: CommandResult): boolean {
  return failed === true || status === 503 || status === 504;
}

function encode({ child, command, payload, id }: Order): Buffer {
  return Buffer.from(JSON.stringify({ version: VERSION, child, command, payload, id }), 'utf8');
}

/** Null when it cannot be read, or was written by a newer program. */
function decode(value: Buffer): Order | null {
  try {
    const { version, ...order } = JSON.parse(value.toString('utf8')) as Order & { readonly version: number };
    return version === VERSION ? order : null;
  } catch {
    return null;
  }
}
