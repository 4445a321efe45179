import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { pino } from 'pino';
import { Downward } from '../src/above/downward.ts';
import { hubRig } from './parts/hub-rig.ts';
import { RegistryRig } from './parts/registry-rig.ts';
import { scratch } from './parts/scratch.ts';

const MIB = 2 ** 20;

/** Documents for gateways below, in a real store, of which 8 MiB are kept. */
async function documents(t: TestContext) {
  const rig = await new RegistryRig(scratch()).open();
  t.after(() => rig.close());
  const { hub } = await hubRig({});
  t.after(() => hub.stop());
  const { store } = rig.enrolment;
  const downward = new Downward({
    house: { hub, store },
    way: () => 'site',
    answer: () => undefined,
    clock: rig.clock,
    log: pino({ enabled: false }),
  });
  t.after(() => downward.stop());
  /** A registry document of that size comes for a gateway; 0 bytes: there is none any more. */
  const come = (gateway: string, bytes: number) =>
    downward.receive(gateway, {
      topic: `holdfast/v1/${gateway}/children`,
      body: Buffer.alloc(bytes, 'x'),
      qos: 1,
      retain: true,
    });
  const kept = () => store.names('below/doc/').map((name) => name.split('/')[4]);
  return { come, kept };
}

test('documents that come together are not more than may be kept', async (t) => {
  const { come, kept } = await documents(t);
  await Promise.all(['a', 'b', 'c'].map((gateway) => come(gateway, 3 * MIB)));
  assert.deepEqual(kept(), ['a', 'b']);
  await come('d', 3 * MIB);
  assert.deepEqual(kept(), ['a', 'b']);
});

test('one that goes while others come leaves its room; of one that comes and goes at once nothing stays', async (t) => {
  const { come, kept } = await documents(t);
  await come('a', 3 * MIB);
  await come('b', 3 * MIB);
  await Promise.all([come('a', 0), come('c', 1), come('c', 2), come('g', 1), come('g', 0), come('b', 3 * MIB - 1)]);
  await come('d', 3 * MIB);
  assert.deepEqual(kept(), ['b', 'c', 'd']);
  await come('e', 2 * MIB - 1);
  assert.deepEqual(kept(), ['b', 'c', 'd', 'e'], 'all but the last byte is there');
  await come('f', 1);
  assert.deepEqual(kept(), ['b', 'c', 'd', 'e']);
});
