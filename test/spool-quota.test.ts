import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Loss } from '../src/message/loss.ts';
import { pendingOf } from '../src/spool/books.ts';
import { SpoolFull } from '../src/spool/spool.ts';
import { noise, SpoolRig, text } from './parts/spool-rig.ts';
import { until } from './parts/until.ts';

const MIB = 2 ** 20;
const QUOTA = 8 * MIB;
/** Some times as many as fit. */
const COUNT = process.env['HOLDFAST_TEST_LONG'] === '1' ? 200_000 : 100_000;

/** Bytes of the files under a data directory. */
function bytesUnder(dataDir: string): number {
  const files = readdirSync(dataDir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.reduce((sum, file) => sum + statSync(join(file.parentPath, file.name)).size, 0);
}

/** Accepts `count` messages in steps that a commit carries, and holds the files against the quota after each. */
async function fill(rig: SpoolRig, lane: number, count: number, body: (n: number) => Buffer): Promise<number> {
  const step = Math.ceil(100_000 / body(0).length);
  let largest = 0;
  for (let n = 0; n < count; n += step) {
    for (let k = n; k < Math.min(count, n + step); k++) void rig.accept(body(k), lane, false);
    await rig.spool.flush();
    largest = Math.max(largest, bytesUnder(rig.dataDir));
    assert.ok(largest <= QUOTA, `${largest} bytes under dataDir, the quota is ${QUOTA}`);
  }
  return largest;
}

const evictedRows = (rows: readonly Loss[], lane: number) =>
  rows.filter((row) => row.lane === lane && row.reason === 'evicted');

test(`${COUNT} messages into 8 MiB: the files stay under the quota, and what is missing is reported exactly`, async (context) => {
  let rig = await SpoolRig.open({ quota: { bytes: QUOTA } });
  const half = noise(100);
  const body = (n: number) => Buffer.concat([Buffer.from(`${n + 1} `), half, noise(80)]);
  const largest = await fill(rig, 10, COUNT, body);
  await rig.audit();
  rig = await rig.crash();
  await rig.audit();
  const { ledger } = rig.books();
  assert.equal(ledger.accepted, COUNT);
  const rows = rig.spool.lossesToReport();
  const left = rig.take();
  const first = left[0]!.seq;
  // The gap that a reader sees, and nothing else.
  assert.deepEqual(
    rows.map(({ lane, reason, firstSeq, lastSeq, count, exact }) => ({
      lane,
      reason,
      firstSeq,
      lastSeq,
      count,
      exact,
    })),
    [{ lane: 10, reason: 'evicted', firstSeq: 1, lastSeq: first - 1, count: first - 1, exact: true }],
  );
  assert.ok(rows[0]!.firstEventTime! <= rows[0]!.lastEventTime!);
  assert.deepEqual(
    left.map(({ seq }) => seq),
    Array.from({ length: COUNT - first + 1 }, (_, i) => first + i),
  );
  assert.equal(text(left[0]!).split(' ')[0], String(first));
  assert.deepEqual(ledger.dropped, { evicted: first - 1 });
  // The room is used: not much less is kept than fits.
  assert.ok(largest > 0.75 * QUOTA, `only ${largest} bytes of ${QUOTA} were used`);
  for (const stored of left) rig.spool.delivered(stored, true);
  assert.equal((await rig.audit()).messages, 0);
  context.diagnostic(`${left.length} of ${COUNT} kept in ${largest} bytes`);
  await rig.close();
});

test('what is in flight is never evicted; delivery goes on behind the gap, which is reported first', async () => {
  const rig = await SpoolRig.open({ quota: { bytes: QUOTA } });
  for (let n = 0; n < 300; n++) void rig.accept(noise(100), 10, false);
  await rig.spool.flush();
  const flight = rig.take(128);
  await fill(rig, 10, 60_000, () => noise(200));
  assert.ok((rig.books().ledger.dropped.evicted ?? 0) > 0);
  for (const stored of flight) rig.spool.delivered(stored, true);
  await rig.audit();
  // The rest of the block that was in flight, then what is left behind the gap.
  const rest = rig.take();
  const [row, ...others] = rig.spool.lossesToReport();
  assert.deepEqual(others, []);
  assert.deepEqual(
    rest.filter(({ seq }) => seq < row!.firstSeq).map(({ seq }) => seq),
    Array.from({ length: row!.firstSeq - 129 }, (_, i) => 129 + i),
  );
  assert.equal(rest.find(({ seq }) => seq >= row!.firstSeq)!.seq, row!.lastSeq + 1);
  assert.equal(row!.count, row!.lastSeq - row!.firstSeq + 1);
  for (const stored of rest) rig.spool.delivered(stored, true);
  assert.equal((await rig.audit()).messages, 0);
  await rig.close();
});

test('what was in flight when the connection went comes again, although later messages were evicted meanwhile', async () => {
  const rig = await SpoolRig.open({ quota: { bytes: QUOTA } });
  for (let n = 0; n < 100; n++) void rig.accept(noise(100), 10, false);
  await rig.spool.flush();
  rig.take(50);
  await fill(rig, 10, 60_000, () => noise(200));
  const evicted = rig.books().ledger.dropped.evicted ?? 0;
  assert.ok(evicted > 0);
  rig.spool.rewind();
  assert.deepEqual(
    rig.take(100).map(({ seq }) => seq),
    Array.from({ length: 100 }, (_, i) => i + 1),
  );
  await rig.audit();
  await rig.close();
});

test('the lowest lane goes first, and lane 0 only when nothing else is left', async () => {
  const rig = await SpoolRig.open({ quota: { bytes: QUOTA } });
  await fill(rig, 0, 10_000, () => noise(200));
  await fill(rig, 5, 10_000, () => noise(200));
  await fill(rig, 10, 40_000, () => noise(200));
  const rows = () => rig.spool.lossesToReport();
  assert.deepEqual(
    [0, 5].map((lane) => evictedRows(rows(), lane).length),
    [0, 0],
  );
  assert.equal(evictedRows(rows(), 10).length, 1);
  await fill(rig, 5, 20_000, () => noise(200));
  // Lane 10 is empty by now, and lane 5 gives way to itself.
  assert.equal(rig.books().lanes[10]!.pending, 0);
  assert.equal(evictedRows(rows(), 0).length, 0);
  assert.ok(evictedRows(rows(), 5).length > 0);
  assert.equal(rig.books().lanes[0]!.pending, 10_000);
  await fill(rig, 0, 40_000, () => noise(200));
  assert.ok(evictedRows(rows(), 0).length > 0);
  await rig.audit();
  await rig.close();
});

test('reject-new refuses what does not fit, drops nothing, and takes messages again when there is room', async () => {
  const rig = await SpoolRig.open({ quota: { bytes: QUOTA }, whenFull: 'reject-new' });
  let accepted = 0;
  let refused = 0;
  while (refused === 0) {
    for (let n = 0; n < 200; n++) {
      rig.accept(noise(400), 10, false).then(
        () => accepted++,
        (error: unknown) => {
          assert.ok(error instanceof SpoolFull);
          refused++;
        },
      );
    }
    await rig.spool.flush();
    assert.ok(bytesUnder(rig.dataDir) <= QUOTA);
  }
  await rig.audit();
  const { ledger } = rig.books();
  assert.deepEqual(ledger.dropped, {});
  assert.deepEqual([ledger.accepted, ledger.refused.rejected], [accepted, refused]);
  assert.deepEqual(rig.spool.lossesToReport(), []);
  const taken = rig.take();
  assert.equal(taken.length, accepted);
  for (const stored of taken.slice(0, accepted / 2)) rig.spool.delivered(stored, true);
  await rig.spool.flush();
  // The commit that deletes finds room no earlier than the one after it.
  await rig.spool.flush();
  rig.spool.refused('malformed');
  await rig.spool.flush();
  await rig.accept('there is room');
  await rig.audit();
  await rig.close();
});

test('what a full spool refuses is shown at once and on the medium within a second, in few commits, and the log says what happens', async () => {
  const rig = await SpoolRig.open({ quota: { bytes: QUOTA }, whenFull: 'reject-new' });
  while (!rig.spool.snapshot().full) {
    for (let n = 0; n < 200; n++) rig.accept(noise(400), 10, false).catch(() => undefined);
    await rig.spool.flush();
  }
  const { rejected = 0 } = rig.books().ledger.refused;
  const { commits } = rig.spool.snapshot();
  const began = performance.now();
  let more = 0;
  while (performance.now() - began < 2500) {
    const answers = await Promise.allSettled(Array.from({ length: 10 }, () => rig.accept(noise(400))));
    more += answers.filter(({ status }) => status === 'rejected').length;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.equal(rig.spool.ledger.refused.rejected, rejected + more);
  assert.ok(rig.spool.snapshot().commits - commits <= 4, `${rig.spool.snapshot().commits - commits} commits`);
  await until('the medium to know', () => rig.books().ledger.refused.rejected === rejected + more);
  const said = rig.log.filter(({ msg }) => /the spool is full/.test(msg)).map(({ msg }) => msg);
  assert.deepEqual(said, ['the spool is full: what comes is refused, and counted; nothing that waits is let go']);
  await rig.close();
});

test('that the spool is full is said by what the lanes are set to', async () => {
  for (const [settings, words] of [
    [{ whenFull: 'thin' }, 'the oldest messages are thinned, lowest lane first, and counted'],
    [{ whenFull: 'drop-oldest' }, 'the oldest messages are let go, lowest lane first, and counted'],
    [
      { whenFull: 'drop-oldest', lanes: { 0: { whenFull: 'reject-new' } } },
      'of lanes 10, 9, 8, 7, 6, 5, 4, 3, 2, 1 the oldest messages are let go, lowest lane first, and counted; ' +
        'of lane 0 what comes is refused, and counted; nothing that waits is let go',
    ],
  ] as const) {
    const rig = await SpoolRig.open({ quota: { bytes: QUOTA }, ...settings });
    while (!rig.spool.snapshot().full) {
      for (let n = 0; n < 200; n++) void rig.accept(noise(400), 10, false);
      await rig.spool.flush();
    }
    assert.equal(rig.log.find(({ msg }) => /the spool is full/.test(msg))?.msg, `the spool is full: ${words}`);
    await rig.close();
  }
});

test('a quota that was lowered is met by the next commits', async () => {
  let rig = await SpoolRig.open({ quota: { bytes: 4 * QUOTA } });
  for (let n = 0; n < 60_000; n++) {
    void rig.accept(noise(200), 10, false);
    if (n % 500 === 499) await rig.spool.flush();
  }
  rig = await rig.restart({ quota: { bytes: QUOTA } });
  for (let n = 0; n < 20; n++) {
    rig.spool.refused('malformed');
    await rig.spool.flush();
  }
  const { livePages, pageBytes } = rig.spool.snapshot();
  assert.ok(livePages * pageBytes <= QUOTA, `${livePages * pageBytes} bytes are live, the quota is ${QUOTA}`);
  await rig.audit();
  const { dropped, accepted } = rig.books().ledger;
  assert.equal(accepted, 60_000);
  assert.equal(
    rig.spool.lossesToReport().reduce((sum, { count }) => sum + count, 0),
    dropped.evicted,
  );
  await rig.close();
});

test('the file shrinks to a lowered quota when nothing is left in it, not when all is settled in memory', async () => {
  let rig = await SpoolRig.open({ quota: { bytes: 2 * QUOTA } });
  await Promise.all(Array.from({ length: 12 }, () => rig.accept(noise(MIB), 10)));
  rig = await rig.restart({ quota: { bytes: QUOTA } });
  await rig.accept('one of the last', 10);
  await rig.accept('the last', 10);
  const taken = rig.take();
  const last = taken.splice(-2);
  for (const stored of taken) rig.spool.delivered(stored, true);
  await rig.audit();
  await until('the spool to be idle', () => !rig.spool.snapshot().commitUnderWay);
  const { environment } = rig.spool;
  const write = environment.write.bind(environment);
  const recreate = environment.recreate.bind(environment);
  // The upstream acknowledges the last ones while a commit is on its way that knows nothing of it.
  environment.write = (changes) => {
    for (const stored of last.splice(0)) rig.spool.delivered(stored, true);
    return write(changes);
  };
  const inFile: number[] = [];
  environment.recreate = (copied) => {
    inFile.push(pendingOf(rig.books()));
    return recreate(copied);
  };
  rig.spool.refused('malformed');
  await rig.spool.flush();
  await until('the file to shrink', () => rig.log.some(({ msg }) => /has shrunk to the quota/.test(msg)));
  assert.deepEqual(inFile, [0]);
  assert.ok(environment.fileBytes() <= QUOTA);
  await rig.audit();
  await rig.close();
});

for (const [mib, burst] of [
  [8, 1000],
  [8, 12_000],
  ...(process.env['HOLDFAST_TEST_LONG'] === '1' ? ([[32, 12_000]] as const) : []),
] as const) {
  test(`bursts of ${burst} messages of 1 kB do not take ${mib} MiB over the quota, nor wedge it`, async (context) => {
    const quota = mib * MIB;
    const rig = await SpoolRig.open({ quota: { bytes: quota }, commitEveryMs: 60_000 });
    let largest = 0;
    const rounds = Math.ceil((4 * mib * 1000) / burst);
    for (let round = 0; round < rounds; round++) {
      const accepted = Array.from({ length: burst }, () => rig.accept(noise(1000), 10, false));
      await rig.spool.flush();
      await Promise.all(accepted);
      largest = Math.max(largest, bytesUnder(rig.dataDir));
    }
    await rig.audit();
    context.diagnostic(`${(largest / MIB).toFixed(1)} MiB at most`);
    assert.ok(largest <= quota, `${largest} bytes under dataDir, the quota is ${quota}`);
    const { ledger } = rig.books();
    assert.equal(ledger.accepted, rounds * burst);
    assert.ok(ledger.dropped.evicted! > 0);
    assert.equal(rig.take().length, ledger.accepted - ledger.dropped.evicted!);
    await rig.close();
  });
}

test('a crash in the middle of a burst leaves the front of it, and an even account', async () => {
  let rig = await SpoolRig.open({ quota: { bytes: QUOTA }, commitEveryMs: 60_000 });
  let durable = 0;
  for (let n = 0; n < 3000; n++) void rig.accept(noise(1000), n % 2 ? 0 : 10, false).then(() => durable++);
  const flushing = rig.spool.flush();
  let commits = 0;
  let dataDir = '';
  // Called between two commits: what the files hold then is what a kill would leave.
  rig.spool.onCommit(() => {
    if (++commits === 4) dataDir = rig.copy();
  });
  await flushing;
  const copy = await SpoolRig.open({ dataDir });
  const { ledger } = copy.books();
  assert.ok(ledger.accepted > 0 && ledger.accepted < 3000, `${ledger.accepted} of 3000`);
  await copy.audit();
  assert.equal(copy.take().length, ledger.accepted);
  await copy.close();
  assert.equal(durable, 3000);
  await rig.audit();
  rig = await rig.crash();
  assert.equal(rig.take().length, 3000);
  await rig.close();
});

test('a quota in percent is a part of the filesystem', async () => {
  const rig = await SpoolRig.open({ quota: { percent: 1 } });
  const { quotaBytes } = rig.spool.snapshot();
  assert.ok(quotaBytes > 0 && Number.isInteger(quotaBytes));
  await rig.close();
});
