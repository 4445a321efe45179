import { LANES } from '../message/message.ts';
import type { Reader } from '../store/environment.ts';
import { LEVEL_MAX } from './block-index.ts';
import type { Lane } from './lane.ts';
import type { Opened, Pruning } from './pruning.ts';
import { pagesOf } from './pages.ts';
import { thinned } from './thinning.ts';

/** Blocks touched in one transaction at the most: a huge one would hold up the acknowledgements behind it. */
const BLOCKS_A_COMMIT_MAX = 256;
/** Neighbouring blocks that are thinned together: enough for streams to have several messages in it ... */
const WINDOW_BLOCKS_MIN = 8;
/** ... and not more than fit in memory, about 48 KiB each. */
const WINDOW_BLOCKS_MAX = 64;
/** A step that leaves more than this of the room is not worth its writes: the window is made wider, or the oldest go. */
const WORTH_SHARE = 0.8;
/** After windows that could not be thinned, so many blocks are dropped before it is tried again. */
const DROPS_BEFORE_THINNING = 32;

/** What happens at the quota: a sample of the old is kept, the oldest go, or what comes is refused. */
export type WhenFull = 'thin' | 'drop-oldest' | 'reject-new';

export interface EvictorParts {
  readonly lanes: readonly Lane[];
  readonly pruning: Pruning;
  readonly pageBytes: number;
  readonly read: <T>(look: (reader: Reader) => T) => T;
  readonly whenFull: (lane: number) => WhenFull;
  /** The number up to which a lane's index knows all blocks that may be changed; Infinity: all. */
  readonly knownTo: (lane: Lane) => number;
}

/** What becomes of messages, by `whenFull`. */
const MEANS: Readonly<Record<WhenFull, string>> = {
  'drop-oldest': 'the oldest messages are let go, lowest lane first, and counted',
  thin: 'the oldest messages are thinned, lowest lane first, and counted',
  'reject-new': 'what comes is refused, and counted; nothing that waits is let go',
};

/**
 * Makes room: lowest lane first, oldest first, never what is in flight.
 *
 * Thinning keeps history coarser the older it is. Blocks have a level: how often they were thinned. When room is wanted,
 * the level that takes most of it gives: its oldest blocks go over to the next level at about half their size. So all
 * levels in use come to take the same room, each reaches twice as far back as the one before it, and with all eleven in
 * use the spool reaches back 186 times as far as unthinned. What was thinned ten times and is the oldest is dropped.
 * After a start, until the index knows a lane whole, the same is done among the oldest blocks that it knows.
 */
export class Evictor {
  readonly #parts: EvictorParts;
  readonly #dropsLeft: number[] = Array.from({ length: LANES }, () => 0);

  constructor(parts: EvictorParts) {
    this.#parts = parts;
  }

  /** Lets go until `pages` pages will be free, as far as that goes in one commit. Returns how many will be. */
  evict(pages: number): number {
    let freed = 0;
    let blocks = 0;
    for (let number = LANES - 1; number >= 0 && freed < pages; number--) {
      const lane = this.#parts.lanes[number]!;
      const whenFull = this.#parts.whenFull(number);
      if (whenFull === 'reject-new') continue;
      while (freed < pages && blocks < BLOCKS_A_COMMIT_MAX) {
        const step = (whenFull === 'thin' ? this.#thin(lane) : null) ?? this.#dropOldest(lane);
        if (step === null) break;
        freed += step.freed;
        blocks += step.blocks;
      }
    }
    return freed;
  }

  /** Whether there is a block that could be let go. */
  get possible(): boolean {
    return this.#parts.lanes.some(
      (lane) =>
        this.#parts.whenFull(lane.number) !== 'reject-new' &&
        this.#parts.read((reader) => lane.blockWith(reader, lane.changeableFrom)) !== null,
    );
  }

  /** What it means by the lanes' settings that the spool is full, in words. */
  get means(): string {
    const lanes = new Map<WhenFull, number[]>();
    for (const { number } of this.#parts.lanes.toReversed()) {
      const whenFull = this.#parts.whenFull(number);
      lanes.set(whenFull, [...(lanes.get(whenFull) ?? []), number]);
    }
    const said = [...lanes].map(([whenFull, numbers]) => {
      if (lanes.size === 1) return MEANS[whenFull];
      return `of lane${numbers.length === 1 ? '' : 's'} ${numbers.join(', ')} ${MEANS[whenFull]}`;
    });
    return said.join('; ');
  }

  #dropOldest(lane: Lane): Step | null {
    const placed = this.#parts.read((reader) => lane.blockWith(reader, lane.changeableFrom));
    if (placed === null) return null;
    const opened = this.#parts.pruning.open(lane, placed);
    if (opened === null) return { freed: pagesOf(placed.value.length, this.#parts.pageBytes), blocks: 1 };
    const freed = this.#parts.pruning.drop(lane, opened, 'evicted');
    lane.evicted(opened.header.lastSeq);
    return { freed, blocks: 1 };
  }

  /** One step of thinning; null when the oldest block is to go instead. */
  #thin(lane: Lane): Step | null {
    if (this.#dropsLeft[lane.number]! > 0) {
      this.#dropsLeft[lane.number]!--;
      return null;
    }
    const knownTo = this.#parts.knownTo(lane);
    const pages = pagesByLevel(lane, knownTo);
    const level = pages.indexOf(Math.max(...pages));
    if (level === LEVEL_MAX) return null;
    for (let width = WINDOW_BLOCKS_MIN; width <= WINDOW_BLOCKS_MAX; width *= 2) {
      const run = this.#oldest(lane, level, width, knownTo);
      if (run.length === 0) return null;
      const { kept, gone } = thinned(run.flatMap(({ messages }) => messages));
      if (kept.length <= (kept.length + gone.length) * WORTH_SHARE) {
        const freed = this.#parts.pruning.replace(lane, run, kept, gone, level + 1, 'thinned');
        return { freed: Math.max(freed, 0), blocks: run.length };
      }
      if (run.length < width) break;
    }
    this.#dropsLeft[lane.number] = DROPS_BEFORE_THINNING;
    return null;
  }

  /** The oldest neighbours of one level and epoch that may be changed, so many at the most, before number `knownTo`. */
  #oldest(lane: Lane, level: number, most: number, knownTo: number): Opened[] {
    const firstSeqs: number[] = [];
    lane.index.walk(lane.changeableFrom, (block) => {
      if (block.firstSeq >= knownTo) return false;
      if (block.level === level) firstSeqs.push(block.firstSeq);
      return firstSeqs.length < most && (firstSeqs.length === 0 || block.level === level);
    });
    const run: Opened[] = [];
    for (const firstSeq of firstSeqs) {
      // One between them is not in the index yet.
      if (run.length > 0 && run.at(-1)!.placed.nextSeq !== firstSeq) break;
      const placed = this.#parts.read((reader) => lane.blockWith(reader, firstSeq));
      const opened = placed === null ? null : this.#parts.pruning.open(lane, placed);
      if (opened === null || opened.messages.length === 0) break;
      if (opened.header.epoch !== (run[0] ?? opened).header.epoch) break;
      run.push(opened);
    }
    return run;
  }
}

/** What the blocks before number `knownTo` take, by how often they were thinned. */
function pagesByLevel({ index, changeableFrom }: Lane, knownTo: number): readonly number[] {
  const levels = Array.from({ length: LEVEL_MAX + 1 }, (_, level) => (knownTo === Infinity ? index.pagesAt(level) : 0));
  if (knownTo === Infinity) return levels;
  index.walk(changeableFrom, ({ firstSeq, level, pages }) => {
    if (firstSeq < knownTo) levels[level]! += pages;
    return firstSeq < knownTo;
  });
  return levels;
}

interface Step {
  readonly freed: number;
  readonly blocks: number;
}
