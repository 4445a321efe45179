import { sizeOf } from '../query/aggregates/accumulator.ts';
import type { Fields } from '../query/value.ts';
import type { Account } from './account.ts';
import type { Sink } from './fan-out.ts';
import type { Micros, Saved } from './row.ts';

/** What a row costs while it waits, bytes, beside what is in it. */
const ROW_BYTES = 250;

type Waiting = readonly [time: Micros, port: number, body: Fields];

/**
 * The UNION of several selects in a step: one stream in the order of time, and at equal times in the order of the selects. A row
 * waits until no other select can give one that belongs before it. Selects that read from one and the same source are done with
 * a moment's predecessors at the same time, and need not wait for each other.
 */
export class Merge {
  readonly #next: Sink;
  readonly #account: Account;
  readonly #sameSource: boolean;
  readonly #reached: Micros[];
  #passed: Micros = -Infinity;
  #waiting: Waiting[] = [];

  constructor(ports: number, sameSource: boolean, next: Sink, account: Account) {
    this.#reached = Array.from({ length: ports }, () => -Infinity);
    this.#sameSource = sameSource;
    this.#next = next;
    this.#account = account;
  }

  port(number: number): Sink {
    return {
      emit: (time, body) => this.#emit(number, time, body),
      advance: (to) => this.#advance(number, to),
    };
  }

  get due(): Micros {
    return this.#waiting.length > 0 ? this.#waiting[0]![0] : Infinity;
  }

  save(): Saved {
    const times = [this.#passed, ...this.#reached].map((time) => (time === -Infinity ? null : time));
    return [times, this.#waiting];
  }

  load(saved: Saved): void {
    const [times, waiting] = saved as [(number | null)[], Waiting[]];
    this.#account.give(0, 0, weightOf(this.#waiting));
    this.#passed = times[0] ?? -Infinity;
    for (let port = 0; port < this.#reached.length; port++) this.#reached[port] = times[port + 1] ?? -Infinity;
    this.#waiting = [...waiting];
    // Whatever the limit is by now.
    this.#account.give(0, 0, -weightOf(this.#waiting));
  }

  #emit(port: number, time: Micros, body: Fields): void {
    if (this.#waiting.length === 0 && this.#mayPass(port, time)) {
      this.#pass(time, body);
      return;
    }
    if (!this.#account.take(0, 0, ROW_BYTES + sizeOf(body))) {
      this.#account.counters.bounded++;
      return;
    }
    let at = this.#waiting.length;
    while (at > 0 && (this.#waiting[at - 1]![0] - time || this.#waiting[at - 1]![1] - port) > 0) at--;
    this.#waiting.splice(at, 0, [time, port, body]);
    this.#release();
  }

  #advance(port: number, to: Micros): void {
    if (to <= this.#reached[port]!) return;
    this.#reached[port] = to;
    this.#release();
    this.#passTo(Math.min(...this.#reached));
  }

  /** As with a timeline, a row finds everything before it done. */
  #pass(time: Micros, body: Fields): void {
    this.#passTo(time - 1);
    this.#next.emit(time, body);
  }

  #passTo(to: Micros): void {
    if (to <= this.#passed) return;
    this.#passed = to;
    this.#next.advance(to);
  }

  #release(): void {
    let count = 0;
    while (count < this.#waiting.length) {
      const [time, port, body] = this.#waiting[count]!;
      if (!this.#mayPass(port, time)) break;
      count++;
      this.#account.give(0, 0, ROW_BYTES + sizeOf(body));
      this.#pass(time, body);
    }
    if (count > 0) this.#waiting.splice(0, count);
  }

  #mayPass(port: number, time: Micros): boolean {
    for (let other = 0; other < this.#reached.length; other++) {
      // Those before it may still give rows of the same moment.
      const needed = other < port && !this.#sameSource ? time : time - 1;
      if (other !== port && this.#reached[other]! < needed) return false;
    }
    return true;
  }
}

function weightOf(waiting: readonly Waiting[]): number {
  return waiting.reduce((sum, [, , body]) => sum + ROW_BYTES + sizeOf(body), 0);
}
