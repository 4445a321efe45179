import { distinctKey } from '../compare.ts';
import type { Value } from '../value.ts';
import { SMALL, sizeOf, type Accumulator } from './accumulator.ts';

/** COUNT(DISTINCT x): different values that are not NULL. 1 and 1.0 are the same. */
export class DistinctCount implements Accumulator {
  /** How often each value came, by its key. */
  readonly #counts = new Map<string, number>();
  #bytes = SMALL;

  get bytes(): number {
    return this.#bytes;
  }

  add([value]: readonly Value[]): void {
    if (value !== null) this.#set(distinctKey(value!), 1);
  }

  remove([value]: readonly Value[]): void {
    if (value !== null) this.#set(distinctKey(value!), -1);
  }

  result(): Value {
    return this.#counts.size;
  }

  save(): Value {
    return [...this.#counts];
  }

  load(saved: Value): void {
    this.#counts.clear();
    this.#bytes = SMALL;
    for (const [key, count] of saved as readonly (readonly [string, number])[]) this.#set(key, count);
  }

  #set(key: string, by: number): void {
    const before = this.#counts.get(key) ?? 0;
    const count = before + by;
    if (count === 0) this.#counts.delete(key);
    else this.#counts.set(key, count);
    if (before === 0) this.#bytes += sizeOf(key) + SMALL;
    if (count === 0) this.#bytes -= sizeOf(key) + SMALL;
  }
}
