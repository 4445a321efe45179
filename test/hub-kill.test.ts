import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { newVictim, rightPassword, rightToken } from './parts/bad-credentials.ts';
import { chance } from './parts/chance.ts';
import { openGate } from './parts/gate.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { scratch } from './parts/scratch.ts';
import { byPassword, bySas, GATEWAY, HubGateway, portsRefused } from './parts/sdk-gateway.ts';
import { SEED } from './parts/seed.ts';
import { quantile, SteadyChild } from './parts/steady-child.ts';
import { until } from './parts/until.ts';
import { startWatcher } from './parts/watcher.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const CHILDREN = 20;
const skip = await portsRefused();

test(
  'killed at random moments under 20 children: what was acknowledged arrives, in the order of each, and PUBACKs come in order',
  { skip },
  async (context) => {
    const kills = LONG ? 50 : 3;
    const random = chance(SEED);
    const mosquitto = await startMosquitto();
    const gate = await openGate(mosquitto.port);
    const watcher = await startWatcher({ url: mosquitto.url, qos: 0 });
    const gateway = new HubGateway({ dir: scratch(), upstream: gate.url });
    const credentials = Array.from({ length: CHILDREN }, (_, n) => newVictim(`press-${n}`));
    await gateway.importChildren(
      credentials.map(({ id, key, password }, n) => ({ id, auth: n % 2 === 0 ? bySas(key) : byPassword(password) })),
    );
    // Half speak the one dialect over TLS, half the other without.
    const children = credentials.map((victim, n) => {
      const { id } = victim;
      const body = (number: number) => Buffer.from(`${id} ${number}`);
      const { address: host, ca } = gateway;
      return n % 2 === 0
        ? new SteadyChild({
            connection: { host, port: 8883, tls: { ca } },
            credentials: () => rightToken(victim),
            topic: `devices/${id}/messages/events/`,
            body,
          })
        : new SteadyChild({
            connection: { host, port: 1883 },
            credentials: () => rightPassword(victim),
            topic: `holdfast/v1/${GATEWAY}/${id}/events`,
            body,
          });
    });
    const acknowledged = () => children.reduce((sum, child) => sum + child.acknowledged.length, 0);
    try {
      await gateway.start();
      for (const child of children) child.start();
      let before = children.map(() => 0);
      for (let life = 0; life < kills; life++) {
        const story = ['up', 'goes', 'down', 'comes'][life % 4]!;
        if (story === 'up' || story === 'goes') await gate.open();
        else await gate.close();
        await until('every child to be connected', () => children.every((child, n) => child.connections > before[n]!));
        const lives = 50 + random() * 700;
        const turns = random() * lives;
        await sleep(turns);
        if (story === 'goes') await gate.close();
        if (story === 'comes') await gate.open();
        await sleep(lives - turns);
        before = children.map(({ connections }) => connections);
        await gateway.kill();
        await gateway.start();
      }
      await gate.open();
      for (const child of children) child.finish();
      await until('everything to be acknowledged', () => children.every(({ underway }) => underway === 0));
      const sent = children.reduce((sum, child) => sum + child.sent, 0);
      assert.equal(acknowledged(), sent);
      const arrived = new Map<string, Set<number>>(credentials.map(({ id }) => [id, new Set()]));
      let read = 0;
      await watcher.until(
        () => `${sent} messages, of which ${[...arrived.values()].reduce((sum, { size }) => sum + size, 0)} are there`,
        ({ events }) => {
          for (; read < events.length; read++) {
            const { child, body } = events[read]!;
            const [id, n] = body.toString().split(' ') as [string, string];
            assert.equal(child, id);
            // A set remembers the order in which its members came first.
            arrived.get(id)!.add(Number(n));
          }
          return [...arrived.values()].reduce((sum, { size }) => sum + size, 0) === sent;
        },
        60_000,
      );
      for (const [n, { id }] of credentials.entries()) {
        assert.deepEqual(children[n]!.complaints, [], id);
        assert.deepEqual(
          [...arrived.get(id)!],
          Array.from({ length: children[n]!.sent }, (_, number) => number),
          `first sights of ${id}`,
        );
      }
      assert.deepEqual(watcher.gaps(), []);
      assert.equal(watcher.outOfOrder().length, 0);
      assert.equal(watcher.contradictions().length, 0);
      assert.ok(sent > kills * CHILDREN * 5, `only ${sent} messages were sent`);
      const latencies = children.flatMap((child) => child.latencies);
      context.diagnostic(
        `${kills} kills (seed ${SEED}), ${CHILDREN} children: ${sent} acknowledged, ${watcher.events.length - sent} came again; ` +
          `PUBACK after ${quantile(latencies, 0.5).toFixed(0)} ms (median), kills included ${quantile(latencies, 0.99).toFixed(0)} ms (99 %)`,
      );
    } finally {
      for (const child of children) await child.stop();
      await gateway.kill();
      await watcher.end();
      await gate.close();
      await mosquitto.end();
    }
  },
);
