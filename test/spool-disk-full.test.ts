import assert from 'node:assert/strict';
import { rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { mountSmall } from './parts/small-filesystem.ts';
import { noise, SpoolRig } from './parts/spool-rig.ts';
import { until } from './parts/until.ts';

const MIB = 2 ** 20;

/** Fills what is left of a filesystem, but for so many bytes. */
function hog(dir: string, leave: number): string {
  const file = join(dir, 'hog');
  const { bavail, bsize } = statfsSync(dir);
  try {
    writeFileSync(file, Buffer.alloc(Math.max(0, bavail * bsize - leave)));
  } catch (error) {
    // The filesystem's own records of the file take room as well.
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
  return file;
}

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';

for (const type of LONG ? (['tmpfs', 'ext4'] as const) : (['ext4'] as const)) {
  const small = mountSmall(type, 48 * MIB);
  describe(`a full disk (${type})`, { skip: typeof small === 'string' ? small : false }, () => {
    if (typeof small === 'string') return;
    test('filled by others: the spool goes on in the room that it has, the oldest go with their account, and it grows again when it can', async (context) => {
      const dataDir = join(small.dir, 'data');
      const rig = await SpoolRig.open({ dataDir, quota: { bytes: 30 * MIB }, commitEveryMs: 10 });
      let durable = 0;
      let accepted = 0;
      const accept = async (count: number) => {
        for (let n = 0; n < count; n++) {
          accepted++;
          void rig.accept(noise(1000)).then(() => durable++);
          if (n % 100 === 99) await rig.spool.flush();
        }
      };
      await accept(3000);
      const file = hog(small.dir, 0);
      const held = rig.spool.snapshot().fileBytes;
      await accept(6000);
      assert.equal(rig.spool.snapshot().fault, null);
      assert.equal(durable, accepted, 'a message waits although there is room to be made');
      assert.ok(rig.spool.snapshot().fileBytes <= held + 2 * MIB, 'the file has grown on a full disk');
      assert.equal(rig.spool.snapshot().filling.held, true);
      const complaints = rig.log.filter(({ msg }) => /others have filled the disk/.test(msg));
      assert.equal(complaints.length, 1, 'said once, not at each attempt');
      await rig.audit();
      const { dropped } = rig.books().ledger;
      assert.ok((dropped.evicted ?? 0) > 1000);
      assert.equal(
        rig.spool.lossesToReport().reduce((sum, { count }) => sum + count, 0),
        dropped.evicted,
      );
      // The newest are kept, without a gap.
      const kept = rig.take().map(({ seq }) => seq);
      assert.deepEqual(
        kept,
        Array.from({ length: kept.length }, (_, i) => accepted - kept.length + 1 + i),
      );
      rig.spool.rewind();
      rmSync(file);
      const clock = rig.spool.snapshot().age;
      await until('the disk to be asked again', () => rig.spool.snapshot().age - clock > 10_500);
      await accept(3000);
      assert.ok(rig.spool.snapshot().fileBytes > held, 'the file does not grow again');
      assert.equal(rig.spool.snapshot().filling.held, false);
      await rig.audit();
      context.diagnostic(`${kept.length} messages kept in ${held} bytes on a full disk`);
      await rig.close();
      rmSync(dataDir, { recursive: true });
    });

    test('a kill while the disk is full loses nothing that was acknowledged, and the next start needs no room', async () => {
      const dataDir = join(small.dir, 'data');
      const rig = await SpoolRig.open({
        dataDir,
        quota: { bytes: 30 * MIB },
        commitEveryMs: 10,
        whenFull: 'reject-new',
      });
      for (let n = 0; n < 500; n++) void rig.accept(noise(1000));
      await rig.spool.flush();
      const file = hog(small.dir, 0);
      let acknowledged = 500;
      let refused = 0;
      for (let n = 0; n < 2000 && refused < 10; n++) {
        await rig.accept(noise(1000)).then(
          () => acknowledged++,
          (error: unknown) => {
            assert.match(String(error), /reject-new/);
            refused++;
          },
        );
      }
      assert.equal(refused, 10, 'nothing is refused');
      assert.equal(rig.books().ledger.refused.rejected, undefined, 'refusals are counted with the next commit');
      const copy = await SpoolRig.open({ dataDir: rig.copy() });
      assert.equal(copy.take().length, acknowledged);
      await copy.audit();
      await copy.close();
      await rig.close();
      // Stopped on a full disk, and started on it.
      const again = await SpoolRig.open({ dataDir });
      assert.equal(again.take().length, acknowledged);
      assert.equal(again.books().ledger.refused.rejected, 10);
      await again.audit();
      await again.close();
      rmSync(file);
      rmSync(dataDir, { recursive: true });
    });

    test('keepFree stops our growth before the disk is full, and drops the oldest with their account', async () => {
      const dataDir = join(small.dir, 'data');
      const keep = 20 * MIB;
      const rig = await SpoolRig.open({
        dataDir,
        quota: { bytes: 40 * MIB },
        keepFree: { bytes: keep },
        commitEveryMs: 10,
      });
      for (let n = 0; n < 40_000; n++) {
        void rig.accept(noise(1000));
        if (n % 100 === 99) await rig.spool.flush();
      }
      const { bavail, bsize } = statfsSync(small.dir);
      assert.ok(bavail * bsize > keep - MIB, `${bavail * bsize} bytes are left of ${keep}`);
      await rig.audit();
      const { dropped } = rig.books().ledger;
      assert.ok((dropped.evicted ?? 0) > 1000);
      assert.equal(
        rig.spool.lossesToReport().reduce((sum, { count }) => sum + count, 0),
        dropped.evicted,
      );
      await rig.close();
      rmSync(dataDir, { recursive: true });
    });

    after(() => small.unmount());
  });
}
