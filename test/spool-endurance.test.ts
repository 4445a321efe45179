import assert from 'node:assert/strict';
import { existsSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { BODY_BYTES_MAX } from '../src/message/message.ts';
import type { WhenFull } from '../src/spool/evictor.ts';
import { ManualClock } from './manual-clock.ts';
import { chance } from './parts/chance.ts';
import { SpoolRig } from './parts/spool-rig.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const COMMITS = LONG ? 300_000 : 4000;
const MIB = 2 ** 20;
const QUOTA_BYTES = (LONG ? 64 : 8) * MIB;
/** Share of the quota that live pages may fill, with the reserve of 2 % taken off. */
const SOFT_SHARE = 0.88;
/** The upstream comes for a while, now and then: at each of so many commits, for so many. */
const COMES_EVERY = LONG ? 5000 : 700;
const STAYS_FOR = LONG ? 300 : 25;
/** Messages that it takes at each of them. */
const TAKES = 40;

// What is shown here is what the spool does with its file, not what the medium does: in memory a commit takes a tenth.
if (existsSync('/dev/shm')) process.env['TMPDIR'] = '/dev/shm';

const random = chance(20_261_125);
const between = (least: number, most: number) => least + Math.floor(random() * (most - least + 1));
/** Noise to cut bodies from: no codec makes it smaller, and making it anew for each would take longer than storing it. */
const NOISE = Buffer.from(Array.from({ length: 2 * BODY_BYTES_MAX }, () => between(0, 255)));

/** Most are tiny or small, some large, a few as large as they may be. */
function body(): Buffer {
  const kind = random();
  const bytes =
    kind < 0.6
      ? between(1, 300)
      : kind < 0.9
        ? between(300, 6000)
        : kind < 0.997
          ? between(6000, 60_000)
          : BODY_BYTES_MAX;
  const from = between(0, BODY_BYTES_MAX);
  return NOISE.subarray(from, from + bytes);
}

function lane(): number {
  const kind = random();
  return kind < 0.6 ? 10 : kind < 0.85 ? 5 : kind < 0.97 ? 2 : 0;
}

for (const whenFull of ['drop-oldest', 'thin'] satisfies WhenFull[]) {
  test(`${COMMITS / 2} commits of all sizes at full quota: no wedge, and the file stays within it (${whenFull})`, async (context) => {
    const clock = new ManualClock();
    const rig = await SpoolRig.open({ quota: { bytes: QUOTA_BYTES }, whenFull, durability: 'relaxed', clock });
    const { spool } = rig;
    const file = join(rig.dataDir, 'spool/data.mdb');
    let fileMax = 0;
    let liveMax = 0;
    let fullAt = 0;
    let delivered = 0;
    const last = new Map<number, number>();
    for (let commit = 1; commit <= COMMITS / 2; commit++) {
      for (let n = between(1, 4); n > 0; n--)
        await Promise.race([rig.accept(body(), lane(), false), Promise.resolve()]);
      if (commit % COMES_EVERY < STAYS_FOR) {
        for (const stored of rig.take(TAKES)) {
          assert.ok(stored.seq > (last.get(stored.lane) ?? 0), `lane ${stored.lane}: ${stored.seq} comes late`);
          last.set(stored.lane, stored.seq);
          spool.delivered(stored, true);
          delivered++;
        }
      } else if (commit % COMES_EVERY === STAYS_FOR) spool.rewind();
      // Half of the time a commit carries two rounds.
      if (random() < 0.5) await clock.flow(10);
      await spool.flush();
      const { size } = statSync(file);
      fileMax = Math.max(fileMax, size);
      liveMax = Math.max(
        liveMax,
        spool.environment.read((reader) => reader.livePages().live),
      );
      assert.ok(size <= QUOTA_BYTES, `commit ${commit}: the file has ${size} bytes, the quota is ${QUOTA_BYTES}`);
      if (fullAt === 0 && spool.snapshot().full) fullAt = commit;
    }
    assert.ok(fullAt > 0 && fullAt < COMMITS / 4, `the quota was reached at commit ${fullAt}: too late to tell`);
    const soft = SOFT_SHARE * (QUOTA_BYTES / spool.environment.pageBytes);
    assert.ok(liveMax <= soft, `${liveMax} pages were live`);
    await rig.audit();
    const { ledger } = rig.books();
    assert.equal(ledger.delivered, delivered);
    // Where thinning is enough, nothing else goes.
    assert.ok((ledger.dropped[whenFull === 'thin' ? 'thinned' : 'evicted'] ?? 0) > 0);
    // No room was wanting, so nobody was refused.
    assert.deepEqual(ledger.refused, {});
    const { commits } = spool.snapshot();
    context.diagnostic(
      `${commits} commits, full from ${fullAt} on; file at most ${(fileMax / QUOTA_BYTES).toFixed(4)} of the quota, ` +
        `live at most ${(liveMax / soft).toFixed(4)} of the soft limit; ${JSON.stringify(ledger)}`,
    );
    await rig.close();
    rmSync(dirname(rig.dataDir), { recursive: true });
  });
}

for (const quota of LONG ? [8, 64] : [8]) {
  test(`bodies of up to the largest size in ${quota} MiB: the file stays within the quota`, async (context) => {
    const clock = new ManualClock();
    const quotaBytes = quota * MIB;
    const rig = await SpoolRig.open({ quota: { bytes: quotaBytes }, durability: 'relaxed', clock });
    const { spool } = rig;
    let fileMax = 0;
    for (let commit = 1; commit <= (LONG ? 7500 : 200); commit++) {
      for (let n = between(1, 4); n > 0; n--) {
        const bytes = random() < 0.5 ? between(1, 4000) : between(4000, BODY_BYTES_MAX);
        const from = between(0, BODY_BYTES_MAX);
        await Promise.race([rig.accept(NOISE.subarray(from, from + bytes), lane(), false), Promise.resolve()]);
      }
      await spool.flush();
      const { size } = statSync(join(rig.dataDir, 'spool/data.mdb'));
      fileMax = Math.max(fileMax, size);
      assert.ok(size <= quotaBytes, `commit ${commit}: the file has ${size} bytes, the quota is ${quotaBytes}`);
    }
    await rig.audit();
    const { ledger } = rig.books();
    assert.ok((ledger.dropped.evicted ?? 0) > 0);
    assert.deepEqual(ledger.refused, {});
    context.diagnostic(`file at most ${(fileMax / quotaBytes).toFixed(4)} of the quota; ${JSON.stringify(ledger)}`);
    await rig.close();
    rmSync(dirname(rig.dataDir), { recursive: true });
  });
}
