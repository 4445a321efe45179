import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../src/clock/clock.ts';
import { STABLE_MS } from '../src/upstream/backoff.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { systemClock } from './parts/spool-rig.ts';
import { until } from './parts/until.ts';
import { UpstreamRig } from './parts/upstream-rig.ts';

/** A connection counts as stable after a moment. */
const hasty: Clock = {
  bootId: systemClock.bootId,
  wall: () => systemClock.wall(),
  monotonic: () => systemClock.monotonic(),
  known: () => true,
  soon: (fn) => systemClock.soon(fn),
  after: (ms, fn) => systemClock.after(ms === STABLE_MS ? 100 : ms, fn),
  every: (ms, fn) => systemClock.every(ms, fn),
};

/** A load balancer before a broker: it closes a connection without a word where `closes` says so, by its CONNECT's version. */
async function balanced(t: TestContext, closes: (version: number, connection: number) => boolean) {
  const mosquitto = await startMosquitto();
  t.after(() => mosquitto.end());
  let connections = 0;
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', (first: Buffer) => {
      const version = first[first.indexOf('MQTT') + 4]!;
      if (closes(version, ++connections)) {
        socket.destroy();
        return;
      }
      const onward = connect(mosquitto.port, '127.0.0.1');
      onward.on('error', () => socket.destroy());
      onward.write(first);
      socket.pipe(onward).pipe(socket);
    });
  }).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const rig = await UpstreamRig.open(`mqtt://127.0.0.1:${port}`, { protocol: 'auto', clock: hasty });
  t.after(() => rig.end());
  rig.upstream.start();
  return { upstream: rig.upstream, connections: () => connections };
}

test('a load balancer whose brokers were away at the start costs MQTT 5 for a minute only', async (t) => {
  const { upstream } = await balanced(t, (_, connection) => connection <= 2);
  await until('it to be online with 3.1.1', () => upstream.snapshot().state === 'online');
  assert.equal(upstream.snapshot().protocol, '3.1.1');
  await until('it to speak MQTT 5', () => {
    const { state, protocol } = upstream.snapshot();
    return state === 'online' && protocol === '5';
  });
});

test('a broker that is silent at MQTT 5 is asked once more, and then left in peace', async (t) => {
  const { upstream, connections } = await balanced(t, (version) => version === 5);
  await until('it to have been asked again', () => connections() === 6 && upstream.snapshot().state === 'online');
  assert.equal(upstream.snapshot().protocol, '3.1.1');
  const before = connections();
  await delay(500);
  assert.equal(connections(), before);
});
