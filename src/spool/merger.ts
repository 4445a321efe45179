import { LANES } from '../message/message.ts';
import type { Reader } from '../store/environment.ts';
import { BLOCK_RAW_BYTES } from './block.ts';
import type { Lane, Sealed } from './lane.ts';
import type { Opened, Pruning } from './pruning.ts';

/** A block with less than this part of what one may hold is small. */
const SMALL_SHARE = 0.5;
/** Blocks that are merged at once at the most. */
const RUN_MAX = 256;

interface Run {
  firstSeqs: number[];
  rawBytes: number;
}

export interface MergerParts {
  readonly lanes: readonly Lane[];
  readonly pruning: Pruning;
  readonly read: <T>(look: (reader: Reader) => T) => T;
  /** Whether the messages will lie for long enough to be worth being written once more. */
  readonly worthIt: () => boolean;
}

/**
 * Makes one block of many small ones: commits of few messages leave small blocks, which compress badly and take a page's
 * share each. While the upstream stays away, neighbours are put together once they fill a block: each message is written
 * once more, and no oftener.
 */
export class Merger {
  readonly #parts: MergerParts;
  readonly #runs: Run[] = Array.from({ length: LANES }, () => ({ firstSeqs: [], rawBytes: 0 }));

  constructor(parts: MergerParts) {
    this.#parts = parts;
  }

  /** A block is on the medium. True when it and those before it have been put together. */
  written({ header }: Sealed): boolean {
    const run = this.#runs[header.lane]!;
    if (header.rawBytes >= BLOCK_RAW_BYTES * SMALL_SHARE) {
      forget(run);
      return false;
    }
    run.firstSeqs.push(header.firstSeq);
    run.rawBytes += header.rawBytes;
    if (run.rawBytes < BLOCK_RAW_BYTES && run.firstSeqs.length < RUN_MAX) return false;
    const merged = this.#parts.worthIt() && this.#merge(this.#parts.lanes[header.lane]!, run.firstSeqs);
    forget(run);
    return merged;
  }

  #merge(lane: Lane, firstSeqs: readonly number[]): boolean {
    const run: Opened[] = [];
    for (const firstSeq of firstSeqs) {
      if (firstSeq < lane.changeableFrom) continue;
      const placed = this.#parts.read((reader) => lane.blockWith(reader, firstSeq));
      const opened = placed === null ? null : this.#parts.pruning.open(lane, placed);
      if (opened === null || opened.header.firstSeq !== firstSeq || opened.header.level > 0) return false;
      if (opened.header.epoch !== (run[0] ?? opened).header.epoch) return false;
      run.push(opened);
    }
    if (run.length < 2) return false;
    const messages = run.flatMap((opened) => opened.messages);
    this.#parts.pruning.replace(lane, run, messages, [], 0, 'evicted');
    return true;
  }
}

function forget(run: Run): void {
  run.firstSeqs = [];
  run.rawBytes = 0;
}
