import { boundedLength } from './functions/signature.ts';
import { Float, float, integer, typeName, ValueError, type Value } from './value.ts';

/*
 * Arithmetic. NULL with anything is NULL. bigint with bigint is bigint, and its division truncates toward zero; as soon as a
 * float takes part the result is float. Division by zero, and a result that its type cannot hold, throw ValueError.
 */

export type Arithmetic = (a: Value, b: Value) => Value;

/** `+` also joins two texts. */
export function add(a: Value, b: Value): Value {
  if (typeof a === 'number' && typeof b === 'number') {
    const sum = a + b;
    if (isPlain(a, b, sum)) return sum;
  } else if (typeof a === 'string' && typeof b === 'string') {
    boundedLength(a.length + b.length);
    return a + b;
  }
  return calculate('+', a, b, sumOfFloats, sumOfIntegers);
}

export function subtract(a: Value, b: Value): Value {
  if (typeof a === 'number' && typeof b === 'number') {
    const difference = a - b;
    if (isPlain(a, b, difference)) return difference;
  }
  return calculate('-', a, b, differenceOfFloats, differenceOfIntegers);
}

export function multiply(a: Value, b: Value): Value {
  if (typeof a === 'number' && typeof b === 'number') {
    const product = a * b;
    // 0 * -5 is -0, which is no bigint.
    if (isPlain(a, b, product)) return product + 0;
  }
  return calculate('*', a, b, productOfFloats, productOfIntegers);
}

export function divide(a: Value, b: Value): Value {
  if (typeof a === 'number' && typeof b === 'number' && b !== 0 && Number.isInteger(a) && Number.isInteger(b)) {
    return Math.trunc(a / b) + 0;
  }
  return calculate('/', a, b, quotientOfFloats, quotientOfIntegers);
}

export function modulo(a: Value, b: Value): Value {
  if (typeof a === 'number' && typeof b === 'number' && b !== 0 && Number.isInteger(a) && Number.isInteger(b)) {
    return (a % b) + 0;
  }
  return calculate('%', a, b, remainderOfFloats, remainderOfIntegers);
}

export function negate(a: Value): Value {
  if (a === null) return null;
  if (a instanceof Float) return new Float(-a.value);
  if (typeof a === 'number') return Number.isInteger(a) ? 0 - a : -a;
  if (typeof a === 'bigint') return integer(-a);
  throw new ValueError(`- takes bigint and float, and this is ${typeName(a)}`);
}

/** `+x`, which only asks that x is a number. */
export function affirm(a: Value): Value {
  if (a === null || isNumber(a)) return a;
  throw new ValueError(`+ takes bigint and float, and this is ${typeName(a)}`);
}

/** Whether what doubles made of two numbers is right and of the right type: a fraction always is float, and a whole one bigint when both were. */
function isPlain(a: number, b: number, result: number): boolean {
  if (!Number.isInteger(result)) return Number.isFinite(result);
  return Number.isSafeInteger(result) && Number.isInteger(a) && Number.isInteger(b);
}

function isNumber(value: Value): value is number | bigint | Float {
  return typeof value === 'number' || typeof value === 'bigint' || value instanceof Float;
}

function isFloat(value: number | bigint | Float): boolean {
  return typeof value === 'number' ? !Number.isInteger(value) : value instanceof Float;
}

function calculate(
  sign: string,
  a: Value,
  b: Value,
  floats: (a: number, b: number) => number,
  integers: (a: bigint, b: bigint) => bigint,
): Value {
  if (a === null || b === null) return null;
  if (!isNumber(a) || !isNumber(b)) {
    const takes = sign === '+' ? 'two numbers or two texts' : 'bigint and float';
    throw new ValueError(`${sign} takes ${takes}, and here are ${typeName(a)} and ${typeName(b)}`);
  }
  if (isFloat(a) || isFloat(b)) return float(floats(doubleOf(a), doubleOf(b)));
  return integer(integers(bigOf(a), bigOf(b)));
}

function doubleOf(value: number | bigint | Float): number {
  return value instanceof Float ? value.value : Number(value);
}

function bigOf(value: number | bigint | Float): bigint {
  return value instanceof Float ? BigInt(value.value) : BigInt(value);
}

const sumOfFloats = (a: number, b: number): number => a + b;
const sumOfIntegers = (a: bigint, b: bigint): bigint => a + b;
const differenceOfFloats = (a: number, b: number): number => a - b;
const differenceOfIntegers = (a: bigint, b: bigint): bigint => a - b;
const productOfFloats = (a: number, b: number): number => a * b;
const productOfIntegers = (a: bigint, b: bigint): bigint => a * b;
const quotientOfFloats = (a: number, b: number): number => a / divisor(b);
const quotientOfIntegers = (a: bigint, b: bigint): bigint => a / divisor(b);
const remainderOfFloats = (a: number, b: number): number => a % divisor(b);
const remainderOfIntegers = (a: bigint, b: bigint): bigint => a % divisor(b);

// `==` would do for both types, and is not of this house.
function divisor<T extends number | bigint>(value: T): T {
  if (value === 0 || value === 0n) throw new ValueError('division by zero');
  return value;
}

/** `&`, `|`, `^` of two bits (a bit), or of bigints and bits (a bigint). */
export function bitwise(sign: '&' | '|' | '^', a: Value, b: Value): Value {
  if (a === null || b === null) return null;
  if (typeof a === 'boolean' && typeof b === 'boolean') {
    return sign === '&' ? a && b : sign === '|' ? a || b : a !== b;
  }
  const left = bitsOf(sign, a);
  const right = bitsOf(sign, b);
  return integer(sign === '&' ? left & right : sign === '|' ? left | right : left ^ right);
}

/** `~`: the other bit, or a bigint with all its bits turned. */
export function complement(a: Value): Value {
  if (a === null) return null;
  return typeof a === 'boolean' ? !a : integer(~bitsOf('~', a));
}

function bitsOf(sign: string, value: Value): bigint {
  if (typeof value === 'boolean') return value ? 1n : 0n;
  if (typeof value === 'bigint') return value;
  if (typeof value === 'number' && Number.isInteger(value)) return BigInt(value);
  throw new ValueError(`${sign} takes bigint and bit, and this is ${typeName(value)}`);
}
