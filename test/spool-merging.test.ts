import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Message, Stored } from '../src/message/message.ts';
import { BLOCK_HEADER_BYTES, headerAsItStands, type BlockHeader } from '../src/spool/block.ts';
import { messagesIn } from '../src/spool/export.ts';
import { SpoolFiles } from '../src/spool/files.ts';
import { blockKey, keyLane } from '../src/spool/keys.ts';
import type { Change } from '../src/store/environment.ts';
import { StoreError } from '../src/store/store-error.ts';
import { ManualClock } from './manual-clock.ts';
import { noise, SpoolRig, text, type RigOptions } from './parts/spool-rig.ts';

const SECOND = 1000;
/** Raw bytes that a block is cut at; smaller ones are put together once they come to this. */
const BLOCK_BYTES = 48 * 1024;
/** Bytes of a message besides its body, about. */
const BESIDES_BYTES = 60;
const BODY_BYTES = 1000;
/** So many messages of that size fill a block. */
const FILL = Math.ceil(BLOCK_BYTES / (BODY_BYTES + BESIDES_BYTES));

/** The headers of a lane's blocks as they lie on the medium, in order. */
function blocksOf(rig: SpoolRig, lane = 10): BlockHeader[] {
  const blocks: BlockHeader[] = [];
  rig.spool.environment.read((reader) =>
    reader.scanHeads(blockKey(lane, 0), BLOCK_HEADER_BYTES, ({ key, value }) => {
      if (keyLane(key) !== lane) return false;
      blocks.push(headerAsItStands(value));
      return true;
    }),
  );
  return blocks;
}

const bodyOf = (n: number) => `${n}:`.padEnd(BODY_BYTES, 'x');
const numberOf = (stored: Stored) => Number.parseInt(text(stored), 10);

/** A trickle: each message is a commit, and so a block, of its own. */
async function trickle(rig: SpoolRig, from: number, to: number, as: (n: number) => Partial<Message> = () => ({})) {
  for (let n = from; n < to; n++) {
    void rig.spool.accept({ ...rig.message(bodyOf(n), 10), ...as(n) }, false);
    await rig.spool.flush();
  }
  // What merging changed goes with the commit after.
  await rig.spool.flush();
}

const open = (options: RigOptions = {}) => SpoolRig.open({ clock: new ManualClock(), ...options });

function inOrder(stored: readonly Stored[], numbers: readonly number[]): void {
  assert.deepEqual(stored.map(numberOf), numbers);
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => from + n);

test('a trickle of small blocks becomes few, with all messages in order and the account as it was', async () => {
  const rig = await open();
  await trickle(rig, 0, FILL - 5);
  assert.equal(blocksOf(rig).length, FILL - 5, 'not before they fill a block');
  await trickle(rig, FILL - 5, FILL * 4 + 10);
  const blocks = blocksOf(rig);
  assert.ok(blocks.length < FILL, `${blocks.length} blocks`);
  const whole = blocks.filter(({ count }) => count > 1);
  assert.ok(whole.length >= 4);
  // Full but for the last message or so: none is cut where the run ends.
  for (const { rawBytes, level } of whole.slice(0, 3)) {
    assert.ok(rawBytes > BLOCK_BYTES * 0.9, `a block of ${rawBytes} bytes`);
    assert.equal(level, 0);
  }
  await rig.audit();
  const { ledger } = rig.books();
  assert.deepEqual([ledger.accepted, ledger.delivered, ledger.dropped], [FILL * 4 + 10, 0, {}]);
  assert.equal(rig.spool.lossesToReport().length, 0);
  const again = await rig.restart();
  await again.audit();
  inOrder(again.take(), range(0, FILL * 4 + 10));
  await again.close();
});

test('small messages are put together in runs of 256 blocks, before they fill one', async () => {
  const rig = await open();
  for (let n = 0; n < 260; n++) {
    void rig.accept(`${n}`, 10, false);
    await rig.spool.flush();
  }
  await rig.spool.flush();
  const counts = blocksOf(rig).map(({ count }) => count);
  assert.deepEqual(counts, [256, 1, 1, 1, 1]);
  await rig.audit();
  inOrder(rig.take(), range(0, 260));
  await rig.close();
});

test('each lane for itself', async () => {
  const rig = await open();
  const lanes = [0, 5, 10];
  await trickle(rig, 0, FILL * 6, (n) => ({ priority: lanes[n % 3]! }));
  for (const lane of lanes) {
    const blocks = blocksOf(rig, lane);
    assert.ok(blocks.length < FILL, `${blocks.length} blocks in lane ${lane}`);
    assert.ok(blocks.some(({ count }) => count > 10));
  }
  await rig.audit();
  const taken = rig.take();
  for (const lane of lanes) {
    inOrder(
      taken.filter((stored) => stored.lane === lane),
      range(0, FILL * 6).filter((n) => lanes[n % 3] === lane),
    );
  }
  await rig.close();
});

test('large blocks are left as they are, and part those before them from those behind', async () => {
  const rig = await open();
  await trickle(rig, 0, FILL - 5);
  // More than half of what a block may hold.
  void rig.accept(Buffer.concat([Buffer.from(`${FILL - 5}:`), noise(30_000)]), 10, false);
  await rig.spool.flush();
  await trickle(rig, FILL - 4, FILL + 10);
  assert.equal(blocksOf(rig).length, FILL + 10);
  await trickle(rig, FILL + 10, FILL * 2 + 5);
  const blocks = blocksOf(rig);
  assert.ok(blocks.slice(0, FILL - 4).every(({ count }) => count === 1));
  assert.ok(blocks[FILL - 4]!.count > FILL / 2);
  await rig.audit();
  inOrder(rig.take(), range(0, FILL * 2 + 5));
  await rig.close();
});

test('messages that live shorter go in time from a block that they share with others', async () => {
  const clock = new ManualClock();
  let rig = await SpoolRig.open({ clock, timeToLiveSecs: 10_000 });
  const short = (n: number) => n % 3 === 0;
  await trickle(rig, 0, FILL + 5, (n) => (short(n) ? { expiresAfterSecs: 60 } : {}));
  const [merged] = blocksOf(rig);
  assert.ok(merged!.count > FILL / 2);
  assert.equal(merged!.earliestExpiry, merged!.firstAge + 60 * SECOND);
  rig = await rig.restart();
  await clock.flow(50 * SECOND);
  await rig.spool.flush();
  assert.equal(rig.books().ledger.dropped.expired, undefined);
  await clock.flow(30 * SECOND);
  await rig.spool.flush();
  await clock.flow(10 * SECOND);
  await rig.audit();
  const all = range(0, FILL + 5);
  assert.equal(rig.books().ledger.dropped.expired, all.filter(short).length);
  inOrder(
    rig.take(),
    all.filter((n) => !short(n)),
  );
  await rig.close();
});

test('while the upstream takes messages nothing is merged; when it is away again, only what it has not', async () => {
  const rig = await open();
  await trickle(rig, 0, 20);
  for (const stored of rig.take(10)) rig.spool.delivered(stored, true);
  const flight = rig.take(5);
  await trickle(rig, 20, FILL * 2);
  assert.equal(blocksOf(rig).length, FILL * 2 - 10, 'each still by itself');
  await rig.audit();
  rig.spool.rewind();
  await trickle(rig, FILL * 2, FILL * 4);
  const blocks = blocksOf(rig);
  assert.ok(blocks.some(({ count }) => count > FILL / 2));
  await rig.audit();
  const taken = rig.take();
  assert.equal(taken[0]!.seq, flight[0]!.seq);
  inOrder(taken, range(10, FILL * 4));
  for (const stored of taken) rig.spool.delivered(stored, true);
  await rig.audit();
  const { ledger } = rig.books();
  assert.equal(ledger.delivered, FILL * 4);
  assert.equal(blocksOf(rig).length, 0);
  await rig.close();
});

test('a run of which the front has been delivered meanwhile is merged without that', async () => {
  const rig = await open();
  await trickle(rig, 0, FILL - 10);
  for (const stored of rig.take(20)) rig.spool.delivered(stored, true);
  rig.spool.rewind();
  await trickle(rig, FILL - 10, FILL + 5);
  const blocks = blocksOf(rig);
  assert.ok(blocks[0]!.count > FILL / 3 && blocks[0]!.firstSeq > 20, 'the rest of the run');
  await rig.audit();
  inOrder(rig.take(), range(20, FILL + 5));
  assert.equal(rig.books().ledger.delivered, 20);
  await rig.close();
});

test('a wear budget that is used up has nothing written once more', async () => {
  // Room for one commit a day; what may be saved up is less than one.
  const rig = await open({ wearBudget: 18_000 });
  await trickle(rig, 0, FILL * 2);
  assert.equal(blocksOf(rig).length, FILL * 2);
  await rig.audit();
  await rig.close();
});

test('what is thinned is not merged with what is not: the older, the coarser', async () => {
  const rig = await open({ whenFull: 'thin', quota: { bytes: 8 * 2 ** 20 }, durability: 'relaxed' });
  const count = 1600;
  for (let n = 0; n < count; n++) {
    const message = rig.message(JSON.stringify({ n, pad: noise(6000).toString('base64') }), 10);
    void rig.spool.accept(message, false);
    await rig.spool.flush();
  }
  await rig.audit();
  const blocks = blocksOf(rig);
  const levels = blocks.map(({ level }) => level);
  assert.ok(levels[0]! > 0 && levels.at(-1) === 0);
  assert.deepEqual(
    levels,
    levels.toSorted((a, b) => b - a),
  );
  assert.ok(blocks.filter(({ level, count: of }) => level === 0 && of > 1).length > 10, 'merged');
  const { dropped } = rig.books().ledger;
  const seqs = rig.take().map(({ seq }) => seq);
  assert.equal(seqs.length, count - (dropped.thinned ?? 0) - (dropped.evicted ?? 0));
  assert.deepEqual(
    seqs,
    seqs.toSorted((a, b) => a - b),
  );
  await rig.close();
});

test('never across epochs: after an unclean stop a run begins anew', async () => {
  let rig = await open({ write: 'when-needed' });
  await trickle(rig, 0, FILL - 5);
  rig = await rig.crash();
  await trickle(rig, FILL - 5, FILL * 2 + 5);
  const blocks = blocksOf(rig);
  const first = blocks.filter(({ epoch }) => epoch === 1);
  assert.deepEqual(
    first.map(({ count }) => count),
    range(0, FILL - 5).map(() => 1),
  );
  assert.ok(blocks.some(({ epoch, count }) => epoch === 2 && count > FILL / 2));
  await rig.audit();
  const taken = rig.take();
  inOrder(taken, range(0, FILL * 2 + 5));
  for (const stored of taken) assert.equal(stored.epoch, numberOf(stored) < FILL - 5 ? 1 : 2);
  await rig.close();
});

/** Calls `before` ahead of each commit that puts a merged block in the place of others. */
function beforeMerge(rig: SpoolRig, before: () => void): void {
  const { environment } = rig.spool;
  const write = environment.write.bind(environment);
  environment.write = async (changes: readonly Change[]) => {
    const gone = changes.filter(([, value]) => value === null);
    if (gone.length > 10) before();
    await write(changes);
  };
}

test('a stop before the commit with the merged block, and one after it, lose nothing and double nothing', async () => {
  const clock = new ManualClock();
  const rig = await SpoolRig.open({ clock });
  const copies: string[] = [];
  beforeMerge(rig, () => copies.push(rig.copy()));
  await trickle(rig, 0, FILL + 5);
  assert.equal(copies.length, 1);
  copies.push(rig.copy());
  await rig.close();
  const counts: number[] = [];
  for (const dataDir of copies) {
    const again = await SpoolRig.open({ clock, dataDir });
    counts.push(blocksOf(again).length);
    await again.audit();
    const taken = again.take();
    inOrder(taken, range(0, taken.length));
    assert.equal(taken.length, again.books().ledger.accepted);
    await again.close();
  }
  assert.ok(counts[0]! > FILL * 0.8 && counts[1]! < 20, `${counts.join(' and ')} blocks`);
});

test('a merge that the medium does not take waits for it: readers see it, and the next commit has it', async () => {
  const rig = await open();
  let refusals = 0;
  beforeMerge(rig, () => {
    if (refusals++ === 0) throw new StoreError('io', 'the medium refuses');
  });
  await trickle(rig, 0, FILL + 5).catch((error: unknown) => assert.match(String(error), /the medium refuses/));
  assert.equal(refusals, 1);
  const before = blocksOf(rig);
  assert.ok(before.every(({ count }) => count === 1));
  await rig.audit();
  assert.equal(refusals, 2);
  assert.ok(blocksOf(rig).length < before.length / 2);
  const taken = rig.take();
  inOrder(taken, range(0, taken.length));
  assert.equal(taken.length, rig.books().ledger.accepted);
  await rig.close();
});

test('an export that merging overtakes still has every message, once', async () => {
  const rig = await open();
  await trickle(rig, 0, FILL - 5);
  const files = SpoolFiles.own(rig.spool.environment, (error) => assert.fail(error));
  // A look is over after one block: between any two of them the spool may be another.
  let now = 0;
  const found: Stored[] = [];
  const complaints: string[] = [];
  for await (const { stored } of messagesIn(
    files,
    { lane: 10 },
    () => (now += SECOND),
    complaints.push.bind(complaints),
  )) {
    found.push(...stored);
    if (found.length === 3) await trickle(rig, FILL - 5, FILL * 2);
  }
  assert.ok(blocksOf(rig)[0]!.count > 3, 'what was read and what was not are in one block by now');
  inOrder(found, range(0, FILL * 2));
  assert.deepEqual(complaints, []);
  files.close();
  await rig.close();
});
