import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IConnackPacket, IConnectPacket, IDisconnectPacket, IPubackPacket, ISubackPacket } from 'mqtt-packet';
import { ManualClock, settle } from './manual-clock.ts';
import { GATEWAY, hubRig, RawClient, type HubRig } from './parts/hub-rig.ts';
import { until } from './parts/until.ts';

const OWN = `holdfast/v1/${GATEWAY}`;
const EVENTS = `${OWN}/press-1/events`;
const V5: Partial<IConnectPacket> = { protocolVersion: 5 };

type Join = (id: string, over?: Partial<IConnectPacket>) => Promise<RawClient>;

async function rigged(
  over: Parameters<typeof hubRig>[0],
  body: (rig: HubRig, join: Join, open: () => Promise<RawClient>) => Promise<void>,
): Promise<void> {
  const rig = await hubRig(over);
  const clients: RawClient[] = [];
  const kept = (client: RawClient) => {
    clients.push(client);
    return client;
  };
  try {
    await body(
      rig,
      async (id, options) => kept(await RawClient.join(rig.port, id, options)),
      async () => kept(await RawClient.open(rig.port)),
    );
  } finally {
    for (const { socket } of clients) socket.destroy();
    await rig.hub.stop();
  }
}

/** Time passes, a second at a time, and what is ready happens in between. */
async function pass(clock: ManualClock, secs: number): Promise<void> {
  for (let second = 0; second < secs; second++) {
    clock.advance(1000);
    await settle();
  }
}

test('with 64 messages unacknowledged a client is not read, until one is durable', () =>
  rigged({}, async ({ backroom }, join) => {
    const durable: (() => void)[] = [];
    backroom.take = () => new Promise((resolve) => durable.push(resolve));
    const child = await join('press-1');
    for (let id = 1; id <= 100; id++) child.publish(EVENTS, `${id}`, id);
    await until('64 events', () => backroom.events.length >= 64);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(backroom.events.length, 64);
    durable[0]!();
    await until('the 65th', () => backroom.events.length === 65);
    while (backroom.events.length < 100 || durable.length > 0) {
      for (const done of durable.splice(0)) done();
      await settle();
    }
    await child.bell.until('all PUBACKs', () => child.packets.length === 100);
    assert.deepEqual(
      child.packets.map(({ messageId }) => messageId),
      Array.from({ length: 100 }, (_, at) => at + 1),
    );
  }));

test('with 1 MiB unacknowledged a client is not read', () =>
  rigged({}, async ({ backroom }, join) => {
    backroom.take = () => new Promise(() => {});
    const child = await join('press-1');
    for (let id = 1; id <= 8; id++) child.publish(EVENTS, Buffer.alloc(262_144), id);
    await until('four events', () => backroom.events.length >= 4);
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(backroom.events.length, 4);
  }));

test('what is over the rate waits, and nothing of it is lost; another child does not notice', async () => {
  // It stands still meanwhile: were a second to pass by itself, the rest would be allowed as well.
  const clock = new ManualClock();
  await rigged({ clock, age: () => clock.monotonic(), limits: { messagesPerSec: 50 } }, async ({ backroom }, join) => {
    const [fast, calm] = [await join('press-1'), await join('press-2')];
    for (let id = 1; id <= 100; id++) fast.publish(EVENTS, `${id}`, id);
    await fast.bell.until('what may go at once', () => fast.packets.length >= 50);
    calm.publish(`${OWN}/press-2/events`, 'calm', 1);
    assert.equal((await calm.next()).cmd, 'puback');
    const soon = fast.packets.length;
    assert.ok(soon < 55, `${soon} of 100 messages at 50 a second, before any time has passed`);
    await pass(clock, 1);
    await fast.bell.until('all PUBACKs', () => fast.packets.length === 100);
    assert.equal(backroom.bodies('press-1').length, 100);
  });
});

test('a topic of another child is refused: MQTT 5 says so, MQTT 3.1.1 gets no PUBACK and no connection', () =>
  rigged({}, async ({ backroom, hub }, join) => {
    const five = await join('press-1', V5);
    five.publish(`${OWN}/press-2/events`, 'x', 1);
    five.publish(EVENTS, 'mine', 2);
    assert.equal(((await five.next()) as IPubackPacket).reasonCode, 0x87);
    assert.equal(((await five.next()) as IPubackPacket).reasonCode ?? 0, 0);
    const four = await join('press-3');
    four.publish(`${OWN}/press-2/events`, 'x', 1);
    await four.untilClosed();
    assert.equal(four.packets.length, 0);
    assert.deepEqual(
      backroom.events.map(({ event }) => event.body.toString()),
      ['mine'],
    );
    assert.equal(hub.refused['message'], 2);
    assert.deepEqual(
      hub.clients().map(({ child, refused }) => [child, refused]),
      [
        ['press-1', 1],
        ['press-3', 1],
      ],
    );
  }));

test('no room: MQTT 5 gets 0x97 and stays; MQTT 3.1.1 waits 20 s, is closed, and comes in when there is room', async () => {
  const clock = new ManualClock();
  await rigged({ clock, age: () => clock.monotonic() }, async ({ backroom, port }, join, open) => {
    backroom.take = () => Promise.reject(Object.assign(new Error('full'), { reason: 'rejected' }));
    backroom.room = false;
    const five = await join('press-5', V5);
    five.publish(`${OWN}/press-5/events`, 'x', 1);
    assert.equal(((await five.next()) as IPubackPacket).reasonCode, 0x97);
    const four = await join('press-1');
    four.publish(EVENTS, 'one', 1);
    await until('the first', () => backroom.bodies('press-1').length === 1);
    await settle();
    four.publish(EVENTS, 'two', 2);
    await pass(clock, 19);
    assert.deepEqual([four.closed, four.packets.length, backroom.bodies('press-1')], [false, 0, ['one']]);
    await pass(clock, 2);
    await four.untilClosed();
    assert.equal(four.packets.length, 0);
    const outside = await open();
    outside.connect('press-1');
    assert.equal(((await outside.next()) as IConnackPacket).returnCode, 3);
    assert.equal((await RawClient.join(port, 'press-5', V5)).closed, false);
    backroom.room = true;
    backroom.take = () => Promise.resolve();
    const back = await join('press-1');
    back.publish(EVENTS, 'one', 1);
    assert.equal((await back.next()).cmd, 'puback');
  });
});

test('what a client must not do ends its connection, and MQTT 5 says why', () =>
  rigged({}, async ({ backroom }, join) => {
    const big = Buffer.alloc(262_144);
    const fits = await join('press-1');
    fits.publish(EVENTS, big, 1);
    assert.equal((await fits.next()).cmd, 'puback');
    const bad: [string, number, (child: RawClient) => void][] = [
      [
        'QoS 2',
        0x9b,
        (child) =>
          child.send({ cmd: 'publish', topic: EVENTS, payload: '', qos: 2, messageId: 1, dup: false, retain: false }),
      ],
      ['a body that is too large', 0x95, (child) => child.publish(EVENTS, Buffer.alloc(262_145), 1)],
      [
        'a packet that claims to be huge',
        0x95,
        (child) => child.socket.write(Buffer.from([0x32, 0xff, 0xff, 0xff, 0x7f])),
      ],
      ['a second CONNECT', 0x82, (child) => child.connect('press-1')],
      ['a packet of a server', 0x82, (child) => child.send({ cmd: 'pingresp' })],
      ['a topic with a wildcard', 0x90, (child) => child.publish(`${EVENTS}/+`, 'x', 1)],
      ['a topic that is too deep', 0x90, (child) => child.publish(`${EVENTS}${'/a'.repeat(40)}`, 'x', 1)],
      ['a topic with NUL', 0x81, (child) => child.publish(`${EVENTS}/a\0b`, 'x', 1)],
      [
        'a topic alias',
        0x94,
        (child) =>
          child.send({
            cmd: 'publish',
            topic: EVENTS,
            payload: '',
            qos: 0,
            dup: false,
            retain: false,
            properties: { topicAlias: 1 },
          }),
      ],
      [
        'a topic in overlong UTF-8',
        0x81,
        (child) => child.socket.write(Buffer.from([0x30, 6, 0, 3, 0x61, 0xc0, 0xaf, 0])),
      ],
      ['half a surrogate pair', 0x81, (child) => child.socket.write(Buffer.from([0x30, 6, 0, 3, 0xed, 0xa0, 0x80, 0]))],
      ['a length without end', 0x81, (child) => child.socket.write(Buffer.from([0x32, 0xff, 0xff, 0xff, 0xff, 0xff]))],
      ['reserved bits', 0x81, (child) => child.socket.write(Buffer.from([0x83, 0]))],
      ['a SUBSCRIBE to nothing', 0x82, (child) => child.socket.write(Buffer.from([0x82, 3, 0, 1, 0]))],
    ];
    let oversize = 0;
    for (const [what, reason, act] of bad) {
      const child = await join('press-9', V5);
      act(child);
      await child.untilClosed();
      const last = child.packets.at(-1) as IDisconnectPacket | undefined;
      assert.deepEqual([what, last?.cmd, last?.reasonCode], [what, 'disconnect', reason]);
      oversize += reason === 0x95 ? 1 : 0;
      assert.deepEqual([what, backroom.oversize], [what, oversize]);
    }
    assert.equal(backroom.bodies('press-9').length, 0);
    const old = await join('press-8');
    old.send({
      cmd: 'publish',
      topic: `${OWN}/press-8/events`,
      payload: '',
      qos: 2,
      messageId: 1,
      dup: false,
      retain: false,
    });
    await old.untilClosed();
    assert.equal(old.packets.length, 0);
  }));

test('who does not come to his CONNECT in 10 s is gone, however busily he writes', async () => {
  const clock = new ManualClock();
  await rigged({ clock, age: () => clock.monotonic() }, async ({ hub }, _, open) => {
    const [silent, slow] = [await open(), await open()];
    slow.socket.write(Buffer.from([0x10, 100]));
    for (let second = 0; second < 9; second++) {
      slow.socket.write(Buffer.from([0]));
      await pass(clock, 1);
    }
    assert.deepEqual([silent.closed, slow.closed], [false, false]);
    await pass(clock, 2);
    await Promise.all([silent.untilClosed(), slow.untilClosed()]);
    assert.equal(hub.refused['connection'], 2);
  });
});

test('there is room for so many clients; one that is known may still replace itself', () =>
  rigged({ limits: { clientsMax: 3 } }, async (_, join, open) => {
    for (const id of ['a', 'b', 'c']) await join(id);
    const fourth = await open();
    fourth.connect('d');
    assert.equal(((await fourth.next()) as IConnackPacket).returnCode, 3);
    await join('b');
  }));

test('an address that connects too fast is cut off', async () => {
  // Within a second that passes meanwhile one more would be let in.
  const clock = new ManualClock();
  const limits = { connectionsBurst: 5, connectionsPerSec: 1 };
  await rigged({ clock, age: () => clock.monotonic(), limits }, async ({ hub }, _, open) => {
    const clients = await Promise.all(Array.from({ length: 8 }, open));
    await until('three of eight to be cut off', () => clients.filter(({ closed }) => closed).length === 3);
    assert.equal(hub.refused['connection'], 3);
  });
});

test('a client subscribes to its own topics, and to so many', () =>
  rigged({}, async ({ hub }, join) => {
    const child = await join('press-1', V5);
    const foreign = ['#', '+/+/+/+/events', `${OWN}/press-2/commands/#`, '$SYS/#', '$share/g/a', 'a/#/b', ''];
    child.subscribe(1, ...foreign);
    const { granted } = (await child.next()) as ISubackPacket;
    assert.deepEqual(granted, [0x87, 0x87, 0x87, 0x87, 0x9e, 0x8f, 0x8f]);
    const old = await join('press-2');
    old.subscribe(1, '#');
    assert.deepEqual(((await old.next()) as ISubackPacket).granted, [0x80]);
    child.subscribe(2, ...Array.from({ length: 60 }, (_, at) => `${OWN}/press-1/inputs/${at}/#`));
    const second = (await child.next()) as ISubackPacket;
    assert.deepEqual([second.granted.filter((code) => code === 1).length, second.granted.at(-1)], [50, 0x97]);
    assert.equal(hub.clients().find(({ child: id }) => id === 'press-1')!.refused, foreign.length + 10);
  }));

test('a client that says nothing for 1.5 times its keepalive is gone; one that pings stays', async () => {
  const clock = new ManualClock();
  await rigged({ clock, age: () => clock.monotonic() }, async (_, join) => {
    const [silent, pinging] = [await join('a', { keepalive: 10 }), await join('b', { keepalive: 10 })];
    for (let round = 0; round < 4; round++) {
      pinging.send({ cmd: 'pingreq' });
      await pinging.next();
      assert.equal(silent.closed, false);
      await pass(clock, 5);
    }
    await silent.untilClosed();
    assert.equal(pinging.closed, false);
  });
});

test('a client goes when its token expires, as soon as somebody knows the time', async () => {
  const clock = new ManualClock({ known: false });
  await rigged({ clock, age: () => clock.monotonic() }, async ({ doorkeeper }, join) => {
    doorkeeper.expiresAt = clock.wall() + 60_000;
    const child = await join('a', V5);
    await pass(clock, 70);
    assert.equal(child.closed, false);
    clock.setKnown(true);
    await pass(clock, 2);
    await child.untilClosed();
    assert.equal((child.packets.at(-1) as IDisconnectPacket).reasonCode, 0x87);
  });
});

test('so many messages wait for a client, of so many bytes, for so long', async () => {
  const clock = new ManualClock();
  await rigged(
    { clock, age: () => clock.monotonic(), limits: { queuedMax: 3, queuedBytesMax: 2000 } },
    async ({ hub, store }, join) => {
      const bring = (body: string, secs: number | null = null) =>
        hub.deliver('press-1', null, 'command', { body: Buffer.from(body) }, secs);
      const mailbox = () => hub.clients().map(({ queued, overflow, full }) => [queued, overflow, full])[0];
      await assert.rejects(bring('x'.repeat(2000)), { reason: 'queue full' });
      assert.deepEqual(mailbox(), [0, 1, false], 'one that is too large for an empty mailbox does not make it full');
      await bring('a', 60);
      await assert.rejects(bring('x'.repeat(1900)), { reason: 'queue full' });
      assert.deepEqual(mailbox(), [1, 2, true], 'full for one like that');
      await bring('b');
      await bring('c', 60);
      await assert.rejects(bring('d'), { reason: 'queue full' });
      assert.deepEqual(mailbox(), [3, 3, true]);
      assert.equal(store.names('letter/').length, 3);
      await pass(clock, 61);
      await bring('e');
      const child = await join('press-1');
      child.subscribe(1, `${OWN}/press-1/commands/#`);
      await child.bell.until('SUBACK and two commands', () => child.packets.length === 3);
      const bodies = child.packets.slice(1).map((packet) => ('payload' in packet ? String(packet.payload) : ''));
      assert.deepEqual(bodies, ['b', 'e']);
      assert.deepEqual(mailbox()![1], 3);
      assert.deepEqual(hub.clients()[0]!.dropped, 2);
    },
  );
});

test('MQTT 5: a session is kept as long as its client wished', async () => {
  const clock = new ManualClock();
  await rigged({ clock, age: () => clock.monotonic() }, async ({ port }, join) => {
    const present = async (secs: number) => {
      const client = await RawClient.open(port, 5);
      client.connect('a', { ...V5, clean: false, properties: { sessionExpiryInterval: secs } });
      const packet = (await client.next()) as IConnackPacket;
      client.send({ cmd: 'disconnect', reasonCode: 0 });
      await client.untilClosed();
      return packet.sessionPresent;
    };
    await join('b');
    assert.equal(await present(100), false);
    await pass(clock, 90);
    assert.equal(await present(100), true);
    await pass(clock, 110);
    assert.equal(await present(0), false);
    assert.equal(await present(0), false);
  });
});

test("MQTT 5: a client's Receive Maximum and Maximum Packet Size are kept to", () =>
  rigged({}, async ({ hub }, join) => {
    const child = await join('press-1', { ...V5, properties: { receiveMaximum: 2, maximumPacketSize: 200 } });
    child.subscribe(1, `${OWN}/press-1/commands/#`);
    await child.next();
    for (const body of ['a', 'x'.repeat(300), 'b', 'c', 'd'])
      void hub.deliver('press-1', null, 'command', { body: Buffer.from(body) }, null);
    await child.bell.until('two', () => child.packets.length === 2);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(child.packets.length, 2);
    const bodies: string[] = [];
    while (bodies.length < 4) {
      const packet = await child.next();
      if (packet.cmd !== 'publish') continue;
      bodies.push(String(packet.payload));
      child.send({ cmd: 'puback', messageId: packet.messageId!, reasonCode: 0 });
    }
    assert.deepEqual(bodies, ['a', 'b', 'c', 'd']);
    await until('the acknowledgements', () => hub.clients()[0]!.queued === 0);
    assert.equal(hub.clients()[0]!.dropped, 1);
  }));
