import assert from 'node:assert/strict';
import { once } from 'node:events';
import { renameSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import mqtt, { type MqttClient } from 'mqtt';
import { startMosquitto, type Mosquitto } from './parts/mosquitto.ts';
import { NestedGateway } from './parts/nested-gateway.ts';
import { Bell, until } from './parts/until.ts';

/*
 * What comes from above for children while nobody can connect yet: the broker has kept it while the gateway was away, and it is
 * refused only if there is nobody of that name.
 */
let mosquitto: Mosquitto;
let operator: MqttClient;

before(async () => {
  mosquitto = await startMosquitto();
  operator = await mqtt.connectAsync(mosquitto.url);
});

after(async () => {
  await operator.endAsync();
  await mosquitto.end();
});

/** A gateway whose session the broker has, and for whose children there are a command and desired properties meanwhile. */
async function away(t: TestContext, id: string): Promise<NestedGateway> {
  const options = { id, upstream: mosquitto.url, children: ['door'], gateways: ['line-9'] };
  const gateway = await NestedGateway.make(options);
  t.after(() => gateway.kill());
  await gateway.start();
  await until('it to have asked for commands', async () => {
    await operator.publishAsync(`holdfast/v1/${id}/door/commands`, 'first', { qos: 1 });
    const { hub } = await gateway.command<{ hub: { queued: number } }>(['status']);
    return hub.queued > 0;
  });
  await gateway.stop();
  await operator.publishAsync(`holdfast/v1/${id}/door/commands`, 'open', { qos: 1 });
  await operator.publishAsync(`holdfast/v1/line-9/line-9/commands`, 'later', { qos: 1 });
  await operator.publishAsync(`holdfast/v1/${id}/door/twin/desired`, '{"$version":1,"speed":7}', {
    qos: 1,
    retain: true,
  });
  return gateway;
}

/** A child comes, and has got all of this. */
async function gets(gateway: NestedGateway, id: string, filter: string, ...bodies: string[]): Promise<void> {
  const client = await until(`${id} to be let in`, () =>
    mqtt
      .connectAsync(
        `mqtt://127.0.0.1:${gateway.port}`,
        { clientId: id, username: id, password: `key of ${id}`, protocolVersion: 5, reconnectPeriod: 0 },
        false,
      )
      .catch(() => null),
  );
  const heard: string[] = [];
  const bell = new Bell();
  client.on('message', (_, body) => {
    heard.push(body.toString());
    bell.ring();
  });
  await client.subscribeAsync(filter, { qos: 1 });
  await bell.until(
    () => `${bodies.join(', ')} for ${id}; heard ${heard.join(', ')}`,
    () => bodies.every((body) => heard.some((each) => each.includes(body))) || undefined,
  );
  await client.endAsync();
}

function refused(gateway: NestedGateway): Promise<{ commands: { refused: { unknown: number } } }> {
  return gateway.command(['status']);
}

test('a key that is brought later: what is for children waits above until it is known who they are', async (t) => {
  const gateway = await away(t, 'line-4');
  const keys = join(gateway.dir, 'data/keys');
  renameSync(keys, `${keys}-away`);
  await gateway.start();
  await until('it to say so', () => Promise.resolve(gateway.log.some((line) => line.includes('no child can connect'))));
  await until('it to have come', () => Promise.resolve(gateway.log.some((line) => line.includes('is not taken'))));
  assert.equal((await refused(gateway)).commands.refused.unknown, 0);
  renameSync(`${keys}-away`, keys);
  await gets(gateway, 'door', 'holdfast/v1/line-4/door/#', 'open', '"speed":7');
  await gets(gateway, 'line-9', 'holdfast/v1/line-9/+/commands/#', 'later');
});

test('a port that somebody else has: what is for children waits in their mailboxes', async (t) => {
  const gateway = await away(t, 'line-5');
  const other = createServer().listen(gateway.port, '127.0.0.1');
  t.after(() => other.close());
  await once(other, 'listening');
  await gateway.start();
  await until('it to say so', () => Promise.resolve(gateway.log.some((line) => line.includes('no child can connect'))));
  await operator.subscribeAsync('holdfast/v1/line-5/line-5/methods/ping/res/+');
  const answered = new Promise<true>((resolve) => operator.once('message', () => resolve(true)));
  await until('it to hear commands', async () => {
    await operator.publishAsync('holdfast/v1/line-5/line-5/methods/ping/req/1', '{}');
    return Promise.race([answered, delay(200)]);
  });
  assert.equal((await refused(gateway)).commands.refused.unknown, 0);
  await gateway.stop();
  other.close();
  await gateway.start();
  await gets(gateway, 'door', 'holdfast/v1/line-5/door/#', 'open', '"speed":7');
});
