import assert from 'node:assert/strict';
import { test } from 'node:test';
import mqtt, { type MqttClient } from 'mqtt';
import { generate, type IPublishPacket } from 'mqtt-packet';
import { GATEWAY, credentials, hubRig, join, RawClient, type HubRig } from './parts/hub-rig.ts';
import { until } from './parts/until.ts';

const OWN = `holdfast/v1/${GATEWAY}`;

/** A hub, and clients that end with the test. */
async function rigged(
  body: (rig: HubRig, client: (id: string, over?: mqtt.IClientOptions) => Promise<MqttClient>) => Promise<void>,
  over: Parameters<typeof hubRig>[0] = {},
): Promise<void> {
  const rig = await hubRig(over);
  const clients: MqttClient[] = [];
  try {
    await body(rig, async (id, options) => {
      const client = await join(rig.port, id, options);
      client.on('error', () => undefined);
      clients.push(client);
      return client;
    });
  } finally {
    for (const client of clients) client.end(true);
    await rig.hub.stop();
  }
}

for (const protocolVersion of [4, 5] as const) {
  test(`MQTT ${protocolVersion}: the PUBACK comes after the message is durable, and not before`, () =>
    rigged(async ({ backroom }, client) => {
      let durable = () => {};
      backroom.take = () => new Promise((resolve) => (durable = resolve));
      const child = await client('press-1', { protocolVersion });
      let acknowledged = false;
      const published = child
        .publishAsync(`${OWN}/press-1/events`, 'one', { qos: 1 })
        .then(() => (acknowledged = true));
      await backroom.bell.until('the event', () => backroom.events.length === 1);
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal(acknowledged, false);
      durable();
      await published;
      assert.deepEqual(backroom.bodies('press-1'), ['one']);
    }));
}

test('PUBACKs leave in the order in which the messages came, whichever is durable first', () =>
  rigged(async ({ port, backroom }) => {
    const durable: (() => void)[] = [];
    backroom.take = () => new Promise((resolve) => durable.push(resolve));
    const raw = await RawClient.open(port);
    const { clientId, username, password } = credentials('press-1');
    raw.socket.write(
      generate({
        cmd: 'connect',
        clientId: clientId!,
        username: username!,
        password: Buffer.from(password as string),
        clean: true,
      }),
    );
    assert.deepEqual([...(await raw.take(4))], [0x20, 2, 0, 0]);
    for (const messageId of [7, 3, 5]) {
      raw.socket.write(
        generate({
          cmd: 'publish',
          topic: `${OWN}/press-1/events`,
          payload: `${messageId}`,
          qos: 1,
          messageId,
          dup: false,
          retain: false,
        }),
      );
    }
    await backroom.bell.until('three events', () => backroom.events.length === 3);
    durable[2]!();
    durable[1]!();
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(raw.bytes.length, 0);
    durable[0]!();
    assert.deepEqual([...(await raw.take(12))], [0x40, 2, 0, 7, 0x40, 2, 0, 3, 0x40, 2, 0, 5]);
    raw.socket.destroy();
  }));

test('telemetry of an SDK child, with its bag, is an event with properties', () =>
  rigged(async ({ backroom }, client) => {
    const child = await client('press-1', credentials('press-1', 'iothub'));
    await child.publishAsync('devices/press-1/messages/events/%24.ct=application%2Fjson&level=high/', '{"t":1}', {
      qos: 1,
    });
    const [{ event } = assert.fail()] = backroom.events;
    assert.equal(event.contentType, 'application/json');
    assert.equal(event.properties['level'], 'high');
    assert.equal(event.body.toString(), '{"t":1}');
  }));

test('a wrong key is refused with 5, a gateway that is not ready with 3', () =>
  rigged(async ({ port, doorkeeper }) => {
    const codeOf = async (over: mqtt.IClientOptions) => {
      const refused = await join(port, 'press-1', over).then(
        () => assert.fail('was let in'),
        (error: unknown) => error as { code?: number },
      );
      return refused.code;
    };
    assert.equal(await codeOf({ password: 'guess' }), 5);
    assert.equal(await codeOf({ password: 'guess', protocolVersion: 5 }), 0x87);
    doorkeeper.available = false;
    assert.equal(await codeOf({}), 3);
  }));

test('subscriptions and commands wait for an absent child through a crash of the gateway', async () => {
  const first = await hubRig();
  const child = await join(first.port, 'press-1', { ...credentials('press-1', 'iothub'), clean: false });
  await child.subscribeAsync('devices/press-1/messages/devicebound/#', { qos: 1 });
  await child.endAsync();
  await first.hub.deliver('press-1', null, 'command', { body: Buffer.from('one'), messageId: 'm1' }, null);
  await first.hub.deliver('press-1', null, 'command', { body: Buffer.from('two') }, null);
  // What was durable when the process died is all that the next one has; the first hub is not stopped before.
  const second = await hubRig({ store: first.store });
  const got: string[] = [];
  const back = mqtt.connect(`mqtt://127.0.0.1:${second.port}`, { ...credentials('press-1', 'iothub'), clean: false });
  back.on('message', (topic, payload) => got.push(`${topic.split('/')[3]} ${payload.toString()}`));
  const [connack] = await new Promise<[mqtt.IConnackPacket]>((resolve) =>
    back.once('connect', (packet) => resolve([packet])),
  );
  assert.equal(connack.sessionPresent, true);
  await until('both commands', () => got.length === 2);
  assert.deepEqual(
    got.map((line) => line.split(' ')[1]),
    ['one', 'two'],
  );
  await until('nothing to be kept any more', () => second.store.names('letter/').length === 0);
  back.end(true);
  await Promise.all([first.hub.stop(), second.hub.stop()]);
});

test('a clean session begins without subscriptions, and still finds its commands', () =>
  rigged(async ({ hub }, client) => {
    const before = await client('press-1', { clean: true });
    await before.subscribeAsync(`${OWN}/press-1/commands/#`, { qos: 1 });
    await before.endAsync();
    await hub.deliver('press-1', null, 'command', { body: Buffer.from('late') }, null);
    const after = await client('press-1', { clean: true });
    const got: string[] = [];
    after.on('message', (_, payload) => got.push(payload.toString()));
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(got, []);
    await after.subscribeAsync(`${OWN}/press-1/commands/#`, { qos: 1 });
    await until('the command', () => got.length === 1);
  }));

test('what a client did not acknowledge comes again, in order, marked as a repetition', () =>
  rigged(async ({ hub, port }) => {
    const connect = async () => {
      const raw = await RawClient.open(port);
      const { username } = credentials('press-1');
      raw.socket.write(
        generate({
          cmd: 'connect',
          clientId: 'press-1',
          username: username!,
          password: Buffer.from('key of press-1'),
          clean: false,
        }),
      );
      await raw.take(4);
      return raw;
    };
    const raw = await connect();
    raw.socket.write(
      generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: `${OWN}/press-1/commands/#`, qos: 1 }] }),
    );
    assert.deepEqual([...(await raw.take(5))], [0x90, 3, 0, 1, 1]);
    for (const body of ['a', 'b', 'c']) void hub.deliver('press-1', null, 'command', { body: Buffer.from(body) }, null);
    const heads = async (from: RawClient) => {
      const seen: string[] = [];
      while (seen.length < 3) {
        const size = (await from.take(2))[1]!;
        seen.push((await from.take(size)).subarray(-1).toString());
      }
      return seen;
    };
    const first = await raw.bell.until('a packet', () => raw.bytes[0]);
    assert.equal(first, 0x32);
    assert.deepEqual(await heads(raw), ['a', 'b', 'c']);
    raw.socket.destroy();
    await raw.untilClosed();
    const again = await connect();
    assert.equal(await again.bell.until('a packet', () => again.bytes[0]), 0x3a);
    assert.deepEqual(await heads(again), ['a', 'b', 'c']);
    again.socket.destroy();
  }));

test('what comes again at QoS 0, to a client that has subscribed otherwise meanwhile, is not marked: MQTT forbids it', () =>
  rigged(async ({ hub, port }) => {
    const topic = `${OWN}/press-1/commands`;
    const first = await RawClient.join(port, 'press-1', { clean: false });
    first.subscribe(1, topic);
    await first.next();
    await hub.deliver('press-1', null, 'command', { body: Buffer.from('go') }, null);
    await first.next();
    first.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: [topic] });
    await first.next();
    first.socket.destroy();
    const again = await RawClient.join(port, 'press-1', { clean: false });
    again.send({ cmd: 'subscribe', messageId: 3, subscriptions: [{ topic, qos: 0 }] });
    await again.next();
    const { qos, dup, payload } = (await again.next()) as IPublishPacket;
    assert.deepEqual([qos, dup, payload.toString()], [0, false, 'go']);
    again.socket.destroy();
  }));

test('a second connection of the same id replaces the first', () =>
  rigged(async ({ hub, backroom }, client) => {
    const first = await client('press-1', { protocolVersion: 5 });
    const told = new Promise<number | undefined>((resolve) =>
      first.once('disconnect', ({ reasonCode }) => resolve(reasonCode)),
    );
    await client('press-1');
    assert.equal(await told, 0x8e);
    await until('the first to be gone', () => !first.connected);
    assert.deepEqual(backroom.presence, ['press-1 came', 'press-1 went', 'press-1 came']);
    assert.equal(hub.clients().length, 1);
  }));

test('a child whose credentials change is cut off at once, with its modules', () =>
  rigged(async ({ doorkeeper, hub }, client) => {
    const [child, module, other] = [await client('press-1'), await client('press-1/m'), await client('press-2')];
    doorkeeper.revoke('press-1');
    await until('both to be gone', () => !child.connected && !module.connected);
    assert.equal(other.connected, true);
    assert.deepEqual(
      hub
        .clients()
        .filter(({ connected }) => connected)
        .map(({ child: id }) => id),
      ['press-2'],
    );
  }));

test('who is admitted while its credentials change is asked about again', () =>
  rigged(async ({ doorkeeper, port }) => {
    let go = () => {};
    doorkeeper.before = new Promise((resolve) => (go = resolve));
    const joining = join(port, 'press-1');
    await until('the question', () => doorkeeper.shown.length === 1);
    doorkeeper.available = false;
    doorkeeper.revoke('press-1');
    go();
    await assert.rejects(joining);
    assert.equal(doorkeeper.shown.length, 2);
  }));

test('a will becomes telemetry when the connection breaks, and not when it is closed', () =>
  rigged(async ({ backroom }, client) => {
    const will = { topic: `${OWN}/press-1/events`, payload: Buffer.from('gone'), qos: 1 as const, retain: true };
    const polite = await client('press-1', { will });
    await polite.endAsync();
    await backroom.bell.until('it to go', () => backroom.presence.at(-1) === 'press-1 went');
    const rude = await client('press-1', { will });
    rude.stream.destroy();
    await backroom.bell.until('the will', () => backroom.events.length === 1);
    assert.deepEqual(backroom.bodies('press-1'), ['gone']);
  }));

test('methods: an answer comes back, and without one there is a status that says why', () =>
  rigged(async ({ hub }, client) => {
    assert.equal((await hub.method('press-1', null, 'stop', {}, 5)).status, 404);
    const child = await client('press-1', credentials('press-1', 'iothub'));
    assert.equal((await hub.method('press-1', null, 'stop', {}, 5)).status, 404);
    await child.subscribeAsync('$iothub/methods/POST/#', { qos: 0 });
    child.on('message', (topic) => {
      const [, name, rid] = /^\$iothub\/methods\/POST\/([^/]+)\/\?\$rid=(.+)$/.exec(topic) ?? [];
      if (name === 'stop') child.publish(`$iothub/methods/res/200/?$rid=${rid}`, '{"stopped":true}');
    });
    assert.deepEqual(await hub.method('press-1', null, 'stop', { now: true }, 5), {
      status: 200,
      payload: { stopped: true },
    });
    assert.equal((await hub.method('press-1', null, 'silent', {}, 0.1)).status, 504);
  }));

test('a twin is got and patched over the connection', () =>
  rigged(async (_, client) => {
    const child = await client('press-1', credentials('press-1', 'iothub'));
    const got: [string, string][] = [];
    child.on('message', (topic, payload) => got.push([topic, payload.toString()]));
    await child.subscribeAsync('$iothub/twin/res/#', { qos: 0 });
    child.publish('$iothub/twin/GET/?$rid=1', ' ');
    await until('the twin', () => got.length === 1);
    assert.equal(got[0]![0], '$iothub/twin/res/200/?$rid=1');
    assert.deepEqual(JSON.parse(got[0]![1]), { desired: { $version: 1 }, reported: { $version: 1 } });
    child.publish('$iothub/twin/PATCH/properties/reported/?$rid=2', '{"a":1}');
    await until('the answer', () => got.length === 2);
    assert.equal(got[1]![0], '$iothub/twin/res/204/?$rid=2&$version=2');
    child.publish('$iothub/twin/PATCH/properties/reported/?$rid=3', JSON.stringify({ a: 'x'.repeat(200) }));
    await until('the error', () => got.length === 3);
    assert.equal((JSON.parse(got[2]![1]) as { errorCode: number }).errorCode, 400_000);
  }));
