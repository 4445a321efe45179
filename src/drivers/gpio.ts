import type { Timer } from '../clock/clock.ts';
import type { CommandResult } from '../commands/commands.ts';
import type { Driver, DriverContext } from './driver.ts';
import { EdgeCount } from './gpio-count.ts';
import type { EdgeSeen, GpioBias, GpioEdge, GpioLine, Level, OpenLine } from './gpio-line.ts';
import { eitherWay } from './gpio-ways.ts';

/** How often the level is looked at besides edges, ms: a chip that went away and edges that were lost show only there. */
const LOOK_EVERY_MS = 1_000;
/** Longest pulse, ms: its command answers when it is over, and a method call does not wait longer. */
const PULSE_MS_MAX = 10_000;

export interface GpioOptions {
  /** Name in the profile's words (`GPIO17`), label of the chip, and the line's place on it. */
  readonly line: { readonly name: string; readonly chip: string; readonly offset: number };
  readonly direction: 'in' | 'out';
  readonly edge: GpioEdge;
  readonly debounceMs: number;
  readonly activeLow: boolean;
  readonly bias: GpioBias;
  readonly initial: Level;
  /** Of an output: the level that it is left with, and begins with after a failure; undefined: it stays as it is. */
  readonly safe?: Level;
  /** Counts edges instead of telling each, and tells the count each so many ms. */
  readonly countEveryMs?: number;
  /** Each edge tells how long the level before it lasted. */
  readonly duration: boolean;
}

/**
 * One GPIO line. An input's readings are `{"line":"GPIO17","value":1}`: its level at start, and then each edge that was asked
 * for, with `heldMs` where `duration` asks for it. A reading with the property `coalesced: "true"` stands for more edges than
 * one; with `lost: "3"` the kernel has counted those that are missing. An input that counts tells a {@link Count} now and
 * then instead. Commands: `read`; for an output `set`, `toggle` and `pulse`.
 */
export class GpioDriver implements Driver {
  readonly #options: GpioOptions;
  readonly #context: DriverContext;
  readonly #open: OpenLine;
  #line: GpioLine | undefined;
  #look: Timer | undefined;
  #tell: Timer | undefined;
  #count: EdgeCount | undefined;
  /** Ends a running pulse; answers its command. */
  #endPulse: ((result: CommandResult) => void) | undefined;
  /** The level last seen, and whether the look before this one already differed from it. */
  #level: Level = 0;
  #differed = false;
  /** When the level last changed, monotonic ms; undefined: before the start, or unseen. */
  #changedAt: number | undefined;
  /** Edges that were asked for, lost, and not told of yet. */
  #lost = 0;
  /** Aborted by the stop that ends what the latest start began. */
  #life = new AbortController();
  #starting: Promise<void> = Promise.resolve();

  constructor(options: GpioOptions, context: DriverContext, open: OpenLine = eitherWay()) {
    this.#options = options;
    this.#context = context;
    this.#open = open;
  }

  start(): Promise<void> {
    this.#life = new AbortController();
    this.#starting = this.#start(this.#life.signal);
    return this.#starting;
  }

  async #start(ended: AbortSignal): Promise<void> {
    const { line, direction, edge, debounceMs, activeLow, bias, initial, safe, countEveryMs } = this.#options;
    const { clock, log, afterFailure } = this.#context;
    try {
      const opened = await this.#open(
        line,
        {
          direction,
          // A glitch is over by the end of its debounce: only who saw the level change both times knows that it was one.
          edge: edge !== 'none' && debounceMs > 0 ? 'both' : edge,
          debounceMs,
          activeLow,
          bias,
          initial: afterFailure === true ? (safe ?? initial) : initial,
          onEdge: (seen) => ended.aborted || this.#edge(seen),
          onError: (error) => ended.aborted || this.#context.failed(this.#named(error)),
        },
        ended,
        clock,
      );
      if (ended.aborted) return opened.release();
      this.#line = opened;
      this.#level = opened.levelAtOpen;
      log.info({ line: line.name }, `open through ${opened.through}`);
    } catch (error) {
      throw this.#named(error as Error);
    }
    this.#differed = false;
    this.#changedAt = undefined;
    this.#lost = 0;
    if (countEveryMs !== undefined) {
      this.#count = new EdgeCount(edge, this.#line.countsEdges, this.#level, clock.monotonic());
      this.#tell = clock.every(countEveryMs, () => this.#tellCount());
    } else if (direction === 'in') this.#emit(this.#level, clock.monotonic());
    // Not sooner than a debounce may take, or a level that is still settling would be taken for a lost edge.
    this.#look = clock.every(Math.max(LOOK_EVERY_MS, 2 * debounceMs), () => this.#lookAtLevel());
  }

  /** What was counted since the last count; the next start counts from 0. */
  lastWords(): void {
    if (this.#line !== undefined) this.#tellCount();
    this.#count = undefined;
  }

  async stop(): Promise<void> {
    this.#life.abort();
    this.#look?.cancel();
    this.#tell?.cancel();
    this.#look = this.#tell = this.#count = undefined;
    this.#endPulse?.({ status: 503, payload: { error: `${this.#options.line.name} was stopped during the pulse` } });
    const line = this.#line;
    this.#line = undefined;
    const { direction, safe } = this.#options;
    try {
      if (line !== undefined && direction === 'out' && safe !== undefined) line.write(safe);
    } catch (error) {
      this.#context.log.error({ err: this.#named(error as Error) }, 'an output was not put into its safe state');
    } finally {
      line?.release();
    }
    // A start that is not over gives back what it has taken, and a next one must not find the line half taken.
    await this.#starting.catch(() => {});
  }

  async command(name: string, payload: unknown): Promise<CommandResult> {
    const {
      line: { name: lineName },
      direction,
      edge,
    } = this.#options;
    const line = this.#line;
    if (line === undefined) return { status: 503, payload: { error: `${lineName} is not open` } };
    try {
      if (name === 'read') {
        const value = line.read();
        if (direction === 'in' && edge === 'none') this.#emit(value, this.#context.clock.monotonic());
        return { status: 200, payload: { value, ...(this.#count && { total: this.#count.total }) } };
      }
      if (direction === 'out' && (name === 'set' || name === 'toggle' || name === 'pulse')) {
        if (this.#endPulse) return { status: 409, payload: { error: `${lineName} is in a pulse` } };
        if (name === 'toggle') return drive(line, invert(line.read()));
        if (name === 'pulse') return await this.#pulse(line, payload);
        const level = levelIn(payload);
        if (level === undefined)
          return { status: 400, payload: { error: 'set needs 0, 1, true, false or {"value": ...}' } };
        return drive(line, level);
      }
    } catch (error) {
      return this.#broken(error as Error);
    }
    const known = direction === 'in' ? 'read' : 'read, set, toggle and pulse';
    return { status: 404, payload: { error: `${lineName} has no command '${name}'; it has ${known}` } };
  }

  /** To the other level for so many ms, then back; answers when it is back. */
  async #pulse(line: GpioLine, payload: unknown): Promise<CommandResult> {
    const ms = typeof payload === 'object' && payload !== null ? (payload as { ms?: unknown }).ms : undefined;
    if (typeof ms !== 'number' || !(ms >= 1 && ms <= PULSE_MS_MAX)) {
      return { status: 400, payload: { error: `pulse needs {"ms": 1 to ${PULSE_MS_MAX}}` } };
    }
    const before = line.read();
    line.write(invert(before));
    return new Promise<CommandResult>((resolve) => {
      const end = (result: CommandResult): void => {
        timer.cancel();
        this.#endPulse = undefined;
        try {
          line.write(before);
          resolve(result);
        } catch (error) {
          resolve(this.#broken(error as Error));
        }
      };
      const timer = this.#context.clock.after(ms, () => end({ status: 200, payload: { value: before } }));
      this.#endPulse = end;
    });
  }

  #edge({ level, at, lost }: EdgeSeen): void {
    const { edge, debounceMs } = this.#options;
    // A debounced line that is back at its old level only bounced.
    if (debounceMs > 0 && level === this.#level && !lost) return;
    const unseen = edge === 'both' && level === this.#level;
    this.#differed = false;
    this.#changed(level, at, unseen, this.#askedOf(lost ?? 0));
  }

  /** How many of so many edges after the level last seen were asked for: a debounced line tells of both kinds. */
  #askedOf(lost: number): number {
    const { edge, debounceMs } = this.#options;
    if (debounceMs === 0 || edge === 'both') return lost;
    return this.#isAsked(invert(this.#level)) ? Math.ceil(lost / 2) : Math.floor(lost / 2);
  }

  /** The level is another one; `unseen`: it was so in between. */
  #changed(level: Level, at: number, unseen: boolean, lost: number): void {
    const isSure = !unseen && lost === 0;
    const heldMs = isSure && this.#changedAt !== undefined ? at - this.#changedAt : null;
    const asked = this.#isAsked(level);
    this.#level = level;
    this.#changedAt = at;
    this.#lost += lost;
    this.#count?.seen((asked ? 1 : 0) + lost, level, at);
    if (!asked || this.#count !== undefined) return;
    this.#emit(level, at, unseen || this.#lost > 0, heldMs);
  }

  #tellCount(): void {
    if (this.#count === undefined) return;
    const { clock } = this.#context;
    const now = clock.monotonic();
    this.#send({ line: this.#options.line.name, ...this.#count.take(now) }, now);
  }

  #lookAtLevel(): void {
    const line = this.#line;
    if (line === undefined) return;
    let now: Level;
    try {
      now = line.read();
    } catch (error) {
      this.#context.failed(this.#named(error as Error));
      return;
    }
    const { direction, edge, debounceMs } = this.#options;
    if (direction === 'out' || edge === 'none' || now === this.#level) {
      this.#differed = false;
      return;
    }
    const asked = this.#isAsked(now);
    // Of such a change no edge tells, except for a debounce.
    if (!asked && debounceMs === 0) {
      this.#level = now;
      this.#changedAt = undefined;
    }
    // Its edge may be on the way at this very moment; a second later it is lost.
    else if (!this.#differed) this.#differed = true;
    else {
      this.#differed = false;
      this.#changed(now, this.#context.clock.monotonic(), true, 0);
      this.#changedAt = undefined;
    }
  }

  /** Whether a change to this level is a reading. */
  #isAsked(level: Level): boolean {
    const { edge } = this.#options;
    return edge === 'both' || edge === (level === 1 ? 'rising' : 'falling');
  }

  #emit(value: Level, at: number, coalesced = false, heldMs: number | null = null): void {
    const { line, duration } = this.#options;
    const lost = this.#lost;
    this.#lost = 0;
    this.#send(
      { line: line.name, value, ...(duration && { heldMs: heldMs === null ? null : Number(heldMs.toFixed(3)) }) },
      at,
      coalesced ? { coalesced: 'true', ...(lost > 0 && { lost: String(lost) }) } : undefined,
    );
  }

  #send(body: object, measuredAt: number, properties?: Readonly<Record<string, string>>): void {
    this.#context.emit({
      body: Buffer.from(JSON.stringify(body)),
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      measuredAt,
      ...(properties && { properties }),
    });
  }

  #broken(error: Error): CommandResult {
    const named = this.#named(error);
    this.#context.failed(named);
    return { status: 500, payload: { error: named.message } };
  }

  #named(error: Error): Error {
    const { name, chip, offset } = this.#options.line;
    return new Error(`${name} (${chip} line ${offset}): ${error.message}`, { cause: error });
  }
}

function invert(level: Level): Level {
  return level === 1 ? 0 : 1;
}

function drive(line: GpioLine, level: Level): CommandResult {
  line.write(level);
  return { status: 200, payload: { value: line.read() } };
}

/** The level that a `set` payload asks for: 0, 1, true, false, or one of them as `value`. */
function levelIn(payload: unknown): Level | undefined {
  const asked = typeof payload === 'object' && payload !== null ? (payload as { value?: unknown }).value : payload;
  if (asked === 1 || asked === true) return 1;
  if (asked === 0 || asked === false) return 0;
  return undefined;
}
