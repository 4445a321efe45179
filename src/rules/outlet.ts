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

/**
 * The end of one select. Numbers what it gives out within each moment; where several selects write one output, each takes every
 * so many numbers, so that a number does not depend on which of them was first.
 */
export class Outlet implements Sink {
  readonly #output: string;
  readonly #select: number;
  readonly #first: number;
  readonly #stride: number;
  readonly #out: Emitted[];
  #time: Micros = -Infinity;
  #count = 0;

  constructor(output: string, select: number, first: number, stride: number, out: Emitted[]) {
    this.#output = output;
    this.#select = select;
    this.#first = first;
    this.#stride = stride;
    this.#out = out;
  }

  emit(time: Micros, body: Fields): void {
    this.#count = time === this.#time ? this.#count + 1 : 0;
    this.#time = time;
    this.#out.push(new Emitted(this.#output, time, body, this.#count * this.#stride + this.#first, this.#select));
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
