import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import { LANES } from '../message/message.ts';
import type { Reader } from '../store/environment.ts';
import type { Amendments } from './amendments.ts';
import { BLOCK_HEADER_BYTES, headerAsItStands, type BlockHeader } from './block.ts';
import { blockKey, keyLane, keySeq } from './keys.ts';
import type { Lane } from './lane.ts';
import { pagesOf } from './pages.ts';

/** Blocks looked at in one go: a few ms where the medium is quick. */
const BLOCKS_A_SLICE = 64;
/** Between two goes, ms. */
const PAUSE_MS = 2;

export interface IndexingParts {
  readonly lanes: readonly Lane[];
  readonly amendments: Amendments;
  readonly pageBytes: number;
  readonly read: <T>(look: (reader: Reader) => T) => T;
  /** Age before which nothing in a block has expired. */
  readonly earliest: (header: BlockHeader) => number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Fills the lanes' indexes with the blocks that were there at the start, in the background: nothing is scanned at the start. */
export class Indexing {
  readonly #parts: IndexingParts;
  #from: Buffer = blockKey(0, 0);
  /** Where a lane has been looked at out of turn: behind the blocks that were looked at. */
  readonly #aheadTo: number[] = Array.from({ length: LANES }, () => 0);
  #timer: Timer | null = null;
  #complete = false;
  #blocks = 0;

  constructor(parts: IndexingParts) {
    this.#parts = parts;
  }

  /** Every block is in its lane's index. */
  get complete(): boolean {
    return this.#complete;
  }

  /**
   * The number up to which a lane's index knows all blocks that may be changed; Infinity when it knows all. Where it knows
   * few of the oldest yet, so many more are looked at now: who needs room cannot wait until the lane's turn has come.
   */
  knownTo(lane: Lane): number {
    const { number, index, changeableFrom } = lane;
    if (this.#complete || keyLane(this.#from) > number) return Infinity;
    const inTurn = keyLane(this.#from) === number ? keySeq(this.#from) : 0;
    const knownTo = Math.max(this.#aheadTo[number]!, inTurn, changeableFrom);
    let known = 0;
    index.walk(changeableFrom, ({ firstSeq }) => firstSeq < knownTo && ++known < BLOCKS_A_SLICE);
    if (known >= BLOCKS_A_SLICE || knownTo === Infinity) return knownTo;
    const next = this.#look(blockKey(number, knownTo), (key) => keyLane(key) === number);
    return (this.#aheadTo[number] = next === null ? Infinity : keySeq(next));
  }

  /** Looks at all blocks (again: what they say of expiry depends on the settings). */
  start(): void {
    this.#from = blockKey(0, 0);
    this.#blocks = 0;
    this.#timer ??= this.#parts.clock.after(PAUSE_MS, () => this.#slice());
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #slice(): void {
    this.#timer = null;
    const { clock, log } = this.#parts;
    const next = this.#look(this.#from, (key) => keyLane(key) < LANES);
    if (next !== null) {
      this.#from = next;
      this.#timer = clock.after(PAUSE_MS, () => this.#slice());
    } else if (!this.#complete) {
      this.#complete = true;
      if (this.#blocks > 0) log.debug({ blocks: this.#blocks }, 'the index of the blocks is complete');
    }
  }

  /** Looks at some blocks from a key on, of those that are wanted; where to go on, or null when there are no more. */
  #look(from: Buffer, wanted: (key: Buffer) => boolean): Buffer | null {
    let seen = 0;
    let last = from;
    this.#parts.read((reader) =>
      reader.scanHeads(from, BLOCK_HEADER_BYTES, ({ key, value }, valueBytes) => {
        if (!wanted(key)) return false;
        last = key;
        this.#note(key, value, valueBytes);
        return ++seen < BLOCKS_A_SLICE;
      }),
    );
    this.#blocks += seen;
    return seen < BLOCKS_A_SLICE ? null : blockKey(keyLane(last), keySeq(last) + 1);
  }

  #note(key: Buffer, head: Buffer, valueBytes: number): void {
    const { lanes, amendments, pageBytes, earliest } = this.#parts;
    if (head.length < BLOCK_HEADER_BYTES || amendments.has(key)) return;
    const header = headerAsItStands(head);
    const firstSeq = keySeq(key);
    const pages = pagesOf(valueBytes, pageBytes);
    const expiry = earliest(header);
    lanes[keyLane(key)]!.index.set({ firstSeq, expiry: Number.isNaN(expiry) ? 0 : expiry, level: header.level, pages });
  }
}
