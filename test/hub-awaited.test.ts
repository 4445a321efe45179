import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IPublishPacket, ISubackPacket } from 'mqtt-packet';
import { ManualClock, settle } from './manual-clock.ts';
import { GATEWAY, hubRig, RawClient } from './parts/hub-rig.ts';
import { until } from './parts/until.ts';

const METHODS = `holdfast/v1/${GATEWAY}/press-1/methods/+/req/+`;

/** Tells whether it has happened. */
function noted(promise: Promise<void>): { done: boolean } {
  const note = { done: false };
  void promise.then(() => (note.done = true));
  return note;
}

test('a method waits for a client that comes and subscribes, and not longer than it was told to', async () => {
  const clock = new ManualClock();
  const { hub, port } = await hubRig({ clock, age: () => clock.monotonic() });
  const clients: RawClient[] = [];
  const others = [0, 5, 60].map((secs) => noted(hub.whenItTakes('press-2', null, 'reset', secs)));
  try {
    const called = hub
      .whenItTakes('press-1', null, 'reset', 60)
      .then(() => hub.method('press-1', null, 'reset', { by: 'panel' }, 10));
    await settle();
    assert.deepEqual(others, [{ done: true }, { done: false }, { done: false }]);
    const child = await RawClient.join(port, 'press-1', { clean: false });
    clients.push(child);
    child.subscribe(1, METHODS);
    assert.deepEqual(((await child.next()) as ISubackPacket).granted, [0x01]);
    const { topic, payload } = (await child.next()) as IPublishPacket;
    assert.deepEqual(JSON.parse(payload.toString()), { payload: { by: 'panel' }, responseTimeoutSecs: 10 });
    child.publish(topic.replace('/req/', '/res/'), '{"status":200,"payload":"done"}');
    assert.deepEqual(await called, { status: 200, payload: 'done' });

    clock.advance(5000);
    await settle();
    assert.deepEqual(others, [{ done: true }, { done: true }, { done: false }]);
    assert.equal((await hub.method('press-2', null, 'reset', null, 10)).status, 404);
    // Whoever comes back with what it had subscribed to is there at once.
    child.socket.destroy();
    await until('it to be gone', () => hub.clients().some((one) => one.child === 'press-1' && !one.connected));
    const back = hub.whenItTakes('press-1', null, 'reset', 60);
    clients.push(await RawClient.join(port, 'press-1', { clean: false }));
    await back;
  } finally {
    for (const { socket } of clients) socket.destroy();
    await hub.stop();
  }
  await settle();
  assert.deepEqual(others[2], { done: true }, 'the one that still waited is let go with the hub');
});
