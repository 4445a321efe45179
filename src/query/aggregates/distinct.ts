import { groupKey } from '../compare.ts';
import type { Value } from '../value.ts';
import { sizeOf, type Accumulator } from './accumulator.ts';

/** An aggregate over different values: each counts once, as the first of its like came. For aggregates in which order means nothing. */
export class Distinct implements Accumulator {
  readonly #inner: Accumulator;
  readonly #seen = new Map<string, { readonly value: Value; count: number }>();
  #bytes = 0;

  constructor(inner: Accumulator) {
    this.#inner = inner;
  }

  get bytes(): number {
    return this.#inner.bytes + this.#bytes;
  }

  add([value]: readonly Value[]): void {
    if (value === null) return;
    const key = groupKey(value!);
    const seen = this.#seen.get(key);
    if (seen !== undefined) {
      seen.count++;
      return;
    }
    this.#seen.set(key, { value: value!, count: 1 });
    this.#bytes += sizeOf(key) + 64;
    this.#inner.add([value!]);
  }

  remove([value]: readonly Value[]): void {
    if (value === null) return;
    const key = groupKey(value!);
    const seen = this.#seen.get(key)!;
    if (--seen.count > 0) return;
    this.#seen.delete(key);
    this.#bytes -= sizeOf(key) + 64;
    this.#inner.remove([seen.value]);
  }

  result(): Value {
    return this.#inner.result();
  }

  save(): Value {
    return [this.#inner.save(), [...this.#seen.values()].map(({ value, count }) => [value, count])];
  }

  load(saved: Value): void {
    const [inner, seen] = saved as readonly [Value, readonly (readonly [Value, number])[]];
    this.#inner.load(inner);
    this.#seen.clear();
    this.#bytes = 0;
    for (const [value, count] of seen) {
      const key = groupKey(value);
      this.#seen.set(key, { value, count });
      this.#bytes += sizeOf(key) + 64;
    }
  }
}
