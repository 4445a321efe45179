import { fromMicros } from '../query/datetime.ts';
import type { DateTime, Fields } from '../query/value.ts';
import type { OutputEvent } from './event.ts';
import type { Sink } from './fan-out.ts';
import { microsText } from './moment.ts';
import type { Micros, Saved } from './row.ts';

/** An event that came out; its texts are made when somebody asks. */
export class Emitted implements OutputEvent {
  readonly output: string;
  readonly body: Fields;
  readonly n: number;
  readonly micros: Micros;
  /** The number of its select in the script. */
  readonly select: number;

  constructor(output: string, micros: Micros, body: Fields, n: number, select: number) {
    this.output = output;
    this.micros = micros;
    this.body = body;
    this.n = n;
    this.select = select;
  }

  get time(): DateTime {
    return fromMicros(this.micros);
  }

  get window(): string {
    return microsText(this.micros);
  }
}

/** By time, then by the order of the script; what is equal in both stays as it came. */
export function inOrder(a: Emitted, b: Emitted): number {
  return a.micros - b.micros || a.select - b.select;
}

/** Which numbers a select may give. */
export interface Place {
  readonly first: number;
  /** How many selects write the output. */
  readonly stride: number;
  /** The number of the key that it runs for; null without `TIMESTAMP BY .. OVER`. */
  readonly key: number | null;
}

/**
 * The end of one select. Numbers what it gives out within each moment; where several selects write one output, each takes every
 * so many numbers, so that a number does not depend on which of them was first. Nor does it depend on what other keys give out.
 */
export class Outlet implements Sink {
  readonly #output: string;
  readonly #select: number;
  readonly #place: Place;
  readonly #out: Emitted[];
  #time: Micros = -Infinity;
  #count = 0;

  constructor(output: string, select: number, place: Place, out: Emitted[]) {
    this.#output = output;
    this.#select = select;
    this.#place = place;
    this.#out = out;
  }

  emit(time: Micros, body: Fields): void {
    this.#count = time === this.#time ? this.#count + 1 : 0;
    this.#time = time;
    const { first, stride, key } = this.#place;
    const n = this.#count * stride + first;
    this.#out.push(new Emitted(this.#output, time, body, key === null ? n : paired(n, key), this.#select));
  }

  advance(): void {
    // What came out has been handed over already.
  }

  save(): Saved {
    return [this.#time === -Infinity ? null : this.#time, this.#count];
  }

  load(saved: Saved): void {
    const [time, count] = saved as [number | null, number];
    this.#time = time ?? -Infinity;
    this.#count = count;
  }
}

/** A number for two, which no other two have (G. Cantor). */
function paired(a: number, b: number): number {
  return ((a + b) * (a + b + 1)) / 2 + b;
}
