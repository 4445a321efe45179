import { emptyBooks, type Books } from './books.ts';
import { NOBODY } from './child-accounts.ts';
import { EPOCH_GAP } from './epoch.ts';
import type { Account } from './ledger.ts';
import type { Losses } from './losses.ts';

/** What `state/` remembers of the spool: enough to say what was lost with it. */
export interface Totals {
  readonly epoch: number;
  readonly lanes: readonly LaneBefore[];
  readonly ledger: Books['ledger'];
}

/** Where a lane of a lost spool stood. */
interface LaneBefore {
  readonly nextSeq: number;
  readonly settledTo: number;
  readonly pending: number;
}

/** Where a lost spool stood. */
export interface Before {
  readonly epoch: number;
  readonly lanes: readonly LaneBefore[];
}

export function totalsOf({ epoch, lanes, ledger }: Pick<Books, 'epoch' | 'lanes' | 'ledger'>): Totals {
  return { ...beforeOf({ epoch, lanes }), ledger };
}

export function beforeOf({ epoch, lanes }: Pick<Books, 'epoch' | 'lanes'>): Before {
  return { epoch, lanes: lanes.map(({ nextSeq, settledTo, pending }) => ({ nextSeq, settledTo, pending })) };
}

/** The books that a spool had, as far as its totals say: what was pending is where its lanes' accounts begin. */
export function booksFrom({ epoch, lanes, ledger }: Totals): Books {
  const books = emptyBooks(epoch);
  Object.assign(books.ledger, structuredClone(ledger));
  lanes.forEach((lane, number) => Object.assign(books.lanes[number]!, lane, { accepted: lane.pending }));
  return books;
}

/**
 * Makes of a spool's last books the first ones of the spool that follows it: a new epoch, numbers that were never used, and
 * all that waited and lay apart booked as `quarantined`.
 */
export function succeed(books: Books): void {
  let lost = 0;
  for (const lane of books.lanes) {
    lost += lane.pending;
    lose(lane, lane.pending + lane.deadLetters);
    lane.pending = lane.deadLetters = 0;
    lane.nextSeq += EPOCH_GAP;
    lane.settledTo = lane.nextSeq - 1;
  }
  let letters = 0;
  for (const account of books.children.accounts()) {
    letters += account.deadLetters;
    lose(account, account.deadLetters);
    account.deadLetters = 0;
  }
  const { ledger } = books;
  // Whose the rest was, nobody knows.
  lose(books.children.of(NOBODY), lost + ledger.deadLetters - letters);
  lose(ledger, lost + ledger.deadLetters);
  ledger.deadLetters = 0;
  books.epoch++;
  Object.assign(books, { clean: false, crashes: 0, write: 'always' });
}

function lose({ dropped }: Account, count: number): void {
  if (count !== 0) dropped.quarantined = (dropped.quarantined ?? 0) + count;
}

/** Reports what was lost with a spool: of each lane what was pending, less what has been carried over. */
export function reportLost(losses: Losses, { epoch, lanes }: Before, carried: readonly number[] = []): void {
  lanes.forEach(({ pending, settledTo, nextSeq }, lane) => {
    const count = Math.max(0, pending - (carried[lane] ?? 0));
    // One that was never used, in whichever epoch.
    if (pending === 0 && (nextSeq - 1) % EPOCH_GAP === 0) return;
    // Where nothing is missing, nothing is known of what came after the books but the range.
    const [firstSeq, lastSeq] = count > 0 ? [settledTo + 1, nextSeq - 1] : [nextSeq, nextSeq + EPOCH_GAP - 1];
    const times = { firstEventTime: null, lastEventTime: null };
    losses.add({ epoch, lane, reason: 'quarantined', firstSeq, lastSeq, count, ...times, exact: false });
  });
}

/** Takes back that so many were lost; those that the books did not know of are accepted now. */
export function regain(account: Account, count: number): void {
  const { quarantined = 0 } = account.dropped;
  const known = Math.min(quarantined, count);
  account.accepted += count - known;
  if (known === quarantined) delete account.dropped.quarantined;
  else account.dropped.quarantined = quarantined - known;
}
