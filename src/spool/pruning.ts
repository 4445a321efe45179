import type { Logger } from 'pino';
import type { DropReason, Loss } from '../message/loss.ts';
import { eventTimeOf, type AcceptedAt, type Message, type Stored } from '../message/message.ts';
import {
  BLOCK_HEADER_BYTES,
  BlockDamaged,
  decodeBlock,
  headerAsItStands,
  pack,
  type BlockHeader,
  type ChildCounts,
} from './block.ts';
import { NOBODY } from './child-accounts.ts';
import { blockKey, keySeq } from './keys.ts';
import { countChildren, lastOfDamaged, type Lane, type Placed, type Unreadable } from './lane.ts';
import type { Bookkeeper } from './bookkeeper.ts';
import type { Losses } from './losses.ts';
import { pagesOf } from './pages.ts';

/** A block at rest, and those of its messages that are not settled. */
export interface Opened {
  readonly placed: Placed;
  readonly header: BlockHeader;
  readonly messages: readonly Stored[];
}

export interface PruningParts {
  readonly bookkeeper: Bookkeeper;
  readonly losses: Losses;
  readonly pageBytes: number;
  readonly log: Logger;
  /** How long a message may live, ms of age, as the settings are now. */
  readonly lifeMs: (message: Message) => number;
  /** The epoch that a block which cannot be read is put down to. */
  readonly epoch: () => number;
  readonly pending: (lane: number) => number;
  readonly timeOf: TimeOf;
}

/** When a message was accepted, as well as it is known by now: ms since 1970. */
type TimeOf = (accepted: AcceptedAt) => { readonly at: number };

/**
 * Lets messages go that lie on the medium: each way in which that happens keeps the account and the loss reports through
 * here. The changes themselves reach the medium with the next commit.
 */
export class Pruning {
  readonly #parts: PruningParts;

  constructor(parts: PruningParts) {
    this.#parts = parts;
  }

  /** Opens a block that nobody sends from. Null when it cannot be read: then it is booked as lost, and goes. */
  open(lane: Lane, placed: Placed): Opened | null {
    try {
      const { header, messages } = decodeBlock(placed.value);
      return { placed, header, messages: messages.filter(({ seq }) => seq > lane.settledTo) };
    } catch (error) {
      if (!(error instanceof BlockDamaged)) throw error;
      const firstSeq = Math.max(keySeq(placed.key), lane.settledTo + 1);
      this.lost(lane, { placed, why: error.message, firstSeq, lastSeq: Math.max(firstSeq, lastOfDamaged(placed)) });
      return null;
    }
  }

  /** Books messages that go without ever having been on the medium. */
  forget(lane: Lane, gone: readonly Stored[], reason: DropReason): void {
    this.#book(lane, gone, reason);
  }

  /** Lets all of a block go. Returns the pages that it frees. */
  drop(lane: Lane, { placed, messages }: Opened, reason: DropReason): number {
    this.#book(lane, messages, reason);
    return this.#remove(lane, placed);
  }

  /**
   * Puts what is kept of a run of neighbouring blocks in their place; `gone` is booked under `reason`. At least one message
   * is kept, and all blocks are of one epoch. Returns the pages that it frees.
   */
  replace(
    lane: Lane,
    run: readonly Opened[],
    kept: readonly Stored[],
    gone: readonly Stored[],
    level: number,
    reason: DropReason,
  ): number {
    this.#book(lane, gone, reason);
    let freed = 0;
    for (const { placed } of run) freed += this.#remove(lane, placed);
    const place = { level, firstSeq: run[0]!.header.firstSeq, lastSeq: run.at(-1)!.header.lastSeq };
    for (const cut of pack(kept, place, this.#parts.lifeMs)) {
      lane.replace({ ...cut, key: blockKey(lane.number, cut.header.firstSeq) }, 0);
      freed -= pagesOf(cut.value.length, this.#parts.pageBytes);
    }
    return freed;
  }

  /** A block on the medium is not what was written there: its messages are lost, and the account says so. */
  lost(lane: Lane, { placed, why, firstSeq, lastSeq }: Unreadable): void {
    const { log, bookkeeper, losses, epoch, pending } = this.#parts;
    log.error({ lane: lane.number, firstSeq, lastSeq }, `spool: ${why}`);
    const count = Math.min(heldByDamaged(placed, lastSeq), lastSeq - firstSeq + 1, pending(lane.number));
    bookkeeper.dropped('quarantined', lane.number, new Map([[NOBODY, count]]));
    const times = { firstEventTime: null, lastEventTime: null };
    const reason = 'quarantined';
    losses.add({ epoch: epoch(), lane: lane.number, reason, firstSeq, lastSeq, count, ...times, exact: false });
    this.#remove(lane, placed);
  }

  #remove(lane: Lane, { key, value }: Placed): number {
    const pages = pagesOf(value.length, this.#parts.pageBytes);
    lane.remove(key, pages);
    return pages;
  }

  #book(lane: Lane, gone: readonly Stored[], reason: DropReason): void {
    if (gone.length === 0) return;
    this.#parts.bookkeeper.dropped(reason, lane.number, countChildren(gone));
    this.#parts.losses.add(lossOf(gone, reason, this.#parts.timeOf));
  }
}

/**
 * How many messages a block that cannot be read held: what its header says where that can be, else one for each number. Of
 * the numbers of one that was thinned, or has expired in part, most are counted as gone already.
 */
function heldByDamaged({ key, value }: Placed, lastSeq: number): number {
  const numbers = lastSeq - keySeq(key) + 1;
  const said = value.length >= BLOCK_HEADER_BYTES ? headerAsItStands(value).count : 0;
  return said > 0 && said <= numbers ? said : numbers;
}

/** The child, where all are of one. */
export function childOf(children: ChildCounts): Pick<Loss, 'child'> {
  const [child, ...others] = children.keys();
  return child === undefined || others.length > 0 ? {} : { child };
}

/** The report of messages that went, of one lane and one epoch, in order; at least one. Its times are as well known as theirs are now. */
export function lossOf(gone: readonly Stored[], reason: Loss['reason'], timeOf: TimeOf): Loss {
  const { epoch, lane, seq: firstSeq } = gone[0]!;
  let firstEventTime = Infinity;
  let lastEventTime = -Infinity;
  for (const { message } of gone) {
    const at = Math.floor(timeOf(message.acceptedAt).at);
    const time = eventTimeOf(message, at) ?? at;
    firstEventTime = Math.min(firstEventTime, time);
    lastEventTime = Math.max(lastEventTime, time);
  }
  const lastSeq = gone.at(-1)!.seq;
  const whose = childOf(countChildren(gone));
  return {
    epoch,
    lane,
    ...whose,
    reason,
    firstSeq,
    lastSeq,
    count: gone.length,
    firstEventTime,
    lastEventTime,
    exact: true,
  };
}
