import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { bytesWrittenBelow } from '../src/board/block-device.ts';
import { ManualClock, settle } from './manual-clock.ts';
import { noise, SpoolRig, type RigOptions } from './parts/spool-rig.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

const SECOND = 1000;
const DAY_MS = 86_400_000;
const MIB = 2 ** 20;
/** What a commit of small values is taken for, bytes. */
const COMMIT_BYTES = 18_000;
/** Room for one commit in ten seconds; the hour that may be saved up is 360 commits. */
const BUDGET = (COMMIT_BYTES * DAY_MS) / (10 * SECOND);
const SAVED_COMMITS = 360;
/** So many beyond what was saved, and the budget is not kept. */
const OVERDRAWN_COMMITS = 60;

const MEMORY = '/dev/shm';
const noDevice = existsSync(MEMORY) && bytesWrittenBelow(MEMORY) === null;
const inMemory: string[] = [];
after(() => inMemory.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

/** A spool where no block device can be asked. */
function withoutDevice(options: RigOptions): Promise<SpoolRig> {
  const folder = mkdtempSync(join(MEMORY, 'holdfast-test-'));
  inMemory.push(folder);
  return SpoolRig.open({ dataDir: join(folder, 'data'), ...options });
}

/** So many commits of one small message each. */
async function commits(rig: SpoolRig, count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    void rig.accept('small', 10, false);
    await rig.spool.flush();
  }
}

function filled(rig: SpoolRig, clock: ManualClock): Promise<boolean> {
  return until('the file is filled', async () => {
    // About as fast as the world's, or a step would seem to take seconds, and the next be small and late.
    await clock.flow(10);
    const { bytes, targetBytes } = rig.spool.snapshot().filling;
    return targetBytes - bytes < 4096;
  });
}

describe('what is written', { skip: !noDevice && 'SKIP: needs a folder without a block device' }, () => {
  test('is estimated where no device can be asked, and said to be so', async () => {
    const clock = new ManualClock();
    const rig = await withoutDevice({ clock });
    const bytes = () => (rig.spool.snapshot().wear.bytesPerDay * (clock.monotonic() - from)) / DAY_MS;
    const from = clock.monotonic();
    clock.advance(10 * SECOND);
    await commits(rig, 9);
    const { wear, commits: made } = rig.spool.snapshot();
    assert.equal(wear.measured, false);
    assert.equal(wear.budget, null);
    // That it began was a commit as well.
    assert.equal(made, 10);
    assert.ok(Math.abs(bytes() - 10 * COMMIT_BYTES) < 1);
    const payload = 9 * 'small'.length;
    assert.equal(wear.bytesPerPayloadByte, Math.round(((10 * COMMIT_BYTES) / payload) * 100) / 100);
    // A large value takes pages of its own; of 8,192 bytes and what is kept beside them two are full, and the rest shares one.
    void rig.accept(noise(8192));
    await rig.spool.flush();
    const large = (bytes() - 11 * COMMIT_BYTES) / 4096;
    assert.ok(large > 2 && large < 2.2, `${large} pages`);
    await rig.close();
  });

  test('leaves out what fills the file', async () => {
    const clock = new ManualClock();
    const rig = await withoutDevice({ clock, prefill: true, quota: { bytes: 16 * MIB } });
    const from = clock.monotonic();
    await filled(rig, clock);
    const { wear, commits: made, fileBytes } = rig.spool.snapshot();
    assert.ok(fileBytes > 15 * MIB);
    assert.ok(Math.abs((wear.bytesPerDay * (clock.monotonic() - from)) / DAY_MS - made * COMMIT_BYTES) < 1);
    await rig.close();
  });
});

test(
  'the count of the block device is shown where it can be asked: what others write is in it, what fills the file is not',
  { skip: bytesWrittenBelow(scratch()) === null && 'SKIP: needs a temporary folder on a block device' },
  async () => {
    const clock = new ManualClock();
    const dataDir = join(scratch(), 'data');
    const device = () => bytesWrittenBelow(dataDir)!;
    const before = bytesWrittenBelow(scratch())!;
    const from = clock.monotonic();
    const rig = await SpoolRig.open({ dataDir, clock, prefill: true, quota: { bytes: 64 * MIB } });
    const opened = device();
    for (let n = 0; n < 16; n++) {
      void rig.accept(noise(200_000));
      await rig.spool.flush();
    }
    await filled(rig, clock);
    const asked = device();
    // The device is asked once a second at the most.
    await clock.flow(SECOND);
    const { wear, fileBytes } = rig.spool.snapshot();
    const after = device();
    assert.equal(wear.measured, true);
    const shown = (wear.bytesPerDay * (clock.monotonic() - from)) / DAY_MS;
    // Others may have written any amount, also while it began and while it was asked: it looked somewhen between two of our looks.
    const [least, most] = [asked - opened - fileBytes, after - before - fileBytes];
    assert.ok(fileBytes > 60 * MIB && after - before > fileBytes);
    assert.ok(shown > least - 4 * MIB && shown < most + 4 * MIB, `${shown} is shown of ${least} to ${most}`);
    await rig.close();
  },
);

describe('a budget', () => {
  /** A message that nobody waits for: how long it takes until it is written, in steps of a second at the most. */
  async function secondsToMedium(rig: SpoolRig, clock: ManualClock): Promise<number> {
    const { commits: before } = rig.spool.snapshot();
    void rig.accept('nobody waits', 10, false);
    for (let secs = 0; ; secs += 0.5) {
      await clock.flow(0);
      await until('the commit under way', () => !rig.spool.snapshot().commitUnderWay);
      if (rig.spool.snapshot().commits > before) return secs;
      assert.ok(secs < 120, 'it is never written');
      await clock.flow(0.5 * SECOND);
    }
  }

  test('that is not used up stretches nothing', async () => {
    const clock = new ManualClock();
    const rig = await SpoolRig.open({ clock, commitEveryMs: 250, wearBudget: BUDGET });
    await commits(rig, 100);
    assert.deepEqual(rig.spool.snapshot().wear.budget, { bytesPerDay: BUDGET, commitEveryMs: 250, kept: true });
    assert.ok((await secondsToMedium(rig, clock)) <= 0.5);
    await rig.close();
  });

  test('that is used up puts off what nobody waits for until it has room for a commit, and nothing that a sender waits for', async () => {
    const clock = new ManualClock();
    const rig = await SpoolRig.open({ clock, commitEveryMs: 250, wearBudget: BUDGET });
    await commits(rig, SAVED_COMMITS + 20);
    const { budget } = rig.spool.snapshot().wear;
    assert.deepEqual(budget, { bytesPerDay: BUDGET, commitEveryMs: 10 * SECOND, kept: true });
    const secs = await secondsToMedium(rig, clock);
    assert.ok(secs >= 9.5 && secs <= 10.5, `it took ${secs} s`);
    // Who waits takes along what does not.
    void rig.accept('nobody waits', 10, false);
    let durable = false;
    const told = rig.accept('somebody waits', 10, true).then(() => (durable = true));
    await clock.flow(25);
    await told;
    assert.equal(durable, true);
    assert.equal(rig.spool.durableBooks().ledger.accepted, SAVED_COMMITS + 20 + 3);
    await rig.close();
  });

  test('that acknowledgements overdraw is said not to be kept, and to be kept again once there was quiet', async () => {
    const clock = new ManualClock();
    const rig = await SpoolRig.open({ clock, commitEveryMs: 250, wearBudget: BUDGET });
    const kept = () => rig.spool.snapshot().wear.budget!.kept;
    await commits(rig, SAVED_COMMITS + OVERDRAWN_COMMITS - 2);
    assert.equal(kept(), true);
    for (let n = 0; n < 10; n++) {
      const durable = rig.accept('somebody waits', 10, true);
      // Each of them soon, however much is overdrawn.
      await clock.flow(25);
      await durable;
    }
    assert.equal(kept(), false);
    // The account is written every minute all the same: one commit where the budget has room for six.
    for (let minutes = 0; minutes < 5; minutes++) {
      await clock.flow(60 * SECOND);
      await until('the commit under way', () => !rig.spool.snapshot().commitUnderWay);
    }
    assert.equal(kept(), true);
    assert.equal(rig.spool.snapshot().wear.budget!.commitEveryMs, 10 * SECOND, 'there is nothing saved yet');
    await rig.close();
  });

  test('smaller than what must be written is not kept, and nothing is put off for longer than a minute', async () => {
    const clock = new ManualClock();
    const rig = await SpoolRig.open({ clock, commitEveryMs: 250, wearBudget: MIB });
    await commits(rig, 4);
    assert.equal(rig.spool.snapshot().wear.budget!.commitEveryMs, 60 * SECOND);
    const secs = await secondsToMedium(rig, clock);
    assert.ok(secs > 50 && secs <= 60.5, `it took ${secs} s`);
    for (let minutes = 0; minutes < 10; minutes++) {
      await clock.flow(60 * SECOND);
      await until('the commit under way', () => !rig.spool.snapshot().commitUnderWay);
    }
    assert.equal(rig.spool.snapshot().wear.budget!.kept, false);
    await rig.close();
  });

  test('that is taken away by a reload stretches nothing any more', async () => {
    const clock = new ManualClock();
    const settings = {
      quota: { bytes: 64 * MIB },
      keepFree: { bytes: 0 },
      whenFull: 'drop-oldest',
      durability: 'strict',
      commitEveryMs: 250,
      timeToLiveSecs: 7200,
      write: 'always',
      prefill: false,
    } as const;
    const rig = await SpoolRig.open({ ...settings, clock, wearBudget: BUDGET });
    await commits(rig, SAVED_COMMITS + 20);
    assert.equal(rig.spool.snapshot().wear.budget!.commitEveryMs, 10 * SECOND);
    rig.spool.configure({ ...settings, dataDir: rig.dataDir });
    await settle();
    await rig.spool.flush();
    assert.equal(rig.spool.snapshot().wear.budget, null);
    assert.ok((await secondsToMedium(rig, clock)) <= 0.5);
    await rig.close();
  });

  test('also puts off what `write: when-needed` would write while the upstream takes nothing', async () => {
    const clock = new ManualClock();
    const rig = await SpoolRig.open({ clock, commitEveryMs: 250, wearBudget: BUDGET, write: 'when-needed' });
    await commits(rig, SAVED_COMMITS + 20);
    const secs = await secondsToMedium(rig, clock);
    assert.ok(secs >= 9.5 && secs <= 10.5, `it took ${secs} s`);
    await rig.audit();
    await rig.close();
  });
});
