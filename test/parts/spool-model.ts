import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { Loss } from '../../src/message/loss.ts';
import { LANES, type Stored } from '../../src/message/message.ts';
import { droppedOf, type Ledger } from '../../src/spool/ledger.ts';
import { SpoolFull } from '../../src/spool/spool.ts';
import { noise, SpoolRig, type RigOptions } from './spool-rig.ts';

/** One thing that happens to a spool. */
export type Step =
  | {
      readonly do: 'accept';
      readonly lane: number;
      readonly count: number;
      readonly bytes: number;
      readonly wait: boolean;
    }
  | { readonly do: 'take'; readonly count: number }
  | { readonly do: 'settle'; readonly count: number; readonly deadEvery: number }
  | { readonly do: 'report'; readonly acknowledged: boolean }
  | { readonly do: 'flush' | 'rewind' | 'restart' | 'crash' | 'audit' };

interface LaneModel {
  /** Body tags of all messages, in order: number seq is at seq - 1. */
  readonly tags: string[];
  /** Up to here an acknowledgement has been given, or a flush has promised it. */
  durableTo: number;
  /** Numbers that were delivered or became dead letters. */
  settled: Set<number>;
  /** The last number handed out since the last rewind. */
  handedTo: number;
}

/**
 * What a spool must do, kept beside a real one: every message comes out once in the order of its lane, what is skipped is in
 * a loss report, nothing durable is missing after a crash, and the account is even at every step.
 */
export class SpoolModel {
  #rig: SpoolRig;
  readonly #lanes: LaneModel[];
  readonly #quotaBytes: number;
  #flight: Stored[] = [];
  #skipped: { lane: number; from: number; to: number }[] = [];
  #reported: Loss[] = [];
  /** Messages in loss reports that were acknowledged, as far as the medium knows: dropped, and dead letters. */
  #reportedCounts: Counts = { dropped: 0, dead: 0 };
  #tag = 0;
  evicted = 0;
  crashes = 0;

  private constructor(rig: SpoolRig, quotaBytes: number) {
    this.#rig = rig;
    this.#quotaBytes = quotaBytes;
    this.#lanes = Array.from({ length: LANES }, () => ({ tags: [], durableTo: 0, settled: new Set(), handedTo: 0 }));
  }

  static async start(options: RigOptions & { readonly quota: { readonly bytes: number } }): Promise<SpoolModel> {
    return new SpoolModel(await SpoolRig.open(options), options.quota.bytes);
  }

  async step(step: Step): Promise<void> {
    switch (step.do) {
      case 'accept':
        await this.#accept(step.lane, step.count, step.bytes, step.wait);
        break;
      case 'take':
        this.#take(step.count);
        break;
      case 'settle':
        this.#settle(step.count, step.deadEvery);
        break;
      case 'report':
        this.#report(step.acknowledged);
        break;
      case 'flush':
        await this.#flush();
        break;
      case 'rewind':
        this.#rewind();
        break;
      case 'restart':
        await this.#flush();
        this.#rig = await this.#rig.restart();
        this.#reopened();
        break;
      case 'crash':
        this.crashes++;
        this.#rig = await this.#rig.crash();
        this.#reopened();
        break;
      case 'audit':
        await this.#flush();
        await this.#rig.audit();
        break;
    }
    const { size } = statSync(join(this.#rig.dataDir, 'spool/data.mdb'));
    assert.ok(size <= this.#quotaBytes, `the file has ${size} bytes, the quota is ${this.#quotaBytes}`);
  }

  /** Takes and delivers what is left, and draws up the account. */
  async end(): Promise<void> {
    this.#rewind();
    for (;;) {
      await this.#flush();
      this.#take(Infinity);
      if (this.#flight.length === 0) break;
      this.#settle(Infinity, 0);
    }
    const { messages, blocks } = await this.#rig.audit();
    assert.deepEqual({ messages, blocks }, { messages: 0, blocks: 0 }, 'something is left that cannot be read');
    const waiting = this.#rig.spool.lossesToReport();
    const { ledger } = this.#rig.books();
    const unsettled = this.#lanes.map((lane) => lane.tags.length - lane.settled.size);
    assert.equal(ledger.accepted, sum(this.#lanes.map((lane) => lane.tags.length)));
    const due = owed(ledger);
    assert.equal(ledger.delivered + due.dead, sum(this.#lanes.map((lane) => lane.settled.size)));
    assert.equal(due.dropped, sum(unsettled));
    const still = countsOf(waiting);
    const { dropped, dead } = this.#reportedCounts;
    assert.deepEqual({ dropped: dropped + still.dropped, dead: dead + still.dead }, due, 'reported losses');
    const rows = [...this.#reported, ...waiting];
    for (const { lane, from, to } of this.#skipped) {
      for (let seq = from; seq <= to; seq++) {
        assert.ok(
          rows.some((row) => row.lane === lane && row.firstSeq <= seq && seq <= row.lastSeq),
          `number ${seq} of lane ${lane} was skipped, and no loss report says so`,
        );
      }
    }
    this.evicted = droppedOf(ledger);
    await this.#rig.close();
  }

  /** After a failed check: the folder is left to others, but not held open. */
  async abandon(): Promise<void> {
    await this.#rig.close();
  }

  async #accept(lane: number, count: number, bytes: number, wait: boolean): Promise<void> {
    const model = this.#lanes[lane]!;
    const waits: Promise<void>[] = [];
    for (let n = 0; n < count; n++) {
      const tag = `${++this.#tag}:`;
      const accepted = this.#rig.accept(Buffer.concat([Buffer.from(tag), noise(bytes)]), lane, wait);
      if (await refusedAtOnce(accepted)) continue;
      model.tags.push(tag);
      waits.push(accepted);
    }
    if (!wait) return;
    await Promise.all(waits);
    model.durableTo = model.tags.length;
  }

  #take(count: number): void {
    for (let n = 0; n < count; n++) {
      const stored = this.#rig.spool.next();
      if (stored === null) break;
      const { lane, seq } = stored;
      const model = this.#lanes[lane]!;
      const tag = model.tags[seq - 1];
      assert.ok(tag !== undefined, `number ${seq} of lane ${lane} was never given`);
      assert.ok(stored.message.body.subarray(0, tag.length).equals(Buffer.from(tag)), `number ${seq}: another body`);
      assert.ok(!model.settled.has(seq), `number ${seq} of lane ${lane} comes again after it was settled`);
      assert.ok(seq > model.handedTo, `lane ${lane}: number ${seq} after number ${model.handedTo}`);
      for (let gap = model.handedTo + 1; gap < seq; gap++) {
        if (!model.settled.has(gap)) this.#skipped.push({ lane, from: gap, to: gap });
      }
      model.handedTo = seq;
      this.#flight.push(stored);
    }
  }

  #settle(count: number, deadEvery: number): void {
    const settled = this.#flight.splice(0, count);
    settled.forEach((stored, n) => {
      if (deadEvery > 0 && n % deadEvery === deadEvery - 1) this.#rig.spool.deadLetter(stored, 'refused');
      else this.#rig.spool.delivered(stored, true);
      this.#lanes[stored.lane]!.settled.add(stored.seq);
    });
  }

  #report(acknowledged: boolean): void {
    const rows = this.#rig.spool.lossesToReport();
    if (!acknowledged) return;
    this.#reported.push(...rows);
    const { dropped, dead } = countsOf(rows);
    this.#reportedCounts = { dropped: this.#reportedCounts.dropped + dropped, dead: this.#reportedCounts.dead + dead };
    this.#rig.spool.lossesReported(rows);
  }

  async #flush(): Promise<void> {
    await this.#rig.spool.flush();
    for (const lane of this.#lanes) lane.durableTo = lane.tags.length;
  }

  #rewind(): void {
    this.#rig.spool.rewind();
    this.#flight = [];
    for (const lane of this.#lanes) lane.handedTo = 0;
  }

  /** Another process would begin here: what it knows is what the medium says, and that must be enough. */
  #reopened(): void {
    this.#flight = [];
    const books = this.#rig.books();
    this.#lanes.forEach((lane, number) => {
      const { nextSeq, settledTo } = books.lanes[number]!;
      assert.ok(
        nextSeq - 1 >= lane.durableTo,
        `lane ${number}: ${nextSeq - 1} are there, ${lane.durableTo} were durable`,
      );
      lane.tags.length = nextSeq - 1;
      lane.durableTo = nextSeq - 1;
      lane.handedTo = 0;
      for (const seq of lane.settled) if (seq > settledTo) lane.settled.delete(seq);
    });
    const waiting = countsOf(this.#rig.spool.lossesToReport());
    const all = owed(books.ledger);
    const reported = { dropped: all.dropped - waiting.dropped, dead: all.dead - waiting.dead };
    const { dropped, dead } = this.#reportedCounts;
    assert.ok(reported.dropped <= dropped && reported.dead <= dead, 'a loss report is gone that nobody acknowledged');
    this.#reportedCounts = reported;
    this.#rig.spool.rewind();
  }
}

/** Refusal needs no medium, so it is known as soon as promises have had their turn; timers and I/O have not by then. */
async function refusedAtOnce(accepted: Promise<void>): Promise<boolean> {
  let refused = false;
  accepted.catch((error: unknown) => {
    assert.ok(error instanceof SpoolFull, String(error));
    refused = true;
  });
  await Promise.resolve();
  await Promise.resolve();
  return refused;
}

interface Counts {
  readonly dropped: number;
  readonly dead: number;
}

function countsOf(rows: readonly Loss[]): Counts {
  const count = (dead: boolean) =>
    sum(rows.filter(({ reason }) => (reason === 'dead-letter') === dead).map((row) => row.count));
  return { dropped: count(false), dead: count(true) };
}

/** What the ledger says must be in loss reports. A dead letter that was let go has been in one already. */
function owed(ledger: Ledger): Counts {
  const { discarded = 0 } = ledger.dropped;
  return { dropped: droppedOf(ledger) - discarded, dead: ledger.deadLetters + discarded };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}
