import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { originText } from '../src/dialects/holdfast.ts';
import { openGate } from './parts/gate.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { NestedGateway } from './parts/nested-gateway.ts';
import { bySas, newKey } from './parts/sdk-gateway.ts';
import { SteadyChild } from './parts/steady-child.ts';
import { until } from './parts/until.ts';
import { startWatcher } from './parts/watcher.ts';

test('a gateway below that speaks as a device of IoT Hub: its children keep their names, each message comes once', async () => {
  const mosquitto = await startMosquitto();
  const events = await startWatcher({ url: mosquitto.url, gateway: 'site' });
  const losses = await startWatcher({ url: mosquitto.url, gateway: 'line-6' });
  const key = newKey();
  const site = await NestedGateway.make({
    id: 'site',
    upstream: mosquitto.url,
    gateways: [{ id: 'line-6', auth: bySas(key) }],
  });
  const gate = await openGate(site.port);
  const line = await NestedGateway.make({
    id: 'line-6',
    upstream: gate.url,
    iothubKey: key,
    children: ['press', 'idle'],
    yaml: `routes: { up: "FROM /messages/* WHERE keep = 'yes' INTO $upstream" }`,
  });
  const child = (id: string, topic: string) =>
    new SteadyChild({
      connection: { host: '127.0.0.1', port: line.port },
      credentials: () => ({ clientId: id, username: id, password: `key of ${id}` }),
      topic: `holdfast/v1/line-6/${id}/events/${topic}`,
      body: (n) => Buffer.from(String(n)),
      everyMs: 5,
    });
  const press = child('press', 'force/?p-keep=yes&content-type=text%2Fplain');
  const idle = child('idle', 'still');
  try {
    await Promise.all([site.start(), line.start()]);
    press.start();
    idle.start();
    for (let cut = 0; cut < 3; cut++) {
      const { length } = events.events;
      await events.until('messages to flow', (watcher) => watcher.events.length > length + 20);
      // What is taken from here on is not acknowledged: it comes again.
      gate.mute();
      await sleep(100);
      await gate.close();
      await gate.open();
    }
    press.finish();
    await until('everything to be acknowledged', () => press.underway === 0);
    const first = () => new Set(events.events.map(({ body }) => body.toString()));
    await events.until(
      () => `${press.sent} messages, of which ${first().size} are there`,
      () => first().size === press.sent,
    );
    assert.deepEqual(
      [...first()],
      Array.from({ length: press.sent }, (_, n) => String(n)),
      'in their order',
    );
    const origins = new Set(events.events.map(({ origin }) => originText(origin!)));
    assert.equal(origins.size, press.sent, 'each origin once');
    assert.equal(events.firstSights().length, press.sent, 'each message once');
    const { child: whose, output, contentType, properties, origin } = events.events[0]!;
    assert.deepEqual([whose, output, contentType, origin?.gateway], ['press', 'force', 'text/plain', 'line-6']);
    assert.deepEqual(properties, { keep: 'yes' }, 'nothing but its own');
    const { below } = await site.command<{ below: { repeats: number } }>(['status']);
    assert.ok(below.repeats > 0, 'some came again');
    await losses.until('a loss report of the gateway below', (watcher) =>
      watcher.losses.some(({ reason }) => reason === 'no-route'),
    );
  } finally {
    for (const each of [press, idle]) await each.stop();
    await Promise.all([line.kill(), site.kill()]);
    await Promise.all([events.end(), losses.end()]);
    await gate.close();
    await mosquitto.end();
  }
});
