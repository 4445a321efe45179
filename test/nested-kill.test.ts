import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { originText } from '../src/dialects/holdfast.ts';
import { chance } from './parts/chance.ts';
import { openGate } from './parts/gate.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { NestedGateway } from './parts/nested-gateway.ts';
import { SEED } from './parts/seed.ts';
import { SteadyChild } from './parts/steady-child.ts';
import { until } from './parts/until.ts';
import { startWatcher, type Watcher } from './parts/watcher.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const CHILDREN = ['press-0', 'press-1', 'press-2'];
const SECRET = (id: string) => `key of ${id}`;

function steady(gateway: NestedGateway, id: string): SteadyChild {
  return new SteadyChild({
    connection: { host: '127.0.0.1', port: gateway.port },
    credentials: () => ({ clientId: id, username: id, password: SECRET(id) }),
    topic: `holdfast/v1/${gateway.id}/${id}/events`,
    body: (n) => Buffer.from(`${id} ${n}`),
    everyMs: 2,
  });
}

/** All that was sent arrives at the top, each child's in order, and no message of a lower gateway became two. */
async function judge(
  watcher: Watcher,
  children: ReadonlyMap<string, SteadyChild>,
  lower: NestedGateway,
): Promise<number> {
  for (const child of children.values()) child.finish();
  await until('everything to be acknowledged', () => [...children.values()].every(({ underway }) => underway === 0));
  const arrived = new Map([...children.keys()].map((id) => [id, new Set<number>()]));
  const places = new Map<string, Set<string>>();
  const { accepted, dropped } = await lower.ledger();
  assert.deepEqual(dropped, {}, 'nothing dropped below');
  let read = 0;
  await watcher.until(
    () => `${accepted} messages, of which ${places.size} are there`,
    ({ events }) => {
      for (; read < events.length; read++) {
        const { child, body, origin, epoch, lane, seq } = events[read]!;
        const [id, n] = body.toString().split(' ') as [string, string];
        assert.equal(child, id, 'a child of the lowest keeps its identity');
        arrived.get(id)?.add(Number(n));
        assert.equal(origin?.gateway, lower.id, 'the origin is the gateway that took it on first');
        const first = originText(origin);
        places.set(first, (places.get(first) ?? new Set()).add(`${epoch}/${lane}/${seq}`));
      }
      return places.size >= accepted;
    },
    60_000,
  );
  for (const [id, { sent, complaints }] of children) {
    assert.deepEqual(complaints, [], id);
    assert.deepEqual(
      [...arrived.get(id)!],
      Array.from({ length: sent }, (_, n) => n),
      `first sights of ${id}`,
    );
  }
  assert.equal(places.size, accepted, 'each that was accepted below is at the top');
  const twice = [...places].filter(([, each]) => each.size > 1);
  assert.deepEqual(twice, [], 'one message below is one message at the top');
  assert.deepEqual(watcher.gaps(), []);
  assert.equal(watcher.outOfOrder().length, 0, 'in the order of the upper lane');
  return places.size;
}

for (const protocol of LONG ? (['5', '3.1.1'] as const) : (['5'] as const)) {
  test(`MQTT ${protocol}: two levels, either killed at random moments: each message arrives, and none becomes two`, async (context) => {
    const kills = LONG ? 60 : 3;
    const random = chance(SEED);
    const mosquitto = await startMosquitto();
    const watcher = await startWatcher({ url: mosquitto.url, gateway: 'site' });
    const upper = await NestedGateway.make({
      id: 'site',
      upstream: mosquitto.url,
      write: 'when-needed',
      gateways: ['line-4'],
    });
    const gate = await openGate(upper.port);
    const lower = await NestedGateway.make({ id: 'line-4', upstream: gate.url, protocol, children: CHILDREN });
    const children = new Map(CHILDREN.map((id) => [id, steady(lower, id)]));
    try {
      await Promise.all([upper.start(), lower.start()]);
      for (const child of children.values()) child.start();
      for (let kill = 0; kill < kills; kill++) {
        await sleep(100 + random() * 300);
        // What is taken from here on is not acknowledged: it comes again.
        gate.mute();
        await sleep(50 + random() * 100);
        const victim = kill % 2 === 0 ? upper : lower;
        await victim.kill();
        await gate.close();
        await gate.open();
        await victim.start();
      }
      const accepted = await judge(watcher, children, lower);
      context.diagnostic(
        `${kills} kills (seed ${SEED}): ${accepted} accepted below, ${watcher.repeats()} came again as they were`,
      );
    } finally {
      for (const child of children.values()) await child.stop();
      await Promise.all([lower.kill(), upper.kill()]);
      await watcher.end();
      await gate.close();
      await mosquitto.end();
    }
  });
}

test('three levels, each link cut off in turn: accepted at the bottom is delivered at the top', async (context) => {
  const rounds = LONG ? 10 : 1;
  const mosquitto = await startMosquitto();
  const watcher = await startWatcher({ url: mosquitto.url, gateway: 'plant' });
  const gates = [await openGate(mosquitto.port)];
  const top = await NestedGateway.make({ id: 'plant', upstream: gates[0]!.url, gateways: ['site'] });
  gates.push(await openGate(top.port));
  const middle = await NestedGateway.make({ id: 'site', upstream: gates[1]!.url, gateways: ['line-4'] });
  gates.push(await openGate(middle.port));
  const bottom = await NestedGateway.make({
    id: 'line-4',
    upstream: gates[2]!.url,
    protocol: '3.1.1',
    children: CHILDREN,
  });
  const children = new Map(CHILDREN.map((id) => [id, steady(bottom, id)]));
  const all = [top, middle, bottom];
  try {
    await Promise.all(all.map((gateway) => gateway.start()));
    for (const child of children.values()) child.start();
    for (let round = 0; round < rounds; round++) {
      for (const gate of gates) {
        await sleep(300);
        await gate.close();
        await sleep(400);
        await gate.open();
      }
      await middle.kill();
      await middle.start();
    }
    const accepted = await judge(watcher, children, bottom);
    await until('all of it to be settled', async () => {
      const ledgers = await Promise.all(all.map((gateway) => gateway.ledger()));
      return ledgers.every((ledger) => ledger.accepted === ledger.delivered && ledger.pending === 0);
    });
    context.diagnostic(`${accepted} messages over three hops, ${watcher.repeats()} came again as they were`);
  } finally {
    for (const child of children.values()) await child.stop();
    await Promise.all(all.map((gateway) => gateway.kill()));
    await watcher.end();
    for (const gate of gates) await gate.close();
    await mosquitto.end();
  }
});
