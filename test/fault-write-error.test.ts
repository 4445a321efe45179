import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { holdfast } from './parts/command.ts';
import { startGateway } from './parts/gateway-process.ts';
import { BlockStack, noBlockStack, type Fault } from './parts/block-stack.ts';
import { scratch } from './parts/scratch.ts';
import { noise, SpoolRig, text } from './parts/spool-rig.ts';
import { errorsIn, gatewayYaml, seenStatus } from './parts/supervised-gateway.ts';
import { until } from './parts/until.ts';

const MIB = 2 ** 20;

/** Writes that fail, of the disk that holds a data file. LMDB gives its environment up when it was a meta page. */
const kinds: Readonly<Record<string, (stack: BlockStack, file: string) => Fault>> = {
  'every write': () => ({ on: 'write' }),
  "the data file's first two pages": (stack, file) => ({ on: 'write', sectors: stack.sectorsOf(file).slice(0, 2) }),
  'all of the data file but its first two pages': (stack, file) => ({
    on: 'write',
    sectors: stack.sectorsOf(file).slice(2),
  }),
};

describe('a card that refuses writes for a while', { skip: noBlockStack() }, () => {
  for (const [name, faultOf] of Object.entries(kinds)) {
    test(`(${name}): accept waits, says so once, and goes on by itself; nothing is lost`, async () => {
      const stack = await BlockStack.start({ bytes: 96 * MIB });
      const rig = await SpoolRig.open({ dataDir: join(stack.dir, 'data'), quota: { bytes: 16 * MIB } });
      try {
        let accepted = 0;
        let durable = 0;
        // What is refused at the end of a test that failed is not what it failed of.
        const count = [() => durable++, () => undefined] as const;
        const accept = () => void rig.accept(`${++accepted} ${noise(800).toString('hex')}`).then(...count);
        for (let n = 0; n < 300; n++) accept();
        await rig.spool.flush();
        await stack.fail(faultOf(stack, join(rig.dataDir, 'spool/data.mdb')));
        await until('the fault', () => {
          accept();
          return rig.spool.snapshot().fault !== null;
        });
        assert.match(rig.spool.snapshot().fault!, /Input\/output error|EIO/);
        assert.ok(durable <= rig.books().ledger.accepted, 'acknowledged, and not on the medium');
        assert.ok(durable < accepted);
        // What is there can be read and delivered meanwhile.
        const [first] = rig.take(1);
        rig.spool.delivered(first!, true);
        assert.equal(rig.log.filter(({ level, msg }) => level >= 50 && /cannot write/.test(msg)).length, 1);
        for (let n = 0; n < 100; n++) accept();

        await stack.heal();
        await until('all to be durable', () => durable === accepted);
        assert.equal(rig.spool.snapshot().fault, null);
        assert.equal(rig.log.filter(({ msg }) => /takes writes again/.test(msg)).length, 1);
        await rig.audit();
        const numbers = rig.take().map((stored) => [stored.seq, Number(text(stored).split(' ')[0])]);
        assert.deepEqual(
          numbers,
          Array.from({ length: accepted - 1 }, (_, i) => [i + 2, i + 2]),
        );
        // And so it is after a restart.
        const again = await rig.restart();
        assert.equal(again.take().length, accepted - 1);
        await again.audit();
        await again.close();
      } finally {
        await rig.close();
        await stack.end();
      }
    });
  }

  test('seen from outside: status names the fault and answers all the time, methods work, and it ends by itself', async () => {
    const stack = await BlockStack.start({ bytes: 96 * MIB });
    const dir = scratch();
    const dataDir = join(stack.dir, 'data');
    const gateway = await startGateway({ dir, yaml: gatewayYaml({ dataDir }) });
    try {
      const status = () => seenStatus(gateway.config);
      await until('messages', async () => (await status()).ledger.accepted > 200);
      await stack.fail({ on: 'write', sectors: stack.sectorsOf(join(dataDir, 'spool/data.mdb')).slice(0, 2) });
      await until('the fault', async () => (await status()).spool.fault !== null);
      assert.equal(errorsIn(gateway).length, 1);
      assert.match(errorsIn(gateway)[0]!, /cannot write: .*(Input\/output error|EIO.*); readings wait in memory/);
      for (const word of ['line-4 ping', 'press-1 reset']) {
        const { code, stderr } = await holdfast(['method', 'invoke', ...word.split(' '), '-c', gateway.config]);
        assert.equal(code, 0, `${word}: ${stderr}`);
      }
      const { accepted } = (await status()).ledger;
      await stack.heal();
      await until('new messages on the medium', async () => (await status()).ledger.accepted > accepted + 200);
      assert.equal((await status()).spool.fault, null);
      assert.equal(await gateway.stop(), 0);
    } finally {
      await gateway.kill();
      await stack.end();
    }
  });
});
