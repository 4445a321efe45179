import type { Account } from './account.ts';
import { Groups, type Aggregated, type Group } from './group.ts';
import type { Micros, Saved } from './row.ts';
import type { Arrival } from './arrival.ts';
import { endOf, type OpenWindow } from './window.ts';

/** What an open window costs, bytes, beside its groups. */
const WINDOW_BYTES = 200;

interface Open {
  readonly end: Micros;
  readonly groups: Groups;
}

/**
 * Windows of one size that begin each `hop` and may overlap: (end - size, end], with an end at each multiple of `hop`. A tumbling
 * window is one whose hop is its size, and a snapshot is one of the smallest size that there is: it holds what has equal time.
 */
export class HoppingWindow implements OpenWindow {
  readonly #size: Micros;
  readonly #hop: Micros;
  readonly #offset: Micros;
  readonly #aggregated: readonly Aggregated[];
  readonly #account: Account;
  /** By their ends. */
  #open: Open[] = [];
  next: Micros = Infinity;

  constructor(size: Micros, hop: Micros, offset: Micros, aggregated: readonly Aggregated[], account: Account) {
    this.#size = size;
    this.#hop = hop;
    this.#offset = offset;
    this.#aggregated = aggregated;
    this.#account = account;
  }

  add(arrival: Arrival): boolean {
    const open = this.#open;
    // A tumbling window that is open holds whatever comes: had it ended before the row, it would have been closed.
    if (this.#hop === this.#size && open.length > 0) return open[0]!.groups.add(arrival);
    let roomForAll = true;
    const before = arrival.time + this.#size;
    let at = 0;
    for (let end = endOf(arrival.time, this.#hop, this.#offset); end < before; end += this.#hop) {
      while (at < open.length && open[at]!.end < end) at++;
      if (open[at]?.end !== end) {
        if (!this.#account.take(1, 0, WINDOW_BYTES)) {
          roomForAll = false;
          break;
        }
        open.splice(at, 0, { end, groups: new Groups(this.#aggregated, this.#account) });
      }
      if (!open[at]!.groups.add(arrival)) roomForAll = false;
    }
    this.next = open.length > 0 ? open[0]!.end : Infinity;
    return roomForAll;
  }

  close(give: (group: Group) => void): void {
    const { groups } = this.#open.shift()!;
    this.next = this.#open.length > 0 ? this.#open[0]!.end : Infinity;
    groups.each(give);
    groups.release();
    this.#account.give(1, 0, WINDOW_BYTES);
  }

  save(): Saved {
    return this.#open.map(({ end, groups }) => [end, groups.save()]);
  }

  load(saved: Saved): void {
    for (const { groups } of this.#open) {
      groups.release();
      this.#account.give(1, 0, WINDOW_BYTES);
    }
    this.#open = (saved as [Micros, Saved][]).map(([end, state]) => {
      const groups = new Groups(this.#aggregated, this.#account);
      groups.load(state);
      this.#account.give(-1, 0, -WINDOW_BYTES);
      return { end, groups };
    });
    this.next = this.#open[0]?.end ?? Infinity;
  }
}
