import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import type { Source, Stored } from '../src/message/message.ts';
import type { Change } from '../src/store/environment.ts';
import { SpoolFull } from '../src/spool/spool.ts';
import { ManualClock } from './manual-clock.ts';
import { noise, SpoolRig, text, type RigOptions } from './parts/spool-rig.ts';
import { until } from './parts/until.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const MIB = 2 ** 20;
const QUOTA = 8 * MIB;
/** The long stream: what comes is the same many times of what fits either way. */
const COUNT = LONG ? 500_000 : 120_000;
const STREAM_QUOTA = (LONG ? 8 : 2) * MIB;
/** Long enough that nothing expires. */
const FOR_EVER_SECS = 2_147_483_647;
const START = Date.UTC(2026, 0, 1);
/** Between two messages of a stream, ms. */
const STEP_MS = 1000;
/** A message of a stream bears this much that cannot be compressed, and comes again only far behind what deflate looks back on. */
const PADS = Array.from({ length: 1000 }, () => randomBytes(225).toString('base64'));

/** The one hot reading of each press in all the stream, and its one cold one, are so far from these numbers. */
const HOT = [0.12, 0.34, 0.56, 0.78].map((part) => Math.round(part * COUNT));
const COLD_AFTER = 2000;

function hotOf(press: number): number {
  let n = HOT[press]! + press;
  while (
    n % 20 === 19 ||
    n % 997 === 0 ||
    (n + COLD_AFTER) % 997 === 0 ||
    n % 503 === 0 ||
    (n + COLD_AFTER) % 503 === 0
  )
    n += 4;
  return n;
}

interface Reading {
  readonly source: Source;
  readonly body: string;
}

/** The n-th message of a long stream of four chatty children, one that sends text, one that is rare, and a rare output. */
function reading(n: number): Reading {
  const pad = PADS[n % PADS.length]!;
  if (n % 997 === 0) return { source: { child: 'rare' }, body: JSON.stringify({ n, level: n % 7, pad }) };
  if (n % 20 === 19) return { source: { child: 'words' }, body: `${n} is not JSON ${pad}` };
  if (n % 503 === 0) return { source: { child: 'press-0', output: 'alarms' }, body: JSON.stringify({ n, pad }) };
  const press = n % 4;
  let temperature = 20 + 5 * Math.sin(n / 5000) + ((n * 7919) % 101) / 100;
  if (n === hotOf(press)) temperature = 1000;
  if (n === hotOf(press) + COLD_AFTER) temperature = -1000;
  return { source: { child: `press-${press}` }, body: JSON.stringify({ n, machine: { temperature }, pad }) };
}

const numberOf = (stored: Stored): number => {
  const body = text(stored);
  return body.startsWith('{') ? (JSON.parse(body) as { n: number }).n : Number.parseInt(body, 10);
};

const streamOf = ({ message: { source } }: Stored): string =>
  source.output === undefined ? source.child : `${source.child}/${source.output}`;

/** Accepts messages `from` to `to` of the stream, flushing often enough that no commit carries much. */
async function stream(rig: SpoolRig, from: number, to: number, lane = 10): Promise<void> {
  for (let n = from; n < to; n++) {
    const { source, body } = reading(n);
    const message = { ...rig.message(body, lane), source, eventTime: START + n * STEP_MS };
    void rig.spool.accept(message, false);
    if (n % 200 === 199) await rig.spool.flush();
  }
  await rig.spool.flush();
}

const thinning = (options: RigOptions = {}) =>
  SpoolRig.open({ quota: { bytes: QUOTA }, whenFull: 'thin', timeToLiveSecs: FOR_EVER_SECS, ...options });

/** The report rows of what is missing below `count` messages must say exactly which numbers those are between, and how many. */
function checkAccount(rig: SpoolRig, lane: number, kept: readonly Stored[], accepted: number): void {
  const { dropped } = rig.books().ledger;
  const rows = rig.spool.lossesToReport().filter((row) => row.lane === lane);
  const missing = accepted - kept.length;
  assert.equal(
    rows.reduce((sum, { count }) => sum + count, 0),
    missing,
    'the rows cover all that is missing',
  );
  for (const reason of ['thinned', 'evicted'] as const) {
    const [row, ...others] = rows.filter((one) => one.reason === reason);
    assert.deepEqual(others, [], 'folded into one row');
    assert.equal(row?.count ?? 0, dropped[reason] ?? 0);
    if (row === undefined) continue;
    assert.equal(row.exact, true);
    assert.ok(row.firstSeq >= 1 && row.lastSeq <= accepted && row.lastSeq - row.firstSeq + 1 >= row.count);
    // Sequence numbers begin with 1 and the stream with 0.
    assert.deepEqual(
      [row.firstEventTime, row.lastEventTime],
      [START + (row.firstSeq - 1) * STEP_MS, START + (row.lastSeq - 1) * STEP_MS],
    );
  }
  const seqs = new Set(kept.map(({ seq }) => seq));
  for (const row of rows) {
    // The ends of a row are themselves gone.
    assert.ok(!seqs.has(row.firstSeq) && !seqs.has(row.lastSeq));
  }
}

describe(`${COUNT} messages into ${STREAM_QUOTA / MIB} MiB`, () => {
  const quota = { bytes: STREAM_QUOTA };
  let rig: SpoolRig;
  let kept: Stored[];
  let written = 0;
  let payload = 0;
  let fileMax = 0;
  let cpuSecs = 0;

  before(async () => {
    const countWrites = () => {
      const { environment } = rig.spool;
      const write = environment.write.bind(environment);
      environment.write = (changes: readonly Change[]) => {
        for (const [, value] of changes) written += value?.length ?? 0;
        fileMax = Math.max(fileMax, environment.fileBytes());
        return write(changes);
      };
    };
    rig = await thinning({ quota });
    const begun = process.cpuUsage();
    countWrites();
    await stream(rig, 0, COUNT / 2);
    rig = await rig.restart();
    countWrites();
    await until('the index of the blocks', () => rig.spool.snapshot().indexed);
    await stream(rig, COUNT / 2, COUNT * 0.75);
    rig = await rig.crash();
    countWrites();
    await until('the index of the blocks', () => rig.spool.snapshot().indexed);
    await stream(rig, COUNT * 0.75, COUNT);
    cpuSecs = (process.cpuUsage(begun).user + process.cpuUsage(begun).system) / 1e6;
    for (let n = 0; n < COUNT; n += 100) payload += reading(n).body.length * 100;
    await rig.audit();
    kept = rig.take();
  });

  after(() => rig.close());

  test('reach back more than ten times as far as without thinning, under the quota, in order, with an exact account', async (context) => {
    const plain = await thinning({ quota, whenFull: 'drop-oldest' });
    await stream(plain, 0, 60_000);
    const without = 60_000 - numberOf(plain.take(1)[0]!);
    await plain.close();
    const reach = COUNT - numberOf(kept[0]!);
    context.diagnostic(
      `${kept.length} kept, back to ${reach} of ${COUNT}; dropping the oldest keeps ${without}: ${(reach / without).toFixed(1)} times as far; ` +
        `${(written / payload).toFixed(2)} bytes put per byte of payload; ${cpuSecs.toFixed(1)} s of CPU; file ${(fileMax / MIB).toFixed(2)} MiB`,
    );
    assert.ok(payload >= 15 * STREAM_QUOTA);
    assert.ok(COUNT >= 20 * without, `${COUNT} is not 20 times ${without}`);
    assert.ok(reach >= 10 * without, `only ${reach / without} times as far`);
    assert.ok(fileMax <= STREAM_QUOTA);
    // Each step writes half of what it reads, and a message survives few: not much more than twice what came.
    assert.ok(written < 3 * payload, `${written} bytes for ${payload}`);
    const seqs = kept.map(({ seq }) => seq);
    assert.deepEqual(
      seqs,
      seqs.toSorted((a, b) => a - b),
    );
    for (const stored of kept) assert.equal(numberOf(stored), stored.seq - 1);
    assert.equal(rig.books().ledger.accepted, COUNT);
    checkAccount(rig, 10, kept, COUNT);
  });

  test('of each child, the older the fewer: no slice of time is denser than the one after it', (context) => {
    const from = numberOf(kept[0]!);
    const slice = (COUNT - from) / 10;
    for (const name of ['press-0', 'press-1', 'press-2', 'press-3', 'words']) {
      const counts = Array.from({ length: 10 }, () => 0);
      for (const stored of kept) {
        if (streamOf(stored) === name) counts[Math.min(9, Math.floor((numberOf(stored) - from) / slice))]!++;
      }
      context.diagnostic(`${name}: ${counts.join(' ')}`);
      for (let n = 1; n < 10; n++) {
        const [older, newer] = [counts[n - 1]!, counts[n]!];
        assert.ok(older <= newer * 1.25 + 10, `${name}: slice ${n - 1} has ${older}, the next ${newer}`);
        assert.ok(older > 0, `${name}: slice ${n - 1} is empty`);
      }
      assert.ok(counts[9]! > counts[0]! * 4, 'hardly coarser');
    }
  });

  test('a single extreme reading is kept as long as its neighbourhood is', () => {
    const from = numberOf(kept[0]!);
    const numbers = new Set(kept.map(numberOf));
    for (let press = 0; press < HOT.length; press++) {
      for (const [n, temperature] of [
        [hotOf(press), 1000],
        [hotOf(press) + COLD_AFTER, -1000],
      ] as const) {
        assert.ok(n > from, 'the test is about old history that is still there');
        assert.ok(reading(n).body.includes(`"temperature":${temperature}}`));
        assert.ok(numbers.has(n), `the extreme ${n} is gone, and what was there from ${from} on is kept`);
      }
    }
  });

  test('streams are thinned each by itself: the rare keep more of theirs', () => {
    const from = numberOf(kept[0]!);
    const old = from + (COUNT - from) / 3;
    const share = (name: string) => {
      const here = kept.filter((stored) => streamOf(stored) === name && numberOf(stored) < old).length;
      let came = 0;
      for (let n = from; n < old; n++) {
        const { source } = reading(n);
        if ((source.output === undefined ? source.child : `${source.child}/${source.output}`) === name) came++;
      }
      return here / came;
    };
    const chatty = share('press-1');
    assert.ok(share('rare') > 3 * chatty, `rare ${share('rare')}, chatty ${chatty}`);
    assert.ok(share('press-0/alarms') > 3 * chatty, `alarms ${share('press-0/alarms')}, chatty ${chatty}`);
  });
});

test('lane 10 is thinned and dropped before lane 5 is touched, and lane 5 before lane 0', async () => {
  const rig = await thinning();
  await stream(rig, 0, 8000, 0);
  await stream(rig, 8000, 14_000, 5);
  await stream(rig, 14_000, 34_000, 10);
  const { lanes } = rig.books();
  assert.deepEqual([lanes[0]!.dropped, lanes[5]!.dropped], [{}, {}]);
  assert.ok(lanes[10]!.dropped.thinned! > 5000);
  // More than lane 10 can give: lane 5 is next, thinned as well.
  await stream(rig, 34_000, 64_000, 5);
  const after = rig.books().lanes;
  assert.deepEqual(after[0]!.dropped, {});
  assert.equal(after[10]!.pending, 0);
  assert.ok(after[5]!.dropped.thinned! > 5000);
  await rig.audit();
  await rig.close();
});

test('a lane that is reject-new is never touched and refuses at the door, while the others are thinned', async () => {
  const rig = await thinning({ lanes: { 10: { whenFull: 'reject-new' } } });
  await stream(rig, 0, 10_000, 10);
  await stream(rig, 10_000, 60_000, 5);
  let refused = 0;
  for (let n = 0; n < 50; n++) {
    await rig.accept('one more', 10).catch((error: unknown) => {
      assert.ok(error instanceof SpoolFull);
      assert.match(error.message, /reject-new/);
      refused++;
    });
  }
  await rig.audit();
  const { lanes, ledger } = rig.books();
  assert.equal(refused, 50);
  assert.equal(ledger.refused.rejected, refused);
  // The others have been thinned hundreds of times, and it was said once that the spool is full.
  assert.equal(rig.log.filter(({ msg }) => /the spool is full/.test(msg)).length, 1);
  assert.deepEqual(lanes[10]!.dropped, {});
  assert.equal(lanes[10]!.pending, 10_000);
  assert.ok(lanes[5]!.dropped.thinned! > 10_000);
  assert.equal(lanes[5]!.accepted, 50_000);
  await rig.close();
});

test('what is in flight is never thinned', async () => {
  const rig = await thinning();
  await stream(rig, 0, 2000);
  const flight = rig.take(500);
  await stream(rig, 2000, 60_000);
  assert.ok(rig.books().ledger.dropped.thinned! > 10_000);
  rig.spool.rewind();
  assert.deepEqual(
    rig.take(500).map(({ seq }) => seq),
    flight.map(({ seq }) => seq),
  );
  await rig.audit();
  await rig.close();
});

test('a full spool goes on thinning right after a start, before its index is complete', async (context) => {
  // Its timers do not run: the index is made of what is looked at out of turn.
  const clock = new ManualClock();
  let rig = await thinning({ clock });
  await clock.flow(1000);
  assert.equal(rig.spool.snapshot().indexed, true);
  await stream(rig, 0, 30_000);
  const before = rig.books().ledger.dropped;
  assert.ok(before.thinned! > 5000);
  assert.equal(before.evicted ?? 0, 0);
  rig = await rig.restart();
  const [oldest] = rig.take(1);
  rig.spool.rewind();
  await stream(rig, 30_000, 45_000);
  assert.equal(rig.spool.snapshot().indexed, false);
  const { dropped } = rig.books().ledger;
  context.diagnostic(`thinned ${dropped.thinned! - before.thinned!}, evicted ${dropped.evicted ?? 0}`);
  assert.equal(dropped.evicted ?? 0, 0, 'the oldest were dropped');
  assert.ok(dropped.thinned! > before.thinned! + 5000);
  await rig.audit();
  await clock.flow(60_000);
  assert.equal(rig.spool.snapshot().indexed, true);
  await stream(rig, 45_000, 50_000);
  await rig.audit();
  const kept = rig.take();
  assert.equal(kept[0]!.seq, oldest!.seq, 'the oldest is still there');
  const seqs = kept.map(({ seq }) => seq);
  assert.deepEqual(
    seqs,
    seqs.toSorted((a, b) => a - b),
  );
  for (const stored of kept) assert.equal(numberOf(stored), stored.seq - 1);
  checkAccount(rig, 10, kept, 50_000);
  await rig.close();
});

test('before its index is complete, only what lies side by side is thinned together', async () => {
  const clock = new ManualClock();
  let rig = await thinning({ clock });
  await clock.flow(1000);
  let count = 0;
  for (; rig.books().ledger.dropped.thinned === undefined; count += 200) await stream(rig, count, count + 200);
  rig = await rig.restart();
  await stream(rig, count, count + 1000);
  // What is in flight is passed over; when it is so no more, there are blocks before and behind it that were looked at.
  rig.take(count * 0.7);
  await stream(rig, count + 1000, count + 2000);
  rig.spool.rewind();
  await stream(rig, count + 2000, count + 20_000);
  assert.equal(rig.spool.snapshot().indexed, false);
  await rig.audit();
  const kept = rig.take();
  const seqs = kept.map(({ seq }) => seq);
  assert.deepEqual(
    seqs,
    seqs.toSorted((a, b) => a - b),
  );
  checkAccount(rig, 10, kept, count + 20_000);
  await rig.close();
});

/** Seconds of CPU that a full spool takes for 20,000 messages of so many children, and the spool. */
async function costOf(whenFull: 'thin' | 'drop-oldest', children: number): Promise<{ secs: number; rig: SpoolRig }> {
  const rig = await thinning({ whenFull });
  const bodies = Array.from({ length: 500 }, () => JSON.stringify({ pad: noise(225).toString('base64') }));
  const some = async (from: number, to: number) => {
    for (let n = from; n < to; n++) {
      const message = { ...rig.message(bodies[n % bodies.length]!), source: { child: `child-${n % children}` } };
      void rig.spool.accept({ ...message, eventTime: START + n * STEP_MS }, false);
      if (n % 200 === 199) await rig.spool.flush();
    }
    await rig.spool.flush();
  };
  await some(0, 30_000);
  const begun = process.cpuUsage();
  await some(30_000, 50_000);
  const { user, system } = process.cpuUsage(begun);
  return { secs: (user + system) / 1e6, rig };
}

test('where thinning cannot help, since each child said little, the oldest go, and no CPU is burnt', async (context) => {
  // More children than there are messages in the widest window.
  const thin = await costOf('thin', 30_000);
  const plain = await costOf('drop-oldest', 30_000);
  const { dropped } = thin.rig.books().ledger;
  assert.equal(dropped.thinned ?? 0, 0);
  assert.ok(dropped.evicted! > 20_000);
  const kept = thin.rig.take();
  assert.equal(kept.at(-1)!.seq, 50_000);
  assert.equal(kept.length, kept.at(-1)!.seq - kept[0]!.seq + 1, 'the newest, without a gap');
  context.diagnostic(`${thin.secs.toFixed(2)} s for 20,000 messages, without thinning ${plain.secs.toFixed(2)} s`);
  assert.ok(thin.secs < plain.secs * 6 + 0.5, `${thin.secs} s instead of ${plain.secs} s`);
  checkAccount(thin.rig, 10, kept, 50_000);
  for (const { rig } of [thin, plain]) {
    await rig.audit();
    await rig.close();
  }
});
