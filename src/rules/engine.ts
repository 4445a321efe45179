import { createHash } from 'node:crypto';
import type { Join, Script, Source, Table } from '../query/ast.ts';
import { compile, type Evaluate } from '../query/compile.ts';
import { inputsOf, timedSource } from '../query/inputs.ts';
import { parseScript } from '../query/parser.ts';
import { ValueError, type Fields } from '../query/value.ts';
import { Account } from './account.ts';
import type { Counters, EngineOptions, InputEvent, Limits, OutputEvent } from './event.ts';
import { groupKey, type GroupKey } from './group-key.ts';
import { isKeyed } from './keyed.ts';
import { spanText } from './moment.ts';
import { inOrder, type Emitted } from './outlet.ts';
import { Pipeline } from './pipeline.ts';
import { eventScope, Plan } from './plan.ts';
import type { Held, Micros, Saved } from './row.ts';
import { explanation, usesTime } from './explanation.ts';
import type { ReferenceIndex } from './reference-index.ts';
import { schemaOf } from './schema.ts';
import { momentOf, type Policies } from './timeline.ts';

export type { Counters, EngineOptions, InputEvent, Limits, OutputEvent } from './event.ts';

/** Raised when what is saved changes its form: what an older one saved is then not loaded. */
const STATE_VERSION = 1;
/** What a key of `TIMESTAMP BY .. OVER` costs, bytes, beside what it remembers. */
const KEY_BYTES = 4000;

const OUT_OF_ORDER_MS = 0;
const LATE_MS = 5000;
const EARLY_MS = 300_000;
const IDLE_MS = 5000;

const NOTHING: readonly OutputEvent[] = [];

interface Input {
  readonly name: string;
  readonly lower: string;
  /** Says what is wrong with an event that does not fit CREATE TABLE. */
  readonly misfit: ((fields: Fields) => string | null) | null;
  readonly timestamp: Evaluate<Fields> | null;
  /** Of `TIMESTAMP BY .. OVER`. */
  readonly over: readonly Evaluate<Fields>[];
}

/**
 * A query that runs, in memory and without a clock: it knows of time what its events and {@link tick} say. The same events give the
 * same results, in the same order, whenever ticks come between them.
 */
export class Engine {
  /** As the query spells them. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly script: Script;
  readonly #hash: string;
  readonly #policies: Policies;
  readonly #account: Account;
  readonly #byName = new Map<string, Input>();
  readonly #build: (key: number | null) => Pipeline;
  /** By the key of `TIMESTAMP BY .. OVER`; one that is there from the start without it. */
  readonly #pipelines = new Map<GroupKey, Pipeline>();
  /** The numbers of those keys. */
  readonly #numbers = new Set<number>();
  /** No number below this is free. */
  #freeFrom = 0;
  readonly #keyed: boolean;
  readonly #isTable: (name: string) => boolean;
  readonly #only: Pipeline;
  #now: Micros = -Infinity;
  /** When to look again for keys that can be forgotten. */
  #sweepAgain: Micros = -Infinity;
  #ended = false;

  private constructor(options: EngineOptions) {
    this.#account = new Account(options.limits);
    this.script = parseScript(options.script);
    this.#hash = createHash('sha256').update(options.script).digest('hex');
    const references = options.references ?? {};
    const isTable = (name: string): boolean => Object.keys(references).some((table) => same(table, name));
    this.#isTable = isTable;
    this.inputs = inputsOf(this.script).filter((name) => !isTable(name));
    this.outputs = outputsOf(this.script);
    const policies = policiesOf(options);
    this.#policies = policies;
    this.#keyed = isKeyed(this.script, isTable);
    const parts = {
      script: this.script,
      policies,
      references,
      account: this.#account,
      indexes: new Map<Join, ReferenceIndex>(),
    };
    this.#build = (key) => new Pipeline(new Plan(parts, key).build(), this.#account, key);
    // Built in any case: what is wrong with the query is to be said now.
    this.#only = this.#build(null);
    for (const name of this.inputs) {
      this.#byName.set(name, inputOf(name, timedSource(this.script, name), this.script.tables));
    }
  }

  /** Throws a QueryProblem when the query is wrong, or has something that is not supported. */
  static compile(options: EngineOptions): Engine {
    return new Engine(options);
  }

  get counters(): Readonly<Counters> {
    return this.#account.counters;
  }

  /** What was wrong with the first event that was dropped. */
  get firstFault(): string | null {
    return this.#account.firstFault;
  }

  /** Which event that was, as it was fed; null when it was no event but a result. */
  get firstFaulty(): Fields | null {
    return this.#account.firstFaulty;
  }

  get limits(): Limits {
    return this.#account.limits;
  }

  get held(): Held {
    return this.#account.held;
  }

  /** An event for one of {@link inputs}, in any case. What comes of it at once comes back, by time and then in the order of the script. */
  feed(input: string, event: InputEvent): readonly OutputEvent[] {
    // Of a replay too, where nobody says when the time became known.
    const before = event.arrivalKnown && this.#account.skew !== null ? this.learn(event.arrival) : NOTHING;
    const out = this.#feed(input, event);
    return before.length === 0 ? out : [...before, ...out];
  }

  #feed(input: string, event: InputEvent): readonly OutputEvent[] {
    const account = this.#account;
    account.counters.in++;
    const known = this.#byName.get(input) ?? this.#spelt(input);
    const timed = this.#inTime(event);
    try {
      const misfit = known.misfit?.(event.fields) ?? null;
      if (misfit !== null) throw new ValueError(misfit);
      if (!this.#keyed) return this.#only.feed(known.lower, timed);
      const keys = known.over.map((key) => key(event.fields));
      if (keys.includes(null)) throw new ValueError('the key of TIMESTAMP BY .. OVER is missing');
      const pipeline = this.#ofKey(groupKey(keys));
      if (pipeline === null) account.counters.bounded++;
      return pipeline?.feed(known.lower, timed) ?? NOTHING;
    } catch (error) {
      account.dropped(error, event.fields);
      return NOTHING;
    }
  }

  /** How far an event's own time, taken while nobody knew the time, is beyond what is possible at `now`; 0 when none is. */
  ahead(now: Micros): Micros {
    let ahead = this.#only.ahead(now);
    for (const pipeline of this.#pipelines.values()) ahead = Math.max(ahead, pipeline.ahead(now));
    return ahead;
  }

  /**
   * The time has become known, and is `now`. What an impossible time had led ahead would take no event of today any more: it closes
   * with what it has and begins anew, with `TIMESTAMP BY .. OVER` for that key alone.
   */
  learn(now: Micros): readonly OutputEvent[] {
    this.#account.skew = null;
    if (!this.#keyed) return this.#learn(this.#only, now);
    const ahead = new Set([...this.#pipelines].filter(([, pipeline]) => pipeline.ahead(now) > 0).map(([key]) => key));
    const out = this.#ofAll((pipeline) => this.#learn(pipeline, now));
    for (const key of ahead) this.#forget(key);
    return out;
  }

  #learn(pipeline: Pipeline, now: Micros): readonly Emitted[] {
    const anew = pipeline.ahead(now) > 0;
    pipeline.learn(now);
    if (!anew) return [];
    const out = pipeline.end();
    // In place of all that it remembers: the room for that is given back.
    pipeline.load(this.#build(null).save());
    return out;
  }

  /** It is `now` on the timeline of arrivals, and nothing has come since the last event. */
  tick(now: Micros): readonly OutputEvent[] {
    this.#now = Math.max(this.#now, now);
    if (!this.#keyed) return this.#only.tick(this.#now);
    return this.#ofAll((pipeline) => pipeline.tick(this.#now));
  }

  /** When {@link tick} could give something out; null while nothing waits for time to pass. */
  nextTick(): Micros | null {
    let next = this.#keyed ? Infinity : this.#only.nextTick;
    for (const pipeline of this.#pipelines.values()) next = Math.min(next, pipeline.nextTick);
    return next === Infinity ? null : next;
  }

  /** No more input comes: everything that is open closes at its own time. Nothing can be fed after it. */
  end(): readonly OutputEvent[] {
    this.#ended = true;
    if (!this.#keyed) return this.#only.end();
    const out = this.#ofAll((pipeline) => pipeline.end());
    for (const key of this.#pipelines.keys()) this.#forget(key);
    return out;
  }

  /** Whether its results depend on the time of its events. */
  get usesTime(): boolean {
    return usesTime(this.script, this.#isTable);
  }

  /** Whether an input's events say themselves when they happened. */
  timestamped(input: string): boolean {
    return (this.#byName.get(input) ?? this.#spelt(input)).timestamp !== null;
  }

  /** The time of an event by TIMESTAMP BY; null when its input has none. Throws a ValueError when the event lacks it. */
  timeOf(input: string, fields: Fields): Micros | null {
    const { timestamp } = this.#byName.get(input) ?? this.#spelt(input);
    return timestamp && momentOf(timestamp(fields));
  }

  /** How it runs, as a person reads it. */
  explain(): string {
    return explanation(this.script, this.inputs, policyTexts(this.#policies));
  }

  /** All that it remembers, to be written by `query/state.ts`. */
  save(): Saved {
    const now = this.#now === -Infinity ? null : this.#now;
    const pipelines = [...this.#pipelines].map(([key, pipeline]): Saved => [key, pipeline.save(), pipeline.key]);
    return [STATE_VERSION, this.#hash, now, this.#account.skew, this.#keyed ? pipelines : this.#only.save()];
  }

  /** Takes up what {@link save} gave, in place of what it remembers. Throws when it is of another query or another version. */
  load(saved: Saved): void {
    if (!Array.isArray(saved) || saved[0] !== STATE_VERSION) throw new Error('the saved state has another form');
    const [, hash, now, skew, state] = saved as [number, string, number | null, number | null, Saved];
    if (hash !== this.#hash) throw new Error('the saved state is of another query');
    this.#now = now ?? -Infinity;
    this.#account.skew = skew;
    if (!this.#keyed) {
      this.#only.load(state);
      return;
    }
    this.#pipelines.clear();
    this.#numbers.clear();
    this.#freeFrom = 0;
    this.#account.clear();
    // Without numbers where it was saved before keys had any.
    for (const [index, kept] of (state as unknown as readonly [GroupKey, Saved, number?][]).entries()) {
      const [key, inner, number = index] = kept;
      this.#account.give(0, -1, -KEY_BYTES);
      const pipeline = this.#build(number);
      pipeline.load(inner);
      this.#pipelines.set(key, pipeline);
      this.#numbers.add(number);
    }
  }

  /** Arrivals never go back: a moment that time has passed does not come again. */
  #inTime(event: InputEvent): InputEvent {
    if (this.#ended) throw new Error('an event after the end of all input');
    if (event.arrival >= this.#now) {
      this.#now = event.arrival;
      return event;
    }
    return { ...event, arrival: this.#now };
  }

  #spelt(input: string): Input {
    for (const known of this.#byName.values()) if (same(known.name, input)) return known;
    throw new Error(`the query has no input ${input}`);
  }

  /** Null when there is no room for another. */
  #ofKey(key: GroupKey): Pipeline | null {
    const known = this.#pipelines.get(key);
    if (known !== undefined) return known;
    if (!this.#account.take(0, 1, KEY_BYTES)) {
      this.#forgetQuiet();
      if (!this.#account.take(0, 1, KEY_BYTES)) return null;
    }
    const number = this.#freeNumber();
    const pipeline = this.#build(number);
    this.#pipelines.set(key, pipeline);
    this.#numbers.add(number);
    return pipeline;
  }

  /** The least that no key has. */
  #freeNumber(): number {
    while (this.#numbers.has(this.#freeFrom)) this.#freeFrom++;
    return this.#freeFrom;
  }

  /**
   * Forgets the keys that have nothing open and have been silent for so long that all they know is what time it is: whatever comes for
   * one of them is as new as that by the test for late events.
   */
  #forgetQuiet(): void {
    if (this.#now < this.#sweepAgain) return;
    this.#sweepAgain = this.#now + this.#policies.idle;
    const silentSince = this.#now - this.#policies.idle - this.#policies.late;
    for (const [key, pipeline] of this.#pipelines) if (pipeline.isQuiet(silentSince)) this.#forget(key);
  }

  #forget(key: GroupKey): void {
    const number = this.#pipelines.get(key)!.key!;
    this.#numbers.delete(number);
    this.#freeFrom = Math.min(this.#freeFrom, number);
    this.#pipelines.delete(key);
    this.#account.give(0, 1, KEY_BYTES);
  }

  #ofAll(ask: (pipeline: Pipeline) => readonly Emitted[]): readonly OutputEvent[] {
    const out = [...this.#pipelines.values()].flatMap(ask);
    return out.sort(inOrder);
  }
}

function same(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

function outputsOf(script: Script): string[] {
  const outputs: string[] = [];
  for (const { into } of script.selects) if (!outputs.some((output) => same(output, into!))) outputs.push(into!);
  return outputs;
}

function inputOf(name: string, source: Source, tables: readonly Table[]): Input {
  const scope = eventScope(source.alias);
  const table = tables.find((declared) => same(declared.name, name));
  return {
    name,
    lower: name.toLowerCase(),
    misfit: table === undefined ? null : schemaOf(table),
    timestamp: source.timestampBy && compile(source.timestampBy, scope),
    over: source.over.map((key) => compile(key, scope)),
  };
}

function policiesOf(options: EngineOptions): Policies {
  const { outOfOrderMs = OUT_OF_ORDER_MS, lateArrivalMs = LATE_MS, earlyMs = EARLY_MS, idleMs = IDLE_MS } = options;
  return {
    outOfOrder: outOfOrderMs * 1000,
    late: lateArrivalMs < 0 ? Infinity : lateArrivalMs * 1000,
    early: earlyMs * 1000,
    idle: idleMs * 1000,
    drop: options.onLate === 'drop',
  };
}

function policyTexts({ outOfOrder, late, early, idle, drop }: Policies): string[] {
  const becomes = drop ? 'dropped' : 'moved';
  return [
    `waits ${spanText(outOfOrder)} for events out of order; later ones are ${becomes}`,
    late === Infinity
      ? 'events may be accepted any time after they happened'
      : `events accepted more than ${spanText(late)} after they happened are ${becomes}`,
    `events accepted more than ${spanText(early)} before they happened are dropped`,
    `silent for ${spanText(idle)}, it no longer holds anything back`,
  ];
}
