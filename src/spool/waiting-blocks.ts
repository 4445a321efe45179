import { CommitGroup } from './commit-group.ts';
import type { Lane, Sealed } from './lane.ts';
import { pagesOf } from './pages.ts';

/** A block on its way to the medium, and who waits for it. */
export interface WaitingBlock extends Sealed {
  readonly group: CommitGroup;
  /** Somebody holds back an acknowledgement until it is there. */
  readonly awaited: boolean;
}

/** Blocks that wait for the medium, oldest first, and the promises that are kept once they are there. */
export class WaitingBlocks {
  readonly #lanes: readonly Lane[];
  #blocks: WaitingBlock[] = [];
  #bytes = 0;
  /** So many of them, from the front, are in the commit under way. */
  #carried = 0;
  #group = new CommitGroup();

  constructor(lanes: readonly Lane[]) {
    this.#lanes = lanes;
  }

  get size(): number {
    return this.#blocks.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Pages that they take. */
  pages(pageBytes: number): number {
    let pages = 0;
    for (const { value } of this.#blocks) pages += pagesOf(value.length, pageBytes);
    return pages;
  }

  /** Resolves when all that is taken on before the next {@link closeGroup} is on the medium. */
  get durable(): Promise<void> {
    return this.#group.durable;
  }

  add(sealed: Sealed, awaited: boolean): void {
    this.#blocks.push({ ...sealed, group: this.#group, awaited });
    this.#group.holds();
    this.#bytes += sealed.value.length;
  }

  /**
   * All that was accepted so far is in blocks, so the group is whole when its last block is on the medium. (What lanes keep
   * back because it may never be written has promises of its own.)
   */
  closeGroup(): void {
    this.#group = new CommitGroup();
  }

  /** Cuts blocks anew of which the upstream has taken a part meanwhile. */
  cutAgain(): void {
    const blocks = this.#blocks;
    this.#blocks = [];
    this.#bytes = 0;
    for (const block of blocks) {
      const left = this.#lanes[block.header.lane]!.cutAgain(block);
      if (left === null) {
        block.group.written();
        continue;
      }
      this.#blocks.push({ ...block, ...left });
      this.#bytes += left.value.length;
    }
  }

  /** The oldest blocks, of so many bytes at the most, and at least one; those that the next commit carries. */
  carry(bytesMax: number): readonly WaitingBlock[] {
    let count = 0;
    for (let bytes = 0; count < this.#blocks.length; count++) {
      bytes += this.#blocks[count]!.value.length;
      if (count > 0 && bytes > bytesMax) break;
    }
    this.#carried = count;
    return this.#blocks.slice(0, count);
  }

  /** What {@link carry} leaves. */
  left(): readonly WaitingBlock[] {
    return this.#blocks.slice(this.#carried);
  }

  /** What was carried is on the medium. */
  written(): void {
    for (const { value } of this.#blocks.splice(0, this.#carried)) this.#bytes -= value.length;
    this.#carried = 0;
  }

  /** What was carried is not on the medium: it waits as before. */
  notWritten(): void {
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
      if (!awaited && header.lane >= from && lower) found = at;
    }
    const block = this.#blocks[found];
    if (block === undefined || !this.#lanes[block.header.lane]!.forget(block)) return null;
    this.#blocks.splice(found, 1);
    this.#bytes -= block.value.length;
    block.group.written();
    return block;
  }

  /** Nothing will be written any more. */
  failed(why: Error): void {
    for (const { group } of this.#blocks) group.failed(why);
    this.#group.failed(why);
    for (const lane of this.#lanes) lane.failed(why);
  }
}
