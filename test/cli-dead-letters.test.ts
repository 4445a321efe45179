import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { ShownLetter } from '../src/health/shown.ts';
import { deadLetterKey } from '../src/spool/keys.ts';
import type { SpoolStats } from '../src/spool/stats.ts';
import { asked } from './parts/asked.ts';
import { holdfast } from './parts/command.ts';
import { startGateway, type GatewayProcess } from './parts/gateway-process.ts';
import { startMosquitto, type Mosquitto } from './parts/mosquitto.ts';
import { scratch } from './parts/scratch.ts';
import { SpoolRig } from './parts/spool-rig.ts';
import { until } from './parts/until.ts';

const yaml = (url: string) => `
gateway: { id: line-4, dataDir: data }
upstream: { url: "${url}", reconnect: { minSecs: 0.1, maxSecs: 0.5 } }
storeAndForward: { quota: 16MiB, keepFree: 0%, commitEveryMs: 20 }
`;
const NOWHERE = 'mqtt://127.0.0.1:9';

/** The folder of a stopped gateway with so many dead letters, whose bodies are their numbers, and one message that waits. */
async function withLetters(
  count: number,
  body: (n: number) => string = String,
): Promise<{ dir: string; config: string }> {
  const dir = scratch();
  const config = join(dir, 'gateway.yaml');
  writeFileSync(config, yaml(NOWHERE));
  const rig = await SpoolRig.open({ dataDir: join(dir, 'data') });
  for (let n = 1; n <= count; n++) void rig.accept(body(n), 4);
  await rig.spool.flush();
  for (const stored of rig.take()) rig.spool.deadLetter(stored, 'refused with reason 0x87');
  await rig.accept('waits');
  await rig.audit();
  await rig.close();
  return { dir, config };
}

async function listed(config: string): Promise<ShownLetter[]> {
  const { code, stdout, stderr } = await holdfast(['spool', 'dead-letters', 'list', '--json', '-c', config]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as ShownLetter[];
}

async function ledger(config: string): Promise<SpoolStats['ledger']> {
  const { stdout } = await holdfast(['spool', 'stats', '--json', '-c', config]);
  const verified = await holdfast(['spool', 'verify', '-c', config]);
  assert.equal(verified.code, 0, verified.stdout);
  return (JSON.parse(stdout) as SpoolStats).ledger;
}

describe('of a stopped gateway', () => {
  test('are listed with their numbers, reasons and bodies', async () => {
    const { config } = await withLetters(3);
    const letters = await listed(config);
    assert.deepEqual(
      letters.map(({ number, reason, message }) => [
        number,
        reason,
        message!.lane,
        message!.seq,
        message!.child,
        message!.body,
      ]),
      [1, 2, 3].map((n) => [n, 'refused with reason 0x87', 4, n, 'child', n]),
    );
    const { stdout } = await holdfast(['spool', 'dead-letters', 'list', '-c', config]);
    assert.match(stdout, /^2 {2}refused with reason 0x87 {2}\S+Z {2}lane 4 {2}epoch 1 {2}seq 2 {2}child {2}2$/m);
  });

  test('are retried and dropped by number; a number that is not there is named and ends with 1', async () => {
    const { config } = await withLetters(4);
    const dropped = await holdfast(['spool', 'dead-letters', 'drop', '2', '-c', config]);
    assert.equal(dropped.code, 0);
    assert.equal(dropped.stderr, 'no gateway is running; it is done in its files\n1 dead letters dropped\n');
    const retried = await holdfast(['spool', 'dead-letters', 'retry', '1', '2', '99', '--json', '-c', config]);
    assert.equal(retried.code, 1);
    assert.deepEqual(JSON.parse(retried.stdout), { retried: [1], failed: [2, 99] });
    assert.match(
      retried.stderr,
      /^2: there is no such dead letter, or it cannot be read\n99: .*\n1 dead letters retried\n$/m,
    );
    assert.deepEqual(
      (await listed(config)).map(({ number }) => number),
      [3, 4],
    );
    const { accepted, pending, deadLetters, dropped: counts } = await ledger(config);
    assert.deepEqual([accepted, pending, deadLetters, counts], [5, 2, 2, { discarded: 1 }]);
    const { stdout } = await holdfast(['spool', 'export', '-c', config]);
    const again = stdout
      .split('\n')
      .flatMap((line) =>
        line === '' ? [] : [JSON.parse(line) as { lane: number; seq: number; body: unknown; properties: object }],
      );
    assert.deepEqual(
      again.map(({ lane, seq, body, properties }) => [lane, seq, body, properties]),
      [
        [4, 5, 1, {}],
        [10, 1, 'waits', {}],
      ],
    );
  });

  test('all of them go with --all, and then there are none', async () => {
    const { config } = await withLetters(150);
    const { code, stderr } = await holdfast(['spool', 'dead-letters', 'drop', '--all', '-c', config]);
    assert.equal(code, 0);
    assert.match(stderr, /^150 dead letters dropped$/m);
    const none = await holdfast(['spool', 'dead-letters', 'list', '-c', config]);
    assert.deepEqual(none, { code: 0, stdout: '', stderr: 'there are no dead letters\n' });
    assert.deepEqual((await ledger(config)).dropped, { discarded: 150 });
  });

  test('one that cannot be read is listed as such, stays when it is retried, and can be dropped', async () => {
    const { dir, config } = await withLetters(3);
    const file = join(dir, 'data/spool/data.mdb');
    const bytes = readFileSync(file);
    // Wherever its key stands, something in the block behind it.
    const key = deadLetterKey(2);
    for (let at = bytes.indexOf(key); at !== -1; at = bytes.indexOf(key, at + 1)) bytes[at + key.length + 50]! ^= 1;
    writeFileSync(file, bytes);
    const letters = await listed(config);
    assert.deepEqual(letters[1], { number: 2, reason: 'it cannot be read', message: null });
    const retried = await holdfast(['spool', 'dead-letters', 'retry', '--all', '--json', '-c', config]);
    assert.equal(retried.code, 1);
    assert.deepEqual(JSON.parse(retried.stdout), { retried: [1, 3], failed: [2] });
    assert.equal((await holdfast(['spool', 'dead-letters', 'drop', '2', '-c', config])).code, 0);
    const { pending, deadLetters, dropped } = await ledger(config);
    assert.deepEqual([pending, deadLetters, dropped], [3, 0, { discarded: 1 }]);
  });

  test('where no gateway ever ran: says so, and makes no spool', async () => {
    const config = join(scratch(), 'gateway.yaml');
    writeFileSync(config, yaml(NOWHERE));
    for (const command of [['list'], ['retry', '--all'], ['drop', '1']]) {
      const { code, stderr } = await holdfast(['spool', 'dead-letters', ...command, '-c', config]);
      assert.equal(code, 1);
      assert.match(stderr, /there is no spool in \S+\/data: no gateway has run with this configuration yet\n$/);
    }
  });
});

describe('of a gateway that runs', () => {
  let broker: Mosquitto;
  let gateway: GatewayProcess;
  before(async () => {
    broker = await startMosquitto();
    // More than one answer carries.
    const { dir } = await withLetters(30, (n) => JSON.stringify({ n, x: 'x'.repeat(100_000) }));
    gateway = await startGateway({ dir, yaml: yaml(broker.url) });
    await gateway.waitForLog(/connected to/);
  });
  after(async () => {
    await gateway.kill();
    await broker.end();
  });

  test('are listed whole, dropped by number, and delivered when they are retried', async () => {
    const letters = await listed(gateway.config);
    assert.deepEqual(
      letters.map(({ number, message }) => [number, (message!.body as { n: number }).n]),
      Array.from({ length: 30 }, (_, n) => [n + 1, n + 1]),
    );
    const dropped = await holdfast(['spool', 'dead-letters', 'drop', '7', '8', '--json', '-c', gateway.config]);
    assert.deepEqual(JSON.parse(dropped.stdout), { dropped: [7, 8], failed: [] });
    const unknown = await holdfast(['spool', 'dead-letters', 'drop', '7', '-c', gateway.config]);
    assert.equal(unknown.code, 1);
    assert.equal(unknown.stderr, '7: there is no such dead letter\n0 dead letters dropped\n');
    const retried = await holdfast(['spool', 'dead-letters', 'retry', '--all', '-c', gateway.config]);
    assert.equal(retried.code, 0, retried.stderr);
    assert.equal(retried.stderr, '28 dead letters retried\n');
    await until(
      'all to be delivered',
      async () => (await asked<SpoolStats>(gateway.config, 'spool stats')).ledger.pending === 0,
    );
    const { accepted, delivered, deadLetters, dropped: counts } = await ledger(gateway.config);
    assert.deepEqual([accepted, delivered, deadLetters, counts], [31, 29, 0, { discarded: 2 }]);
    assert.deepEqual(await listed(gateway.config), []);
  });
});
