import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, test } from 'node:test';
import { BlockStack, noBlockStack, run } from './parts/block-stack.ts';
import { holdfast } from './parts/command.ts';
import { startGateway } from './parts/gateway-process.ts';
import { scratch } from './parts/scratch.ts';
import { noise, SpoolRig } from './parts/spool-rig.ts';
import { errorsIn, gatewayYaml, seenStatus } from './parts/supervised-gateway.ts';
import { until } from './parts/until.ts';

const MIB = 2 ** 20;

/** Whether the filesystem can be written to, as the kernel says. */
function mountedReadOnly(stack: BlockStack): boolean {
  const line = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .find((mount) => mount.split(' ')[1] === stack.dir);
  return /^ro\b|,ro\b|emergency_ro/.test(line?.split(' ')[3] ?? '');
}

describe('a filesystem that may not be written to', { skip: noBlockStack() }, () => {
  test('for a while: accept waits, says so once, and goes on by itself; nothing is lost', async () => {
    const stack = await BlockStack.start({ bytes: 96 * MIB });
    const rig = await SpoolRig.open({ dataDir: join(stack.dir, 'data'), quota: { bytes: 16 * MIB } });
    const file = join(rig.dataDir, 'spool/data.mdb');
    try {
      let accepted = 0;
      let durable = 0;
      const count = [() => durable++, () => undefined] as const;
      const accept = () => {
        accepted++;
        void rig.accept(noise(500)).then(...count);
      };
      for (let n = 0; n < 300; n++) accept();
      await rig.spool.flush();
      // The kernel makes no filesystem read-only while a file of it is open for writing. It refuses every write to a file
      // that is marked immutable, also through descriptors that were open before.
      assert.throws(() => run('mount', '-o', 'remount,ro', stack.dir), /busy/);
      run('chattr', '+i', file);
      await until('the fault', () => {
        accept();
        return rig.spool.snapshot().fault !== null;
      });
      assert.match(rig.spool.snapshot().fault!, /not permitted|read-only/i);
      assert.ok(durable < accepted);
      const held = durable;
      for (let n = 0; n < 100; n++) accept();
      await assert.rejects(rig.spool.flush(), /not permitted|read-only/i);
      assert.equal(durable, held, 'acknowledged, and not on the medium');
      assert.equal(rig.log.filter(({ level, msg }) => level >= 50 && /cannot write/.test(msg)).length, 1);
      run('chattr', '-i', file);
      await until('all to be durable', () => durable === accepted);
      assert.equal(rig.spool.snapshot().fault, null);
      await rig.audit();
      assert.deepEqual(
        rig.take().map(({ seq }) => seq),
        Array.from({ length: accepted }, (_, i) => i + 1),
      );
    } finally {
      run('chattr', '-i', file);
      await rig.close();
      await stack.end();
    }
  });

  test('since ext4 found an error on it: readings wait in memory, status says so; once it is mounted again, all that was on it is there', async () => {
    const stack = await BlockStack.start({ bytes: 96 * MIB, mkfs: ['-e', 'remount-ro'] });
    const dir = scratch();
    const dataDir = join(stack.dir, 'data');
    const yaml = gatewayYaml({ dataDir });
    let gateway = await startGateway({ dir, yaml });
    try {
      const status = () => seenStatus(gateway.config);
      await until('messages', async () => (await status()).ledger.pending > 300);
      // What a failed write to the journal ends in. There is no way back but to mount it anew.
      writeFileSync(`/sys/fs/ext4/${basename(stack.device)}/trigger_fs_error`, 'a test');
      await until('the kernel to make it read-only', () => mountedReadOnly(stack));
      await until('the fault', async () => (await status()).spool.fault !== null);
      const { spool, ledger } = await status();
      assert.match(spool.fault!, /read-only file system/i);
      assert.equal(errorsIn(gateway).filter((line) => /cannot write/.test(line)).length, 1);
      assert.equal((await holdfast(['method', 'invoke', 'press-1', 'reset', '-c', gateway.config])).code, 0);
      await gateway.stop();
      stack.unmount();
      // As a boot does: 1 is "errors were corrected".
      run('e2fsck', '-fp', stack.device, { may: 'fail' });
      stack.mount();
      gateway = await startGateway({ dir, yaml });
      const now = (await status()).ledger;
      assert.ok(now.accepted >= ledger.accepted && now.pending === now.accepted, JSON.stringify({ ledger, now }));
      const verified = await holdfast(['spool', 'verify', '-c', gateway.config]);
      assert.equal(verified.code, 0, verified.stdout);
      assert.equal(await gateway.stop(), 0);
    } finally {
      await gateway.kill();
      await stack.end();
    }
  });
});
