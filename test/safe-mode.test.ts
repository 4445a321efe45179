import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { connectAsync } from 'mqtt';
import { pino } from 'pino';
import { SystemClock } from '../src/clock/system-clock.ts';
import { StartRecord } from '../src/health/start-record.ts';
import { ManualClock } from './manual-clock.ts';
import type { GatewayStatus } from '../src/health/status.ts';
import { asked } from './parts/asked.ts';
import { holdfast } from './parts/command.ts';
import { freePort } from './parts/free-port.ts';
import { startGateway } from './parts/gateway-process.ts';
import { startMosquitto, type Mosquitto } from './parts/mosquitto.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

const MINUTE = 60_000;
const log = pino({ level: 'silent' });

/** Starts one after the other with one folder and configuration, as a process each would make its own record. */
function lives() {
  const dir = scratch();
  const file = join(dir, 'gateway.yaml');
  writeFileSync(file, 'a');
  return { file, start: (clock: ManualClock) => new StartRecord(dir, file, clock, log) };
}

test('the sixth start after five within ten minutes that came to no good end is in safe mode, and so is what follows it', () => {
  const { start } = lives();
  const clock = new ManualClock();
  for (let n = 0; n < 5; n++) {
    const life = start(clock);
    assert.equal(life.begin(), null, `start ${n + 1}`);
    if (n === 4) life.failed(new Error('the card is on fire'));
    clock.advance(MINUTE);
  }
  const why = '5 starts within 300 s came to a bad end; the last one: the card is on fire';
  assert.deepEqual(start(clock).begin(), { since: '2026-01-01T00:05:00.000Z', why });
  clock.advance(MINUTE);
  assert.equal(start(clock).begin()?.why, why, 'a crash in safe mode leads back into it');
});

test('starts that are far apart, or held for two minutes, or were ended by somebody, are no loop', () => {
  for (const end of ['far apart', 'held', 'ended'] as const) {
    const { start } = lives();
    const clock = new ManualClock();
    for (let n = 0; n < 8; n++) {
      const life = start(clock);
      assert.equal(life.begin(), null, `${end}, start ${n + 1}`);
      if (end === 'held') life.runs(() => undefined);
      if (end === 'ended') life.endedWell();
      clock.advance(end === 'far apart' ? 2.6 * MINUTE : end === 'held' ? 2 * MINUTE : 1000);
    }
  }
});

test('another configuration, another boot of the machine, an hour, and a wanted end lead out of it', () => {
  const ways: Record<string, (life: StartRecord, clock: ManualClock, file: string) => ManualClock> = {
    configuration: (_, clock, file) => (writeFileSync(file, 'b'), clock),
    boot: () => new ManualClock({ bootId: 'boot-2', monotonic: 5000 }),
    'wanted end': (life, clock) => (life.endedWell(), clock),
    hour: (life, clock) => {
      let again = 0;
      life.runs(() => again++);
      clock.advance(59 * MINUTE);
      assert.equal(again, 0);
      clock.advance(MINUTE);
      assert.equal(again, 1);
      return clock;
    },
  };
  for (const [way, leave] of Object.entries(ways)) {
    const { file, start } = lives();
    const clock = new ManualClock();
    for (let n = 0; n < 5; n++) start(clock).begin();
    const life = start(clock);
    assert.notEqual(life.begin(), null, way);
    assert.equal(start(leave(life, clock, file)).begin(), null, way);
  }
});

let broker: Mosquitto;
before(async () => {
  broker = await startMosquitto();
});
after(() => broker.end());

test('a gateway that systemd starts after five crashes only sends what is stored, and says so; a restart leads out of it', async () => {
  const dir = scratch();
  const yaml = `
gateway: { id: line-4, dataDir: data }
upstream: { url: "${broker.url}", reconnect: { minSecs: 0.1, maxSecs: 0.2 } }
hub: { hostName: localhost, listen: { mqtt: "127.0.0.1:${await freePort()}" } }
storeAndForward: { quota: 16MiB, keepFree: 0%, commitEveryMs: 20 }
children: [{ id: press-1, simulated: { sendIntervalMs: 20, messageCount: -1 } }]
modules: [{ id: all, query: "SELECT * INTO output FROM input" }]
routes: { in: 'FROM /messages/* INTO BrokeredEndpoint("/modules/all/inputs/input")', up: FROM /messages/* INTO $upstream }
`;
  // Somebody who takes no word, and starts us again.
  const how = { dir, yaml, env: { NOTIFY_SOCKET: '@holdfast-test-nobody' } };
  const first = await startGateway(how);
  await until('a reading on the medium', async () => {
    return (await asked<GatewayStatus>(first.config, 'status')).ledger.accepted > 0;
  });
  await first.kill();
  // Four more, which would take as long each.
  const clock = new SystemClock(() => true);
  for (let n = 0; n < 4; n++) new StartRecord(join(dir, 'data'), join(dir, 'gateway.yaml'), clock, log).begin();
  let gateway = await startGateway(how);
  await gateway.waitForLog(/safe mode: 5 starts within \d+ s came to a bad end/);
  const status = () => asked<GatewayStatus>(gateway.config, 'status');
  await until('the spool to be empty', async () => (await status()).ledger.pending === 0);
  const { ledger, hub, safeMode } = await status();
  assert.ok(ledger.accepted > 0, 'the life before took readings on');
  assert.equal(hub, null, 'nobody can connect');
  assert.match(safeMode!.why, /^5 starts/);
  assert.equal((await status()).ledger.accepted, ledger.accepted, 'no sensor is read');

  const reader = await connectAsync(broker.url);
  const said = new Promise<Buffer>((resolve) => reader.on('message', (_, body) => resolve(body)));
  await reader.subscribeAsync('holdfast/v1/line-4/status');
  assert.deepEqual(JSON.parse((await said).toString()).safeMode, safeMode);
  await reader.endAsync();

  assert.match((await holdfast(['status', '-c', gateway.config])).stdout, /^safe mode +since .*came to a bad end/m);
  const check = await holdfast(['check', '--only', 'gateway', '-c', gateway.config]);
  assert.match(check.stdout, /^FAIL +gateway +in safe mode since/);
  assert.equal(check.code, 1);

  // One source on purpose, while all else stays off.
  assert.equal((await holdfast(['restart', 'press-1', '-c', gateway.config])).code, 0);
  await until('readings of it', async () => (await status()).ledger.accepted > ledger.accepted);
  const one = await status();
  assert.deepEqual([one.safeMode, one.hub, one.modules.map((module) => module.in)], [safeMode, null, [0]]);

  gateway.process.kill('SIGTERM');
  assert.equal(await gateway.whenEnded(), 0);
  const { accepted } = one.ledger;
  gateway = await startGateway(how);
  assert.equal((await status()).safeMode, null);
  await until('readings', async () => (await status()).ledger.accepted > accepted);
  await gateway.stop();
});

test('a start that fails late ends the process all the same, so that it is started again', async () => {
  const dir = scratch();
  const yaml = 'gateway: { id: line-4, dataDir: data }\nstoreAndForward: { quota: 8MiB, keepFree: 0% }\n';
  writeFileSync(join(dir, 'gateway.yaml'), yaml);
  const root = resolve(import.meta.dirname, '..');
  const broken = `
    import { main } from './src/cli/program.ts';
    import { Modules } from './src/rules/modules.ts';
    Modules.prototype.start = () => Promise.reject(new Error('a fault of ours'));
    process.exitCode = await main(['node', 'holdfast', 'run', '--config', '${join(dir, 'gateway.yaml')}']);`;
  const { status, signal, stderr } = spawnSync(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '--eval', broken],
    {
      cwd: root,
      encoding: 'utf8',
      timeout: 60_000,
      killSignal: 'SIGKILL',
      env: { ...process.env, HOLDFAST_PROFILES: join(root, 'device-profiles'), NOTIFY_SOCKET: '@holdfast-test-nobody' },
    },
  );
  assert.deepEqual([status, signal], [1, null], stderr);
  assert.match(stderr, /^holdfast: a fault of ours$/m);
  const { failure } = JSON.parse(readFileSync(join(dir, 'data/starts.json'), 'utf8')) as { failure: string };
  assert.equal(failure, 'a fault of ours');
});
