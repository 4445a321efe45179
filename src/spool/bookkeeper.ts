import type { DropReason, RefusalReason } from '../message/loss.ts';
import type { ChildCounts } from './block.ts';
import type { ChildAccounts } from './child-accounts.ts';
import type { Account, LaneBooks, Ledger } from './ledger.ts';

/** Books each thing in all three accounts that count it: the whole, its lane's and its child's. */
export class Bookkeeper {
  readonly #ledger: Ledger;
  readonly #lanes: readonly LaneBooks[];
  readonly #children: ChildAccounts;

  constructor(ledger: Ledger, lanes: readonly LaneBooks[], children: ChildAccounts) {
    this.#ledger = ledger;
    this.#lanes = lanes;
    this.#children = children;
  }

  /** A message is taken on and waits. */
  accepted(lane: number, child: string): void {
    for (const account of this.#accounts(lane, child)) account.accepted++;
    this.#lanes[lane]!.pending++;
  }

  /** One that waited has been delivered. */
  delivered(lane: number, child: string, matched: boolean): void {
    for (const account of this.#accounts(lane, child)) account.delivered++;
    if (!matched) this.#ledger.unmatched++;
    this.#lanes[lane]!.pending--;
  }

  /** One that waited will never be taken by the upstream. */
  deadLetter(lane: number, child: string): void {
    for (const account of this.#accounts(lane, child)) account.deadLetters++;
    this.#lanes[lane]!.pending--;
  }

  /** A dead letter waits again. */
  revived(lane: number, child: string): void {
    this.#putDownTo(lane, child);
    for (const account of this.#accounts(lane, child)) account.deadLetters--;
    this.#lanes[lane]!.pending++;
  }

  /** A dead letter is let go. */
  discarded(lane: number, child: string): void {
    this.#putDownTo(lane, child);
    for (const account of this.#accounts(lane, child)) {
      account.deadLetters--;
      add(account.dropped, 'discarded', 1);
    }
  }

  /** Accepted and let go in one: it was never in a lane's line. */
  turnedDown(reason: DropReason, lane: number, child: string): void {
    for (const account of this.#accounts(lane, child)) {
      account.accepted++;
      add(account.dropped, reason, 1);
    }
  }

  /** Messages that waited are let go. */
  dropped(reason: DropReason, lane: number, children: ChildCounts): void {
    let sum = 0;
    for (const [child, count] of children) {
      add(this.#children.of(child).dropped, reason, count);
      sum += count;
    }
    add(this.#ledger.dropped, reason, sum);
    add(this.#lanes[lane]!.dropped, reason, sum);
    this.#lanes[lane]!.pending -= sum;
  }

  refused(reason: RefusalReason): void {
    add(this.#ledger.refused, reason, 1);
  }

  /**
   * Whose a dead letter was that cannot be read is not known: where it was put down to the wrong one, that is set right as
   * the others come, so that no account ever has less than none.
   */
  #putDownTo(lane: number, child: string): void {
    moveLetter(this.#lanes[lane]!, this.#lanes);
    moveLetter(this.#children.of(child), this.#children.accounts());
  }

  #accounts(lane: number, child: string): readonly Account[] {
    return [this.#ledger, this.#lanes[lane]!, this.#children.of(child)];
  }
}

/** Gives an account without dead letters one of another's. */
function moveLetter(to: Account, others: Iterable<Account>): void {
  if (to.deadLetters > 0) return;
  for (const from of others) {
    if (from.deadLetters === 0) continue;
    from.deadLetters--;
    from.accepted--;
    to.deadLetters++;
    to.accepted++;
    return;
  }
}

function add<Key extends string>(counts: Partial<Record<Key, number>>, key: Key, count: number): void {
  if (count !== 0) counts[key] = (counts[key] ?? 0) + count;
}
