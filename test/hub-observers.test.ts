import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IPublishPacket, ISubackPacket } from 'mqtt-packet';
import type { Message } from '../src/message/message.ts';
import { ulid } from '../src/message/ulid.ts';
import { GATEWAY, hubRig, RawClient, type HubRig } from './parts/hub-rig.ts';
import { until } from './parts/until.ts';

function message(child: string, body: string | Buffer, output?: string): Message {
  const acceptedAt = { wall: 1_750_000_000_000, monotonic: 1, boot: 0, clock: 'synced' as const, age: 1 };
  return {
    id: ulid(acceptedAt.wall),
    source: { child, ...(output === undefined ? {} : { output }) },
    body: Buffer.from(body),
    contentType: 'text/plain',
    properties: { level: 'high' },
    acceptedAt,
    priority: 10,
    hops: 0,
  };
}

async function rigged(body: (rig: HubRig, join: typeof RawClient.join) => Promise<void>): Promise<void> {
  const rig = await hubRig();
  const clients: RawClient[] = [];
  try {
    await body(rig, async (port, id, over) => {
      const client = await RawClient.join(port, id, over);
      clients.push(client);
      return client;
    });
  } finally {
    for (const { socket } of clients) socket.destroy();
    await rig.hub.stop();
  }
}

test('who has the grant sees events by wildcard; MQTT 5 sees what travels beside them', () =>
  rigged(async ({ hub, doorkeeper, port }, join) => {
    doorkeeper.grants.set('board', { observe: ['#'] });
    doorkeeper.grants.set('panel', { observe: ['press-1/events/#'] });
    const board = await join(port, 'board', { protocolVersion: 5 });
    board.subscribe(1, 'holdfast/v1/+/+/events/#');
    assert.deepEqual(((await board.next()) as ISubackPacket).granted, [1]);
    const panel = await join(port, 'panel');
    panel.subscribe(1, `holdfast/v1/${GATEWAY}/press-1/events/#`, `holdfast/v1/${GATEWAY}/+/events`);
    assert.deepEqual(((await panel.next()) as ISubackPacket).granted, [1, 0x80]);
    hub.observe(message('press-1', 'one'));
    hub.observe(message('press-2', 'two', 'hot'));
    const seen = [(await board.next()) as IPublishPacket, (await board.next()) as IPublishPacket];
    assert.deepEqual(
      seen.map(({ topic, payload }) => `${topic} ${payload.toString()}`),
      [`holdfast/v1/${GATEWAY}/press-1/events one`, `holdfast/v1/${GATEWAY}/press-2/events/hot two`],
    );
    assert.equal(seen[0]!.properties?.contentType, 'text/plain');
    assert.equal(seen[0]!.properties?.userProperties?.['p-level'], 'high');
    assert.equal(((await panel.next()) as IPublishPacket).payload.toString(), 'one');
    assert.equal(panel.packets.length, 0);
  }));

test('with MQTT 3.1.1 what goes with a body is in the topic for filters that end in #, and other filters get the body alone', () =>
  rigged(async ({ hub, doorkeeper, port }, join) => {
    const events = `holdfast/v1/${GATEWAY}/press-1/events`;
    const filters: Readonly<Record<string, string>> = {
      all: `holdfast/v1/${GATEWAY}/press-1/#`,
      tree: `holdfast/v1/${GATEWAY}/+/events/#`,
      named: events,
      outputs: `${events}/+`,
    };
    const seen: Record<string, string[]> = {};
    const observers: [string, RawClient][] = [];
    for (const [id, filter] of Object.entries(filters)) {
      doorkeeper.grants.set(id, { observe: ['#'] });
      const observer = await join(port, id);
      observer.subscribe(1, filter);
      assert.deepEqual(((await observer.next()) as ISubackPacket).granted, [1]);
      observers.push([id, observer]);
    }
    // A name or a value may have half of a surrogate pair in it, which has no UTF-8; a bag may be too long for a topic.
    const odd = { ...message('press-1', 'odd'), properties: { 'a/b': 'c d&\ud800' } };
    const much = { ...message('press-1', 'much'), properties: { x: 'y'.repeat(20_000) } };
    const all = [message('press-1', 'one'), message('press-1', 'two', 'hot'), odd, much];
    for (const each of all) hub.observe(each);
    const counts: Readonly<Record<string, number>> = { all: 4, tree: 4, named: 3, outputs: 1 };
    for (const [id, observer] of observers) {
      seen[id] = [];
      for (let count = 0; count < counts[id]!; count++) {
        const { topic, payload } = (await observer.next()) as IPublishPacket;
        const told = topic.slice(events.length).replaceAll(/id=[0-9A-Z]{26}/g, 'id=ID');
        seen[id].push(`${told} ${payload.toString()}`);
      }
      assert.equal(observer.packets.length, 0, id);
    }
    const bag = '/?content-type=text%2Fplain&id=ID&at=2025-06-15T15%3A06%3A40%2E000Z&clock=synced&p-';
    const withBag = [`${bag}level=high one`, `/hot${bag}level=high two`, `${bag}a%2Fb=c%20d%26%EF%BF%BD odd`, ' much'];
    assert.deepEqual(seen, { all: withBag, tree: withBag, named: [' one', ' odd', ' much'], outputs: ['/hot two'] });
  }));

test('without the grant there is nothing to see', () =>
  rigged(async ({ hub, port }, join) => {
    const nosy = await join(port, 'nosy');
    nosy.subscribe(1, '#', `holdfast/v1/${GATEWAY}/press-1/events`);
    assert.deepEqual(((await nosy.next()) as ISubackPacket).granted, [0x80, 0x80]);
    hub.observe(message('press-1', 'one'));
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(nosy.packets.length, 0);
  }));

test('an observer that does not acknowledge, or does not read, loses messages, and nobody waits for it', () =>
  rigged(async ({ hub, doorkeeper, backroom, port }, join) => {
    for (const id of ['mute', 'deaf', 'good']) doorkeeper.grants.set(id, { observe: ['#'] });
    const [mute, deaf, good] = [await join(port, 'mute'), await join(port, 'deaf'), await join(port, 'good')];
    for (const observer of [mute, deaf, good]) {
      observer.subscribe(1, `holdfast/v1/${GATEWAY}/+/events/#`);
      await observer.next();
    }
    deaf.socket.pause();
    const child = await join(port, 'press-1');
    const waits: number[] = [];
    const seen: string[] = [];
    const body = Buffer.alloc(20_000, 'x');
    for (let id = 1; id <= 500; id++) {
      hub.observe(message('press-1', Buffer.concat([Buffer.from(`${id} `), body])));
      const asked = performance.now();
      child.publish(`holdfast/v1/${GATEWAY}/press-1/events`, `${id}`, id);
      await child.next();
      waits.push(performance.now() - asked);
      for (const packet of good.packets.splice(0)) {
        if (packet.cmd !== 'publish') continue;
        seen.push(packet.payload.toString('latin1', 0, 4).trim());
        good.send({ cmd: 'puback', messageId: packet.messageId! });
      }
    }
    assert.equal(backroom.bodies('press-1').length, 500);
    waits.sort((a, b) => a - b);
    assert.ok(waits[250]! < 50, `half of the PUBACKs took longer than ${waits[250]} ms`);
    assert.equal(mute.packets.length, 20);
    const slow = (id: string) => hub.clients().find(({ child: name }) => name === id)!.slow;
    assert.ok(slow('mute') > 400 && slow('deaf') > 300, `${slow('mute')} and ${slow('deaf')} let go`);
    await until('the good one to see the last', () => {
      for (const packet of good.packets.splice(0)) {
        if (packet.cmd !== 'publish') continue;
        seen.push(packet.payload.toString('latin1', 0, 4).trim());
        good.send({ cmd: 'puback', messageId: packet.messageId! });
      }
      return seen.at(-1) === '500';
    });
    assert.ok(seen.length > 450, `the good one saw ${seen.length} of 500`);
  }));

test('a client that asks and asks and does not read is not read either', () =>
  rigged(async ({ hub, backroom, port }, join) => {
    backroom.twins.set('press-1', { desired: { text: 'x'.repeat(30_000), $version: 1 }, reported: { $version: 1 } });
    const child = await join(port, 'press-1', { username: 'hub.example/press-1/?api-version=2021-04-12' });
    child.subscribe(1, '$iothub/twin/res/#');
    await child.next();
    child.socket.pause();
    // 60 MB of answers to 2,000 questions of QoS 0, if each were answered.
    for (let rid = 0; rid < 2000; rid++) child.publish(`$iothub/twin/GET/?$rid=${rid}`, ' ');
    const now = () => hub.clients()[0] ?? assert.fail();
    await until('some to be answered', () => now().in > 10);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const { connected, in: taken } = now();
    assert.equal(connected, true);
    // Its socket holds a few MiB of answers; the other questions are not even read.
    assert.ok(taken < 1000, `${taken} of 2000 questions were answered`);
  }));
