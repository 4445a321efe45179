import type { Accompaniment } from './accompaniment.ts';
import { BLOCK_HEADER_BYTES, inEpoch } from './block.ts';
import { CARRIES_ALL, type Books, type NotCarried } from './books.ts';
import { CommitGroup } from './commit-group.ts';
import type { Lane, Sealed } from './lane.ts';
import { pagesOf } from './pages.ts';
import type { Durable } from './unwritten.ts';

/** A block on its way to the medium, and who waits for it. */
export interface WaitingBlock extends Sealed {
  /** They are numbered as they are made. */
  readonly number: number;
  readonly group: CommitGroup;
  /** Somebody holds back an acknowledgement until it is there. */
  readonly awaited: boolean;
  /** The cut to which it belongs (see accompaniment.ts). */
  readonly cut: number;
  /** A message of it was laid apart: who waits for that one waits until that is on the medium. */
  readonly laidApart: boolean;
}

export interface WaitingBlocksParts {
  readonly books: Pick<Books, 'epoch'>;
  readonly lanes: readonly Lane[];
  readonly accompaniment: Accompaniment;
  /** Bytes that one commit may carry. */
  readonly bytesMax: () => number;
}

/**
 * Blocks that wait for the medium, oldest first, with what goes along with them, and the promises that are kept once they are
 * there.
 */
export class WaitingBlocks {
  readonly #parts: WaitingBlocksParts;
  readonly #lanes: readonly Lane[];
  /** Lanes in whose tails there is a message that somebody waits for. */
  readonly #awaited = new Set<Lane>();
  #blocks: WaitingBlock[] = [];
  #bytes = 0;
  #made = 0;
  /** So many of them, from the front, are in the commit under way. */
  #carried = 0;
  #group = new CommitGroup();

  constructor(parts: WaitingBlocksParts) {
    this.#parts = parts;
    this.#lanes = parts.lanes;
  }

  /** Something waits: blocks, or what goes along with them. */
  get waits(): boolean {
    return this.#blocks.length > 0 || this.#parts.accompaniment.waits;
  }

  /** Tells whether something of what waits now still does: what comes meanwhile must hold up nobody. */
  get waitsStill(): () => boolean {
    const made = this.#made;
    const { accompaniment } = this.#parts;
    const { open } = accompaniment;
    return () => (this.#blocks[0]?.number ?? Infinity) <= made || accompaniment.waitsBefore(open);
  }

  get size(): number {
    return this.#blocks.length;
  }

  get bytes(): number {
    return this.#bytes + this.#parts.accompaniment.bytes;
  }

  /** Pages that they and the tails take on the medium at the most: as much as when nothing of the tails can be compressed. */
  pages(pageBytes: number): number {
    let pages = 0;
    for (const { value } of this.#blocks) pages += pagesOf(value.length, pageBytes);
    for (const { tailBytes } of this.#lanes) {
      if (tailBytes > 0) pages += pagesOf(tailBytes + BLOCK_HEADER_BYTES, pageBytes);
    }
    return pages + this.#parts.accompaniment.pages(pageBytes, false);
  }

  /** Resolves when all that is taken on before the next {@link closeGroup} is on the medium. */
  get durable(): Promise<void> {
    return this.#group.durable;
  }

  /** Somebody waits for the message that a lane took on last. */
  awaits(lane: Lane): void {
    this.#awaited.add(lane);
  }

  /** Cuts a lane's tail into a block, if it holds anything that is to be written. */
  cut(lane: Lane): void {
    const { books, accompaniment, bytesMax } = this.#parts;
    const sealed = lane.cut(books.epoch);
    if (sealed === null) return;
    const awaited = this.#awaited.delete(lane);
    this.#blocks.push({
      ...sealed,
      number: ++this.#made,
      group: this.#group,
      awaited,
      cut: accompaniment.open,
      laidApart: false,
    });
    this.#group.holds();
    this.#bytes += sealed.value.length;
    // Not at once: whoever goes along with the messages may not have seen the last of them yet.
    if (accompaniment.block(sealed.value.length, bytesMax() / 2))
      queueMicrotask(() => this.cutThese(this.#lanes, true));
  }

  /** The same with several lanes, and `along` what goes along with them: then nothing of it may be left in other tails. */
  cutThese(lanes: readonly Lane[], along: boolean): void {
    for (const lane of lanes) this.cut(lane);
    if (along) this.#parts.accompaniment.cut(this.#parts.bytesMax());
  }

  /**
   * All that was accepted so far is in blocks, so the group is whole when its last block is on the medium. (What lanes keep
   * back because it may never be written has promises of its own.)
   */
  closeGroup(): void {
    this.#group = new CommitGroup();
  }

  /** The block of a lane that holds number `seq`, or the first after it. */
  from(lane: number, seq: number): Sealed | null {
    return this.#blocks.find(({ header }) => header.lane === lane && header.lastSeq >= seq) ?? null;
  }

  /** All of them stand in another epoch. */
  renumber(epoch: number): void {
    this.#blocks = this.#blocks.map((block) => inEpoch(block, epoch));
  }

  /**
   * Cuts blocks anew of which the upstream has taken a part meanwhile. `later` is called with who waits for what was laid
   * apart.
   */
  cutAgain(later: (durable: Durable) => void): void {
    const blocks = this.#blocks;
    this.#blocks = [];
    this.#bytes = 0;
    for (const block of blocks) {
      const lane = this.#lanes[block.header.lane]!;
      const laidApart = block.laidApart || lane.laidApartTo >= block.header.firstSeq;
      const left = lane.cutAgain(block);
      if (left === null) {
        const { group } = block;
        if (laidApart) later((error) => (error === null ? group.written() : group.failed(error)));
        else group.written();
        continue;
      }
      this.#blocks.push({ ...block, ...left, laidApart });
      this.#bytes += left.value.length;
    }
  }

  /**
   * The oldest blocks, of as many bytes as one commit may carry, and at least one; those that the next commit carries. Where something
   * goes along with them: whole cuts, and at least one.
   */
  carry(): readonly WaitingBlock[] {
    const { accompaniment } = this.#parts;
    const bytesMax = this.#parts.bytesMax();
    if (accompaniment.present) this.#carried = accompaniment.carry(bytesMax, this.#blocks);
    else {
      let count = 0;
      for (let bytes = 0; count < this.#blocks.length; count++) {
        bytes += this.#blocks[count]!.value.length;
        if (count > 0 && bytes > bytesMax) break;
      }
      this.#carried = count;
    }
    return this.#blocks.slice(0, this.#carried);
  }

  /** What the next commit leaves out: blocks beyond those that {@link carry} gave, and tails that are not due. */
  notCarried(): NotCarried {
    const left: Pick<Sealed, 'header' | 'children'>[] = this.#blocks.slice(this.#carried);
    for (const { tail } of this.#lanes) if (tail !== null) left.push(tail);
    if (left.length === 0) return CARRIES_ALL;
    const lanes = new Map<number, { firstSeq: number; count: number }>();
    const children = new Map<string, number>();
    for (const { header, children: counts } of left) {
      const lane = lanes.get(header.lane);
      const firstSeq = Math.min(lane?.firstSeq ?? Infinity, header.firstSeq);
      lanes.set(header.lane, { firstSeq, count: (lane?.count ?? 0) + header.count });
      for (const [child, count] of counts) children.set(child, (children.get(child) ?? 0) + count);
    }
    return { lanes, children };
  }

  /** What was carried is on the medium. */
  written(): void {
    this.#parts.accompaniment.written();
    for (const { value } of this.#blocks.splice(0, this.#carried)) this.#bytes -= value.length;
    this.#carried = 0;
  }

  /** What was carried is not on the medium: it waits as before. */
  notWritten(): void {
    this.#parts.accompaniment.notWritten(this.#parts.bytesMax(), this.#blocks);
    this.#carried = 0;
  }

  /**
   * Takes a block out that nobody waits for: the oldest of the lowest lane that has one, down to lane `from`. Null when
   * there is none.
   */
  shed(from: number): Sealed | null {
    let found = -1;
    for (let at = this.#carried; at < this.#blocks.length; at++) {
      const { header, awaited } = this.#blocks[at]!;
      const lower = found === -1 || header.lane > this.#blocks[found]!.header.lane;
      // What is being sent stays.
      const idle = !awaited && header.lane >= from && !this.#lanes[header.lane]!.reads(header.firstSeq);
      if (idle && lower) found = at;
    }
    const block = this.#blocks[found];
    if (block === undefined) return null;
    this.#lanes[block.header.lane]!.forget(block);
    this.#blocks.splice(found, 1);
    this.#bytes -= block.value.length;
    block.group.written();
    return block;
  }

  /** Nothing will be written any more. */
  failed(why: Error): void {
    this.#parts.accompaniment.failed(why);
    for (const { group } of this.#blocks) group.failed(why);
    this.#group.failed(why);
    for (const lane of this.#lanes) lane.failed(why);
  }
}
