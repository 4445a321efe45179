import type { Fields, Value } from '../query/value.ts';
import type { Micros, Operator, Row } from './row.ts';

/** Where the results of a select go: rows of a step, or events of an output. */
export interface Sink {
  emit(time: Micros, body: Fields): void;
  advance(to: Micros): void;
}

const NONE: readonly Value[] = [];

/** A source or a step, and all that reads from it, in the order of the script. */
export class FanOut implements Operator, Sink {
  readonly #readers: Operator[] = [];

  to(reader: Operator): void {
    this.#readers.push(reader);
  }

  emit(time: Micros, body: Fields): void {
    this.row({ time, sources: [body], analytic: NONE });
  }

  row(row: Row): void {
    const readers = this.#readers;
    for (let index = 0; index < readers.length; index++) readers[index]!.row(row);
  }

  advance(to: Micros): void {
    const readers = this.#readers;
    for (let index = 0; index < readers.length; index++) readers[index]!.advance(to);
  }
}
