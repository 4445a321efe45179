import assert from 'node:assert/strict';
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import type { GatewayStatus } from '../src/health/status.ts';
import type { SpoolStats } from '../src/spool/stats.ts';
import { asked } from './parts/asked.ts';
import { holdfast } from './parts/command.ts';
import { freePort } from './parts/free-port.ts';
import { startGateway, type GatewayProcess } from './parts/gateway-process.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { scratch } from './parts/scratch.ts';
import { noise } from './parts/spool-rig.ts';
import { until } from './parts/until.ts';

const MIB = 2 ** 20;
const NOWHERE = 'mqtt://127.0.0.1:9';

interface Written {
  readonly url?: string;
  readonly storage?: string;
  readonly more?: string;
}

const yaml = ({ url = NOWHERE, storage = '', more = '' }: Written) => `
gateway: { id: line-4, dataDir: data }
upstream: { url: "${url}", reconnect: { minSecs: 0.1, maxSecs: 0.5 }${more} }
storeAndForward: { keepFree: 0%, whenFull: drop-oldest, commitEveryMs: 20${storage} }
`;

async function started(t: TestContext, written: Written): Promise<GatewayProcess> {
  const gateway = await startGateway({ dir: scratch(), yaml: yaml(written) });
  t.after(() => gateway.kill());
  return gateway;
}

async function json<T>(gateway: GatewayProcess, ...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await holdfast([...args, '--json', '-c', gateway.config]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as T;
}

const stats = (gateway: GatewayProcess) => asked<SpoolStats>(gateway.config, 'spool stats');

/** Gives the gateway so many messages of 16 KiB that do not compress. */
async function fill(gateway: GatewayProcess, count: number): Promise<void> {
  const file = join(scratch(), 'in.jsonl');
  const line = () => `${JSON.stringify({ child: 'much', body: { base64: noise(16 * 1024).toString('base64') } })}\n`;
  writeFileSync(file, Array.from({ length: count }, line).join(''));
  const { code, stderr } = await holdfast(['spool', 'import', file, '-c', gateway.config]);
  assert.equal(code, 0, stderr);
}

async function reload(gateway: GatewayProcess, written: Written) {
  writeFileSync(gateway.config, yaml(written));
  return json<{ applied: string[]; needRestart: string[] }>(gateway, 'reload');
}

const fileBytes = (gateway: GatewayProcess) => statSync(join(dirname(gateway.config), 'data/spool/data.mdb')).size;

describe('the quota of a gateway that runs', () => {
  test('lowered: what is too much goes at once, reported and in the ledger; once drained the file shrinks to it', async (t) => {
    const port = await freePort();
    const url = `mqtt://127.0.0.1:${port}`;
    const gateway = await started(t, { url, storage: ', quota: 32MiB' });
    await fill(gateway, 1200);
    assert.equal((await stats(gateway)).ledger.pending, 1200);
    assert.ok(fileBytes(gateway) > 18 * MIB);
    const done = await reload(gateway, { url, storage: ', quota: 12MiB' });
    assert.deepEqual(done, { applied: ['storeAndForward.quota'], needRestart: [] });
    const lowered = await until('what is too much to go', async () => {
      const now = await stats(gateway);
      return now.file.livePages * 4096 < 12 * 0.9 * MIB ? now : null;
    });
    const evicted = lowered.ledger.dropped.evicted ?? 0;
    assert.ok(evicted > 500 && evicted < 900, `${evicted} of 1200 evicted`);
    assert.equal(lowered.ledger.pending, 1200 - evicted);
    assert.deepEqual(lowered.children['much'], {
      accepted: 1200,
      delivered: 0,
      pending: 1200 - evicted,
      deadLetters: 0,
      dropped: { evicted },
    });
    assert.equal(lowered.file.quotaBytes, 12 * MIB);
    assert.equal(lowered.file.shrinkPending, true);
    const { spool } = await json<GatewayStatus>(gateway, 'status');
    assert.equal(spool.shrinkPending, true);
    assert.equal(spool.lossRows, 1);
    const text = (await holdfast(['status', '-c', gateway.config])).stdout;
    assert.match(text, /^spool .* of 12\.0 MiB, .*; it shrinks to the quota when it is empty$/m);
    const broker = await startMosquitto({ port });
    t.after(() => broker.end());
    await gateway.waitForLog(/its file has shrunk to the quota/);
    const drained = await stats(gateway);
    assert.equal(drained.file.shrinkPending, false);
    assert.ok(fileBytes(gateway) <= 12 * MIB, `${fileBytes(gateway)} bytes`);
    assert.deepEqual([drained.ledger.delivered, drained.ledger.pending], [1200 - evicted, 0]);
  });

  test('raised: it holds more, also after a restart', async (t) => {
    const gateway = await started(t, { storage: ', quota: 8MiB' });
    await fill(gateway, 800);
    const before = (await stats(gateway)).ledger;
    assert.ok((before.dropped.evicted ?? 0) > 300);
    const { applied } = await reload(gateway, { storage: ', quota: 48MiB' });
    assert.deepEqual(applied, ['storeAndForward.quota']);
    await fill(gateway, 1500);
    const after = await stats(gateway);
    assert.equal(after.ledger.pending, before.pending + 1500);
    assert.deepEqual(after.ledger.dropped, before.dropped);
    assert.equal(await gateway.stop(), 0);
    const again = await startGateway({ dir: dirname(gateway.config), yaml: yaml({ storage: ', quota: 48MiB' }) });
    t.after(() => again.kill());
    await fill(again, 100);
    assert.equal((await stats(again)).ledger.pending, before.pending + 1600);
    assert.equal((await holdfast(['spool', 'verify', '-c', again.config])).code, 0);
  });
});

describe('reload', () => {
  test('says what it took up and what waits for a restart, and says that again until then', async (t) => {
    const gateway = await started(t, { storage: ', quota: 16MiB' });
    const changed = {
      storage:
        ', quota: 16MiB, timeToLiveSecs: 60, wearBudget: 1GiB/day, durability: relaxed, lanes: { 0: { whenFull: reject-new } }',
      more: ', maxRate: { messagesPerSec: 5 }, window: 7',
    };
    const done = await reload(gateway, changed);
    assert.deepEqual(done.applied.toSorted(), [
      'storeAndForward.lanes',
      'storeAndForward.timeToLiveSecs',
      'storeAndForward.wearBudget',
      'upstream.maxRate',
    ]);
    assert.deepEqual(done.needRestart, ['upstream.window', 'storeAndForward.durability']);
    const { code, stdout, stderr } = await holdfast(['reload', '-c', gateway.config]);
    assert.deepEqual([code, stdout], [0, '']);
    assert.equal(
      stderr,
      'nothing to take up\nchanged, and waiting for a restart (`holdfast restart`): upstream.window, storeAndForward.durability\n',
    );
    const { spool } = await json<GatewayStatus>(gateway, 'status');
    assert.equal(spool.wear.budget?.bytesPerDay, 2 ** 30);
    assert.match(
      (await holdfast(['status', '-c', gateway.config])).stdout,
      /; budget 1\.0 GiB a day, kept, a commit each/,
    );
  });

  test('at SIGHUP does the same, and the log says so; a file that cannot be used changes nothing', async (t) => {
    const gateway = await started(t, { storage: ', quota: 16MiB' });
    writeFileSync(gateway.config, yaml({ storage: ', quota: 9 potatoes' }));
    gateway.process.kill('SIGHUP');
    await gateway.waitForLog(
      /"level":50,.*the configuration cannot be used, all stays as it is:\\n\S+gateway.yaml:4:\d+: .*potatoes/,
    );
    const refused = await holdfast(['reload', '-c', gateway.config]);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /potatoes/);
    writeFileSync(gateway.config, yaml({ storage: ', quota: 24MiB' }));
    assert.equal((await stats(gateway)).file.quotaBytes, 16 * MIB);
    gateway.process.kill('SIGHUP');
    await gateway.waitForLog(/taken up: storeAndForward.quota/);
    assert.equal((await stats(gateway)).file.quotaBytes, 24 * MIB);
  });

  test('takes up routes, unless they lead to what itself waits for a restart', async (t) => {
    const press = '{ id: press-1, simulated: { sendIntervalMs: 20, messageCount: -1 } }';
    const lamp = '{ id: lamp, simulated: { messageCount: 0 } }';
    const text = (routes: string, children = press) => `${yaml({})}routes: { ${routes} }\nchildren: [${children}]\n`;
    const gateway = await startGateway({ dir: scratch(), yaml: text('') });
    t.after(() => gateway.kill());
    const write = (routes: string, children?: string) => {
      writeFileSync(gateway.config, text(routes, children));
      return json<{ applied: string[]; needRestart: string[] }>(gateway, 'reload');
    };
    const dropped = async () => (await stats(gateway)).ledger.dropped['no-route'] ?? 0;
    const pending = async () => (await stats(gateway)).ledger.pending;
    assert.equal(await dropped(), 0);
    const none = 'none: FROM /messages/modules/x INTO $upstream';
    assert.deepEqual(await write(none), { applied: ['routes.upstream', 'routes.none'], needRestart: [] });
    await until('readings that no route takes', async () => (await dropped()) > 0);
    const toLamp = `lamp: 'FROM /messages/* INTO BrokeredEndpoint("/children/lamp/inputs/set")'`;
    const waits = { applied: [], needRestart: ['routes.none', 'routes.lamp', 'children.lamp'] };
    assert.deepEqual(await write(toLamp, `${press}, ${lamp}`), waits);
    assert.deepEqual((await write('')).applied, ['routes.none', 'routes.upstream']);
    const before = await pending();
    await until('readings that are stored again', async () => (await pending()) > before);
  });

  test('takes up upstream.maxRate while it sends', async (t) => {
    const broker = await startMosquitto();
    t.after(() => broker.end());
    const slow = { url: broker.url, storage: ', quota: 64MiB', more: ', maxRate: { messagesPerSec: 1 }' };
    const gateway = await started(t, slow);
    await fill(gateway, 200);
    await until(
      'the rate to hold it',
      async () => (await asked<GatewayStatus>(gateway.config, 'status')).upstream!.waitsForRate,
    );
    assert.match(
      (await holdfast(['status', '-c', gateway.config])).stdout,
      /^upstream .*, as fast as upstream\.maxRate allows$/m,
    );
    assert.ok((await stats(gateway)).ledger.pending > 150);
    assert.deepEqual((await reload(gateway, { ...slow, more: '' })).applied, ['upstream.maxRate']);
    // At one a second it would take minutes.
    await until('all to be delivered', async () => (await stats(gateway)).ledger.pending === 0);
  });
});

test('a gateway whose dataDir is taken away answers there again, with all that it had', async (t) => {
  const children = 'children: [{ id: press-1, simulated: { sendIntervalMs: 200, messageCount: -1 } }]';
  const gateway = await startGateway({ dir: scratch(), yaml: `${yaml({ storage: ', quota: 16MiB' })}${children}\n` });
  t.after(() => gateway.kill());
  await fill(gateway, 20);
  // Held still meanwhile: it looks every few seconds, and would make its socket anew while we take away or before we ask.
  gateway.process.kill('SIGSTOP');
  rmSync(join(dirname(gateway.config), 'data'), { recursive: true });
  await assert.rejects(asked(gateway.config, 'status'), /no gateway is running/);
  gateway.process.kill('SIGCONT');
  await gateway.waitForLog(/the gateway answers on \S+ again/);
  const { children: accounts, ledger } = await stats(gateway);
  assert.equal(accounts['much']!.pending, 20);
  assert.equal(ledger.accepted, ledger.pending);
  assert.deepEqual(ledger.dropped, {});
  assert.equal(await gateway.stop(), 0);
  assert.equal((await holdfast(['spool', 'verify', '-c', gateway.config])).code, 0);
});

test('how often a line came again is said at the stop, too', async (t) => {
  const upstream = 'upstream: { url: "mqtt://127.0.0.1:1", reconnect: { minSecs: 60 } }';
  const gateway = await startGateway({
    dir: scratch(),
    yaml: `gateway: { id: line-4, dataDir: data }\nstoreAndForward: { quota: 16MiB }\n${upstream}\n`,
  });
  t.after(() => gateway.kill());
  await gateway.waitForLog(/cannot connect/);
  gateway.process.kill('SIGHUP');
  await gateway.waitForLog(/read again/);
  gateway.process.kill('SIGHUP');
  // Signals are told in their turn: it has been seen when this is answered.
  await asked(gateway.config, 'status');
  assert.equal(await gateway.stop(), 0);
  assert.deepEqual(gateway.messages().slice(-3), [
    'SIGTERM: stopping',
    'read again: nothing to take up (repeated once)',
    'stopped',
  ]);
});
