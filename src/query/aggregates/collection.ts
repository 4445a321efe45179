import { order, sortable } from '../compare.ts';
import { float, toNumber, type Value } from '../value.ts';
import { SMALL, sizeOf, type Accumulator } from './accumulator.ts';

/** Collect: all values, NULL too, in the order in which they came. */
export class Collection implements Accumulator {
  #values: Value[] = [];
  #bytes = SMALL;

  get bytes(): number {
    return this.#bytes;
  }

  add([value]: readonly Value[]): void {
    this.#values.push(value!);
    this.#bytes += 8 + sizeOf(value!);
  }

  remove([value]: readonly Value[]): void {
    this.#values.shift();
    this.#bytes -= 8 + sizeOf(value!);
  }

  result(): Value {
    return [...this.#values];
  }

  save(): Value {
    return [...this.#values];
  }

  load(saved: Value): void {
    this.#values = [...(saved as readonly Value[])];
    this.#bytes = SMALL + sizeOf(this.#values);
  }
}

/** A value, and what it is sorted by. */
type Entry = readonly [value: Value, ...keys: Value[]];

export interface TopForm {
  /** How many. */
  readonly most: number;
  /** Of each key. */
  readonly descending: readonly boolean[];
  /** TopOne: the first one's value instead of an array of `{ rank, value }`. */
  readonly one: boolean;
}

/** CollectTop and TopOne: the first ones by their keys; of equal ones that which came first. */
export class Top implements Accumulator {
  readonly #form: TopForm;
  readonly #removable: boolean;
  /** All in the order in which they came when they may be taken back; else only the first ones, in their order. */
  #entries: Entry[] = [];
  #bytes = SMALL;

  constructor(form: TopForm, removable: boolean) {
    this.#form = form;
    this.#removable = removable;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add(values: readonly Value[]): void {
    const entry: Entry = [values[0]!, ...values.slice(1).map(sortable)];
    const entries = this.#entries;
    if (this.#removable) {
      entries.push(entry);
    } else {
      let at = entries.length;
      while (at > 0 && this.#compare(entry, entries[at - 1]!) < 0) at--;
      if (at >= this.#form.most) return;
      entries.splice(at, 0, entry);
      if (entries.length > this.#form.most) this.#bytes -= sizeOf(entries.pop()!);
    }
    this.#bytes += sizeOf(entry);
  }

  remove(): void {
    const entry = this.#entries.shift();
    if (entry !== undefined) this.#bytes -= sizeOf(entry);
  }

  result(): Value {
    const sorted = this.#removable ? this.#entries.toSorted((a, b) => this.#compare(a, b)) : this.#entries;
    if (this.#form.one) return sorted[0]?.[0] ?? null;
    return sorted.slice(0, this.#form.most).map(([value], index) => ({ rank: index + 1, value }));
  }

  save(): Value {
    return [...this.#entries];
  }

  load(saved: Value): void {
    this.#entries = [...(saved as readonly Entry[])];
    this.#bytes = this.#entries.reduce((sum, entry) => sum + sizeOf(entry), SMALL);
  }

  #compare(a: Entry, b: Entry): number {
    for (let index = 1; index < a.length; index++) {
      const found = order(a[index]!, b[index]!);
      if (found !== 0) return this.#form.descending[index - 1] === true ? -found : found;
    }
    return 0;
  }
}

export interface PercentileForm {
  /** 0 to 1. */
  readonly share: number;
  readonly descending: boolean;
  /** PERCENTILE_CONT: between the values beside the rank; else PERCENTILE_DISC: one of the values. */
  readonly between: boolean;
}

/** PERCENTILE_CONT and PERCENTILE_DISC, over all values that are not NULL. */
export class Percentile implements Accumulator {
  readonly #form: PercentileForm;
  #values: Value[] = [];

  constructor(form: PercentileForm) {
    this.#form = form;
  }

  get bytes(): number {
    return SMALL + 16 * this.#values.length;
  }

  add([value]: readonly Value[]): void {
    if (value !== null) this.#values.push(sortable(value!));
  }

  remove([value]: readonly Value[]): void {
    if (value !== null) this.#values.shift();
  }

  result(): Value {
    const sorted = this.#values.toSorted(order);
    if (sorted.length === 0) return null;
    if (this.#form.descending) sorted.reverse();
    const { share } = this.#form;
    // 0.1 * 30 is 3.0000000000000004: that is the third value, not the fourth.
    if (!this.#form.between) return sorted[Math.max(Math.ceil(share * sorted.length - 1e-9) - 1, 0)]!;
    const rank = share * (sorted.length - 1);
    const below = Math.floor(rank);
    const from = toNumber(sorted[below]!)!;
    const to = toNumber(sorted[Math.min(below + 1, sorted.length - 1)]!)!;
    return float(from + (to - from) * (rank - below));
  }

  save(): Value {
    return [...this.#values];
  }

  load(saved: Value): void {
    this.#values = [...(saved as readonly Value[])];
  }
}
