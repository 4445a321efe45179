import assert from 'node:assert/strict';
import { test } from 'node:test';
import { disconnected } from '../src/upstream/disconnected.ts';
import { startGateway } from './parts/gateway-process.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { startRogueBroker } from './parts/rogue-broker.ts';
import { scratch } from './parts/scratch.ts';
import { startWatcher } from './parts/watcher.ts';

const yaml = (dir: string, url: string, rest = '') => `
gateway: { id: line-4, profile: simulated, dataDir: ${dir}/data }
upstream: { url: ${url}, reconnect: { minSecs: 0.05, maxSecs: 0.1 }${rest} }
children:
  - { id: press, simulated: { sendIntervalMs: 10, messageCount: 20 } }
`;

for (const protocol of ['5', '3.1.1']) {
  test(`status: retained online, the will after a SIGKILL, offline after a stop (MQTT ${protocol})`, async () => {
    const mosquitto = await startMosquitto();
    const watcher = await startWatcher({ url: mosquitto.url });
    const dir = scratch();
    const states = () => watcher.statuses.map(({ state }) => state);
    try {
      let gateway = await startGateway({ dir, yaml: yaml(dir, mosquitto.url, `, protocol: "${protocol}"`) });
      await watcher.until('online', () => states().at(-1) === 'online');
      const { since, version, spool } = watcher.statuses.at(-1)! as { since: string; version: string; spool: object };
      assert.ok(!Number.isNaN(Date.parse(since)));
      assert.equal(typeof version, 'string');
      assert.ok('accepted' in spool && 'pending' in spool);
      // Retained: who comes later knows.
      const late = await startWatcher({ url: mosquitto.url });
      await late.until('the retained status', ({ statuses }) => statuses[0]?.['state'] === 'online');
      await late.end();

      await gateway.kill();
      await watcher.until('the will', () => states().at(-1) === 'offline');
      gateway = await startGateway({ dir, yaml: yaml(dir, mosquitto.url, `, protocol: "${protocol}"`) });
      await watcher.until('online again', () => states().at(-1) === 'online');
      assert.equal(await gateway.stop(), 0);
      await watcher.until('offline', () => states().at(-1) === 'offline');
      assert.deepEqual(states(), ['online', 'offline', 'online', 'offline'], 'the will must not come after a goodbye');
    } finally {
      await watcher.end();
      await mosquitto.end();
    }
  });
}

for (const protocol of ['5', '3.1.1']) {
  test(`two gateways with one id are told of each other (MQTT ${protocol})`, async () => {
    const mosquitto = await startMosquitto();
    const start = async () => {
      const dir = scratch();
      return startGateway({ dir, yaml: yaml(dir, mosquitto.url, `, protocol: "${protocol}"`) });
    };
    const gateways = [await start(), await start()];
    try {
      await Promise.race(
        gateways.map((gateway) =>
          gateway.waitForLog(/lost: the broker closed the connection, as it did before.*client id line-4\?/),
        ),
      );
    } finally {
      for (const gateway of gateways) await gateway.kill();
      await mosquitto.end();
    }
  });
}

test('why a broker disconnects us is said in words, and in its number', () => {
  assert.match(disconnected(0x8e), /another client has connected under our client id.*\(reason 0x8e\)$/);
  assert.equal(disconnected(0x8b), 'the broker disconnected us: it is shutting down (reason 0x8b)');
  assert.equal(disconnected(4), 'the broker disconnected us with reason 0x04');
});

test('SIGTERM while the broker hangs ends within 5 s, with exit code 0', async () => {
  for (const onConnect of [() => undefined, undefined]) {
    const broker = await startRogueBroker(onConnect === undefined ? { onPublish: () => undefined } : { onConnect });
    const dir = scratch();
    const gateway = await startGateway({ dir, yaml: yaml(dir, broker.url) });
    await broker.until('a CONNECT', ({ connects }) => connects.length > 0);
    await gateway.waitForLog(/finished: sent 20/);
    const began = performance.now();
    assert.equal(await gateway.stop(), 0);
    assert.ok(performance.now() - began < 5000, `${Math.round(performance.now() - began)} ms`);
    await broker.end();
  }
});
