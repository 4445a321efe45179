import { decimalOf, plus, times, toNumber } from './decimal.ts';

/** Numbers as devices send them, with the highest byte first unless it is said otherwise. */
export type NumberFormat =
  | 'int8'
  | 'uint8'
  | 'int16'
  | 'uint16'
  | 'int32'
  | 'uint32'
  | 'int64'
  | 'uint64'
  | 'float32'
  | 'float64';

export const NUMBER_BYTES: Readonly<Record<NumberFormat, number>> = {
  int8: 1,
  uint8: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  float32: 4,
  int64: 8,
  uint64: 8,
  float64: 8,
};

/** A value is the number times `scale` plus `offset`. */
export interface Scale {
  readonly scale: number;
  readonly offset: number;
}

/**
 * The value of a number, `bytes` having its highest byte first. What JSON cannot carry unharmed (an integer past 2^53) comes as
 * decimal text unless it is scaled; a float that is no number, and what `scale` makes too large for one, comes as null.
 */
export function readScaled(format: NumberFormat, bytes: Buffer, scale: Scale): number | string | null {
  const raw = readNumber(format, bytes);
  if (typeof raw === 'bigint') {
    if (isScaled(scale)) return scaled(scale, raw);
    const safe = raw >= BigInt(Number.MIN_SAFE_INTEGER) && raw <= BigInt(Number.MAX_SAFE_INTEGER);
    return safe ? Number(raw) : raw.toString();
  }
  return Number.isFinite(raw) ? scaled(scale, raw) : null;
}

export function isScaled({ scale, offset }: Scale): boolean {
  return scale !== 1 || offset !== 0;
}

/** Null when it is too large for a number. */
function scaled(by: Scale, raw: number | bigint): number | null {
  if (!isScaled(by)) return Number(raw);
  const [number, scale, offset] = [decimalOf(raw), decimalOf(by.scale), decimalOf(by.offset)];
  if (number === undefined || scale === undefined || offset === undefined) return null;
  // 3 times 0.1 is 0.30000000000000004 in binary, and 3901 times 0.01 less 40 is -0.990000000000002.
  const value = toNumber(plus(times(number, scale), offset));
  return Number.isFinite(value) ? value : null;
}

export function readNumber(format: NumberFormat, bytes: Buffer): number | bigint {
  switch (format) {
    case 'int8':
      return bytes.readInt8();
    case 'uint8':
      return bytes.readUInt8();
    case 'int16':
      return bytes.readInt16BE();
    case 'uint16':
      return bytes.readUInt16BE();
    case 'int32':
      return bytes.readInt32BE();
    case 'uint32':
      return bytes.readUInt32BE();
    case 'int64':
      return bytes.readBigInt64BE();
    case 'uint64':
      return bytes.readBigUInt64BE();
    case 'float32':
      return shortest(bytes.readFloatBE());
    case 'float64':
      return bytes.readDoubleBE();
  }
}

/** Throws RangeError when the number does not fit. */
export function writeNumber(format: NumberFormat, bytes: Buffer, raw: number | bigint): void {
  const value = Number(raw);
  switch (format) {
    case 'int8':
      bytes.writeInt8(value);
      break;
    case 'uint8':
      bytes.writeUInt8(value);
      break;
    case 'int16':
      bytes.writeInt16BE(value);
      break;
    case 'uint16':
      bytes.writeUInt16BE(value);
      break;
    case 'int32':
      bytes.writeInt32BE(value);
      break;
    case 'uint32':
      bytes.writeUInt32BE(value);
      break;
    case 'int64':
      bytes.writeBigInt64BE(BigInt(raw));
      break;
    case 'uint64':
      bytes.writeBigUInt64BE(BigInt(raw));
      break;
    case 'float32':
      if (!Number.isFinite(Math.fround(value))) throw new RangeError('too large');
      bytes.writeFloatBE(value);
      break;
    case 'float64':
      bytes.writeDoubleBE(value);
      break;
  }
}

/** A float of 32 bits with as few digits as tell it from its neighbours: 21.3 and not 21.299999237060547. */
function shortest(value: number): number {
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return Number(value.toPrecision(9));
}
