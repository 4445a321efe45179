import { randomInt } from 'node:crypto';
import type { Books } from './books.ts';
import type { Losses } from './losses.ts';

/** Numbers that a new epoch leaves out, so that none of the old one's that we do not know of is ever used again. */
export const EPOCH_GAP = 2 ** 20;
/** A block's header has 32 bits for it. */
const EPOCH_MAX = 2 ** 32 - 1;
/** Epochs among which one is drawn that no other run is to have ... */
const DRAWN_FROM = 2 ** 24;
/** ... and no more than this part of what is left of them, so that they never come to an end. */
const DRAWN_SHARE = 1 / 256;

/**
 * The last run may have sent messages that were never written, under numbers that are not in the books: what comes now must
 * not be taken for them. Whatever lies on the medium keeps its epoch.
 */
export function beginEpoch(books: Books, losses: Losses): void {
  books.lanes.forEach((lane, number) => {
    if (lane.nextSeq === 1 && lane.accepted === 0) return;
    losses.add(endOfEpoch(books.epoch, number, lane.nextSeq - 1, false));
    lane.nextSeq += EPOCH_GAP;
  });
  books.epoch++;
}

/**
 * Messages are about to be sent that may never be written, and the medium cannot be told. Should this run end before it
 * can, the next one goes on from what the books on the medium say and uses the same numbers again: so ours stand in an
 * epoch that was drawn by lot, which it will not have. The numbers go on where they are. `durableTo`, by lane: the last
 * number of the old epoch, all of whose messages are on the medium.
 */
export function drawEpoch(books: Books, losses: Losses, durableTo: readonly number[]): void {
  durableTo.forEach((last, number) => {
    // A lane that was never used, in whichever epoch.
    if (last % EPOCH_GAP !== 0) losses.add(endOfEpoch(books.epoch, number, last, true));
  });
  const left = Math.floor((EPOCH_MAX - books.epoch) * DRAWN_SHARE);
  books.epoch += 1 + randomInt(Math.max(1, Math.min(DRAWN_FROM, left)));
}

/** Not a loss but the word that an epoch is over; `exact`: nothing came in it after `last`. */
function endOfEpoch(epoch: number, lane: number, last: number, exact: boolean) {
  const times = { firstEventTime: null, lastEventTime: null };
  return { epoch, lane, reason: 'unclean-stop' as const, firstSeq: last, lastSeq: last, count: 0, ...times, exact };
}
