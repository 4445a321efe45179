import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from './manual-clock.ts';
import { noise, SpoolRig } from './parts/spool-rig.ts';
import { until } from './parts/until.ts';

const MIB = 2 ** 20;

for (const bytes of [4200, 8300, 12_400, 16_400, 40_000]) {
  test(`much at once, in bodies of ${bytes} bytes: the file grows for all of it, and nothing is let go while the quota has room`, async () => {
    const rig = await SpoolRig.open({ quota: { bytes: 64 * MIB } });
    // As much as one commit carries: more than the file grows by when less is asked.
    const count = Math.floor((1.5 * MIB) / bytes);
    for (let round = 0; round < 16; round++) {
      for (let n = 0; n < count; n++) void rig.accept(noise(bytes), 10, true);
      await rig.spool.flush();
    }
    await rig.audit();
    assert.deepEqual(rig.books().ledger.dropped, {});
    assert.equal(rig.spool.snapshot().full, false);
    await rig.close();
  });
}

test('how far the file is filled is told again when the quota has been raised', async () => {
  const clock = new ManualClock();
  const settings = {
    quota: { bytes: 8 * MIB },
    keepFree: { bytes: 0 },
    whenFull: 'drop-oldest',
    durability: 'strict',
    commitEveryMs: 20,
    timeToLiveSecs: 7200,
    write: 'always',
    prefill: true,
  } as const;
  const rig = await SpoolRig.open({ ...settings, clock });
  const told = () =>
    rig.log.flatMap(({ msg, targetBytes }) => {
      const percent = /filled up to (\d+) % of its quota/.exec(msg)?.[1];
      return percent === undefined ? [] : [{ percent: Number(percent), targetBytes: targetBytes as number }];
    });
  const filled = async (times: number) => {
    while (told().filter(({ percent }) => percent === 100).length < times) {
      // Each step is a flush, and there are many: on a slow card only the next of them is a matter of seconds.
      const [{ length }, bytes] = [told(), rig.spool.environment.fileBytes()];
      await until('more of the file to be filled, or to be told of', async () => {
        await clock.flow(1000);
        return told().length > length || rig.spool.environment.fileBytes() > bytes;
      });
    }
  };
  await filled(1);
  const before = told();
  assert.ok(before.length >= 2, 'each quarter');
  rig.spool.configure({ ...settings, dataDir: rig.dataDir, quota: { bytes: 24 * MIB } });
  await filled(2);
  const after = told().slice(before.length);
  const percents = after.map(({ percent }) => percent);
  assert.ok(percents[0]! < 75, 'it begins where the file stands');
  assert.deepEqual(
    percents,
    percents.toSorted((a, b) => a - b),
  );
  assert.equal(new Set(percents).size, percents.length, 'each once');
  for (const { targetBytes } of after) assert.ok(targetBytes > 8 * MIB);
  await rig.close();
});

test('closed while the file is being filled, it comes to rest: nothing tries to write any more', async () => {
  const clock = new ManualClock();
  const rig = await SpoolRig.open({ quota: { bytes: 64 * MIB }, prefill: true, clock });
  const before = rig.spool.environment.fileBytes();
  // A step of filling has begun, or waits for the commit to end.
  void rig.accept('one');
  const flushed = rig.spool.flush();
  clock.advance(1000);
  const closed = rig.close();
  await flushed;
  await closed;
  await clock.flow(60_000);
  assert.deepEqual(
    rig.log.filter(({ level }) => level >= 40),
    [],
  );
  assert.equal(clock.timers, 0);
  const again = await SpoolRig.open({ dataDir: rig.dataDir });
  assert.ok(again.spool.environment.fileBytes() > before, 'a step was made');
  assert.equal(again.books().ledger.accepted, 1);
  await again.close();
});
