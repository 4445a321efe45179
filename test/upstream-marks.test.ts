import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startRogueBroker } from './parts/rogue-broker.ts';
import { UpstreamRig } from './parts/upstream-rig.ts';
import { until } from './parts/until.ts';

test('on a medium that hangs, sending pauses at window + 1,000 unmarked messages, and goes on when it does', async () => {
  const window = 16;
  const broker = await startRogueBroker();
  const rig = await UpstreamRig.open(broker.url, { window });
  await rig.fill(5000);
  const { environment } = rig.rig.spool;
  const write = environment.write.bind(environment);
  let release = () => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  environment.write = async (changes) => {
    await released;
    return write(changes);
  };
  rig.upstream.start();
  await broker.until('what may be sent', ({ events }) => events.length >= window + 1000);
  // Everything has been acknowledged, so nothing but the marks holds it back.
  await until('all to be settled', () => rig.upstream.snapshot().inFlight === 0);
  assert.equal(broker.events.length, window + 1000);
  assert.equal(rig.rig.spool.unmarked, window + 1000);
  release();
  await rig.drained();
  assert.equal(broker.events.length, 5000);
  await rig.rig.audit();
  await rig.end();
  await broker.end();
});
