import type { GpioBias, GpioEdge, Level } from './gpio-line.ts';

/*
 * The kernel's GPIO interface, version 2 (Linux 5.10 and later): <linux/gpio.h>. All sizes and offsets are those of its
 * structures, which are laid out to be equal on 32 and 64 bits; test/gpio-ioctl.test.ts compares them with a C compiler's.
 */

/** As <asm-generic/ioctl.h> composes them; arm, arm64, x86 and riscv all do. */
const READ = 2;
const WRITE = 1;
const request = (way: number, number: number, bytes: number): number =>
  way * 0x4000_0000 + bytes * 0x1_0000 + 0xb400 + number;

const CHIP_INFO_BYTES = 68;
const LINE_INFO_BYTES = 256;
const LINE_REQUEST_BYTES = 592;
const LINE_VALUES_BYTES = 16;
export const LINE_EVENT_BYTES = 48;

export const GET_CHIP_INFO = request(READ, 0x01, CHIP_INFO_BYTES);
export const GET_LINE_INFO = request(READ | WRITE, 0x05, LINE_INFO_BYTES);
export const GET_LINE = request(READ | WRITE, 0x07, LINE_REQUEST_BYTES);
export const GET_VALUES = request(READ | WRITE, 0x0e, LINE_VALUES_BYTES);
export const SET_VALUES = request(READ | WRITE, 0x0f, LINE_VALUES_BYTES);

const NAME_BYTES = 32;
const FLAGS = {
  used: 1n << 0n,
  activeLow: 1n << 1n,
  input: 1n << 2n,
  output: 1n << 3n,
  rising: 1n << 4n,
  falling: 1n << 5n,
  pullUp: 1n << 8n,
  pullDown: 1n << 9n,
  biasDisabled: 1n << 10n,
};
const EDGE_FLAGS: Readonly<Record<GpioEdge, bigint>> = {
  none: 0n,
  rising: FLAGS.rising,
  falling: FLAGS.falling,
  both: FLAGS.rising | FLAGS.falling,
};
const BIAS_FLAGS: Readonly<Record<GpioBias, bigint>> = {
  'as-is': 0n,
  none: FLAGS.biasDisabled,
  'pull-up': FLAGS.pullUp,
  'pull-down': FLAGS.pullDown,
};
const ATTRIBUTE = { outputValues: 2, debounce: 3 };

/** In `struct gpio_v2_line_request`. */
const AT = { consumer: 256, flags: 288, attributeCount: 296, attributes: 320, lines: 560, eventsKept: 564, fd: 588 };

export interface LineSettings {
  readonly offset: number;
  /** Shown by `gpioinfo` as the user of the line. */
  readonly consumer: string;
  readonly direction: 'in' | 'out';
  readonly edge: GpioEdge;
  readonly activeLow: boolean;
  readonly bias: GpioBias;
  /** In the kernel; 0: none. */
  readonly debounceMs: number;
  /** How many edges the kernel is to keep for us. */
  readonly eventsKept: number;
  readonly initial: Level;
}

/** `struct gpio_v2_line_request` for one line. */
export function lineRequest(settings: LineSettings): Buffer {
  const { offset, consumer, direction, edge, activeLow, bias, debounceMs, eventsKept, initial } = settings;
  const made = Buffer.alloc(LINE_REQUEST_BYTES);
  made.writeUInt32LE(offset, 0);
  // The last byte stays NUL.
  made.write(consumer.slice(0, NAME_BYTES - 1), AT.consumer, 'latin1');
  const flags =
    (direction === 'in' ? FLAGS.input | EDGE_FLAGS[edge] : FLAGS.output) |
    (activeLow ? FLAGS.activeLow : 0n) |
    BIAS_FLAGS[bias];
  made.writeBigUInt64LE(flags, AT.flags);
  const attribute = (id: number, value: bigint): void => {
    made.writeUInt32LE(1, AT.attributeCount);
    made.writeUInt32LE(id, AT.attributes);
    made.writeBigUInt64LE(value, AT.attributes + 8);
    // The lines that it is for, as bits.
    made.writeBigUInt64LE(1n, AT.attributes + 16);
  };
  if (direction === 'out') attribute(ATTRIBUTE.outputValues, BigInt(initial));
  else if (debounceMs > 0) attribute(ATTRIBUTE.debounce, BigInt(debounceMs * 1000));
  made.writeUInt32LE(1, AT.lines);
  if (direction === 'in' && edge !== 'none') made.writeUInt32LE(eventsKept, AT.eventsKept);
  return made;
}

/** The descriptor that the kernel has put into a request. */
export function lineDescriptor(answered: Buffer): number {
  return answered.readInt32LE(AT.fd);
}

export function chipInfoRequest(): Buffer {
  return Buffer.alloc(CHIP_INFO_BYTES);
}

/** `struct gpiochip_info`. */
export function chipInfo(answered: Buffer): { name: string; label: string; lines: number } {
  return {
    name: text(answered, 0),
    label: text(answered, NAME_BYTES),
    lines: answered.readUInt32LE(2 * NAME_BYTES),
  };
}

export function lineInfoRequest(offset: number): Buffer {
  const made = Buffer.alloc(LINE_INFO_BYTES);
  made.writeUInt32LE(offset, 2 * NAME_BYTES);
  return made;
}

/** Of `struct gpio_v2_line_info`: the line's name on the board, and who uses it; empty where the kernel does not say. */
export function lineInfo(answered: Buffer): { name: string; consumer: string; used: boolean } {
  return {
    name: text(answered, 0),
    consumer: text(answered, NAME_BYTES),
    used: (answered.readBigUInt64LE(2 * NAME_BYTES + 8) & FLAGS.used) !== 0n,
  };
}

/** `struct gpio_v2_line_values` for the request's only line. */
export function lineValues(level: Level = 0): Buffer {
  const made = Buffer.alloc(LINE_VALUES_BYTES);
  made.writeBigUInt64LE(BigInt(level), 0);
  made.writeBigUInt64LE(1n, 8);
  return made;
}

export function levelOf(values: Buffer): Level {
  return (values.readUInt32LE(0) & 1) === 1 ? 1 : 0;
}

/** `struct gpio_v2_line_event`. */
export interface LineEvent {
  readonly level: Level;
  /** CLOCK_MONOTONIC, ms. */
  readonly at: number;
  /** Counts the line's edges from 1, modulo 2^32: also those that the kernel could not keep. */
  readonly number: number;
}

export function lineEvent(bytes: Buffer, from: number): LineEvent {
  const RISING_EDGE = 1;
  return {
    at: Number(bytes.readBigUInt64LE(from)) / 1_000_000,
    level: bytes.readUInt32LE(from + 8) === RISING_EDGE ? 1 : 0,
    number: bytes.readUInt32LE(from + 20),
  };
}

function text(bytes: Buffer, from: number): string {
  const end = bytes.indexOf(0, from);
  return bytes.toString('utf8', from, Math.min(end, from + NAME_BYTES));
}
