import type { Clock, Timer } from '../clock/clock.ts';
import type { Change } from '../store/environment.ts';
import type { Companion } from './companion.ts';
import { companionKey } from './keys.ts';
import { pagesOf } from './pages.ts';
import { sealBytes } from './seal.ts';
import type { Durable } from './unwritten.ts';

/** Records that nobody is in a hurry for are written at least so often where the card is to rest, ms. */
const EVERY_MS = 30_000;

/** Records, with the blocks that were waiting when they were cut. */
interface Cut {
  /** The number of the first that joined in it. */
  readonly first: number;
  /** Blocks up to this number belong to it. */
  number: number;
  /** By their keys: the last word on each counts. */
  readonly changes: Map<string, Change>;
  bytes: number;
  /** Bytes of its blocks when they were cut. */
  blockBytes: number;
  readonly durable: Durable[];
}

/**
 * What goes along with the blocks: a companion's records, in cuts. All blocks that wait when a cut is made, and are of no
 * earlier one, belong to it, and a commit carries whole cuts: so in whatever order lanes and blocks reach the medium, what is
 * there are always the messages up to some moment together with the records as they were at that moment.
 */
export class Accompaniment {
  readonly #clock: Clock;
  readonly #rests: boolean;
  readonly #wanted: (soon: boolean) => void;
  readonly #isKept: (key: Buffer) => boolean;
  #companion: Companion | null = null;
  readonly #cuts: Cut[] = [];
  /** So many of them, from the front, are in the commit under way. */
  #carried = 0;
  #open = 1;
  #openBytes = 0;
  /** Told when the next cut is on the medium. */
  #waiting: Durable[] = [];
  #timer: Timer | null = null;

  /**
   * `rests`: what nobody waits for is written as seldom as can be. `wanted`: a commit that carries all is wanted. `isKept`: whether there
   * is a record of that key on the medium; throws while nobody can tell.
   */
  constructor(clock: Clock, rests: boolean, wanted: (soon: boolean) => void, isKept: (key: Buffer) => boolean) {
    this.#clock = clock;
    this.#rests = rests;
    this.#wanted = wanted;
    this.#isKept = isKept;
  }

  join(companion: Companion): void {
    this.#companion = companion;
  }

  get present(): boolean {
    return this.#companion !== null;
  }

  /** The number of the next cut: blocks that are made now belong to it. */
  get open(): number {
    return this.#open;
  }

  /** There is something that the next cut would have. */
  get changed(): boolean {
    return this.#waiting.length > 0 || (this.#companion?.bytes ?? 0) > 0;
  }

  /** Cuts wait for the medium. */
  get waits(): boolean {
    return this.#cuts.length > 0;
  }

  /** Of those, some of before the cut with number `open`. */
  waitsBefore(open: number): boolean {
    return this.#cuts.length > 0 && this.#cuts[0]!.first < open;
  }

  /** Bytes that wait, without those of blocks. */
  get bytes(): number {
    let bytes = this.#companion?.bytes ?? 0;
    for (const cut of this.#cuts) bytes += cut.bytes;
    return bytes;
  }

  /** Pages that it takes on the medium, of cuts that wait (that are carried) and of what the next would have. */
  pages(pageBytes: number, carriedOnly: boolean): number {
    let pages = carriedOnly ? 0 : pagesOf(this.#companion?.bytes ?? 0, pageBytes);
    for (const { changes } of carriedOnly ? this.#cuts.slice(0, this.#carried) : this.#cuts) {
      for (const [, value] of changes.values()) if (value !== null) pages += pagesOf(value.length, pageBytes);
    }
    return pages;
  }

  /** A block of so many bytes was made: true when there are so many since the last cut that another is in order. */
  block(bytes: number, bytesMax: number): boolean {
    this.#openBytes += bytes;
    return this.#companion !== null && this.#openBytes > bytesMax;
  }

  /**
   * The companion has something to write: a commit comes as it would for a message, `soon` if somebody waits for it; where the
   * card is to rest within {@link EVERY_MS} if nobody does.
   */
  touch(soon: boolean): void {
    if (soon || !this.#rests) this.#wanted(soon);
    else this.#timer ??= this.#clock.after(EVERY_MS, () => this.#wanted(true));
  }

  /**
   * Resolves when all that the companion would have had cut by now is on the medium; rejects when the spool was closed over one
   * that did not take it. Who does not wait is not remembered, since a medium may take nothing for weeks: it resolves at once.
   */
  kept(senderWaits: boolean): Promise<void> {
    const last = this.#cuts.at(-1);
    const changed = this.changed;
    if (changed) this.touch(senderWaits);
    if (!senderWaits || (!changed && last === undefined)) return Promise.resolve();
    const kept = new Promise<void>((resolve, reject) => {
      const durable = (error: Error | null) => (error === null ? resolve() : reject(error));
      (changed ? this.#waiting : last!.durable).push(durable);
    });
    // It may be closed over it when nobody looks any more.
    kept.catch(() => undefined);
    return kept;
  }

  /**
   * All that was taken on is in blocks: makes a cut. It joins the last one where that is not on its way, and both come to
   * `bytesMax` of blocks at the most.
   */
  cut(bytesMax: number): void {
    if (this.#companion === null) return;
    this.#timer?.cancel();
    this.#timer = null;
    const records = this.#companion.cut();
    let cut = this.#cuts.length > this.#carried ? this.#cuts.at(-1)! : null;
    if (cut === null || cut.blockBytes + this.#openBytes > bytesMax) {
      if (this.#openBytes === 0 && records.length === 0 && this.#waiting.length === 0) return;
      cut = { first: this.#open, number: 0, changes: new Map(), bytes: 0, blockBytes: 0, durable: [] };
      this.#cuts.push(cut);
    }
    cut.number = this.#open++;
    cut.blockBytes += this.#openBytes;
    this.#openBytes = 0;
    cut.durable.push(...this.#waiting.splice(0));
    for (const { kind, number, value } of records) {
      const key = companionKey(kind, number);
      change(cut, key.toString('latin1'), [key, value === null ? null : sealBytes(value)]);
    }
  }

  /** How many of these blocks, from the front, the next commit carries: those of whole cuts, at least of one. */
  carry(bytesMax: number, blocks: readonly { readonly cut: number; readonly value: Buffer }[]): number {
    let count = 0;
    let bytes = 0;
    this.#carried = 0;
    for (const cut of this.#cuts) {
      let end = count;
      bytes += cut.bytes;
      while (end < blocks.length && blocks[end]!.cut <= cut.number) bytes += blocks[end++]!.value.length;
      if (this.#carried > 0 && bytes > bytesMax) break;
      count = end;
      this.#carried++;
    }
    return count;
  }

  /** What the next commit carries. */
  changes(): Change[] {
    return this.#cuts.slice(0, this.#carried).flatMap(({ changes }) => [...changes.values()]);
  }

  /** What was carried is on the medium. */
  written(): void {
    for (const { durable } of this.#cuts.splice(0, this.#carried)) for (const tell of durable) tell(null);
    this.#carried = 0;
  }

  /**
   * What was carried is not on the medium: it waits as before. A medium may take nothing for weeks: as far as one commit may carry
   * them cuts become one, and what goes and never came to the medium is forgotten.
   */
  notWritten(bytesMax: number, blocks: readonly { readonly cut: number; readonly value: Buffer }[]): void {
    this.#carried = 0;
    let at = 0;
    let last: Cut | null = null;
    for (const cut of this.#cuts.splice(0)) {
      cut.blockBytes = 0;
      while (at < blocks.length && blocks[at]!.cut <= cut.number) cut.blockBytes += blocks[at++]!.value.length;
      if (last === null || last.blockBytes + cut.blockBytes > bytesMax) {
        this.#cuts.push(cut);
        last = cut;
        continue;
      }
      last.number = cut.number;
      last.blockBytes += cut.blockBytes;
      last.durable.push(...cut.durable);
      for (const [name, changed] of cut.changes) change(last, name, changed);
    }
    this.#forgetUnkept();
  }

  #forgetUnkept(): void {
    const put = new Set<string>();
    for (const { changes } of this.#cuts) {
      for (const [name, [key, value]] of changes) {
        if (value !== null) put.add(name);
        else if (!put.has(name) && !this.#mayBeKept(key)) changes.delete(name);
      }
    }
  }

  #mayBeKept(key: Buffer): boolean {
    try {
      return this.#isKept(key);
    } catch {
      return true;
    }
  }

  /** Nothing will be written any more. */
  failed(why: Error): void {
    for (const { durable } of this.#cuts) for (const tell of durable) tell(why);
    for (const tell of this.#waiting) tell(why);
  }

  stop(): void {
    this.#timer?.cancel();
  }
}

/** The last word on a key, in a cut. */
function change(cut: Cut, name: string, [key, value]: Change): void {
  cut.bytes += (value?.length ?? 0) - (cut.changes.get(name)?.[1]?.length ?? 0);
  cut.changes.set(name, [key, value]);
}
