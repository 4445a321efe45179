import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { scratch } from './parts/scratch.ts';
import { noise, SpoolRig } from './parts/spool-rig.ts';
import { until } from './parts/until.ts';

const MIB = 2 ** 20;

/** A small filesystem of the test's own, or why there is none. */
function mount(type: 'tmpfs' | 'ext4', bytes: number): { dir: string; unmount: () => void } | string {
  const dir = join(scratch(), 'small');
  mkdirSync(dir);
  try {
    if (type === 'tmpfs')
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', dir], { stdio: 'pipe' });
    else {
      const image = join(dir, '..', 'image');
      execFileSync('truncate', ['-s', String(bytes), image]);
      execFileSync('mkfs.ext4', ['-q', '-m', '0', image], {
        stdio: 'pipe',
        env: { ...process.env, PATH: `${process.env['PATH']}:/sbin:/usr/sbin` },
      });
      execFileSync('mount', ['-o', 'loop', image, dir], { stdio: 'pipe' });
    }
  } catch (error) {
    return `cannot mount ${type}: ${String((error as { stderr?: Buffer }).stderr ?? error).trim()}`;
  }
  return { dir, unmount: () => execFileSync('umount', ['-l', dir]) };
}

/** Fills what is left of a filesystem, but for so many bytes. */
function hog(dir: string, leave: number): string {
  const file = join(dir, 'hog');
  const { bavail, bsize } = statfsSync(dir);
  writeFileSync(file, Buffer.alloc(Math.max(0, bavail * bsize - leave)));
  return file;
}

for (const type of ['tmpfs', 'ext4'] as const) {
  const small = mount(type, 48 * MIB);
  describe(`a full disk (${type})`, { skip: typeof small === 'string' ? small : false }, () => {
    if (typeof small === 'string') return;
    test('accept waits, says so, and goes on when there is room again; nothing is lost, doubled or out of order', async (context) => {
      const dataDir = join(small.dir, 'data');
      const rig = await SpoolRig.open({ dataDir, quota: { bytes: 40 * MIB }, commitEveryMs: 10 });
      let durable = 0;
      let accepted = 0;
      const accept = (count: number) => {
        for (let n = 0; n < count; n++) {
          accepted++;
          void rig.accept(noise(1000)).then(() => durable++);
        }
      };
      accept(1000);
      await rig.spool.flush();
      const file = hog(small.dir, 100_000);
      const before = durable;
      accept(2000);
      await until('the disk to be full', () => rig.spool.snapshot().fault !== null);
      assert.match(rig.spool.snapshot().fault!, /space/i);
      const { commits } = rig.spool.snapshot();
      const { environment } = rig.spool;
      const write = environment.write.bind(environment);
      let attempts = 0;
      environment.write = (changes) => {
        attempts++;
        return write(changes);
      };
      // A waiting sender who gives up and comes again must not turn the wait into a storm of attempts.
      const began = performance.now();
      while (performance.now() - began < 1500) {
        accept(1);
        await new Promise((resolve) => {
          setTimeout(resolve, 10);
        });
      }
      assert.ok(attempts <= 3, `${attempts} attempts to write in 1.5 s`);
      assert.equal(durable, before, 'a message was acknowledged that is not on the medium');
      assert.equal(rig.spool.snapshot().commits, commits);
      await assert.rejects(rig.spool.flush(), /space/i);
      const complaints = rig.log.filter(({ level, msg }) => level >= 50 && /cannot write/.test(msg));
      assert.equal(complaints.length, 1, 'said once, not at each attempt');
      // What is there can be delivered meanwhile.
      const taken = rig.take(500);
      assert.equal(taken.length, 500);
      for (const stored of taken) rig.spool.delivered(stored, true);
      rmSync(file);
      await until('all to be durable', () => durable === accepted);
      assert.equal(rig.spool.snapshot().fault, null);
      assert.ok(rig.log.some(({ msg }) => /takes writes again/.test(msg)));
      await rig.audit();
      const rest = rig.take();
      assert.deepEqual(
        rest.map(({ seq }) => seq),
        Array.from({ length: accepted - 500 }, (_, i) => 501 + i),
      );
      assert.deepEqual(rig.books().ledger.dropped, {});
      context.diagnostic(`${accepted} accepted, ${rig.spool.snapshot().commits} commits`);
      await rig.close();
      rmSync(dataDir, { recursive: true });
    });

    test('a kill while the disk is full takes only what was never acknowledged', async () => {
      const dataDir = join(small.dir, 'data');
      const rig = await SpoolRig.open({ dataDir, quota: { bytes: 40 * MIB }, commitEveryMs: 10 });
      for (let n = 0; n < 500; n++) void rig.accept(noise(1000));
      await rig.spool.flush();
      const file = hog(small.dir, 50_000);
      for (let n = 0; n < 500; n++) rig.accept(noise(1000)).catch(() => undefined);
      await until('the disk to be full', () => rig.spool.snapshot().fault !== null);
      const copy = await SpoolRig.open({ dataDir: rig.copy() });
      assert.equal(copy.take().length, 500);
      await copy.audit();
      await copy.close();
      await rig.close();
      assert.ok(rig.log.some(({ level, msg }) => level >= 50 && /last commit failed/.test(msg)));
      // Stopped on a full disk, started when there is room.
      rmSync(file);
      const again = await SpoolRig.open({ dataDir });
      assert.equal(again.take().length, 500);
      await again.audit();
      await again.close();
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
