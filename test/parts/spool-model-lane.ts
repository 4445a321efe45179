import assert from 'node:assert/strict';
import type { LossRow } from '../../src/message/loss.ts';
import type { WhenFull } from '../../src/spool/evictor.ts';
import type { LaneBooks } from '../../src/spool/ledger.ts';
import type { Stored } from '../../src/message/message.ts';
import type { Seen } from './spool-model-medium.ts';

/** Longest that something may stay after its life is over, ms of age. */
const STAYS_MS_MAX = 60_000;

export type Fate = 'pending' | 'delivered' | 'dead' | 'gone';

/** A message as the model knows it. */
export interface Known {
  readonly seq: number;
  readonly epoch: number;
  /** What its body begins with: no other begins so. */
  readonly tag: string;
  readonly child: string;
  /** When it was accepted, and how long it may live where it says so itself; ms of age. */
  readonly age: number;
  readonly lifeMs: number | null;
  /** The number in its body, where that is JSON. */
  readonly value: number | null;
  /** It was a dead letter before, so it is in the account already. */
  readonly revived: boolean;
  fate: Fate;
  /** Its sender has been told that it is durable, or a flush has promised it. */
  promised: boolean;
}

/** What the model must know of the rest, to judge what has become of a lane. */
export interface Circumstances {
  readonly age: number;
  readonly commonLifeMs: number;
  readonly whenFull: WhenFull;
  /** Sweeps have had their time. */
  readonly swept: boolean;
  /** Memory has been full, so some may be gone that never lay on the medium. */
  readonly shed: boolean;
}

/** What has gone from a lane since it was looked at last. */
export interface Departed {
  readonly gone: readonly Known[];
  /** Of them, those whose time was not over: they went for want of room. */
  readonly forRoom: readonly Known[];
  /** Something that could have gone instead was there before, and still is. */
  readonly older: boolean;
}

/** One lane of the model: all its messages, by number. */
export class LaneModel {
  readonly number: number;
  readonly known = new Map<number, Known>();
  nextSeq = 1;
  /** The last number handed out since the last rewind. */
  handedTo = 0;
  /** Up to here blocks are being sent from, as far as was seen. */
  pinnedTo = 0;
  /** The highest of both since the lane was looked at last: what may have been pinned for a while. */
  #sparedTo = 0;
  #before = new Set<number>();
  readonly #skipped = new Set<number>();
  #dropped: LaneBooks['dropped'] = {};

  constructor(number: number) {
    this.number = number;
  }

  add(message: Omit<Known, 'seq' | 'fate' | 'promised'>): Known {
    const known: Known = { ...message, seq: this.nextSeq++, fate: 'pending', promised: false };
    this.known.set(known.seq, known);
    return known;
  }

  /** The message that `stored` must be. */
  of(stored: Stored): Known {
    const { seq, epoch, message } = stored;
    const known = this.known.get(seq);
    assert.ok(known !== undefined, `number ${seq} of lane ${this.number} was never given`);
    const { tag } = known;
    assert.ok(message.body.subarray(0, tag.length).equals(Buffer.from(tag)), `number ${seq}: another body`);
    assert.equal(epoch, known.epoch, `number ${seq} is of another epoch`);
    assert.equal(message.source.child, known.child);
    assert.ok(Math.abs(message.acceptedAt.age - known.age) < 1, `number ${seq} was accepted at another age`);
    return known;
  }

  /** Handed out for sending: in order, and what lies between it and the one before must turn out to have gone. */
  handOut(seq: number): void {
    assert.ok(seq > this.handedTo, `lane ${this.number}: number ${seq} after number ${this.handedTo}`);
    for (let gap = this.handedTo + 1; gap < seq; gap++) {
      if (this.known.get(gap)?.fate === 'pending') this.#skipped.add(gap);
    }
    this.handedTo = seq;
    this.#sparedTo = Math.max(this.#sparedTo, seq);
  }

  rewind(): void {
    this.#sparedTo = Math.max(this.#sparedTo, this.pinnedTo);
    this.handedTo = 0;
    this.pinnedTo = 0;
  }

  with(fate: Fate): Known[] {
    return [...this.known.values()].filter((known) => known.fate === fate);
  }

  expiry({ age, lifeMs }: Known, commonLifeMs: number): number {
    return age + (lifeMs ?? commonLifeMs);
  }

  /** Holds the lane against what lies on the medium, where everything has been flushed. */
  look(seen: Seen, now: Circumstances, flight: ReadonlySet<number>): Departed {
    const books = seen.books.lanes[this.number]!;
    const present = seen.pending[this.number]!;
    const blocks = seen.blocks[this.number]!;
    assert.equal(books.nextSeq, this.nextSeq, `lane ${this.number}: the next number`);
    for (const stored of present.values()) {
      const { fate, seq } = this.of(stored);
      assert.equal(fate, 'pending', `number ${seq} of lane ${this.number} is there, and was ${fate}`);
    }
    for (const seq of this.#skipped) {
      assert.ok(!present.has(seq), `number ${seq} of lane ${this.number} was skipped, and is there`);
    }
    this.#skipped.clear();
    const gone = this.with('pending').filter(({ seq }) => !present.has(seq));
    for (const { seq } of gone) {
      assert.ok(!flight.has(seq), `number ${seq} of lane ${this.number} went while it was in flight`);
      assert.ok(seq > this.pinnedTo, `number ${seq} of lane ${this.number} went from a block that is being sent`);
    }
    const forRoom = gone.filter((known) => this.expiry(known, now.commonLifeMs) > now.age);
    this.#reasons(books, gone.length, forRoom, now);
    this.#spared(blocks);
    const free = [...present.keys()].filter((seq) => seq > this.#sparedTo);
    if (now.whenFull === 'drop-oldest' && !now.shed && forRoom.length > 0) {
      const last = forRoom.at(-1)!.seq;
      const older = free.find((seq) => seq < last);
      assert.equal(older, undefined, `lane ${this.number}: ${last} went for want of room, and ${older} is older`);
    }
    if (now.swept) {
      for (const seq of free) {
        const over = now.age - this.expiry(this.known.get(seq)!, now.commonLifeMs);
        assert.ok(over < STAYS_MS_MAX, `number ${seq} of lane ${this.number} is there ${over} ms after its time`);
      }
    }
    const older = free.some((seq) => this.#before.has(seq));
    for (const known of gone) known.fate = 'gone';
    this.#settleDown(present, blocks);
    return { gone, forRoom, older };
  }

  /** The account of the lane, as the model has it. */
  account({ accepted, delivered, deadLetters, dropped, pending }: LaneBooks, revived: number): void {
    const all = [...this.known.values()];
    const count = (fate: Fate) => all.filter((known) => known.fate === fate).length;
    const { discarded = 0, ...others } = dropped;
    assert.deepEqual(
      {
        accepted,
        delivered,
        pending,
        dead: deadLetters + discarded + revived,
        gone: Object.values(others).reduce((a, b) => a + b, 0),
      },
      {
        accepted: all.filter((known) => !known.revived).length,
        delivered: count('delivered'),
        pending: count('pending'),
        dead: count('dead'),
        gone: count('gone'),
      },
      `the account of lane ${this.number}`,
    );
  }

  /** Every number that went is in a loss report of its epoch. */
  reported(gone: readonly Known[], rows: readonly LossRow[]): void {
    const ours = rows.filter(({ lane, reason }) => lane === this.number && reason !== 'dead-letter');
    for (const { seq, epoch } of gone) {
      assert.ok(
        ours.some((row) => row.firstSeq <= seq && seq <= row.lastSeq && (row.epoch === epoch || !row.exact)),
        `number ${seq} of lane ${this.number} went, and no loss report says so`,
      );
    }
  }

  /**
   * The process is gone: what is known now is what the medium says. Returns the messages that nobody remembers: they were
   * never durable.
   */
  crashed(seen: Seen): Known[] {
    const present = seen.pending[this.number]!;
    const { nextSeq } = seen.books.lanes[this.number]!;
    const forgotten: Known[] = [];
    for (const known of this.known.values()) {
      const { seq, fate, promised } = known;
      if (seq >= nextSeq) {
        // What the upstream has acknowledged needs no medium; all else that was promised does.
        assert.ok(
          !promised || fate === 'delivered',
          `number ${seq} of lane ${this.number} was promised, and is ${fate}`,
        );
        forgotten.push(known);
        this.known.delete(seq);
      } else if (present.has(seq)) {
        assert.notEqual(fate, 'gone', `number ${seq} of lane ${this.number} went, and comes again`);
        known.fate = 'pending';
      }
    }
    this.nextSeq = nextSeq;
    this.#skipped.clear();
    this.rewind();
    return forgotten;
  }

  #reasons({ dropped }: LaneBooks, gone: number, forRoom: readonly Known[], now: Circumstances): void {
    const more = (reason: 'expired' | 'evicted' | 'thinned') => (dropped[reason] ?? 0) - (this.#dropped[reason] ?? 0);
    const [expired, evicted, thinned] = [more('expired'), more('evicted'), more('thinned')];
    const lane = `lane ${this.number}`;
    assert.equal(dropped.quarantined, undefined, `${lane}: a block could not be read`);
    assert.equal(expired + evicted + thinned, gone, `${lane}: ${gone} went, and the account says otherwise`);
    assert.ok(expired <= gone - forRoom.length, `${lane}: ${expired} expired, of ${gone - forRoom.length} that could`);
    if (now.whenFull !== 'thin') assert.equal(thinned, 0, `${lane} was thinned`);
    if (now.whenFull === 'reject-new') assert.equal(evicted, 0, `${lane} refuses what is new, and evicts`);
    if (evicted === 0) this.#extremes(forRoom);
    this.#dropped = { ...dropped };
  }

  /** Of each child the first, the last, the least and the greatest stay, whatever the windows were. */
  #extremes(thinned: readonly Known[]): void {
    if (thinned.length === 0) return;
    const went = new Set(thinned);
    const streams = new Map<string, Known[]>();
    for (const known of this.known.values()) {
      if (known.fate !== 'pending') continue;
      const stream = streams.get(known.child);
      if (stream === undefined) streams.set(known.child, [known]);
      else stream.push(known);
    }
    for (const [child, stream] of streams) {
      const numeric = stream.filter(({ value }) => value !== null);
      const least = numeric.reduce<Known | undefined>(
        (a, b) => (a === undefined || b.value! < a.value! ? b : a),
        undefined,
      );
      const most = numeric.reduce<Known | undefined>(
        (a, b) => (a === undefined || b.value! > a.value! ? b : a),
        undefined,
      );
      for (const [which, known] of [
        ['first', stream[0]],
        ['last', stream.at(-1)],
        ['least', least],
        ['greatest', most],
      ] as const) {
        assert.ok(known === undefined || !went.has(known), `the ${which} of ${child} was thinned: ${known?.seq}`);
      }
    }
  }

  /** What was in one block with something that was being sent was spared with it. */
  #spared(blocks: Seen['blocks'][number]): void {
    this.#sparedTo = Math.max(this.#sparedTo, this.handedTo, this.pinnedTo);
    for (const { firstSeq, lastSeq } of blocks) {
      if (firstSeq <= this.#sparedTo && this.#sparedTo < lastSeq) this.#sparedTo = lastSeq;
    }
  }

  #settleDown(present: ReadonlyMap<number, Stored>, blocks: Seen['blocks'][number]): void {
    this.#before = new Set(present.keys());
    const at = blocks.find(({ firstSeq, lastSeq }) => firstSeq <= this.handedTo && this.handedTo <= lastSeq);
    this.pinnedTo = Math.max(this.pinnedTo, this.handedTo === 0 ? 0 : (at?.lastSeq ?? this.handedTo));
    this.#sparedTo = this.pinnedTo;
    for (const known of this.known.values()) known.promised = true;
  }
}
