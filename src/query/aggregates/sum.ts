import { Float, float, integer, toNumber, type Value } from '../value.ts';
import { SMALL, type Accumulator } from './accumulator.ts';
import { ExactSum } from './exact-sum.ts';

/** Rows, or those of them whose value is not NULL. */
export class Count implements Accumulator {
  readonly bytes = SMALL;
  readonly #all: boolean;
  #count = 0;

  constructor(all: boolean) {
    this.#all = all;
  }

  add(values: readonly Value[]): void {
    if (this.#all || values[0] !== null) this.#count++;
  }

  remove(values: readonly Value[]): void {
    if (this.#all || values[0] !== null) this.#count--;
  }

  result(): Value {
    return this.#count;
  }

  save(): Value {
    return this.#count;
  }

  load(saved: Value): void {
    this.#count = saved as number;
  }
}

/** SUM: bigint while all values are, exact however large it becomes in between; else float, rounded once. */
export class Sum implements Accumulator {
  readonly bytes = SMALL;
  protected count = 0;
  /** Those among them that are float. */
  #floats = 0;
  readonly #exact = new ExactSum();
  /** Sum of the bigints is both of these together. */
  #whole = 0;
  #big = 0n;

  add([value]: readonly Value[]): void {
    this.#change(value!, 1);
  }

  remove([value]: readonly Value[]): void {
    this.#change(value!, -1);
  }

  result(): Value {
    if (this.count === 0) return null;
    return this.#floats === 0 ? integer(this.#big + BigInt(this.#whole)) : float(this.total());
  }

  save(): Value {
    return [this.count, this.#floats, this.#exact.save(), this.#whole, `${this.#big}`];
  }

  load(saved: Value): void {
    const [count, floats, exact, whole, big] = saved as readonly [number, number, Value, number, string];
    this.count = count;
    this.#floats = floats;
    this.#exact.load(exact);
    this.#whole = whole;
    this.#big = BigInt(big);
  }

  /** The sum of all as a double. */
  protected total(): number {
    const whole = this.#big + BigInt(this.#whole);
    if (this.#floats === 0) return Number(whole);
    const sum = new ExactSum();
    for (const partial of this.#exact.partials) sum.add(partial);
    const near = Number(whole);
    sum.add(near);
    sum.add(Number(whole - BigInt(near)));
    return sum.result();
  }

  #change(value: Value, sign: 1 | -1): void {
    if (value === null) return;
    this.count += sign;
    if (typeof value === 'bigint') {
      this.#big += sign === 1 ? value : -value;
    } else if (typeof value === 'number' && Number.isInteger(value)) {
      const whole = this.#whole + sign * value;
      if (Number.isSafeInteger(whole)) {
        this.#whole = whole;
      } else {
        this.#big += BigInt(this.#whole) + BigInt(sign * value);
        this.#whole = 0;
      }
    } else {
      this.#floats += sign;
      this.#exact.add(sign * (value instanceof Float ? value.value : toNumber(value)!));
    }
  }
}

/** AVG: always float. */
export class Average extends Sum {
  override result(): Value {
    return this.count === 0 ? null : float(this.total() / this.count);
  }
}
