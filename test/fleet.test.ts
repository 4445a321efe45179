import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import mqtt from 'mqtt';
import { Fleet } from '../src/fleet/fleet.ts';
import { freePort } from './parts/free-port.ts';
import { startMosquitto, type Mosquitto } from './parts/mosquitto.ts';
import { PlayedGateway, type Played } from './parts/played-gateway.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

let broker: Mosquitto;
let fleet: Fleet;
const ends: (() => Promise<void>)[] = [];

before(async () => {
  broker = await startMosquitto();
  fleet = await Fleet.connect({ url: broker.url, folder: scratch() });
});

after(async () => {
  for (const end of ends) await end();
  await fleet.close();
  await broker.end();
});

async function gateway(id: string, played: Partial<Played> = {}): Promise<PlayedGateway> {
  const started = await PlayedGateway.start({ url: broker.url, id, ...played });
  ends.push(() => started.end());
  return started;
}

/** What somebody else retains. */
async function retain(topic: string, body: string): Promise<void> {
  const client = await mqtt.connectAsync(broker.url, { reconnectPeriod: 0 });
  await client.publishAsync(topic, body, { qos: 1, retain: true });
  await client.endAsync();
}

describe('a fleet', { concurrency: true }, () => {
  test('gateways are found with how they are; what cannot be read is not known, and breaks nothing', async () => {
    await gateway('seen-1', { pending: 12, hub: { hostName: 'gateway.local' } });
    await retain('holdfast/v1/seen-2/status', 'what?');
    await retain(
      'holdfast/v1/seen-3/status',
      '{"state":"online","since":[],"spool":{"pending":"many","dropped":{"a":null}}}',
    );
    const found = (await fleet.gateways()).filter((each) => each.gateway.startsWith('seen-'));
    const unknown = {
      version: null,
      backlog: { pending: null, oldestAgeSecs: null },
      dropped: {},
      deadLetters: null,
      lastLoss: null,
      children: null,
      hub: null,
    };
    assert.deepEqual(found, [
      {
        gateway: 'seen-1',
        state: 'online',
        since: '2026-01-02T03:04:05.000Z',
        version: '0.1.0',
        backlog: { pending: 12, oldestAgeSecs: 90 },
        dropped: { evicted: 7 },
        deadLetters: 0,
        lastLoss: { at: '2026-01-02T03:04:05.000Z', reason: 'evicted', count: 7 },
        children: 3,
        hub: { hostName: 'gateway.local', iothubName: null },
      },
      { gateway: 'seen-2', state: 'unknown', since: null, ...unknown },
      { gateway: 'seen-3', state: 'online', since: null, ...unknown },
    ]);
    assert.equal((await fleet.gateway('seen-1'))?.status['version'], '0.1.0');
    assert.equal(await fleet.gateway('seen-4'), null);
    await assert.rejects(fleet.gateway('+'), /"\+" is no id/);
  });

  test('more gateways are found than the broker sends at once', async () => {
    const client = await mqtt.connectAsync(broker.url, { reconnectPeriod: 0 });
    const many = Array.from({ length: 300 }, (_, number) => `many-${number}`);
    await Promise.all(
      many.map((id) =>
        client.publishAsync(`holdfast/v1/${id}/status`, '{"state":"offline"}', { qos: 1, retain: true }),
      ),
    );
    await client.endAsync();
    const found = (await fleet.gateways()).filter((each) => each.gateway.startsWith('many-'));
    assert.equal(found.length, many.length);
  });

  test('desired properties are merged, with a version above what is retained and what the gateway has', async () => {
    const of = { gateway: 'twin-1', child: 'press' };
    assert.deepEqual(await fleet.twins.get(of), { desired: null, reported: null });
    assert.deepEqual(
      { ...(await fleet.twins.set(of, { speed: 5, light: { on: true } })) },
      { speed: 5, light: { on: true }, $version: 1 },
    );
    await fleet.twins.set(of, { light: { on: null, level: 3 }, $version: 77 });
    assert.deepEqual((await fleet.twins.get(of)).desired, { speed: 5, light: { level: 3 }, $version: 2 });
    await fleet.twins.set(of, { alone: true }, { replace: true });
    assert.deepEqual((await fleet.twins.get(of)).desired, { alone: true, $version: 3 });
    // Of a child that was there before, the broker may have lost them.
    await retain('holdfast/v1/twin-1/old/twin/reported', '{"speed":4,"$version":9}');
    const begun = Number((await fleet.twins.set({ ...of, child: 'old' }, { a: 1 }))['$version']);
    assert.ok(Math.abs(begun - Date.now() / 1000) < 60, `version ${begun}`);
    assert.equal((await fleet.twins.set({ ...of, child: 'old' }, { a: 2 }))['$version'], begun + 1);
    assert.equal((await fleet.twins.set({ ...of, module: '$edgeHub' }, { a: 1 }))['$version'], 1);
    await assert.rejects(fleet.twins.set(of, { 'a.b': 1 }), /the name "a\.b" may have no/);
    await assert.rejects(fleet.twins.set(of, { big: Array.from({ length: 10 }, () => 'x'.repeat(4000)) }), /size of/);
    await retain('holdfast/v1/twin-1/odd/twin/desired', 'no JSON');
    await assert.rejects(fleet.twins.set({ gateway: 'twin-1', child: 'odd' }, { a: 1 }), /is no JSON object/);
  });

  test('properties that several set at once are all there', async () => {
    const of = { gateway: 'twin-2', child: 'press' };
    const fleets = await Promise.all([1, 2, 3].map(() => Fleet.connect({ url: broker.url, folder: scratch() })));
    await Promise.all(fleets.map((each, at) => each.twins.set(of, { [`by${at}`]: at })));
    const { desired } = await fleet.twins.get(of);
    assert.deepEqual({ ...desired, $version: 0 }, { by0: 0, by1: 1, by2: 2, $version: 0 });
    for (const each of fleets) await each.close();
  });

  test('a method is invoked and answered; of a gateway that is away or unknown that is said at once', async () => {
    await gateway('method-1');
    const of = { gateway: 'method-1', child: 'press' };
    assert.deepEqual(await fleet.invoke(of, 'echo', { a: 1 }), {
      status: 200,
      payload: { child: 'press', payload: { a: 1 } },
    });
    assert.deepEqual(await fleet.invoke(of, 'none'), { status: 404, payload: null });
    await assert.rejects(fleet.invoke(of, 'mute', null, 1), /method-1 did not answer within 1 s; it may still be done/);
    await assert.rejects(
      fleet.invoke({ gateway: 'nobody', child: 'x' }, 'ping'),
      /no gateway nobody has ever been seen/,
    );
    const away = await gateway('method-2');
    await away.status('offline');
    await assert.rejects(
      fleet.invoke({ gateway: 'method-2', child: 'x' }, 'ping'),
      /method-2 is offline, since 2026-01-02/,
    );
    await assert.rejects(fleet.invoke(of, 'a/b'), /"a\/b" is no name of a method/);
  });

  test('settings are set, and what the gateway makes of them is told', async () => {
    await gateway('settings-1');
    const set = await fleet.settings.set('settings-1', { storeAndForward: { timeToLiveSecs: 60 } });
    assert.deepEqual([set.state, set.version, set.report?.applied.length], ['applied', 1, 2]);
    const bad = await fleet.settings.set('settings-1', { bad: 1 });
    assert.deepEqual([bad.state, bad.report?.problems], ['refused', ['bad: it is not to be']]);
    const { desired, report } = await fleet.settings.get('settings-1');
    assert.deepEqual(desired, { storeAndForward: { timeToLiveSecs: 60 }, bad: 1, $version: 2 });
    assert.equal(report?.version, 2);
    const away = await gateway('settings-2');
    await away.status('offline');
    assert.equal((await fleet.settings.set('settings-2', { routes: null })).state, 'offline');
  });

  test('messages and losses are handed on as they come, of one gateway or of all', async () => {
    const heard: string[] = [];
    const stop = await fleet.onEvent(
      (event, body) => heard.push(`${event.gateway}/${event.child} ${body.toString()}`),
      {
        gateway: 'events-1',
      },
    );
    const stopLosses = await fleet.onLoss(({ gateway: id, loss }) => heard.push(`${id} lost ${JSON.stringify(loss)}`));
    const line = await gateway('events-2');
    await line.loss({ count: 4 });
    const client = await mqtt.connectAsync(broker.url, { reconnectPeriod: 0 });
    for (const id of ['events-1', 'events-2'])
      await client.publishAsync(`holdfast/v1/${id}/press/events`, '{}', { qos: 1 });
    await until('both', () => heard.length === 2);
    assert.deepEqual(heard, ['events-2 lost {"count":4}', 'events-1/press {}']);
    await stop();
    await stopLosses();
    await client.endAsync();
  });

  test('a broker that is not there, or goes away, is said', async () => {
    const nowhere = `mqtt://127.0.0.1:${await freePort()}`;
    await assert.rejects(Fleet.connect({ url: nowhere }), {
      name: 'FleetError',
      message: /cannot connect to mqtt:.*ECONNREFUSED/,
    });
    const second = await startMosquitto();
    const left = await Fleet.connect({ url: second.url, folder: scratch() });
    await second.end();
    await until('the end to be seen', () => left.ended.aborted);
    await assert.rejects(left.gateways(), /the connection to mqtt:.* was lost/);
    await left.close();
    const frozen = await startMosquitto();
    const stuck = await Fleet.connect({ url: frozen.url, folder: scratch() });
    frozen.freeze();
    await stuck.close();
    assert.ok(stuck.ended.aborted, 'a broker that does not answer is left all the same');
    await frozen.end();
  });
});
