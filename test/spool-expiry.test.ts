import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Loss } from '../src/message/loss.ts';
import { LANE_UNSPECIFIED, LANES, type Message } from '../src/message/message.ts';
import { keyLane } from '../src/spool/keys.ts';
import type { SpoolSettings } from '../src/spool/settings.ts';
import type { Change, Reader } from '../src/store/environment.ts';
import { ManualClock } from './manual-clock.ts';
import { chance } from './parts/chance.ts';
import { SEED } from './parts/seed.ts';
import { SpoolRig, text, type RigOptions } from './parts/spool-rig.ts';
import { until } from './parts/until.ts';

const SECOND = 1000;
const HOUR = 3_600_000;
const YEAR = 365.25 * 24 * HOUR;
const NOW = Date.UTC(2026, 0, 1);

const isBlockKey = (key: Buffer) => keyLane(key) < LANES;

interface Given {
  readonly secs?: number;
  readonly child?: string;
  readonly lane?: number;
}

/** A rig whose time a test moves, with what it takes on in blocks of the test's choosing. */
class Timed {
  rig: SpoolRig;
  clock: ManualClock;

  private constructor(rig: SpoolRig, clock: ManualClock) {
    this.rig = rig;
    this.clock = clock;
  }

  static async open(options: RigOptions = {}, clock = new ManualClock()): Promise<Timed> {
    return new Timed(await SpoolRig.open({ timeToLiveSecs: 100, ...options, clock }), clock);
  }

  message(body: string, { secs, child = 'child', lane = LANE_UNSPECIFIED }: Given = {}): Message {
    const life = secs === undefined ? {} : { expiresAfterSecs: secs };
    return { ...this.rig.message(body, lane), source: { child }, ...life };
  }

  add(body: string, given: Given = {}): void {
    void this.rig.spool.accept(this.message(body, given), false);
  }

  /** One block of such messages. */
  async block(...messages: readonly (readonly [body: string, given?: Given])[]): Promise<void> {
    for (const [body, given] of messages) this.add(body, given);
    await this.rig.spool.flush();
  }

  /** Time passes, with the sweeps that fall into it, each on the medium before the next. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 5 * SECOND) {
      await this.clock.flow(Math.min(5 * SECOND, left));
      await this.rig.spool.flush();
    }
  }

  async restart(options: RigOptions = {}): Promise<void> {
    const { clock = this.clock } = options;
    this.clock = clock as ManualClock;
    this.rig = await this.rig.restart({ ...options, clock });
    await this.clock.flow(100);
  }

  configure(settings: Partial<SpoolSettings>): void {
    this.rig.spool.configure({
      dataDir: this.rig.dataDir,
      quota: { bytes: 64 * 2 ** 20 },
      keepFree: { bytes: 0 },
      whenFull: 'drop-oldest',
      durability: 'strict',
      commitEveryMs: 20,
      timeToLiveSecs: 100,
      write: 'always',
      prefill: false,
      ...settings,
    });
  }

  get expired(): number {
    return this.rig.books().ledger.dropped.expired ?? 0;
  }

  /** What is stored, by their bodies, without being sent. */
  bodies(): string[] {
    const bodies = this.rig.take().map(text);
    this.rig.spool.rewind();
    return bodies;
  }

  /** Blocks on the medium. */
  get blocks(): number {
    let count = 0;
    this.rig.spool.environment.read((reader) =>
      reader.scan(Buffer.alloc(8), ({ key }) => {
        if (!isBlockKey(key)) return false;
        count++;
        return true;
      }),
    );
    return count;
  }

  rows(): Pick<Loss, 'lane' | 'reason' | 'firstSeq' | 'lastSeq' | 'count' | 'child'>[] {
    return this.rig.spool.lossesToReport().map(({ lane, reason, firstSeq, lastSeq, count, child }) => ({
      lane,
      reason,
      firstSeq,
      lastSeq,
      count,
      ...(child === undefined ? {} : { child }),
    }));
  }

  /** Every write of blocks from now on: what is put and deleted in each transaction. */
  writes(): { puts: number; deletes: number }[] {
    const seen: { puts: number; deletes: number }[] = [];
    const { environment } = this.rig.spool;
    const write = environment.write.bind(environment);
    environment.write = (changes: readonly Change[]) => {
      const blocks = changes.filter(([key]) => isBlockKey(key));
      const deletes = blocks.filter(([, value]) => value === null).length;
      if (blocks.length > 0) seen.push({ puts: blocks.length - deletes, deletes });
      return write(changes);
    };
    return seen;
  }

  /** How often an entry of the file is looked at from now on. */
  reads(): { count: number } {
    const seen = { count: 0 };
    const { environment } = this.rig.spool;
    const read = environment.read.bind(environment);
    environment.read = <T>(look: (reader: Reader) => T) =>
      read((reader) =>
        look({
          get: (key) => (seen.count++, reader.get(key)),
          ceiling: (key) => (seen.count++, reader.ceiling(key)),
          below: (key) => (seen.count++, reader.below(key)),
          scan: (key, visit) => (seen.count++, reader.scan(key, visit)),
          scanHeads: (key, bytes, visit) => (seen.count++, reader.scanHeads(key, bytes, visit)),
          livePages: () => reader.livePages(),
        }),
      );
    return seen;
  }

  async end(): Promise<void> {
    await this.rig.audit();
    await this.rig.close();
  }
}

test('head, middle, tail and mixed: each message goes when its own time is over, and the rest stays in order', async () => {
  const timed = await Timed.open();
  const { rig } = timed;
  await timed.block(['head', { secs: 10 }], ['head too', { secs: 10 }]);
  await timed.block(['1'], ['middle', { secs: 10 }], ['2']);
  await timed.block(['first', { secs: 10 }], ['3']);
  await timed.block(['4'], ['last', { secs: 10 }]);
  await timed.block(['tail', { secs: 10, child: 'other' }]);
  assert.equal(timed.blocks, 5);
  await timed.pass(9 * SECOND);
  assert.equal(timed.expired, 0);
  await timed.pass(31 * SECOND);
  assert.equal(timed.expired, 6);
  assert.equal(timed.blocks, 3, 'those that had expired whole are gone');
  assert.deepEqual(timed.bodies(), ['1', '2', '3', '4']);
  assert.deepEqual(timed.rows(), [{ lane: 10, reason: 'expired', firstSeq: 1, lastSeq: 10, count: 6 }]);
  await rig.audit();
  await timed.pass(60 * SECOND);
  assert.equal(timed.expired, 10, 'the others by the common time to live');
  assert.equal(timed.blocks, 0);
  assert.equal(rig.books().lanes[10]!.pending, 0);
  await timed.end();
});

test('loss rows: range, count, event times, lanes apart, and the child where it was all one child’s', async () => {
  const timed = await Timed.open();
  const { rig } = timed;
  const eventTime = (n: number) => NOW - 1_000_000 + n;
  const accept = (n: number, given: Given) =>
    void rig.spool.accept({ ...timed.message(String(n), given), eventTime: eventTime(n) }, false);
  accept(1, { secs: 10, child: 'press', lane: 3 });
  accept(2, { secs: 10, child: 'press', lane: 3 });
  accept(3, { secs: 10, child: 'press', lane: 5 });
  accept(4, { secs: 10, child: 'oven', lane: 5 });
  accept(5, { secs: 10_000, child: 'oven', lane: 5 });
  await rig.spool.flush();
  await timed.pass(40 * SECOND);
  const rows = rig.spool.lossesToReport().map(({ id: _, sent: __, ...row }) => row);
  const same = { epoch: 1, reason: 'expired', firstSeq: 1, lastSeq: 2, count: 2, exact: true };
  assert.deepEqual(rows, [
    { ...same, lane: 3, child: 'press', firstEventTime: eventTime(1), lastEventTime: eventTime(2) },
    { ...same, lane: 5, firstEventTime: eventTime(3), lastEventTime: eventTime(4) },
  ]);
  const books = rig.books();
  assert.deepEqual(books.lanes[3]!.dropped, { expired: 2 });
  assert.deepEqual(books.lanes[5]!.dropped, { expired: 2 });
  assert.deepEqual(books.children.of('press').dropped, { expired: 3 });
  assert.deepEqual(books.children.of('oven').dropped, { expired: 1 });
  await timed.end();
});

test('the space is free within a minute of age, also of blocks of which only a part has expired', async () => {
  const timed = await Timed.open();
  const { rig } = timed;
  // Hard to compress: what is kept and what goes are clearly told apart in pages.
  const random = chance(SEED);
  const body = () => Array.from({ length: 40 }, () => random().toString(36).slice(2)).join('');
  for (let block = 0; block < 40; block++) {
    await timed.block(
      ...Array.from({ length: 50 }, (_, n) => [body(), n % 5 === 0 ? { secs: 7200 } : { secs: 20 }] as const),
    );
  }
  const before = rig.spool.snapshot().livePages;
  await timed.pass(20 * SECOND + 60 * SECOND);
  assert.equal(timed.expired, 40 * 40);
  const after = rig.spool.snapshot().livePages;
  assert.ok(after < before * 0.4, `${before} pages before, ${after} after; a fifth of the messages is left`);
  await timed.end();
});

test('a block that expires bit by bit is rewritten once in 20 s, not at every sweep', async () => {
  const timed = await Timed.open();
  const lives = Array.from({ length: 60 }, (_, n) => [`${n}`, { secs: 60 + n }] as const);
  await timed.block(...lives);
  const writes = timed.writes();
  await timed.pass(59 * SECOND);
  assert.equal(writes.length, 0, 'nothing had expired');
  let late = 0;
  for (let now = 60; now < 155; now++) {
    await timed.pass(SECOND);
    const due = Math.min(60, now - 59);
    late = Math.max(late, due - timed.expired);
  }
  assert.equal(timed.expired, 60);
  assert.equal(timed.blocks, 0);
  const puts = writes.filter((write) => write.puts > 0).length;
  assert.ok(puts >= 1 && puts <= 3, `${puts} times in 60 s: ${JSON.stringify(writes)}`);
  assert.ok(late <= 31, `something lay for ${late} s after its time`);
  await timed.end();
});

test('a sweep over 1,000 blocks reads none of which nothing can have expired, and one where one can', async () => {
  const timed = await Timed.open();
  for (let n = 0; n < 1000; n++) {
    timed.add(`${n} ${'x'.repeat(48 * 1024)}`, n === 500 ? { secs: 50 } : {});
    if (n % 100 === 99) await timed.rig.spool.flush();
  }
  assert.equal(timed.blocks, 1000);
  // The index is made at the start, also of nothing.
  await timed.pass(SECOND);
  const reads = timed.reads();
  await timed.pass(39 * SECOND);
  assert.equal(reads.count, 0);
  await timed.pass(20 * SECOND);
  assert.equal(timed.expired, 1);
  // The block, whether one before it holds the number, and where it ends; and the books, by the line above.
  assert.ok(reads.count > 0 && reads.count <= 8, `${reads.count} reads for one block`);
  await timed.end();
});

test('after a restart no more is read than the heads, once', async () => {
  const timed = await Timed.open();
  for (let n = 0; n < 500; n++) timed.add(`${n} ${'x'.repeat(48 * 1024)}`);
  await timed.restart();
  const reads = timed.reads();
  await timed.pass(60 * SECOND);
  assert.equal(reads.count, 0);
  await timed.pass(60 * SECOND);
  assert.equal(timed.expired, 500);
  await timed.end();
});

test('what is in flight does not expire; when it comes back it does', async () => {
  const timed = await Timed.open();
  const { rig } = timed;
  await timed.block(['1', { secs: 10 }], ['2', { secs: 10 }], ['3', { secs: 10 }]);
  await timed.block(['4', { secs: 10 }]);
  const flight = rig.take(2);
  await timed.pass(60 * SECOND);
  assert.equal(timed.expired, 1, 'the block that nobody sends from');
  rig.spool.delivered(flight[0]!, true);
  assert.equal(text(rig.take(1)[0]!), '3', 'what was read with it goes out as well');
  await timed.pass(30 * SECOND);
  assert.equal(timed.expired, 1);
  rig.spool.rewind();
  await timed.pass(30 * SECOND);
  assert.equal(timed.expired, 3);
  assert.equal(timed.blocks, 0);
  assert.deepEqual(timed.rows(), [{ lane: 10, reason: 'expired', firstSeq: 2, lastSeq: 4, count: 3, child: 'child' }]);
  assert.equal(rig.books().ledger.delivered, 1);
  await timed.end();
});

test('an expired message is not handed out, although no sweep has been there yet', async () => {
  const timed = await Timed.open();
  await timed.block(['dead', { secs: 2 }], ['alive'], ['dead too', { secs: 2 }]);
  await timed.block(['dead', { secs: 2 }]);
  await timed.block(['alive too']);
  timed.clock.advance(3 * SECOND);
  assert.deepEqual(timed.rig.take().map(text), ['alive', 'alive too']);
  await timed.rig.spool.flush();
  assert.equal(timed.expired, 3);
  await timed.end();
});

for (const write of ['always', 'when-needed'] as const) {
  test(`an expired message is not handed out from memory either (write: ${write})`, async () => {
    const timed = await Timed.open({ write, commitEveryMs: 60_000 });
    const { rig, clock } = timed;
    await rig.spool.flush();
    timed.add('dead', { secs: 2 });
    timed.add('alive');
    clock.advance(3 * SECOND);
    if (write === 'always') await rig.spool.flush();
    const taken = rig.take();
    assert.deepEqual(taken.map(text), ['alive']);
    rig.spool.delivered(taken[0]!, true);
    await timed.pass(60 * SECOND);
    assert.equal(timed.expired, 1);
    assert.equal(rig.spool.snapshot().pending, 0);
    await timed.end();
  });
}

for (const how of ['configure', 'restart'] as const) {
  const change = async (timed: Timed, timeToLiveSecs: number) => {
    if (how === 'restart') await timed.restart({ timeToLiveSecs });
    else {
      timed.configure({ timeToLiveSecs });
      await timed.clock.flow(100);
    }
  };

  test(`a longer time to live acts on what is stored (${how}), except where a message has its own`, async () => {
    const timed = await Timed.open();
    await timed.block(['common'], ['own', { secs: 100 }]);
    await timed.block(['common too']);
    await timed.pass(50 * SECOND);
    await change(timed, 1000);
    await timed.pass(100 * SECOND);
    assert.deepEqual(timed.bodies(), ['common', 'common too']);
    await timed.pass(800 * SECOND);
    assert.equal(timed.expired, 1);
    await timed.pass(100 * SECOND);
    assert.equal(timed.expired, 3);
    await timed.end();
  });

  test(`a shorter one as well (${how})`, async () => {
    const timed = await Timed.open();
    await timed.block(['common'], ['own', { secs: 100 }]);
    await timed.block(['common too']);
    await timed.pass(50 * SECOND);
    await change(timed, 20);
    await timed.pass(30 * SECOND);
    assert.deepEqual(timed.bodies(), ['own']);
    await timed.pass(60 * SECOND);
    assert.equal(timed.expired, 3);
    await timed.end();
  });
}

test('a shorter time to live also acts on what was not on the medium yet when it was set', async () => {
  const timed = await Timed.open();
  timed.add('in the tail');
  timed.configure({ timeToLiveSecs: 20 });
  await timed.clock.flow(100);
  await timed.rig.spool.flush();
  await timed.pass(40 * SECOND);
  assert.equal(timed.expired, 1);
  await timed.end();
});

const EXPIRE_AT_ONCE = process.env['HOLDFAST_TEST_LONG'] === '1' ? 33_000 : 12_000;
test(`${EXPIRE_AT_ONCE} blocks that expire at once are gone within a minute, over many commits`, async (context) => {
  const timed = await Timed.open();
  const { rig, clock } = timed;
  const body = 'x'.repeat(48 * 1024);
  for (let n = 0; n < EXPIRE_AT_ONCE; n++) {
    timed.add(body);
    if (n % 500 === 499) await rig.spool.flush();
  }
  assert.equal(timed.blocks, EXPIRE_AT_ONCE);
  const writes = timed.writes();
  await clock.flow(95 * SECOND);
  assert.equal(timed.expired, 0);
  const begun = performance.now();
  await clock.flow(10 * SECOND);
  await until('all of them to be gone', () => rig.spool.snapshot().pending === 0, 60_000);
  const took = performance.now() - begun;
  await rig.spool.flush();
  assert.equal(timed.blocks, 0);
  assert.equal(timed.expired, EXPIRE_AT_ONCE);
  assert.ok(writes.length >= EXPIRE_AT_ONCE / 330, `${writes.length} commits`);
  const most = Math.max(...writes.map(({ deletes }) => deletes));
  assert.ok(most <= 1000, `${most} blocks in one transaction`);
  assert.ok(took < 60_000);
  context.diagnostic(`in ${Math.round(took)} ms and ${writes.length} commits, at most ${most} blocks in each`);
  await timed.end();
});

test('a medium that is busy all the time does not put expiry off', async () => {
  const timed = await Timed.open();
  const { rig, clock } = timed;
  await timed.block(['old', { secs: 10 }]);
  const { environment } = rig.spool;
  const write = environment.write.bind(environment);
  let release = () => undefined as void;
  // Each commit ends only after the next sweep was due.
  environment.write = async (changes) => {
    await new Promise<void>((resolve) => (release = resolve));
    await write(changes);
  };
  for (let n = 0; n < 6; n++) {
    timed.add(String(n));
    await clock.flow(SECOND);
    assert.ok(rig.spool.snapshot().commitUnderWay);
    await clock.flow(9 * SECOND);
    const { commits } = rig.spool.snapshot();
    release();
    await until('the commit to end', () => rig.spool.snapshot().commits > commits);
    await clock.flow(0);
  }
  environment.write = write;
  release();
  await rig.spool.flush();
  assert.equal(timed.expired, 1);
  await timed.end();
});

for (const [name, jump] of [
  ['5 seconds', 5 * SECOND],
  ['6 hours', 6 * HOUR],
  ['50 years', 50 * YEAR],
] as const) {
  for (const sign of [1, -1]) {
    test(`the wall clock jumps by ${sign > 0 ? '' : 'minus '}${name} in operation: nothing expires for it, nothing stays`, async () => {
      for (const known of [true, false]) {
        const timed = await Timed.open({}, new ManualClock({ known }));
        const { clock } = timed;
        await timed.block(['before']);
        await timed.pass(50 * SECOND);
        clock.setWall(clock.wall() + sign * jump);
        await timed.pass(20 * SECOND);
        await timed.block(['after']);
        assert.equal(timed.expired, 0);
        await timed.pass(29 * SECOND);
        assert.equal(timed.expired, 0);
        await timed.pass(11 * SECOND);
        assert.equal(timed.expired, 1, 'the first');
        await timed.pass(59 * SECOND);
        assert.equal(timed.expired, 1);
        await timed.pass(11 * SECOND);
        assert.equal(timed.expired, 2, 'the second');
        await timed.end();
      }
    });

    test(`a process restarts after a jump by ${sign > 0 ? '' : 'minus '}${name}: the same`, async () => {
      const timed = await Timed.open();
      await timed.block(['before']);
      await timed.pass(50 * SECOND);
      timed.clock.setWall(timed.clock.wall() + sign * jump);
      await timed.restart();
      await timed.pass(49 * SECOND);
      assert.equal(timed.expired, 0);
      await timed.pass(11 * SECOND);
      assert.equal(timed.expired, 1);
      await timed.end();
    });

    test(`a machine boots with a clock wrong by ${sign > 0 ? '' : 'minus '}${name}: nothing expires by it; the time off counts once it is known`, async () => {
      const timed = await Timed.open({ timeToLiveSecs: 1000 });
      await timed.block(['before']);
      await timed.pass(100 * SECOND);
      // Off for 200 s, then up with a clock that nobody vouches for.
      const real = timed.clock.wall() + 200 * SECOND;
      await timed.restart({
        clock: new ManualClock({ wall: real + sign * jump, known: false, monotonic: 0, bootId: 'boot-2' }),
      });
      await timed.pass(100 * SECOND);
      assert.equal(timed.expired, 0);
      assert.equal(Math.round(timed.rig.spool.snapshot().age / SECOND), 200);
      timed.clock.setWall(real + 100 * SECOND);
      timed.clock.setKnown(true);
      await timed.pass(10 * SECOND);
      assert.equal(Math.round(timed.rig.spool.snapshot().age / SECOND), 410, '200 s more, that it was off');
      await timed.pass(589 * SECOND);
      assert.equal(timed.expired, 0);
      await timed.pass(12 * SECOND);
      assert.equal(timed.expired, 1);
      await timed.end();
    });
  }
}

test('a clock that says 50 years at boot and is called synchronised expires nothing; put right, the time off counts', async () => {
  const timed = await Timed.open({ timeToLiveSecs: 1000 });
  await timed.block(['before']);
  await timed.pass(100 * SECOND);
  const real = timed.clock.wall() + 200 * SECOND;
  await timed.restart({
    clock: new ManualClock({ wall: real + 50 * YEAR, known: true, monotonic: 0, bootId: 'boot-2' }),
  });
  await timed.pass(100 * SECOND);
  assert.equal(timed.expired, 0);
  timed.clock.setWall(real + 100 * SECOND);
  await timed.pass(599 * SECOND);
  assert.equal(timed.expired, 0);
  await timed.pass(11 * SECOND);
  assert.equal(timed.expired, 1);
  await timed.end();
});
