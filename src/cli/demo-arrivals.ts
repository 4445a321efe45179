/** Gaps that are remembered one by one; what is missing beyond them is counted, but no longer told apart from a repeat. */
const GAPS_MAX = 1000;
/** Lanes of all epochs together that are followed. */
const LANES_MAX = 64;

/** Where a message stands in the one order that its gateway promises. */
export interface Place {
  readonly epoch: number;
  readonly lane: number;
  readonly seq: number;
}

export type Arrived = 'new' | 'repeated' | 'out of order';

interface LaneCheck {
  /** The number that should come next. */
  next: number;
  /** Numbers before it that have not come: first and last of each run, in order. */
  gaps: [number, number][];
}

/** Judges what arrives by `epoch`, `lane` and `seq`: each number once, in order, none left out. */
export class Arrivals {
  /** Different messages; repeats do not count. */
  arrived = 0;
  repeated = 0;
  outOfOrder = 0;
  missing = 0;
  firstSeq: number | null = null;
  lastSeq: number | null = null;
  readonly #lanes = new Map<string, LaneCheck>();

  /** Before anything arrives: the number with which a lane goes on. A lane of which nothing was said begins at 1. */
  expect({ epoch, lane, seq }: Place): void {
    this.#lane(epoch, lane).next = seq;
  }

  seen({ epoch, lane, seq }: Place): Arrived {
    const check = this.#lane(epoch, lane);
    if (seq < check.next) return this.#before(check, seq);
    if (seq > check.next) this.#gap(check, check.next, seq - 1);
    check.next = seq + 1;
    this.arrived++;
    this.firstSeq ??= seq;
    this.lastSeq = seq;
    return 'new';
  }

  /** Everything up to this place was said to have been taken: what has not come by now is missing. */
  settled({ epoch, lane, seq }: Place): void {
    const check = this.#lane(epoch, lane);
    if (check.next > seq) return;
    this.#gap(check, check.next, seq);
    check.next = seq + 1;
  }

  /** Whether everything up to this place has come. */
  has({ epoch, lane, seq }: Place): boolean {
    const { next, gaps } = this.#lane(epoch, lane);
    return next > seq && (gaps[0] === undefined || gaps[0][0] > seq);
  }

  #before(check: LaneCheck, seq: number): Arrived {
    const at = check.gaps.findIndex(([first, last]) => first <= seq && seq <= last);
    if (at === -1) {
      this.repeated++;
      return 'repeated';
    }
    const [first, last] = check.gaps[at]!;
    const left: [number, number][] = [
      [first, seq - 1],
      [seq + 1, last],
    ];
    check.gaps.splice(at, 1, ...left.filter(([from, to]) => from <= to));
    this.missing--;
    this.outOfOrder++;
    this.arrived++;
    return 'out of order';
  }

  #gap(check: LaneCheck, first: number, last: number): void {
    this.missing += last - first + 1;
    check.gaps.push([first, last]);
    if (check.gaps.length > GAPS_MAX) check.gaps.shift();
  }

  #lane(epoch: number, lane: number): LaneCheck {
    const key = `${epoch}/${lane}`;
    let check = this.#lanes.get(key);
    if (check === undefined) {
      check = { next: 1, gaps: [] };
      if (this.#lanes.size === LANES_MAX) this.#lanes.delete(this.#lanes.keys().next().value!);
      this.#lanes.set(key, check);
    }
    return check;
  }
}
