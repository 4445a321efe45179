import type { Value } from '../query/value.ts';
import type { Account } from './account.ts';
import { Groups, type Aggregated, type Group } from './group.ts';
import { groupKey, type GroupKey } from './group-key.ts';
import { Heap } from './heap.ts';
import type { Micros, Saved } from './row.ts';
import type { Arrival } from './arrival.ts';
import { endOf, type OpenWindow } from './window.ts';

/** What a session costs, bytes, beside its groups. */
const SESSION_BYTES = 300;

interface Session {
  readonly order: number;
  readonly key: GroupKey;
  readonly partition: readonly Value[];
  /** It ends at the first multiple of the longest duration that is so far behind its opening. */
  readonly check: Micros;
  readonly groups: Groups;
  last: Micros;
}

/**
 * Sessions: each opens with an event and goes on while no gap is longer than the timeout. It ends at its last event plus the timeout,
 * or at a check: a multiple of `max`, counted from 1970, at which it has been open for `max` or longer. One session for each partition
 * (OVER), or one over everything. An event of the very moment at which a session ends belongs to it; the next one opens with the
 * next event.
 */
export class SessionWindow implements OpenWindow {
  readonly #timeout: Micros;
  readonly #max: Micros;
  readonly #number: number;
  readonly #aggregated: readonly Aggregated[];
  readonly #account: Account;
  readonly #sessions = new Map<GroupKey, Session>();
  /** Each session once, at an end that it has no longer when it went on since. */
  #ends = new Heap<Session>();
  #order = 0;
  next: Micros = Infinity;

  /** `number` is its own among the windows of the GROUP BY. */
  constructor(timeout: Micros, max: Micros, number: number, aggregated: readonly Aggregated[], account: Account) {
    this.#timeout = timeout;
    this.#max = max;
    this.#number = number;
    this.#aggregated = aggregated;
    this.#account = account;
  }

  add(arrival: Arrival): boolean {
    const partition = arrival.partitions[this.#number]!;
    const key = groupKey(partition);
    let session = this.#sessions.get(key);
    if (session === undefined) {
      if (!this.#account.take(1, 0, SESSION_BYTES)) return false;
      session = this.#opened(arrival.time, [...partition], key, this.#order++);
    }
    if (!session.groups.add(arrival)) {
      if (!this.#sessions.has(key)) this.#account.give(1, 0, SESSION_BYTES);
      return false;
    }
    session.last = arrival.time;
    if (!this.#sessions.has(key)) {
      this.#sessions.set(key, session);
      this.#ends.push(this.#endOf(session), session, session.order);
    }
    this.#plan();
    return true;
  }

  close(give: (group: Group) => void): void {
    const session = this.#ends.pop();
    this.#sessions.delete(session.key);
    this.#plan();
    session.groups.each(give);
    this.#release(session);
  }

  save(): Saved {
    const sessions = [...this.#sessions.values()].map((session): Saved => [
      session.partition,
      session.order,
      session.check,
      session.last,
      session.groups.save(),
    ]);
    return [this.#order, sessions];
  }

  load(saved: Saved): void {
    for (const session of this.#sessions.values()) this.#release(session);
    this.#sessions.clear();
    this.#ends = new Heap();
    const [order, sessions] = saved as [number, [Value[], number, Micros, Micros, Saved][]];
    this.#order = order;
    for (const [partition, number, check, last, groups] of sessions) {
      const session = { ...this.#opened(last, partition, groupKey(partition), number), check };
      session.groups.load(groups);
      this.#account.give(-1, 0, -SESSION_BYTES);
      this.#sessions.set(session.key, session);
      this.#ends.push(this.#endOf(session), session, session.order);
    }
    this.#plan();
  }

  #opened(time: Micros, partition: readonly Value[], key: GroupKey, order: number): Session {
    const check = endOf(time + this.#max, this.#max, 0);
    return { order, key, partition, check, groups: new Groups(this.#aggregated, this.#account), last: time };
  }

  #release(session: Session): void {
    session.groups.release();
    this.#account.give(1, 0, SESSION_BYTES);
  }

  #endOf(session: Session): Micros {
    return Math.min(session.last + this.#timeout, session.check);
  }

  /** Sessions that went on are put where they end now. */
  #plan(): void {
    for (;;) {
      const first = this.#ends.first;
      if (first === null || this.#endOf(first) === this.#ends.least) break;
      this.#ends.pop();
      this.#ends.push(this.#endOf(first), first, first.order);
    }
    this.next = this.#ends.least;
  }
}
