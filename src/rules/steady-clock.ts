import type { Clock } from '../clock/clock.ts';
import type { Micros } from './row.ts';

/** So far the timeline may be ahead of the wall clock and go on all the same, us: clocks are set by as much now and then. */
const AHEAD_MAX = 60 * 1_000_000;

/**
 * The rules' own time: the wall clock as it was at the start, and from there on the monotonic clock, so that a wall clock that
 * jumps neither fires nor freezes a window. It does not run backwards through a restart. When the time becomes known it moves
 * to it, once: forwards in a step, as after a long silence; where it would have to go back, it begins anew.
 */
export class SteadyClock {
  readonly #clock: Clock;
  #anchor: Micros;
  #known: boolean;
  #last: Micros;
  /** What came before is later than what is now: windows of then are to be closed, and nothing compared with it. */
  #anew: boolean;

  /** `last`: the last moment that anything remembers of the runs before; 0 when there is nothing. */
  constructor(clock: Clock, last: Micros) {
    this.#clock = clock;
    this.#known = clock.known();
    const wall = micros(clock.wall());
    this.#anew = this.#known && last > wall + AHEAD_MAX;
    this.#last = this.#anew ? wall : Math.max(wall, last);
    this.#anchor = this.#last - micros(clock.monotonic());
  }

  now(): Micros {
    this.#last = Math.max(this.#last, this.#anchor + micros(this.#clock.monotonic()));
    return this.#last;
  }

  get known(): boolean {
    return this.#known;
  }

  /**
   * Asks the clock whether the time has become known. True, once, when the timeline begins anew: whatever is open is to be
   * closed before anything more is taken on.
   */
  settles(): boolean {
    if (!this.#known && this.#clock.known()) {
      this.#known = true;
      const wall = micros(this.#clock.wall());
      const now = this.now();
      if (now > wall + AHEAD_MAX) {
        this.#anew = true;
        this.#last = wall;
      }
      if (wall > now || this.#anew) this.#anchor = wall - micros(this.#clock.monotonic());
    }
    const anew = this.#anew;
    this.#anew = false;
    return anew;
  }
}

function micros(ms: number): Micros {
  return Math.round(ms * 1000);
}
