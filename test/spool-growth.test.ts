import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noise, SpoolRig } from './parts/spool-rig.ts';

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
