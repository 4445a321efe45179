import { closeSync, constants, openSync, readSync } from 'node:fs';
import { access, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../clock/clock.ts';
import { SYSFS_GPIO, sysfsNumber } from './gpio-chip.ts';
import { type GpioEdge, type GpioLine, type GpioLineRequest, type Level, type OpenLine } from './gpio-line.ts';

/** How long udev may take to hand an exported line's files to the gateway's group, and how often that is looked at, ms. */
const SETTLE_MS_MAX = 5_000;
const SETTLE_EVERY_MS = 20;

/** What is used of the class `Gpio` of the package `onoff`; a test passes its own where no chip exists. */
export interface GpioClass {
  new (
    number: number,
    direction: 'in' | 'high' | 'low',
    edge: GpioEdge,
    options: { debounceTimeout: number; activeLow: boolean },
  ): OnoffGpio;
}

export interface OnoffGpio {
  readSync(): Level;
  writeSync(level: Level): void;
  watch(callback: (error: Error | null | undefined, level: Level) => void): void;
  unwatchAll(): void;
  direction(): string;
  edge(): string;
  unexport(): void;
}

/** Looks at an exported line's level, again and again. */
export interface LevelFile {
  /** Throws when the chip is gone. */
  read(): Level;
  close(): void;
}

/** Where the hardware is; a test has another folder, a class and levels of its own. */
export interface GpioPlatform {
  readonly root: string;
  readonly gpioClass: () => Promise<GpioClass>;
  /** `folder` is the line's. */
  readonly openLevel: (folder: string) => LevelFile;
}

const LINUX: GpioPlatform = {
  root: SYSFS_GPIO,
  // Imported here and not above: a native add-on and 6 MiB that a gateway without GPIO children does not pay.
  gpioClass: async () => (await import('onoff')).Gpio,
  openLevel: openLevelFile,
};

/** Lines by sysfs, for kernels without a character device of the second version, and for who may not open it. */
export function sysfsWay(platform: GpioPlatform = LINUX): OpenLine {
  return async (place, request, ended, clock) => {
    const number = await sysfsNumber(place, platform.root);
    if (request.bias !== 'as-is')
      throw new Error(`bias ${request.bias} needs the character device: sysfs cannot set it`);
    return SysfsLine.open(number, request, ended, clock, platform);
  };
}

/**
 * One exported line. What is odd in the package `onoff` 6 stops in this file:
 * - it waits for udev by opening a file up to 10,000 times in a row, synchronously: so the line is exported here, and waited
 *   for without blocking, before onoff sees it;
 * - for a line that it did not export itself it swallows every error: so direction and edge are read back;
 * - a constructor that throws leaves the line exported;
 * - its edge callback reads the level and throws when the chip is gone, out of native code, which would end the process; and
 *   a debounce that is still running when the line is released reads a closed (or reused) descriptor: so its `readSync`
 *   is shadowed on the instance by one that does not throw, and reads nothing after release;
 * - `high` and `low` set the voltage and know nothing of active-low, unlike every other value;
 * - the kernel tells of an edge through a descriptor until the level is read through it, so a `readSync` at that moment
 *   swallows the edge: whoever only wants to know the level reads it through another descriptor.
 */
class SysfsLine implements GpioLine {
  readonly #gpio: OnoffGpio;
  readonly #level: LevelFile;
  readonly through: string;
  /** It tells that a level changed, not how often. */
  readonly countsEdges = false;
  readonly levelAtOpen: Level;
  /** Released, or its chip gone: onoff may still call back, and is not listened to. */
  #over = false;
  #released = false;

  private constructor(number: number, gpio: OnoffGpio, level: LevelFile, request: GpioLineRequest, clock: Clock) {
    this.through = `sysfs number ${number}`;
    this.#gpio = gpio;
    this.#level = level;
    const read = gpio.readSync.bind(gpio);
    let last: Level = read();
    this.levelAtOpen = last;
    gpio.readSync = () => {
      if (this.#over) return last;
      try {
        last = read();
      } catch (error) {
        this.#over = true;
        request.onError(error as Error);
      }
      return last;
    };
    if (request.direction === 'in' && request.edge !== 'none') {
      gpio.watch((error, after) => {
        if (this.#over) return;
        if (error) request.onError(error);
        else request.onEdge({ level: after, at: clock.monotonic(), lost: null });
      });
    }
  }

  /** Rejects, and gives the line back, when `ended` is aborted while it waits. */
  static async open(
    number: number,
    request: GpioLineRequest,
    ended: AbortSignal,
    clock: Clock,
    { root, gpioClass, openLevel }: GpioPlatform,
  ): Promise<SysfsLine> {
    const Gpio = await gpioClass();
    const folder = join(root, `gpio${number}`);
    const wasExported = await exists(folder);
    if (!wasExported) await exportLine(number, root);
    let gpio: OnoffGpio | undefined;
    let level: LevelFile | undefined;
    try {
      await settled(folder, ended, clock);
      const raw = (request.initial === 1) !== request.activeLow ? 'high' : 'low';
      const edge = request.direction === 'in' ? request.edge : 'none';
      const options = { debounceTimeout: request.debounceMs, activeLow: request.activeLow };
      gpio = new Gpio(number, request.direction === 'in' ? 'in' : raw, edge, options);
      if (gpio.direction() !== request.direction)
        throw new Error(`the line cannot be set to direction ${request.direction}`);
      if (edge !== 'none' && gpio.edge() !== edge)
        throw new Error(`the line cannot report edges (${edge} was asked for)`);
      level = openLevel(folder);
      return new SysfsLine(number, gpio, level, request, clock);
    } catch (error) {
      level?.close();
      if (gpio !== undefined) gpio.unexport();
      else if (!wasExported) await writeFile(join(root, 'unexport'), String(number)).catch(() => {});
      throw error;
    }
  }

  read(): Level {
    return this.#level.read();
  }

  write(level: Level): void {
    this.#gpio.writeSync(level);
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#over = true;
    for (const undo of [() => this.#level.close(), () => this.#gpio.unwatchAll(), () => this.#gpio.unexport()]) {
      try {
        undo();
      } catch {
        // The chip is gone, and the line with it.
      }
    }
  }
}

/** The level as sysfs has it in the file `value`: `0` or `1`, in the logical sense. */
export function openLevelFile(folder: string): LevelFile {
  const file = openSync(join(folder, 'value'), 'r');
  const digit = Buffer.alloc(1);
  return {
    read: () => {
      readSync(file, digit, 0, 1, 0);
      return digit.toString('latin1') === '1' ? 1 : 0;
    },
    close: () => closeSync(file),
  };
}

async function exportLine(number: number, root: string): Promise<void> {
  try {
    await writeFile(join(root, 'export'), String(number));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'EACCES')
      throw new Error(`no permission for ${root}: the gateway's user must be in the group gpio`, { cause: error });
    if (code === 'EBUSY') throw new Error('the kernel or another program uses the line', { cause: error });
    throw new Error(`the line cannot be exported: ${(error as Error).message}`, { cause: error });
  }
}

/** Resolves when the files of an exported line may be written. */
async function settled(folder: string, ended: AbortSignal, clock: Clock): Promise<void> {
  const files = ['value', 'direction', 'active_low', 'edge'].map((file) => join(folder, file));
  const deadline = clock.monotonic() + SETTLE_MS_MAX;
  while (!(await writable(files))) {
    if (clock.monotonic() >= deadline) {
      throw new Error(
        `no permission for ${folder}: the gateway's user must be in the group gpio, and a udev rule must say so`,
      );
    }
    await new Promise<void>((resolve) => {
      clock.after(SETTLE_EVERY_MS, resolve);
    });
    ended.throwIfAborted();
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Whether those of the files that exist (a line without interrupts has no `edge`) may be written, `value` at least. */
async function writable(files: readonly string[]): Promise<boolean> {
  const [value = ''] = files;
  if (!(await exists(value))) return false;
  for (const file of files) {
    const code = await access(file, constants.R_OK | constants.W_OK).then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error.code,
    );
    if (code !== undefined && code !== 'ENOENT') return false;
  }
  return true;
}
