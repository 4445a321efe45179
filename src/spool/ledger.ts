import type { DropReason, RefusalReason } from '../message/loss.ts';

/** What became of the messages of a lane or a child: accepted = delivered + pending + deadLetters + the sum of dropped. */
export interface Account {
  accepted: number;
  delivered: number;
  deadLetters: number;
  dropped: Partial<Record<DropReason, number>>;
}

/** The whole account. */
export interface Ledger extends Account {
  /** Of the delivered: the broker had nobody who subscribed. */
  unmatched: number;
  /** Turned away at the door: never accepted, and their senders know. */
  refused: Partial<Record<RefusalReason, number>>;
}

export interface LaneBooks extends Account {
  /** The number that the lane's next message gets. */
  nextSeq: number;
  /** Everything up to this number is settled: delivered, dropped or a dead letter. */
  settledTo: number;
  pending: number;
}

export function emptyAccount(): Account {
  return { accepted: 0, delivered: 0, deadLetters: 0, dropped: {} };
}

export function droppedOf(account: Account): number {
  let dropped = 0;
  for (const count of Object.values(account.dropped)) dropped += count;
  return dropped;
}

/** What the sum leaves for the pending ones. */
export function restOf(account: Account): number {
  return account.accepted - account.delivered - account.deadLetters - droppedOf(account);
}
