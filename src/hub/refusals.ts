import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';

/** How long the same refusal of the same address is not said again, ms, and how many such are remembered. */
const QUIET_MS = 60_000;
const REMEMBERED_MAX = 256;

/** Counts what was refused, and says it now and then: an attack must not fill the log. */
export class Refusals {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #counts = new Map<string, number>();
  readonly #said = new Map<string, { readonly at: number; times: number }>();

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  get counts(): { readonly [what: string]: number } {
    return Object.fromEntries(this.#counts);
  }

  /** `what` is one of a few words; `why` is for the log, unless it is `said` there. */
  add(what: string, why: string, address: string, said?: true): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
    if (said === true) return;
    const key = `${what} ${address}`;
    const now = this.#clock.monotonic();
    const last = this.#said.get(key);
    if (last !== undefined && now - last.at < QUIET_MS) {
      last.times++;
      return;
    }
    // The oldest is forgotten: it is said again, which is not worse than being remembered for ever.
    if (last === undefined && this.#said.size >= REMEMBERED_MAX) this.#said.delete(this.#said.keys().next().value!);
    this.#said.delete(key);
    this.#said.set(key, { at: now, times: 0 });
    const more = last === undefined || last.times === 0 ? {} : { notSaid: last.times };
    this.#log.warn({ refused: what, why: why.slice(0, 200), address, ...more }, 'refused');
  }
}
