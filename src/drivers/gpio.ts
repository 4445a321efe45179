import type { Timer } from '../clock/clock.ts';
import type { CommandResult } from '../commands/commands.ts';
import type { Driver, DriverContext } from './driver.ts';
import { SYSFS_GPIO, sysfsNumber } from './gpio-chip.ts';
import { type GpioEdge, GpioLine, type GpioPlatform, type Level, openLevelFile } from './gpio-line.ts';

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
  readonly initial: Level;
}

const LINUX: GpioPlatform = {
  root: SYSFS_GPIO,
  // Imported here and not above: a native add-on and 6 MiB that a gateway without GPIO children does not pay.
  gpioClass: async () => (await import('onoff')).Gpio,
  openLevel: openLevelFile,
};

/**
 * One GPIO line. An input's readings are `{"line":"GPIO17","value":1}`: its level at start, and then each edge that was asked
 * for. A reading with the property `coalesced: "true"` stands for more edges than one: sysfs tells that a level changed, not
 * how often, and when the process was busy some are lost. Commands: `read`; for an output `set`, `toggle` and `pulse`.
 */
export class GpioDriver implements Driver {
  readonly #options: GpioOptions;
  readonly #context: DriverContext;
  readonly #platform: GpioPlatform;
  #line: GpioLine | undefined;
  #look: Timer | undefined;
  /** Ends a running pulse; answers its command. */
  #endPulse: ((result: CommandResult) => void) | undefined;
  /** The level last seen, and whether the look before this one already differed from it. */
  #level: Level = 0;
  #differed = false;
  /** Aborted by the stop that ends what the latest start began. */
  #life = new AbortController();
  #starting: Promise<void> = Promise.resolve();

  constructor(options: GpioOptions, context: DriverContext, platform: GpioPlatform = LINUX) {
    this.#options = options;
    this.#context = context;
    this.#platform = platform;
  }

  start(): Promise<void> {
    this.#life = new AbortController();
    this.#starting = this.#start(this.#life.signal);
    return this.#starting;
  }

  async #start(ended: AbortSignal): Promise<void> {
    const { line, direction, edge, debounceMs, activeLow, initial } = this.#options;
    try {
      const number = await sysfsNumber(line.chip, line.offset, this.#platform.root);
      const opened = await GpioLine.open(
        {
          number,
          direction,
          // A glitch is over by the end of its debounce: only who saw the level change both times knows that it was one.
          edge: edge !== 'none' && debounceMs > 0 ? 'both' : edge,
          debounceMs,
          activeLow,
          initial,
          onEdge: (level) => ended.aborted || this.#edge(level),
          onError: (error) => ended.aborted || this.#context.failed(this.#named(error)),
        },
        ended,
        this.#context.clock,
        this.#platform,
      );
      if (ended.aborted) return opened.release();
      this.#line = opened;
      this.#level = opened.levelAtOpen;
    } catch (error) {
      throw this.#named(error as Error);
    }
    this.#differed = false;
    if (direction === 'in') this.#emit(this.#level, false);
    // Not sooner than a debounce may take, or a level that is still settling would be taken for a lost edge.
    this.#look = this.#context.clock.every(Math.max(LOOK_EVERY_MS, 2 * debounceMs), () => this.#lookAtLevel());
  }

  async stop(): Promise<void> {
    this.#life.abort();
    this.#look?.cancel();
    this.#look = undefined;
    this.#endPulse?.({ status: 503, payload: { error: `${this.#options.line.name} was stopped during the pulse` } });
    this.#line?.release();
    this.#line = undefined;
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
        if (direction === 'in' && edge === 'none') this.#emit(value, false);
        return { status: 200, payload: { value } };
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

  #edge(level: Level): void {
    // A debounced line that is back at its old level only bounced.
    if (this.#options.debounceMs > 0 && level === this.#level) return;
    const lostBetween = this.#options.edge === 'both' && level === this.#level;
    this.#level = level;
    this.#differed = false;
    if (this.#isAsked(level)) this.#emit(level, lostBetween);
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
    if (!asked && debounceMs === 0) this.#level = now;
    // Its edge may be on the way at this very moment; a second later it is lost.
    else if (!this.#differed) this.#differed = true;
    else {
      this.#level = now;
      this.#differed = false;
      if (asked) this.#emit(now, true);
    }
  }

  /** Whether a change to this level is a reading. */
  #isAsked(level: Level): boolean {
    const { edge } = this.#options;
    return edge === 'both' || edge === (level === 1 ? 'rising' : 'falling');
  }

  #emit(value: Level, coalesced: boolean): void {
    this.#context.emit({
      body: Buffer.from(JSON.stringify({ line: this.#options.line.name, value })),
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      measuredAt: this.#context.clock.monotonic(),
      ...(coalesced && { properties: { coalesced: 'true' } }),
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
