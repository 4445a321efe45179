import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { pino } from 'pino';
import { Upward } from '../src/above/upward.ts';
import { RegistryRig } from './parts/registry-rig.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

const MIB = 2 ** 20;

function bufferBytes(): number {
  gc();
  return process.memoryUsage().arrayBuffers;
}

test('what gateways below say, and is kept, holds nothing alive of what it came with', async (t) => {
  const rig = await new RegistryRig(scratch()).open();
  t.after(() => rig.close());
  const upward = new Upward(rig.clock, pino({ enabled: false }));
  upward.open(rig.enrolment.store);
  const before = bufferBytes();
  for (let n = 0; n < 200; n++) {
    // As the hub gives it: a piece of what came from a socket, with messages around it.
    const body = Buffer.allocUnsafeSlow(64 * 1024).subarray(100, 150);
    await upward.take({ what: 'status', publication: { topic: `holdfast/v1/site-${n}/status`, body, qos: 1 } });
    await upward.take({ what: 'losses', publication: { topic: `holdfast/v1/site-${n}/losses`, body, qos: 1 } });
  }
  let grown = 0;
  // What is dead is taken away in the background.
  await until(
    () => `the buffers to go: ${Math.round(grown / MIB)} MiB are held for 20 kB`,
    () => (grown = bufferBytes() - before) < 2 * MIB,
  );
  assert.equal(upward.waiting, 200);
});
