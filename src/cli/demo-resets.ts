import type { Place } from './demo-arrivals.ts';
import type { Outage } from './demo-outage.ts';
import { RULED } from './demo-rule.ts';
import { plural } from './demo-text.ts';

/** Resets whose messages are waited for one by one: of a day's worth. Beyond them the oldest are no longer told apart. */
const AWAITED_MAX = 50_000;

/** What the rule did to the sensor, and what came of its messages in the world above. */
export class Resets {
  /** How often the sensor did as it was told. */
  done = 0;
  doneAway = 0;
  /** When it last did, monotonic ms; null before. */
  lastAt: number | null = null;
  /** Messages of this run that came, once each. */
  arrived = 0;
  outOfOrder = 0;
  /** By their `maxEventTime`, in the order in which they were given; with the outage in which they were. */
  readonly #awaited = new Map<string, Outage | null>();
  #forgotten = 0;
  /** Those that came with the time of no reset so far: what a run puts out at its start may come before its sensors are told. */
  readonly #strange = new Set<string>();
  /** The last messages of the runs before this one. */
  readonly #before: readonly Place[];

  constructor(before: readonly Place[]) {
    this.#before = before;
  }

  /** The rule reset the sensor. `outage`: there was no network. */
  gave(maxEventTime: string, worked: boolean, outage: Outage | null, now: number): void {
    if (worked) {
      this.done++;
      this.lastAt = now;
      if (outage !== null) this.doneAway++;
    }
    if (this.#strange.delete(maxEventTime)) {
      this.arrived++;
      return;
    }
    if (this.#awaited.size === AWAITED_MAX) {
      this.#awaited.delete(this.#awaited.keys().next().value!);
      this.#forgotten++;
    }
    this.#awaited.set(maxEventTime, outage);
    outage?.resetGiven(now);
  }

  /** Its message came for the first time. */
  came(maxEventTime: string, { epoch, lane, seq }: Place, now: number): void {
    if (this.#before.some((last) => last.epoch === epoch && last.lane === lane && seq <= last.seq)) return;
    const outage = this.#awaited.get(maxEventTime);
    if (outage !== undefined) {
      if (this.#awaited.keys().next().value !== maxEventTime) this.outOfOrder++;
      this.#awaited.delete(maxEventTime);
      outage?.resetCame(now);
    } else if (this.#forgotten > 0) this.#forgotten--;
    else {
      if (this.#strange.size < AWAITED_MAX) this.#strange.add(maxEventTime);
      return;
    }
    this.arrived++;
  }

  /** Came with a time that no reset of this run had. */
  get altered(): number {
    return this.#strange.size;
  }

  /** Messages that have not come. */
  get awaited(): number {
    return this.#awaited.size + this.#forgotten;
  }

  /** Whether each came as it was given, but for at most so many that still wait in the spool. */
  sound(pending: number): boolean {
    return this.outOfOrder === 0 && this.altered === 0 && this.awaited <= pending;
  }

  /** What there was, for people. */
  get story(): string {
    const away = this.doneAway === 0 ? '' : `, ${this.doneAway} of them without a network`;
    const order = this.outOfOrder === 0 ? 'in order' : `${this.outOfOrder} OUT OF ORDER`;
    const times =
      this.altered === 0 ? 'each with its original maxEventTime' : `${this.altered} with ANOTHER maxEventTime`;
    const came = this.arrived === 0 ? '' : `, ${order}, ${times}`;
    return `the rule reset ${RULED} ${plural(this.done, 'time')}${away}; ${plural(this.arrived, 'reset message')} arrived${came}`;
  }
}
