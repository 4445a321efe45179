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
    this.#bytes = this.#values.reduce((sum: number, value) => sum + 8 + sizeOf(value), SMALL);
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
  /** By their keys, equal ones as they came: all when they may be taken back, else only the first ones. */
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
    const entry = entryOf(values);
    const entries = this.#entries;
    const at = placeIn(entries, (other) => this.#compare(other, entry) <= 0);
    if (!this.#removable && at >= this.#form.most) return;
    entries.splice(at, 0, entry);
    this.#bytes += sizeOf(entry);
    if (!this.#removable && entries.length > this.#form.most) this.#bytes -= sizeOf(entries.pop()!);
  }

  remove(values: readonly Value[]): void {
    const gone = entryOf(values);
    // Of those with its keys it came first.
    const at = placeIn(this.#entries, (other) => this.#compare(other, gone) < 0);
    for (const entry of this.#entries.splice(at, 1)) this.#bytes -= sizeOf(entry);
  }

  result(): Value {
    const entries = this.#entries;
    if (this.#form.one) return entries[0]?.[0] ?? null;
    return entries.slice(0, this.#form.most).map(([value], index) => ({ rank: index + 1, value }));
  }

  save(): Value {
    return [...this.#entries];
  }

  load(saved: Value): void {
    this.#entries = (saved as readonly Entry[]).toSorted((a, b) => this.#compare(a, b));
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

function entryOf(values: readonly Value[]): Entry {
  return [values[0]!, ...values.slice(1).map(sortable)];
}

/** How many of what is in order stand `before` something. */
function placeIn<T>(ordered: readonly T[], before: (item: T) => boolean): number {
  let low = 0;
  let high = ordered.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (before(ordered[middle]!)) low = middle + 1;
    else high = middle;
  }
  return low;
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
  readonly #removable: boolean;
  /** In their order, equal ones as they came, when they may be taken back; else as they came. */
  #values: Value[] = [];
  #bytes = SMALL;

  constructor(form: PercentileForm, removable: boolean) {
    this.#form = form;
    this.#removable = removable;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add([value]: readonly Value[]): void {
    if (value === null) return;
    const taken = sortable(value!);
    this.#bytes += 8 + sizeOf(taken);
    if (!this.#removable) this.#values.push(taken);
    else
      this.#values.splice(
        placeIn(this.#values, (other) => order(other, taken) <= 0),
        0,
        taken,
      );
  }

  remove([value]: readonly Value[]): void {
    if (value === null) return;
    const gone = sortable(value!);
    const at = placeIn(this.#values, (other) => order(other, gone) < 0);
    for (const taken of this.#values.splice(at, 1)) this.#bytes -= 8 + sizeOf(taken);
  }

  result(): Value {
    const sorted = this.#removable ? this.#values : this.#values.toSorted(order);
    const count = sorted.length;
    if (count === 0) return null;
    const { share, descending, between } = this.#form;
    const at = (index: number): Value => sorted[descending ? count - 1 - index : index]!;
    // 0.1 * 30 is 3.0000000000000004: that is the third value, not the fourth.
    if (!between) return at(Math.max(Math.ceil(share * count - 1e-9) - 1, 0));
    const rank = share * (count - 1);
    const below = Math.floor(rank);
    const from = toNumber(at(below))!;
    const to = toNumber(at(Math.min(below + 1, count - 1)))!;
    return float(from + (to - from) * (rank - below));
  }

  save(): Value {
    return [...this.#values];
  }

  load(saved: Value): void {
    const values = saved as readonly Value[];
    this.#values = this.#removable ? values.toSorted(order) : [...values];
    this.#bytes = this.#values.reduce((sum: number, value) => sum + 8 + sizeOf(value), SMALL);
  }
}
