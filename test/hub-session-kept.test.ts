import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IConnackPacket, IConnectPacket, IPublishPacket, ISubackPacket, IUnsubackPacket } from 'mqtt-packet';
import type { HubOptions } from '../src/hub/hub.ts';
import { SealError } from '../src/registry/seal-key.ts';
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
    await pass(clock, 10);
    store.failing = false;
    await until('it to be written', async () => {
      await pass(clock, 1);
      return durable;
    });
    await brought;
    assert.equal(store.names('letter/').length, 1);
    assert.equal(store.names('session/').length, 1);
    assert.equal(log.filter((line) => line.includes('sessions cannot be written')).length, 1, 'it is said once');
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

test('a message for a child that was removed and added again stays when one of before goes', () => {
  const durable: (() => void)[] = [];
  const settled = () => new Promise<void>((resolve) => void durable.push(resolve));
  return rigged({ settled }, async ({ hub, store }) => {
    const bring = (body: string) => hub.deliver('press-1', null, 'command', { body: Buffer.from(body) }, null);
    await bring('of before');
    hub.forget('press-1', null);
    await bring('new');
    assert.equal(store.names('letter/').length, 2);
    durable[0]!();
    await until('the one of before to be gone', () => store.names('letter/').length === 1);
    assert.match(store.get(store.names('letter/')[0]!)!.toString('latin1'), /new$/);
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

test('the desired document waits while as much is on its way to a child as may be, and comes as it is then', () =>
  rigged({}, async ({ hub, backroom }, join) => {
    const message = { body: Buffer.from('go') };
    for (let n = 0; n < 2; n++) await hub.deliver('press-1', null, 'command', message, null);
    const child = await join({ protocolVersion: 5, properties: { receiveMaximum: 1 } });
    child.subscribe(1, `${OWN}/#`);
    assert.equal((await child.next()).cmd, 'suback');
    const heard: string[] = [];
    for (let n = 0; n < 3; n++) {
      const { topic, payload, messageId } = (await child.next()) as IPublishPacket;
      heard.push(`${topic.slice(OWN.length)} ${payload.toString()}`);
      backroom.twins.set('press-1', { desired: { speed: n, $version: 2 + n }, reported: {} });
      if (n === 0) hub.desired('press-1', null, 2, { speed: n });
      child.send({ cmd: 'puback', messageId: messageId!, reasonCode: 0 });
    }
    assert.deepEqual(heard, ['/commands go', '/commands go', '/twin/desired {"speed":1,"$version":3}']);
  }));

test('a record of a session that is damaged is said, and its client comes in without it, again and again', async () => {
  const store = new MemoryStore();
  const get = store.get.bind(store);
  store.records.set('session/press-1', Buffer.from('what its key does not open'));
  store.get = (name) => {
    const record = get(name);
    if (record?.toString().startsWith('what') === true) throw new SealError(`the sealed record "${name}" is damaged`);
    return record;
  };
  await rigged({ store }, async ({ log }, join) => {
    for (let n = 0; n < 2; n++) (await join()).socket.destroy();
    await until('the record to be gone', () => !store.records.has('session/press-1'));
    assert.equal(log.filter((line) => /a record of a session cannot be read/.test(line)).length, 1);
  });
});

test('a fault of ours while a client is taken in ends its connection, and nobody else notices', () =>
  rigged({}, async ({ hub, port, backroom, log }, join) => {
    const staying = await join();
    const present = backroom.present.bind(backroom);
    backroom.present = (client, connected) => {
      if (connected) throw new Error('a fault of ours');
      present(client, connected);
    };
    const other = await RawClient.open(port);
    other.connect('press-2');
    await other.untilClosed();
    backroom.present = present;
    assert.ok(log.some((line) => /a client could not be taken in/.test(line)));
    assert.deepEqual([staying.closed, hub.clients().filter(({ connected }) => connected).length], [false, 1]);
  }));
