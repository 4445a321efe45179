import type { Message, Stored } from '../message/message.ts';
import type { Reader } from '../store/environment.ts';
import type { BlockHeader } from './block.ts';
import { keySeq } from './keys.ts';
import type { Lane, Placed } from './lane.ts';
import { pagesOf } from './pages.ts';
import type { Pruning } from './pruning.ts';

/** Blocks looked at in one go. */
const BLOCKS_A_SWEEP_MAX = 128;
/** How long what has expired may wait for its neighbours in the block, ms: each rewriting of a block wears the card. */
const GATHER_MS = 20_000;

export interface ExpirerParts {
  readonly lanes: readonly Lane[];
  readonly pruning: Pruning;
  readonly pageBytes: number;
  readonly read: <T>(look: (reader: Reader) => T) => T;
  /** Age now, ms. */
  readonly age: () => number;
  readonly lifeMs: (message: Message) => number;
  /** Age before which nothing in a block has expired, as the settings are now. */
  readonly earliest: (header: BlockHeader) => number;
}

/** Lets messages go that have outlived their time, in age and not by the calendar. Reads only blocks of which something is due. */
export class Expirer {
  readonly #parts: ExpirerParts;

  constructor(parts: ExpirerParts) {
    this.#parts = parts;
  }

  /** Lets go what has expired, as far as that goes in one commit. True when it has changed something. */
  sweep(): boolean {
    const age = this.#parts.age();
    let changed = false;
    for (const lane of this.#parts.lanes) {
      for (const firstSeq of lane.index.due(age, BLOCKS_A_SWEEP_MAX)) {
        if (this.#sweepBlock(lane, firstSeq, age)) changed = true;
      }
    }
    return changed;
  }

  /** What is alive of a block that is about to be sent; what is not is booked and goes. */
  alive(lane: Lane, placed: Placed, header: BlockHeader, messages: readonly Stored[]): readonly Stored[] {
    const age = this.#parts.age();
    // One that is pinned already was being sent when it was written: it stays as it is.
    if (this.#parts.earliest(header) > age || header.lastSeq < lane.changeableFrom) return messages;
    const { live, dead } = this.#judge(messages, age);
    if (dead.length === 0) return messages;
    const opened = { placed, header, messages };
    if (live.length === 0) this.#parts.pruning.drop(lane, opened, 'expired');
    else this.#parts.pruning.replace(lane, [opened], live, dead, header.level, 'expired');
    return live;
  }

  /** Whether a message that is not on the medium has expired; then it is booked. */
  lapsed(lane: Lane, stored: Stored): boolean {
    const { dead } = this.#judge([stored], this.#parts.age());
    this.#parts.pruning.forget(lane, dead, 'expired');
    return dead.length > 0;
  }

  #sweepBlock(lane: Lane, firstSeq: number, age: number): boolean {
    const { read, pruning, pageBytes } = this.#parts;
    const from = Math.max(firstSeq, lane.changeableFrom);
    const placed = read((reader) => lane.blockWith(reader, from));
    if (placed === null || keySeq(placed.key) !== firstSeq) return false;
    const opened = pruning.open(lane, placed);
    if (opened === null) return true;
    const { header, messages } = opened;
    const { live, dead, earliest } = this.#judge(messages, age);
    if (live.length === 0) {
      pruning.drop(lane, opened, 'expired');
      return true;
    }
    if (dead.length > 0 && age - earliest >= GATHER_MS) {
      pruning.replace(lane, [opened], live, dead, header.level, 'expired');
      return true;
    }
    const expiry = dead.length > 0 ? earliest + GATHER_MS : earliest;
    lane.index.set({ firstSeq, expiry, level: header.level, pages: pagesOf(placed.value.length, pageBytes) });
    return false;
  }

  #judge(messages: readonly Stored[], age: number): { live: Stored[]; dead: Stored[]; earliest: number } {
    const live: Stored[] = [];
    const dead: Stored[] = [];
    let earliest = Infinity;
    for (const stored of messages) {
      const expiry = stored.message.acceptedAt.age + this.#parts.lifeMs(stored.message);
      earliest = Math.min(earliest, expiry);
      (expiry <= age ? dead : live).push(stored);
    }
    return { live, dead, earliest };
  }
}
