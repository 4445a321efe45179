import type { Clock, Timer } from '../clock/clock.ts';
import * as uapi from './gpio-ioctl.ts';
import { type GpioKernel, linuxGpio } from './gpio-kernel.ts';
import {
  chipOf,
  type ChipNames,
  type GpioLine,
  type GpioLineRequest,
  type Level,
  type LinePlace,
  NoSuchWay,
  type OpenLine,
} from './gpio-line.ts';

/** Who uses our lines, as `gpioinfo` shows it. */
export const CONSUMER = 'holdfast';
/** Edges that the kernel is asked to keep for us: the most that it grants for one line. */
const EVENTS_KEPT = 1024;
/** Events that are taken at a time: the rest of the process has its turn in between. */
const EVENTS_AT_ONCE = 64;
/** How often the level at the start is read again because edges came meanwhile. */
const FIRST_READS_MAX = 10;

/** What the kernel answers where a chip cannot do what was asked of it, or where it knows no second version. */
const REFUSALS = ['EINVAL', 'ENOTSUPP', 'ENOTSUP', 'EOPNOTSUPP', 'ENOTTY'];
const FORBIDDEN = ['EACCES', 'EPERM'];

export interface CharacterChip extends ChipNames {
  readonly path: string;
}

/** The chips that have a character device and let us in. Throws {@link NoSuchWay} where there is none. */
export function characterChips(kernel: GpioKernel): CharacterChip[] {
  const paths = kernel.chips();
  if (paths.length === 0) throw new NoSuchWay('there is no /dev/gpiochip*');
  const chips: CharacterChip[] = [];
  let forbidden: string | undefined;
  for (const path of paths) {
    let fd: number;
    try {
      fd = kernel.open(path);
    } catch (error) {
      // Any other reason: it was unplugged between being listed and being opened.
      if (FORBIDDEN.includes(codeOf(error))) forbidden ??= path;
      continue;
    }
    try {
      const answered = uapi.chipInfoRequest();
      kernel.ioctl(fd, uapi.GET_CHIP_INFO, answered);
      const { label, lines } = uapi.chipInfo(answered);
      chips.push({ path, label, lines, device: kernel.device(path) });
    } catch {
      // Unplugged right now.
    } finally {
      kernel.close(fd);
    }
  }
  if (chips.length === 0 && forbidden !== undefined)
    throw new NoSuchWay(`no permission for ${forbidden}: the gateway's user must be in the group gpio`);
  return chips;
}

/** Who uses a line, and where it is: nothing changes. Throws as opening it would. */
export function lookAtCharacterLine(kernel: GpioKernel, place: LinePlace): { path: string; consumer: string | null } {
  const { path } = chipOf(characterChips(kernel), place);
  return { path, ...lookAt(kernel, path, place.offset) };
}

/** `consumer`: null when nobody uses it. */
function lookAt(kernel: GpioKernel, path: string, offset: number): { consumer: string | null } {
  const fd = kernel.open(path);
  try {
    const answered = uapi.lineInfoRequest(offset);
    kernel.ioctl(fd, uapi.GET_LINE_INFO, answered);
    const { used, consumer } = uapi.lineInfo(answered);
    return { consumer: used ? consumer : null };
  } catch (error) {
    if (!REFUSALS.includes(codeOf(error))) throw error;
    throw new NoSuchWay("this kernel's character device is of the first version (before Linux 5.10)", { cause: error });
  } finally {
    kernel.close(fd);
  }
}

/** Lines by the character device, where the kernel is Linux 5.10 or later. */
export function characterWay(kernel: () => GpioKernel = linuxGpio, eventsKept: number = EVENTS_KEPT): OpenLine {
  return async (place, request, _ended, clock) => {
    let calls: GpioKernel;
    try {
      calls = kernel();
    } catch (error) {
      throw new NoSuchWay(`the C library cannot be called: ${(error as Error).message}`, { cause: error });
    }
    const { path } = chipOf(characterChips(calls), place);
    return new CharacterLine(calls, path, place.offset, { ...request, eventsKept }, clock);
  };
}

interface CharacterRequest extends GpioLineRequest {
  readonly eventsKept: number;
}

/**
 * One line, asked for with GPIO v2 ioctls. The kernel keeps up to 1,024 edges for us while we are busy, each with its time
 * and number: what was lost beyond that shows as a gap in the numbers. It debounces itself, in the hardware where that can.
 */
class CharacterLine implements GpioLine {
  readonly #kernel: GpioKernel;
  readonly #request: GpioLineRequest;
  readonly #clock: Clock;
  readonly #fd: number;
  #watch: { end(): void } | undefined;
  readonly #events = Buffer.alloc(EVENTS_AT_ONCE * uapi.LINE_EVENT_BYTES);
  readonly through: string;
  readonly countsEdges = true;
  readonly levelAtOpen: Level;
  /** Number of the edge last seen. */
  #number = 0;
  /** Where the kernel does not debounce: what was lost in the bounces that are not over yet, and the end of them. */
  readonly #debounces: boolean;
  #settling: { readonly timer: Timer; readonly lost: number } | undefined;
  /** Released, or its chip gone: nothing more is told. */
  #over = false;
  #released = false;

  constructor(kernel: GpioKernel, path: string, offset: number, request: CharacterRequest, clock: Clock) {
    this.#kernel = kernel;
    this.#request = request;
    this.#clock = clock;
    this.through = path;
    const { fd, debounced } = take(kernel, path, offset, request);
    this.#fd = fd;
    this.#debounces = !debounced;
    try {
      const asksEdges = request.direction === 'in' && request.edge !== 'none';
      this.#watch = asksEdges ? kernel.watch(fd, (gone) => this.#ready(gone)) : undefined;
      this.levelAtOpen = asksEdges ? this.#settledLevel() : this.read();
    } catch (error) {
      this.release();
      throw error;
    }
  }

  read(): Level {
    const values = uapi.lineValues();
    this.#kernel.ioctl(this.#fd, uapi.GET_VALUES, values);
    return uapi.levelOf(values);
  }

  write(level: Level): void {
    this.#kernel.ioctl(this.#fd, uapi.SET_VALUES, uapi.lineValues(level));
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#end();
    this.#kernel.close(this.#fd);
  }

  #end(): void {
    this.#over = true;
    this.#settling?.timer.cancel();
    this.#settling = undefined;
    this.#watch?.end();
    this.#watch = undefined;
  }

  #failed(error: unknown): void {
    if (this.#over) return;
    // At once: the descriptor of a chip that is gone is ready for ever.
    this.#end();
    this.#request.onError(error as Error);
  }

  /** The level that the edges to come begin with: an edge before it was read is not told again. */
  #settledLevel(): Level {
    for (let reads = 1; ; reads++) {
      const level = this.read();
      const bytes = this.#kernel.read(this.#fd, this.#events);
      if (bytes > 0) this.#number = this.#lastOf(bytes).number;
      if (bytes === 0 || reads === FIRST_READS_MAX) return level;
    }
  }

  #lastOf(bytes: number): uapi.LineEvent {
    return uapi.lineEvent(this.#events, bytes - uapi.LINE_EVENT_BYTES);
  }

  #ready(gone: boolean): void {
    if (this.#over) return;
    try {
      const bytes = this.#kernel.read(this.#fd, this.#events);
      for (let from = 0; from < bytes && !this.#over; from += uapi.LINE_EVENT_BYTES)
        this.#seen(uapi.lineEvent(this.#events, from));
      if (gone && bytes === 0) throw new Error('ENODEV: the chip is gone');
    } catch (error) {
      this.#failed(error);
    }
  }

  #seen({ level, at, number }: uapi.LineEvent): void {
    // Modulo 2^32, as the kernel counts.
    const lost = (number - this.#number - 1) >>> 0;
    this.#number = number;
    if (!this.#debounces) return this.#request.onEdge({ level, at, lost });
    const sofar = (this.#settling?.lost ?? 0) + lost;
    this.#settling?.timer.cancel();
    const timer = this.#clock.after(this.#request.debounceMs, () => {
      this.#settling = undefined;
      try {
        this.#request.onEdge({ level: this.read(), at, lost: sofar });
      } catch (error) {
        this.#failed(error);
      }
    });
    this.#settling = { timer, lost: sofar };
  }
}

/** Has the kernel give us the line. */
function take(
  kernel: GpioKernel,
  path: string,
  offset: number,
  request: CharacterRequest,
): { fd: number; debounced: boolean } {
  const chip = kernel.open(path);
  const ask = (debounceMs: number): number => {
    const asked = uapi.lineRequest({ ...request, offset, consumer: CONSUMER, debounceMs });
    kernel.ioctl(chip, uapi.GET_LINE, asked);
    return uapi.lineDescriptor(asked);
  };
  try {
    if (request.debounceMs > 0) {
      try {
        return { fd: ask(request.debounceMs), debounced: true };
      } catch (error) {
        if (!REFUSALS.includes(codeOf(error))) throw error;
        return { fd: ask(0), debounced: false };
      }
    }
    return { fd: ask(0), debounced: true };
  } catch (error) {
    throw refused(error, kernel, path, offset, request);
  } finally {
    kernel.close(chip);
  }
}

/** What the kernel means by an error. */
function refused(error: unknown, kernel: GpioKernel, path: string, offset: number, request: GpioLineRequest): Error {
  const code = codeOf(error);
  if (code === 'EBUSY') {
    const { consumer } = lookAt(kernel, path, offset);
    // Left there by one who died, or by an earlier start of ours without the character device: sysfs can take it over.
    if (consumer === 'sysfs') return new NoSuchWay('the line is exported in sysfs', { cause: error });
    const user = consumer === null || consumer === '' ? 'the kernel or another program' : `'${consumer}'`;
    return new Error(`${user} uses the line`, { cause: error });
  }
  if (!REFUSALS.includes(code) && code !== 'ENXIO') return error as Error;
  try {
    lookAt(kernel, path, offset);
  } catch (older) {
    return older as Error;
  }
  const { direction, edge, bias } = request;
  const asked = direction === 'out' ? 'an output' : edge === 'none' ? 'an input' : `an input with edge ${edge}`;
  const also = bias === 'as-is' ? '' : ` and bias ${bias}`;
  return new Error(`the chip cannot have the line as ${asked}${also} (${code})`, { cause: error });
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? '';
}
