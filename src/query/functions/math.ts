import { Float, float, integer, toNumber, ValueError, type Value } from '../value.ts';
import { scalar } from './signature.ts';

type Numeric = number | bigint | Float;

function isBigint(value: Numeric): value is number | bigint {
  return typeof value === 'bigint' || (typeof value === 'number' && Number.isInteger(value));
}

function double(value: Numeric): number {
  return toNumber(value)!;
}

/** A function that leaves whole numbers as they are. */
function rounding(usage: string, round: (value: number) => number) {
  return scalar(usage, ['number'], (x) => (isBigint(x) ? x : float(round(double(x)))));
}

function floating(usage: string, calculate: (value: number) => number) {
  return scalar(usage, ['number'], (x) => float(calculate(double(x))));
}

function power(x: Numeric, y: Numeric): Value {
  if (isBigint(x) && isBigint(y)) return integerPower(BigInt(x), BigInt(y));
  const result = double(x) ** double(y);
  if (Number.isNaN(result)) throw new ValueError('POWER of a negative number needs a whole exponent');
  if (!isBigint(x)) return float(result);
  if (!Number.isFinite(result)) throw new ValueError('the result is beyond bigint, which has 64 bits');
  return integer(BigInt(Math.trunc(result)));
}

function integerPower(x: bigint, y: bigint): Value {
  if (y < 0n) {
    if (x === 0n) throw new ValueError('division by zero');
    // All but 1 and -1 are fractions, of which the whole part is 0.
    return x === 1n ? 1 : x === -1n ? (y % 2n === 0n ? 1 : -1) : 0;
  }
  // Beyond 64 bits for certain, and perhaps far too much to work out.
  if (y > 63n && x !== 0n && x !== 1n && x !== -1n) return integer(2n ** 64n);
  return integer(x ** (y > 63n ? 64n + (y % 2n) : y));
}

/** Halves away from zero, by the decimal digits that the number is written with: 1.005 to 2 places is 1.01. */
function round(x: Numeric, length: number): Value {
  if (isBigint(x)) return length >= 0 ? x : roundInteger(BigInt(x), -length);
  const value = double(x);
  const rounded = shift(Math.round(shift(Math.abs(value), length)), -length);
  // So many places that the shift leaves what a double can hold: then nothing is rounded, or everything.
  if (!Number.isFinite(rounded)) return x;
  return float(value < 0 ? -rounded : rounded);
}

/** The number times 10 to the power of `places`, by its digits and so without an error of its own. */
function shift(value: number, places: number): number {
  const [digits, exponent = '0'] = `${value}`.split('e');
  return Number(`${digits}e${Number(exponent) + places}`);
}

function roundInteger(value: bigint, places: number): Value {
  if (places > 19) return 0;
  const unit = 10n ** BigInt(places);
  const half = unit / 2n;
  return integer(((value + (value < 0n ? -half : half)) / unit) * unit);
}

export const MATH = {
  abs: scalar('ABS(x)', ['number'], (x) => {
    if (x instanceof Float) return new Float(Math.abs(x.value));
    return typeof x === 'number' ? Math.abs(x) : integer(x < 0n ? -x : x);
  }),
  ceiling: rounding('CEILING(x)', Math.ceil),
  floor: rounding('FLOOR(x)', Math.floor),
  sign: scalar('SIGN(x)', ['number'], (x) => {
    const sign = Math.sign(double(x)) + 0;
    return isBigint(x) ? sign : new Float(sign);
  }),
  exp: floating('EXP(x)', Math.exp),
  sqrt: floating('SQRT(x)', (x) => {
    if (x < 0) throw new ValueError('SQRT of a negative number');
    return Math.sqrt(x);
  }),
  square: floating('SQUARE(x)', (x) => x * x),
  power: scalar('POWER(x, y)', ['number', 'number'], power),
  round: scalar('ROUND(x, length)', ['number', 'whole'], round),
};
