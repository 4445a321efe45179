import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import type { Message } from '../message/message.ts';
import type { Value } from '../query/value.ts';
import { decodeCheckpoint, encodeCheckpoint } from './checkpoint.ts';
import { RecordUnreadable } from './envelope.ts';
import type { Hosted } from './hosted.ts';
import { decodeJournal, encodeJournal, type Fed } from './journal.ts';
import type { Micros } from './row.ts';

/** A module whose state was fed to is written at least so often, ms ... */
const CHECKPOINT_EVERY_MS = 30_000;
/** ... and when the journal that it would need is longer than this, or than its state, bytes. */
const JOURNAL_BYTES = 64 * 1024;
/** A state of up to this length is rather written than what it was made of, bytes. */
const SMALL_BYTES = 2048;
/** What a message takes in a journal besides body and properties, bytes, about. */
const ENTRY_BYTES = 64;

/** Kinds of records. */
const CHECKPOINT = 1;
const JOURNAL = 2;

/** A record as the spool keeps it: see `spool/companion.ts`, which wants no more than this. */
export interface KeptRecord {
  readonly kind: number;
  readonly number: number;
  readonly value: Buffer;
}

export interface RecordChange {
  readonly kind: number;
  readonly number: number;
  readonly value: Buffer | null;
}

export interface KeeperParts<Output> {
  readonly modules: ReadonlyMap<string, Hosted<Output>>;
  readonly clock: Clock;
  readonly log: Logger;
  /** It is so late on the rules' timeline. */
  readonly now: () => Micros;
  /** The journal's bound, bytes: beyond it every module is written. */
  readonly journalBytesMax: () => number;
  readonly encodeState: (state: Value) => string;
  readonly decodeState: (text: string) => Value;
  /** The module cannot go on. */
  readonly failed: (module: Hosted<Output>, why: unknown) => void;
}

/** What a module is fed. */
export interface Feeding<Output> {
  readonly module: Hosted<Output>;
  readonly input: string;
}

interface Entry<Output> extends Omit<Fed, 'targets'> {
  readonly targets: readonly Feeding<Output>[];
  readonly bytes: number;
}

/**
 * Keeps what the modules remember through a restart: of each a checkpoint, and a journal of what it was fed since. Both go to
 * the medium in the commit that has the messages, so that after a crash what is there is: all messages up to some moment, and
 * for each module a state of that moment or an older one with all that it was fed from there on. A module that has put
 * something out is always written with it: what comes of a replay never was on the medium.
 */
export class Keeper<Output> {
  readonly #parts: KeeperParts<Output>;
  /** Modules that have been fed, or have put something out, since their last checkpoint. */
  readonly #changed = new Set<Hosted<Output>>();
  /** What was fed since the last cut. */
  #entries: Entry<Output>[] = [];
  #entryBytes = 0;
  #emitted = 0;
  /** Blocks of the journal: how many modules need each, and its length. */
  readonly #blocks = new Map<number, { modules: number; readonly bytes: number }>();
  #journalBytes = 0;
  readonly #going: RecordChange[] = [];
  #next = 1;
  #slots = new Set<number>();
  #all = false;
  /** The last moment on the rules' timeline that anything remembers; 0 at the first start. */
  last: Micros = 0;

  constructor(parts: KeeperParts<Output>) {
    this.#parts = parts;
  }

  /** What a cut would carry, about; 0 when there is nothing to be written. */
  get bytes(): number {
    const all = this.#all && this.#changed.size > 0 ? SMALL_BYTES : 0;
    return this.#entryBytes + (this.#emitted + this.#going.length) * SMALL_BYTES + all;
  }

  get journalBytes(): number {
    return this.#journalBytes + this.#entryBytes;
  }

  /** Modules are fed a message. */
  fed(message: Message, arrival: Micros, known: boolean, targets: readonly Feeding<Output>[]): void {
    const bytes = message.body.length + ENTRY_BYTES + targets.length;
    this.#entries.push({ message, arrival, known, targets, bytes });
    this.#entryBytes += bytes;
    this.last = Math.max(this.last, arrival);
    for (const { module } of targets) {
      if (module.fault === null) this.#wasFed(module, bytes);
    }
  }

  #wasFed(module: Hosted<Output>, bytes: number): void {
    module.fed = true;
    module.journalBytes += bytes;
    this.#changed.add(module);
  }

  /** A module has put something out, or begun anew. */
  emitted(module: Hosted<Output>): void {
    if (!module.emitted) this.#emitted++;
    module.emitted = true;
    this.#changed.add(module);
  }

  /** A module has stopped for good: it begins anew after a restart. */
  dropped(module: Hosted<Output>): void {
    if (module.emitted) this.#emitted--;
    module.emitted = module.fed = false;
    this.#changed.delete(module);
    this.#passed(module);
    if (module.slot === null) return;
    this.#going.push({ kind: CHECKPOINT, number: module.slot, value: null });
    this.#slots.delete(module.slot);
    module.slot = null;
  }

  /** With the next cut every module is written that has changed: nothing has to be replayed then. */
  writeAll(): void {
    this.#all = true;
  }

  /** See `spool/companion.ts`. */
  cut(): RecordChange[] {
    const number = this.#next++;
    const written = new Set<Hosted<Output>>();
    const records: RecordChange[] = [];
    for (const module of this.#due()) {
      const record = this.#checkpoint(module, number);
      if (record === null) continue;
      written.add(module);
      records.push(record);
    }
    const block = this.#block(number, written);
    if (block !== null) records.push(block);
    this.#entries = [];
    this.#entryBytes = 0;
    this.#all = false;
    // What goes first: the number of a record that goes may have been given to another.
    return [...this.#going.splice(0), ...records];
  }

  /** Modules that are to be written. */
  #due(): readonly Hosted<Output>[] {
    const now = this.#parts.clock.monotonic();
    const all = this.#all || this.journalBytes > this.#parts.journalBytesMax();
    const due: Hosted<Output>[] = [];
    const small: Hosted<Output>[] = [];
    let smallBytes = 0;
    for (const module of this.#changed) {
      const { emitted, slot, checkpointAt, journalBytes, likelyBytes } = module;
      const long = journalBytes > Math.max(JOURNAL_BYTES, likelyBytes);
      if (all || emitted || slot === null || long || now - checkpointAt >= CHECKPOINT_EVERY_MS) due.push(module);
      else if (likelyBytes <= SMALL_BYTES) {
        small.push(module);
        smallBytes += likelyBytes;
      }
    }
    // With many modules on one input the message is shorter than all that they make of it.
    return smallBytes <= Math.max(SMALL_BYTES, this.#entryBytes) ? [...due, ...small] : due;
  }

  #checkpoint(module: Hosted<Output>, position: number): RecordChange | null {
    const { encodeState, clock, now, failed } = this.#parts;
    let value: Buffer;
    try {
      const state = encodeState(module.query.save());
      value = encodeCheckpoint({ module: module.id, hash: module.hash, position, arrival: now(), state });
    } catch (error) {
      failed(module, error);
      return null;
    }
    if (module.emitted) this.#emitted--;
    module.emitted = module.fed = false;
    module.journalBytes = 0;
    module.checkpointAt = clock.monotonic();
    module.recordBytes = value.length;
    module.slot ??= this.#freeSlot();
    this.#changed.delete(module);
    this.#passed(module);
    return { kind: CHECKPOINT, number: module.slot, value };
  }

  /** What was fed to modules that are not written. */
  #block(number: number, written: ReadonlySet<Hosted<Output>>): RecordChange | null {
    const needing = new Set<Hosted<Output>>();
    const fed: Fed[] = [];
    for (const { message, arrival, known, targets } of this.#entries) {
      const left = targets.filter(({ module }) => !written.has(module) && module.fault === null);
      if (left.length === 0) continue;
      for (const { module } of left) needing.add(module);
      const named = left.map(({ module, input }) => ({ module: module.id, hash: module.hash, input }));
      fed.push({ message, arrival, known, targets: named });
    }
    if (fed.length === 0) return null;
    const value = encodeJournal(fed);
    this.#needed(number, needing, value.length);
    return { kind: JOURNAL, number, value };
  }

  #needed(number: number, modules: ReadonlySet<Hosted<Output>>, bytes: number): void {
    this.#blocks.set(number, { modules: modules.size, bytes });
    this.#journalBytes += bytes;
    for (const module of modules) module.needs.push(number);
  }

  /** A module needs no block any more that there is. */
  #passed(module: Hosted<Output>): void {
    for (const number of module.needs.splice(0)) {
      const block = this.#blocks.get(number)!;
      if (--block.modules > 0) continue;
      this.#blocks.delete(number);
      this.#journalBytes -= block.bytes;
      this.#going.push({ kind: JOURNAL, number, value: null });
    }
  }

  #freeSlot(): number {
    let slot = 0;
    while (this.#slots.has(slot)) slot++;
    this.#slots.add(slot);
    return slot;
  }

  /**
   * Takes up what lay on the medium. Gives what is to be fed again, in its order. What is of no use any more is named in the
   * log, and goes with the next cut.
   */
  restore(records: readonly KeptRecord[]): readonly Entry<Output>[] {
    const { modules } = this.#parts;
    const positions = new Map<Hosted<Output>, number>();
    for (const { kind, number, value } of records) {
      if (kind === CHECKPOINT) this.#restoreModule(number, value, positions);
    }
    const entries: Entry<Output>[] = [];
    for (const { kind, number, value } of records.toSorted((a, b) => a.number - b.number)) {
      if (kind !== JOURNAL) continue;
      this.#next = Math.max(this.#next, number + 1);
      const needing = new Set<Hosted<Output>>();
      for (const { message, arrival, known, targets } of this.#readable(number, value)) {
        const left = targets.flatMap(({ module: id, hash, input }) => {
          const module = modules.get(id);
          // Without a checkpoint nobody knows what it has put out already.
          return module?.hash === hash && number > (positions.get(module) ?? Infinity) ? [{ module, input }] : [];
        });
        this.last = Math.max(this.last, arrival);
        if (left.length === 0) continue;
        for (const { module } of left) needing.add(module);
        entries.push({ message, arrival, known, targets: left, bytes: message.body.length });
      }
      if (needing.size > 0) this.#needed(number, needing, value.length);
      else this.#going.push({ kind, number, value: null });
    }
    for (const { targets, bytes } of entries) {
      for (const { module } of targets) this.#wasFed(module, bytes);
    }
    return entries;
  }

  #restoreModule(number: number, value: Buffer, positions: Map<Hosted<Output>, number>): void {
    const { modules, decodeState, log } = this.#parts;
    let loading: Hosted<Output> | undefined;
    try {
      const { module: id, hash, position, arrival, state } = decodeCheckpoint(value);
      this.#next = Math.max(this.#next, position + 1);
      this.last = Math.max(this.last, arrival);
      const module = modules.get(id);
      if (module?.hash !== hash) {
        const why = module === undefined ? 'is gone' : 'has another query';
        log.warn({ module: id }, `the module ${why}: what it had open is let go`);
        this.#going.push({ kind: CHECKPOINT, number, value: null });
        return;
      }
      loading = module;
      module.query.load(decodeState(state));
      module.slot = number;
      module.recordBytes = value.length;
      this.#slots.add(number);
      positions.set(module, position);
    } catch (error) {
      log.error(
        { err: error, module: loading?.id, record: number },
        'what a module remembered cannot be read: its windows begin anew',
      );
      loading?.renew();
      this.#going.push({ kind: CHECKPOINT, number, value: null });
    }
  }

  #readable(number: number, value: Buffer): readonly Fed[] {
    try {
      return decodeJournal(value);
    } catch (error) {
      if (!(error instanceof RecordUnreadable)) throw error;
      this.#parts.log.error({ record: number }, `a block of the rules' journal cannot be read: ${error.message}`);
      return [];
    }
  }
}
