import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IConnackPacket, IConnectPacket, IPublishPacket, ISubackPacket, IUnsubackPacket } from 'mqtt-packet';
import type { HubOptions } from '../src/hub/hub.ts';
import { ManualClock, settle } from './manual-clock.ts';
import { GATEWAY, hubRig, MemoryStore, RawClient, type HubRig } from './parts/hub-rig.ts';
import { until } from './parts/until.ts';

const OWN = `holdfast/v1/${GATEWAY}/press-1`;
const SDK = 'hub.example/press-1/?api-version=2021-04-12';

async function rigged(
  over: Parameters<typeof hubRig>[0],
  body: (rig: HubRig, join: (over?: Partial<IConnectPacket>) => Promise<RawClient>) => Promise<void>,
): Promise<void> {
  const rig = await hubRig(over);
  const clients: RawClient[] = [];
  try {
    await body(rig, async (options) => {
      const client = await RawClient.join(rig.port, 'press-1', options);
      clients.push(client);
      return client;
    });
  } finally {
    for (const { socket } of clients) socket.destroy();
    await rig.hub.stop();
  }
}

async function pass(clock: ManualClock, secs: number): Promise<void> {
  for (let second = 0; second < secs; second++) {
    clock.advance(1000);
    await settle();
  }
}

test('a medium that refuses delays a SUBACK by two seconds, and what is brought becomes durable when it takes again', async () => {
  const clock = new ManualClock();
  const store = new MemoryStore();
  await rigged({ clock, store, age: () => clock.monotonic() }, async ({ hub, log }, join) => {
    store.failing = true;
    const child = await join({ clean: false });
    child.subscribe(1, `${OWN}/commands/#`);
    let durable = false;
    const brought = hub
      .deliver('press-1', null, { input: 'a' }, { body: Buffer.from('x') }, null)
      .then(() => (durable = true));
    await until('the failure', () => log.some((line) => line.includes('sessions cannot be written')));
    assert.equal(child.packets.length, 0);
    await pass(clock, 3);
    assert.deepEqual(((await child.next()) as ISubackPacket).granted, [1]);
    assert.equal(durable, false);
    store.failing = false;
    await until('it to be written', async () => {
      await pass(clock, 1);
      return durable;
    });
    await brought;
    assert.equal(store.names('letter/').length, 1);
    assert.equal(store.names('session/').length, 1);
    assert.equal(log.filter((line) => line.includes('sessions cannot be written')).length < 5, true);
  });
});

test('what was delivered before it could be written is not written', () =>
  rigged({}, async ({ hub, store }, join) => {
    const child = await join();
    child.subscribe(1, `${OWN}/commands/#`);
    await child.next();
    const put = store.put.bind(store);
    let open = () => {};
    const gate = new Promise<void>((resolve) => (open = resolve));
    const written: string[] = [];
    store.put = async (changes) => {
      await gate;
      written.push(...changes.map(([name]) => name));
      await put(changes);
    };
    // The first is in the write that waits; the others would be in the next one.
    const brought = ['a', 'b', 'c'].map(async (body) => {
      await hub.deliver('press-1', null, 'command', { body: Buffer.from(body) }, null);
      return body;
    });
    await settle();
    brought.push(
      ...['d', 'e'].map(async (body) => {
        await hub.deliver('press-1', null, 'command', { body: Buffer.from(body) }, null);
        return body;
      }),
    );
    for (let n = 0; n < 5; n++)
      child.send({ cmd: 'puback', messageId: ((await child.next()) as IPublishPacket).messageId! });
    assert.deepEqual(await Promise.all(brought.slice(3)), ['d', 'e']);
    open();
    await Promise.all(brought);
    await until('nothing to be left', () => store.names('letter/').length === 0 && written.length >= 6);
    assert.deepEqual(
      written.filter((name) => /0000[45]$/.test(name)),
      [],
    );
  }));

test('a child that is forgotten is cut off, and leaves nothing behind', () =>
  rigged({}, async ({ hub, store }, join) => {
    const child = await join({ clean: false });
    child.subscribe(1, `${OWN}/inputs/#`);
    await child.next();
    await hub.deliver('press-1', null, 'command', { body: Buffer.from('x') }, null);
    assert.equal(store.records.size, 2);
    hub.forget('press-1', null);
    await child.untilClosed();
    await until('its records to be gone', () => store.records.size === 0);
    assert.deepEqual(hub.clients(), []);
  }));

test('a message whose sender is to hear of it stays on the medium until that is durable; it comes no more', () => {
  const fates: string[] = [];
  const durable: (() => void)[] = [];
  const settled: NonNullable<HubOptions['settled']> = (child, module, { body }, fate) => {
    fates.push(`${child} ${module} ${body.toString()} ${fate}`);
    return new Promise((resolve) => void durable.push(resolve));
  };
  return rigged({ settled }, async ({ hub, store }, join) => {
    const child = await join({ clean: false });
    for (const [id, what] of ['inputs', 'commands'].entries()) {
      child.subscribe(id + 1, `${OWN}/${what}/#`);
      await child.next();
    }
    await hub.deliver('press-1', null, { input: 'a' }, { body: Buffer.from('of no interest') }, null);
    await hub.deliver('press-1', null, 'command', { body: Buffer.from('x') }, null);
    for (let n = 0; n < 2; n++)
      child.send({ cmd: 'puback', messageId: ((await child.next()) as IPublishPacket).messageId! });
    await until('its fate, and the other’s end', () => fates.length === 1 && store.names('letter/').length === 1);
    assert.equal(hub.clients()[0]!.queued, 0);
    durable[0]!();
    await until('its record to be gone', () => store.names('letter/').length === 0);
    await hub.deliver('press-1', null, 'command', { body: Buffer.from('y') }, null);
    hub.forget('press-1', null);
    assert.deepEqual(fates, ['press-1 null x delivered', 'press-1 null y dropped']);
    durable[1]!();
  });
});

test('a subscription that its grants no longer allow is not kept', () =>
  rigged({}, async ({ doorkeeper }, join) => {
    const kept = { protocolVersion: 5 as const, clean: false, properties: { sessionExpiryInterval: 100 } };
    doorkeeper.grants.set('press-1', { observe: ['#'] });
    const before = await join(kept);
    before.subscribe(1, `holdfast/v1/${GATEWAY}/+/events/#`);
    assert.deepEqual(((await before.next()) as ISubackPacket).granted, [1]);
    before.socket.destroy();
    await before.untilClosed();
    doorkeeper.grants.clear();
    const after = await join(kept);
    after.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: [`holdfast/v1/${GATEWAY}/+/events/#`] });
    // MQTT 5's word for a subscription that there is not.
    assert.deepEqual(((await after.next()) as IUnsubackPacket).granted, [0x11]);
    after.socket.destroy();
  }));

test('retain becomes a property, of a will as well', () =>
  rigged({}, async ({ backroom }, join) => {
    const topic = 'devices/press-1/messages/events/';
    const will = { topic, payload: Buffer.from('gone'), qos: 1 as const, retain: true };
    const child = await join({ username: SDK, will });
    child.send({ cmd: 'publish', topic, payload: 'kept', qos: 1, messageId: 1, dup: false, retain: true });
    await child.next();
    child.socket.destroy();
    await until('the will', () => backroom.events.length === 2);
    assert.deepEqual(
      backroom.events.map(({ event }) => [event.body.toString(), event.properties['mqtt-retain']]),
      [
        ['kept', 'true'],
        ['gone', 'true'],
      ],
    );
  }));

test('MQTT 5: a will that is to wait is not told when its client comes back in time', async () => {
  const clock = new ManualClock();
  await rigged({ clock, age: () => clock.monotonic() }, async ({ backroom }, join) => {
    const options: Partial<IConnectPacket> = {
      protocolVersion: 5,
      clean: false,
      properties: { sessionExpiryInterval: 100 },
      will: {
        topic: `${OWN}/events`,
        payload: Buffer.from('gone'),
        qos: 1,
        retain: false,
        properties: { willDelayInterval: 30 },
      },
    };
    const leave = async (client: RawClient) => {
      const went = backroom.presence.length + 1;
      client.socket.destroy();
      await backroom.bell.until('it to go', () => backroom.presence.length >= went);
    };
    await leave(await join(options));
    await pass(clock, 20);
    const back = await join(options);
    await pass(clock, 40);
    assert.deepEqual(backroom.bodies('press-1'), []);
    await leave(back);
    await pass(clock, 29);
    assert.deepEqual(backroom.bodies('press-1'), []);
    await pass(clock, 2);
    assert.deepEqual(backroom.bodies('press-1'), ['gone']);
  });
});

test('a client without an id is refused, and so is one whose will is not its own', () =>
  rigged({}, async ({ port }) => {
    const codes: (number | undefined)[] = [];
    const foreign = {
      topic: `holdfast/v1/${GATEWAY}/press-2/events`,
      payload: Buffer.from('x'),
      qos: 0 as const,
      retain: false,
    };
    for (const [id, over] of [
      ['', { protocolVersion: 5 as const }],
      ['', {}],
      ['press-1', { will: foreign }],
      ['press-1', { will: foreign, protocolVersion: 5 as const }],
    ] as const) {
      const client = await RawClient.open(port, 'protocolVersion' in over ? 5 : 4);
      client.connect(id, over);
      const packet = (await client.next()) as IConnackPacket;
      codes.push(packet.returnCode ?? packet.reasonCode);
      await client.untilClosed();
    }
    assert.deepEqual(codes, [0x85, 2, 5, 0x87]);
  }));
