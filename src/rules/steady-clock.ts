import type { Clock } from '../clock/clock.ts';
import type { Micros } from './row.ts';

/** So far the timeline may be ahead of the wall clock and go on all the same, us: clocks are set by as much now and then. */
const AHEAD_MAX = 60 * 1_000_000;
/** The wall clock was set when it is off by more than this, us; when it has been so for long, ms, it is right: time servers are asked more often. */
const OFF_MIN = 1_000_000;
const OFF_MS_MAX = 3_600_000;

/**
 * Which moments of the timeline say nothing of the world's time: those before `until`, that were read from a clock that nobody
 * had set. What they do say is when they were by the monotonic clock: at its 0 the timeline was at `anchor`.
 */
export interface Unset {
  readonly anchor: Micros;
  readonly until: Micros;
}

/**
 * The rules' own time: the wall clock as it was at the start, and from there on the monotonic clock, so that a wall clock that
 * jumps neither fires nor freezes a window. It does not run backwards through a restart. When the time becomes known it moves
 * to it: forwards in a step, as after a long silence; where it would have to go back, it begins anew. So it does when the wall
 * clock was set and has stayed so: else it would be off by that for as long as the gateway runs.
 */
export class SteadyClock {
  readonly #clock: Clock;
  #anchor: Micros;
  #known: boolean;
  #last: Micros;
  /** What came before is later than what is now: windows of then are to be closed, and nothing compared with it. */
  #anew: boolean;
  #unset: Unset | null;
  /** By how much the wall clock is off, and since when, monotonic ms. */
  #off: Micros = 0;
  #offSince = 0;

  /** `last`: the last moment that anything remembers of the runs before; 0 when there is nothing. */
  constructor(clock: Clock, last: Micros) {
    this.#clock = clock;
    this.#known = clock.known();
    const wall = micros(clock.wall());
    this.#anew = this.#known && last > wall + AHEAD_MAX;
    this.#last = this.#anew ? wall : Math.max(wall, last);
    this.#anchor = this.#last - micros(clock.monotonic());
    // Of a time that no run before this one had: its last moment is now at the latest.
    if (this.#anew) this.#unset = { anchor: last - micros(clock.monotonic()), until: Infinity };
    else this.#unset = this.#known ? null : { anchor: this.#anchor, until: Infinity };
  }

  now(): Micros {
    return this.at(this.#clock.monotonic());
  }

  /** The moment at which the monotonic clock said this, ms; never before one that was given already. */
  at(monotonic: number): Micros {
    this.#last = Math.max(this.#last, this.#anchor + micros(monotonic));
    return this.#last;
  }

  get known(): boolean {
    return this.#known;
  }

  /** Null: none. Before {@link settles} says that the timeline begins anew, it is about all that is open. */
  get unset(): Unset | null {
    return this.#unset;
  }

  /**
   * Asks the clock whether the time has become known, or was set. True, once, when the timeline begins anew: whatever is open is
   * to be closed before anything more is taken on.
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
      this.#unset = { anchor: this.#anchor, until: Math.max(wall, now) };
      if (wall > now || this.#anew) this.#anchor = wall - micros(this.#clock.monotonic());
    } else if (this.#known) this.#follow();
    const anew = this.#anew;
    this.#anew = false;
    if (anew) this.#unset = null;
    return anew;
  }

  /** Moves to a wall clock that was set while the time was known, once it has stayed as it is. */
  #follow(): void {
    const monotonic = this.#clock.monotonic();
    const wall = micros(this.#clock.wall());
    const off = wall - micros(monotonic) - this.#anchor;
    if (Math.abs(off) < OFF_MIN || Math.abs(off - this.#off) >= OFF_MIN) {
      this.#off = off;
      this.#offSince = monotonic;
    } else if (monotonic - this.#offSince >= OFF_MS_MAX && this.#clock.known()) {
      if (this.now() > wall + AHEAD_MAX) {
        this.#anew = true;
        this.#last = wall;
      }
      this.#anchor += off;
    }
  }
}

function micros(ms: number): Micros {
  return Math.round(ms * 1000);
}
