import { float, toNumber, type Value } from '../value.ts';
import { SMALL, type Accumulator } from './accumulator.ts';
import { exactProduct, ExactSum } from './exact-sum.ts';

/** Values beyond this are refused: their squares could leave what a double holds. */
export const VARIANCE_MAX = 1e145;

export interface VarianceForm {
  /** Of a sample: divided by n - 1; NULL for one value. */
  readonly sample: boolean;
  /** Its square root: the standard deviation. */
  readonly root: boolean;
}

/**
 * VAR, VARP, STDEV, STDEVP. Sums of values and of squares without rounding, (n * sum of squares - square of sum) too: so nothing cancels
 * out, however far the values are from 0.
 */
export class Variance implements Accumulator {
  readonly bytes = 2 * SMALL;
  readonly #form: VarianceForm;
  readonly #sum = new ExactSum();
  readonly #squares = new ExactSum();
  #count = 0;

  constructor(form: VarianceForm) {
    this.#form = form;
  }

  add([value]: readonly Value[]): void {
    this.#change(value!, 1);
  }

  remove([value]: readonly Value[]): void {
    this.#change(value!, -1);
  }

  result(): Value {
    const n = this.#count;
    const freedom = this.#form.sample ? n - 1 : n;
    if (freedom <= 0) return null;
    const spread = new ExactSum();
    for (const partial of this.#squares.partials) addProduct(spread, n, partial, 1);
    for (const a of this.#sum.partials) for (const b of this.#sum.partials) addProduct(spread, a, b, -1);
    const variance = Math.max(spread.result(), 0) / n / freedom;
    return float(this.#form.root ? Math.sqrt(variance) : variance);
  }

  save(): Value {
    return [this.#count, this.#sum.save(), this.#squares.save()];
  }

  load(saved: Value): void {
    const [count, sum, squares] = saved as readonly [number, Value, Value];
    this.#count = count;
    this.#sum.load(sum);
    this.#squares.load(squares);
  }

  #change(value: Value, sign: 1 | -1): void {
    const number = toNumber(value);
    if (number === null) return;
    this.#count += sign;
    this.#sum.add(sign * number);
    addProduct(this.#squares, number, number, sign);
  }
}

function addProduct(sum: ExactSum, a: number, b: number, sign: 1 | -1): void {
  const [product, lost] = exactProduct(a, b);
  sum.add(sign * product);
  if (lost !== 0) sum.add(sign * lost);
}
