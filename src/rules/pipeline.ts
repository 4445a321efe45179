import type { Account } from './account.ts';
import type { InputEvent } from './event.ts';
import { inOrder, type Emitted } from './outlet.ts';
import type { Held, Micros, Saved } from './row.ts';
import type { Timeline } from './timeline.ts';

/** A part with a memory. */
export interface Remembering {
  /** The time that must have passed for it to have something to give out; Infinity when it has nothing. */
  readonly due?: Micros;
  /** What that comes to; left out by what remembers next to nothing. */
  readonly held?: Held;
  save(): Saved;
  load(saved: Saved): void;
}

/** The parts of a running query, connected: what comes out of the last of them is in `out`. */
export interface Parts {
  /** By input, in lower case. */
  readonly timelines: ReadonlyMap<string, Timeline>;
  readonly remembering: readonly Remembering[];
  readonly out: Emitted[];
}

const NOTHING: readonly Emitted[] = [];

/** A running query: with `TIMESTAMP BY .. OVER` one for each key, and otherwise the only one. */
export class Pipeline {
  readonly #timelines: ReadonlyMap<string, Timeline>;
  readonly #all: readonly Timeline[];
  readonly #remembering: readonly Remembering[];
  readonly #out: Emitted[];
  readonly #account: Account;
  /** The number of its key; null without `TIMESTAMP BY .. OVER`. */
  readonly key: number | null;
  #begun = false;

  constructor({ timelines, remembering, out }: Parts, account: Account, key: number | null) {
    this.#timelines = timelines;
    this.#all = [...timelines.values()];
    this.#remembering = remembering;
    this.#out = out;
    this.#account = account;
    this.key = key;
  }

  /** `input` in lower case. */
  feed(input: string, event: InputEvent): readonly Emitted[] {
    this.#begin(event.arrival);
    if (this.#all.length > 1) this.#tickAll(event.arrival);
    this.#timelines.get(input)!.feed(event);
    return this.#takeOut();
  }

  tick(now: Micros): readonly Emitted[] {
    if (!this.#begun) return NOTHING;
    this.#tickAll(now);
    return this.#takeOut();
  }

  /** How far any of its timelines has been led beyond what is possible at `now`; 0 when none has. */
  ahead(now: Micros): Micros {
    return Math.max(0, ...this.#all.map((timeline) => timeline.ahead(now)));
  }

  /** The time is known, and is `now`. */
  learn(now: Micros): void {
    for (const timeline of this.#all) timeline.learn(now);
  }

  end(): readonly Emitted[] {
    for (const timeline of this.#all) timeline.end();
    return this.#takeOut();
  }

  /** When the next tick can give something out; Infinity while nothing waits. */
  get nextTick(): Micros {
    let due = Infinity;
    for (const timeline of this.#all) due = Math.min(due, timeline.due);
    for (const part of this.#remembering) due = Math.min(due, part.due ?? Infinity);
    let next = Infinity;
    if (due === Infinity) return next;
    for (const timeline of this.#all) {
      if (timeline.watermark <= due) next = Math.min(next, timeline.tickFor(due));
    }
    return next;
  }

  /** Whether nothing is open or waits, and nothing has come since. */
  isQuiet(since: Micros): boolean {
    return (
      this.#all.every((timeline) => timeline.silentSince < since) &&
      this.nextTick === Infinity &&
      this.#remembering.every(({ held }) => held === undefined || held.bytes === 0)
    );
  }

  save(): Saved {
    return [this.#begun, this.#all.map((timeline) => timeline.save()), this.#remembering.map((part) => part.save())];
  }

  load(saved: Saved): void {
    const [begun, timelines, remembering] = saved as [boolean, Saved[], Saved[]];
    if (timelines.length !== this.#all.length || remembering.length !== this.#remembering.length) {
      throw new Error('the saved state is of another plan');
    }
    this.#begun = begun;
    for (const [index, timeline] of this.#all.entries()) timeline.load(timelines[index]!);
    for (const [index, part] of this.#remembering.entries()) part.load(remembering[index]!);
  }

  /** A source that never says anything is silent from the first sign of life of any on. */
  #begin(now: Micros): void {
    if (this.#begun) return;
    this.#begun = true;
    for (const timeline of this.#all) timeline.begin(now);
  }

  #tickAll(now: Micros): void {
    for (const timeline of this.#all) timeline.tick(now);
  }

  #takeOut(): readonly Emitted[] {
    if (this.#out.length === 0) return NOTHING;
    const out = this.#out.splice(0);
    this.#account.counters.out += out.length;
    return out.length > 1 ? out.sort(inOrder) : out;
  }
}
