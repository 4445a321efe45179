import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import type { Message } from '../message/message.ts';
import type { Fields, Value } from '../query/value.ts';
import { Hosted, type ModuleSpec } from './hosted.ts';
import { Keeper, type Feeding, type KeptRecord, type RecordChange } from './keeper.ts';
import { aboutText } from './moment.ts';
import type { Held, Micros } from './row.ts';
import { SteadyClock, type Unset } from './steady-clock.ts';

/** The journal's bound, bytes, and as a part of the spool's quota. */
const JOURNAL_BYTES_MAX = 4 * 2 ** 20;
const JOURNAL_QUOTA_SHARE = 1 / 20;
/** A tick comes no sooner and no later than this, ms. */
const TICK_MS_MIN = 10;
const TICK_MS_MAX = 3_600_000;
/** How often the clock is asked while the time is not known, ms. */
const ASK_EVERY_MS = 1000;

export interface RulesHostOptions<Output> {
  readonly modules: readonly ModuleSpec<Output>[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly quotaBytes: () => number;
  /** A message's body as fields. Throws when it has none. */
  readonly fieldsOf: (message: Message) => Fields;
  /**
   * A module puts something out. Whatever comes of it is accepted by the spool, and fed to other modules, before this returns:
   * it is in the commit that has the module's state. After a crash it comes again unless it was in that commit. `hops`: those of the
   * message that brought it about, 0 when time did. `unset`: which moments on the timeline are not to be taken for the world's.
   */
  readonly emit: (module: string, output: Output, hops: number, unset: Unset | null) => void;
  /** There is something to be written: see `Spool.touch`. */
  readonly touch: () => void;
  /** See query/state.ts. */
  readonly encodeState: (state: Value) => string;
  readonly decodeState: (text: string) => Value;
}

/** How a module is doing. */
export interface ModuleStatus {
  readonly id: string;
  readonly in: number;
  readonly out: number;
  /** Events accepted later than `lateArrival` allows: moved, or lost with `onLate: drop`. */
  readonly late: number;
  /** Events accepted too long before they happened: lost. */
  readonly early: number;
  /** Events that came out of order by more than `outOfOrder`: moved, or lost with `onLate: drop`. */
  readonly unordered: number;
  /** Events of which nothing could be made, bodies that have no fields among them. */
  readonly dropped: number;
  /** Events for which there was no more room within the module's limits. */
  readonly bounded: number;
  readonly held: Held;
  /** When it last put something out, ms since 1970 on the rules' timeline; null when it has not since the start. */
  readonly lastOutput: number | null;
  /** Why it has stopped; absent while it runs. */
  readonly fault?: string;
}

interface Waiting<Output> {
  readonly module: Hosted<Output>;
  readonly output: Output;
  readonly hops: number;
  readonly unset: Unset | null;
}

/**
 * Runs the modules' queries in memory: fed in the turn of the event loop in which a message is accepted, with their state kept
 * in the spool's own commits. Is a `Companion` of the spool.
 */
export class RulesHost<Output> {
  readonly #options: RulesHostOptions<Output>;
  readonly #modules: ReadonlyMap<string, Hosted<Output>>;
  readonly #keeper: Keeper<Output>;
  #timeline: SteadyClock | null = null;
  /** What has been put out and not handed on yet, in its order. */
  readonly #outbox: Waiting<Output>[] = [];
  #handing = false;
  #timer: Timer | null = null;
  #tickAt: Micros = Infinity;
  #asking: Timer | null = null;
  /** The modules have been told that the time is known. */
  #told = false;

  constructor(options: RulesHostOptions<Output>) {
    this.#options = options;
    const { modules, clock, log, quotaBytes, encodeState, decodeState } = options;
    const now = clock.monotonic();
    this.#modules = new Map(modules.map((spec) => [spec.id, new Hosted(spec, now)]));
    this.#keeper = new Keeper({
      modules: this.#modules,
      clock,
      log,
      now: () => this.#timeline!.now(),
      journalBytesMax: () => Math.min(JOURNAL_BYTES_MAX, quotaBytes() * JOURNAL_QUOTA_SHARE),
      encodeState,
      decodeState,
      failed: (module, why) => this.#failed(module, why),
    });
  }

  /**
   * Takes up what `records` say (`Spool.companionRecords`), and feeds again what modules were fed since their last checkpoint.
   * Once, before anything is fed, and after the spool has been told to be accompanied by this.
   */
  start(records: readonly KeptRecord[]): void {
    const { clock } = this.#options;
    const again = this.#keeper.restore(records);
    this.#timeline = new SteadyClock(clock, this.#keeper.last);
    for (const { message, arrival, known, targets } of again) {
      // What was fed by a time that was known has that time also in a run that does not know it.
      this.#feedAll(message, arrival, known, targets, known ? null : this.#timeline.unset);
    }
    this.#settle();
    if (!this.#timeline.known) {
      this.#asking = clock.every(ASK_EVERY_MS, () => this.#settle());
    }
    this.#armAll();
    if (this.#keeper.bytes > 0) this.#options.touch();
  }

  /** No more ticks. What has changed is written whole with the next commit. */
  stop(): void {
    this.#timer?.cancel();
    this.#asking?.cancel();
    this.#keeper.writeAll();
  }

  /**
   * Feeds a message to inputs of modules, in the turn of the event loop in which the spool accepted it, if it did. What is put
   * out goes to `emit` before this returns; unless this was called from there, then soon after.
   */
  feed(message: Message, targets: readonly { readonly module: string; readonly input: string }[]): void {
    this.#settle();
    const timeline = this.#timeline!;
    const feeding: Feeding<Output>[] = [];
    for (const { module: id, input } of targets) {
      const module = this.#modules.get(id);
      if (module === undefined) throw new Error(`no module ${id}`);
      if (module.fault === null) feeding.push({ module, input });
    }
    if (feeding.length === 0) return;
    // As it was accepted: asked anew, a process that stood still in between would put it into a later window.
    const arrival = timeline.at(message.acceptedAt.monotonic);
    if (!this.#feedAll(message, arrival, timeline.known, feeding, timeline.unset)) return;
    this.#keeper.fed(message, arrival, timeline.known, feeding);
    this.#options.touch();
    this.#hand();
  }

  get bytes(): number {
    return this.#keeper.bytes;
  }

  cut(): RecordChange[] {
    return this.#keeper.cut();
  }

  /** Bytes of journal, on the medium and on the way there. */
  get journalBytes(): number {
    return this.#keeper.journalBytes;
  }

  status(): ModuleStatus[] {
    return [...this.#modules.values()].map(({ id, query, unreadable, lastOutput, fault }) => ({
      id,
      in: query.counters.in,
      out: query.counters.out,
      late: query.counters.late,
      early: query.counters.early,
      unordered: query.counters.unordered,
      dropped: query.counters.dropped + unreadable,
      bounded: query.counters.bounded,
      held: query.held,
      lastOutput: lastOutput === null ? null : Math.floor(lastOutput / 1000),
      ...(fault === null ? {} : { fault }),
    }));
  }

  /** False when the message has no fields. */
  #feedAll(
    message: Message,
    arrival: Micros,
    arrivalKnown: boolean,
    targets: readonly Feeding<Output>[],
    unset: Unset | null,
  ): boolean {
    let fields: Fields;
    try {
      fields = this.#options.fieldsOf(message);
    } catch {
      for (const { module } of targets) module.unreadable++;
      return false;
    }
    for (const { module, input } of targets) {
      this.#run(module, () => module.query.feed(input, { fields, arrival, arrivalKnown }), unset, message.hops);
    }
    return true;
  }

  /** Has a module do something, and takes what it puts out. */
  #run(module: Hosted<Output>, act: () => readonly Output[], unset: Unset | null, hops = 0): void {
    if (module.fault !== null) return;
    try {
      const outputs = act();
      if (outputs.length > 0) this.#keeper.emitted(module);
      for (const output of outputs) this.#outbox.push({ module, output, hops, unset });
      this.#arm(module.query.nextTick());
    } catch (error) {
      this.#failed(module, error);
    }
  }

  /** A fault of ours, or a state that cannot be: the module stops, the others go on. */
  #failed(module: Hosted<Output>, why: unknown): void {
    module.fault = why instanceof Error ? why.message : String(why);
    this.#options.log.error({ err: why, module: module.id }, 'the module has stopped: it begins anew after a restart');
    this.#keeper.dropped(module);
    this.#options.touch();
  }

  #hand(): void {
    if (this.#handing) return;
    this.#handing = true;
    try {
      for (let next = this.#outbox.shift(); next !== undefined; next = this.#outbox.shift()) {
        next.module.lastOutput = this.#timeline!.now();
        this.#options.emit(next.module.id, next.output, next.hops, next.unset);
      }
    } finally {
      this.#handing = false;
    }
  }

  /** The time may have become known: where the timeline begins anew, what is open is closed with what it has. */
  #settle(): void {
    const timeline = this.#timeline!;
    const { unset } = timeline;
    const anew = timeline.settles();
    if (timeline.known) {
      this.#asking?.cancel();
      this.#asking = null;
    }
    if (anew) {
      this.#keeper.last = 0;
      for (const module of this.#modules.values()) {
        this.#run(module, () => module.query.end(), unset);
        if (module.fault !== null) continue;
        module.renew();
        this.#keeper.emitted(module);
      }
      this.#options.touch();
    }
    if (timeline.known && !this.#told) this.#tell();
    this.#hand();
  }

  /** Also at a start with a time that is known: what a module remembers may be of a run that did not know it. */
  #tell(): void {
    this.#told = true;
    const timeline = this.#timeline!;
    const now = timeline.now();
    for (const module of this.#modules.values()) {
      const ahead = module.fault === null ? module.query.ahead(now) : 0;
      this.#run(module, () => module.query.learn(now), timeline.unset);
      if (ahead === 0 || module.fault !== null) continue;
      this.#options.log.warn(
        { module: module.id, aheadSecs: Math.round(ahead / 1e6) },
        `while nobody knew the time the module took an event whose own time is ${aboutText(ahead)} ahead: what it led ahead closes with what it has, and begins anew`,
      );
      this.#keeper.emitted(module);
      this.#options.touch();
    }
  }

  #armAll(): void {
    for (const { query, fault } of this.#modules.values()) if (fault === null) this.#arm(query.nextTick());
  }

  #arm(at: Micros | null): void {
    if (at === null || at >= this.#tickAt || this.#timeline === null) return;
    this.#tickAt = at;
    this.#timer?.cancel();
    const ms = Math.ceil((at - this.#timeline.now()) / 1000);
    this.#timer = this.#options.clock.after(Math.min(Math.max(ms, TICK_MS_MIN), TICK_MS_MAX), () => this.#tick());
  }

  #tick(): void {
    this.#tickAt = Infinity;
    this.#timer = null;
    this.#settle();
    const timeline = this.#timeline!;
    const now = timeline.now();
    for (const module of this.#modules.values()) {
      if (module.fault !== null) continue;
      const due = module.query.nextTick();
      if (due !== null && due <= now) this.#run(module, () => module.query.tick(now), timeline.unset);
      else this.#arm(due);
    }
    if (this.#keeper.bytes > 0) this.#options.touch();
    this.#hand();
  }
}
