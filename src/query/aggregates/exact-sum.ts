import { float, toNumber, type Value } from '../value.ts';

/**
 * A sum of doubles without any rounding, so that its order does not matter and what was added can be taken away again: the sum is held as
 * doubles that do not overlap (J. R. Shewchuk, "Adaptive precision floating-point arithmetic", 1997, "grow expansion"; rounded as
 * Python's math.fsum does). Values must be so small that no sum of them leaves what a double holds.
 */
export class ExactSum {
  /** From small to big; none of them 0. */
  #partials: number[] = [];

  add(value: number): void {
    const partials = this.#partials;
    let rest = value;
    let kept = 0;
    for (let index = 0; index < partials.length; index++) {
      let big = rest;
      let small = partials[index]!;
      if (Math.abs(big) < Math.abs(small)) [big, small] = [small, big];
      const sum = big + small;
      const lost = small - (sum - big);
      if (lost !== 0) partials[kept++] = lost;
      rest = sum;
    }
    if (rest !== 0) partials[kept++] = rest;
    partials.length = kept;
  }

  /** The sum, rounded once. */
  result(): number {
    const partials = this.#partials;
    let index = partials.length;
    if (index === 0) return 0;
    let sum = partials[--index]!;
    let lost = 0;
    while (index > 0 && lost === 0) {
      const before = sum;
      const partial = partials[--index]!;
      sum = before + partial;
      lost = partial - (sum - before);
    }
    // Half way between two doubles, and more of the same sign to come: then it is not half way.
    if (index > 0 && lost !== 0 && Math.sign(lost) === Math.sign(partials[index - 1]!)) {
      const twice = lost * 2;
      const next = sum + twice;
      if (next - sum === twice) sum = next;
    }
    return sum;
  }

  get partials(): readonly number[] {
    return this.#partials;
  }

  save(): Value {
    return this.#partials.map(float);
  }

  load(saved: Value): void {
    this.#partials = (saved as readonly Value[]).map((partial) => toNumber(partial)!);
  }
}

/** 2^27 + 1, which splits a double into two halves. */
const SPLITTER = 134_217_729;

/** The product of two doubles and what it lost by rounding (T. J. Dekker, 1971); exact unless it leaves what a double holds. */
export function exactProduct(a: number, b: number): [product: number, lost: number] {
  const product = a * b;
  const [aHigh, aLow] = halves(a);
  const [bHigh, bLow] = halves(b);
  return [product, aLow * bLow - (product - aHigh * bHigh - aLow * bHigh - aHigh * bLow)];
}

function halves(value: number): [high: number, low: number] {
  const shifted = SPLITTER * value;
  const high = shifted - (shifted - value);
  return [high, value - high];
}
