import { decimalOf, negated, plus, quotient } from '../decimal.ts';
import { isScaled, NUMBER_BYTES, type NumberFormat, readScaled, writeNumber } from '../number.ts';

/** The four tables of a Modbus device ("MODBUS Application Protocol" V1.1b3, section 4.3). */
export type RegisterType = 'coil' | 'discrete' | 'holding' | 'input';

export type RegisterFormat = 'bool' | 'string' | Exclude<NumberFormat, 'int8' | 'uint8'>;

/** One value in a device's tables. */
export interface Register {
  readonly name: string;
  readonly type: RegisterType;
  /** As on the wire, from 0: 40001 in a manual is usually holding register 0. */
  readonly address: number;
  readonly format: RegisterFormat;
  /** Registers of a `string`. */
  readonly length?: number | undefined;
  /** The bit of a 16-bit register that a `bool` is, 0 for the lowest; left out: true is anything but 0. */
  readonly bit?: number | undefined;
  /** Which register of several comes first. `big`: the one with the highest digits. */
  readonly wordOrder: 'big' | 'little';
  /** Which byte of a register comes first. `big` is what the protocol says. */
  readonly byteOrder: 'big' | 'little';
  /** The value is the number times `scale` plus `offset`. */
  readonly scale: number;
  readonly offset: number;
  readonly unit?: string | undefined;
  readonly writable: boolean;
}

export type RegisterValue = number | string | boolean | null;

/** Coils and discrete inputs are bits, the other two are words of 16 bits. */
export function isBits(type: RegisterType): boolean {
  return type === 'coil' || type === 'discrete';
}

/** How many addresses a register covers. */
export function span({ format, length }: Pick<Register, 'format' | 'length'>): number {
  if (format === 'bool') return 1;
  return format === 'string' ? (length ?? 1) : NUMBER_BYTES[format] / 2;
}

/**
 * The value in `bytes`, which are the words of this register as they came. A number that JSON cannot carry unharmed (an
 * integer past 2^53) comes as decimal text; a float that is no number comes as null.
 */
export function decodeWords(register: Register, bytes: Buffer): RegisterValue {
  const words = ordered(register, bytes);
  const { format, bit } = register;
  if (format === 'bool') {
    const word = words.readUInt16BE(0);
    return bit === undefined ? word !== 0 : ((word >> bit) & 1) === 1;
  }
  if (format === 'string') return textOf(words);
  return readScaled(format, words, register);
}

/** The words that say `value`, in the order of the wire, or what is wrong with it. */
export function encodeWords(register: Register, value: unknown): Buffer | string {
  const { name, format } = register;
  const bytes = Buffer.alloc(span(register) * 2);
  if (format === 'bool') {
    if (typeof value !== 'boolean' && value !== 0 && value !== 1) return `${name} takes true or false`;
    bytes.writeUInt16BE(Number(value));
    return ordered(register, bytes);
  }
  if (format === 'string') {
    if (typeof value !== 'string') return `${name} takes text`;
    const text = Buffer.from(value, 'utf8');
    if (text.length > bytes.length) return `${name} takes at most ${bytes.length} bytes`;
    text.copy(bytes);
    return ordered(register, bytes);
  }
  const raw = rawNumber(register, value);
  if (typeof raw === 'string') return `${name} takes ${raw}`;
  try {
    writeNumber(format, bytes, raw);
  } catch {
    return `${String(value)} does not fit into ${name} (${format})`;
  }
  return ordered(register, bytes);
}

/** What is to be written, or what the register takes instead. */
function rawNumber(register: Register, value: unknown): number | bigint | string {
  const { format, scale, offset } = register;
  const whole = !format.startsWith('float');
  // A 64-bit integer travels as text in both directions, since a JSON number may have lost digits of it.
  const asText = typeof value === 'string' && format.endsWith('int64') && /^-?\d{1,20}(\.\d{1,20})?$/.test(value);
  if (!asText && (typeof value !== 'number' || !Number.isFinite(value))) return 'a number';
  if (isScaled(register)) {
    const [wanted, by, from] = [decimalOf(value), decimalOf(scale), decimalOf(offset)];
    // A fraction is rounded where a scale makes it one, and refused where it was written.
    if (whole && wanted && by && from) return quotient(plus(wanted, negated(from)), by);
    return Number(((Number(value) - offset) / scale).toPrecision(15));
  }
  if (asText) return value.includes('.') ? 'a whole number' : BigInt(value);
  if (!whole) return value;
  if (!Number.isInteger(value)) return 'a whole number';
  if (format.endsWith('int64') && !Number.isSafeInteger(value)) return `so large a number as text, "${BigInt(value)}"`;
  return value;
}

/** Text ends at the first zero byte, and blanks fill it up. What is not UTF-8 is taken for Latin-1. */
function textOf(words: Buffer): string {
  const end = words.indexOf(0);
  const bytes = end < 0 ? words : words.subarray(0, end);
  const text = bytes.toString('utf8');
  return (text.includes('\ufffd') ? bytes.toString('latin1') : text).trimEnd();
}

/** The same bytes with the highest first, or back: both orders undo themselves. */
function ordered({ format, wordOrder, byteOrder }: Register, bytes: Buffer): Buffer {
  const made = Buffer.from(bytes);
  if (byteOrder === 'little') made.swap16();
  if (wordOrder === 'big' || format === 'string' || made.length <= 2) return made;
  // Reversing all bytes reverses the words and the bytes in them; swapping those again leaves the words.
  return Buffer.from(made.reverse()).swap16();
}
