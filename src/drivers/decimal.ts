/** A decimal fraction, exactly: `digits` times ten to the power of `-places`. */
export interface Decimal {
  readonly digits: bigint;
  readonly places: number;
}

/** Longest fraction and largest power of ten of a double. */
const PLACES_MAX = 400;

/** The shortest decimal that a number stands for: 0.1 and not what is in its bits. Undefined for what is no number, or far out. */
export function decimalOf(value: number | bigint | string): Decimal | undefined {
  const parts = /^([+-]?)(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i.exec(String(value));
  if (parts === null) return undefined;
  const [, sign, whole, fraction = '', exponent = '0'] = parts;
  const power = Number(exponent) - fraction.length;
  if (Math.abs(power) > PLACES_MAX) return undefined;
  const digits = BigInt(`${whole}${fraction}`) * (sign === '-' ? -1n : 1n);
  return power > 0 ? { digits: digits * 10n ** BigInt(power), places: 0 } : { digits, places: -power };
}

export function times(a: Decimal, b: Decimal): Decimal {
  return { digits: a.digits * b.digits, places: a.places + b.places };
}

export function plus(a: Decimal, b: Decimal): Decimal {
  const places = Math.max(a.places, b.places);
  return { digits: shifted(a, places) + shifted(b, places), places };
}

export function negated({ digits, places }: Decimal): Decimal {
  return { digits: -digits, places };
}

/** The nearest whole number to `a / b`, halves away from zero. */
export function quotient(a: Decimal, b: Decimal): bigint {
  const places = Math.max(a.places, b.places);
  const [dividend, divisor] = [shifted(a, places), shifted(b, places)];
  const negative = dividend < 0n !== divisor < 0n;
  const [above, below] = [dividend < 0n ? -dividend : dividend, divisor < 0n ? -divisor : divisor];
  const rounded = (2n * above + below) / (2n * below);
  return negative ? -rounded : rounded;
}

/** The double that is nearest. */
export function toNumber({ digits, places }: Decimal): number {
  return Number(`${digits}e-${places}`);
}

function shifted({ digits, places }: Decimal, to: number): bigint {
  return digits * 10n ** BigInt(to - places);
}
