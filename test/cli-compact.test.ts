import assert from 'node:assert/strict';
import { statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { holdfast } from './parts/command.ts';
import { startGateway } from './parts/gateway-process.ts';
import { scratch } from './parts/scratch.ts';
import { noise, SpoolRig } from './parts/spool-rig.ts';

const MIB = 2 ** 20;

const yaml = (quota: string) => `
gateway: { id: line-4, dataDir: data }
upstream: { url: "mqtt://127.0.0.1:9" }
storeAndForward: { quota: ${quota}, keepFree: 0%, whenFull: drop-oldest }
`;

/** A stopped gateway whose file once held 20 MiB, of which so many messages of 16 KiB are left. */
async function stopped(left: number): Promise<{ config: string; file: string }> {
  const dir = scratch();
  const config = join(dir, 'gateway.yaml');
  writeFileSync(config, yaml('64MiB'));
  const rig = await SpoolRig.open({ dataDir: join(dir, 'data') });
  for (let n = 0; n < 1200; n++) {
    void rig.accept(noise(16 * 1024));
    if (n % 60 === 59) await rig.spool.flush();
  }
  for (const stored of rig.take(1200 - left)) rig.spool.delivered(stored, true);
  await rig.audit();
  await rig.close();
  const file = join(dir, 'data/spool/data.mdb');
  assert.ok(statSync(file).size > 18 * MIB);
  return { config, file };
}

async function pending(config: string): Promise<number> {
  assert.equal((await holdfast(['spool', 'verify', '-c', config])).code, 0);
  const { stdout } = await holdfast(['spool', 'stats', '--json', '-c', config]);
  return (JSON.parse(stdout) as { ledger: { pending: number } }).ledger.pending;
}

test('the file of a stopped gateway becomes as small as what is in it', async () => {
  const { config, file } = await stopped(200);
  const before = statSync(file).size;
  const { code, stdout, stderr } = await holdfast(['spool', 'compact', '--json', '-c', config]);
  assert.equal(code, 0, stderr);
  const after = statSync(file).size;
  assert.deepEqual(JSON.parse(stdout), { before, after });
  assert.ok(after > 200 * 16 * 1024 && after < 6 * MIB, `${after} bytes`);
  assert.match(stderr, /^the file had \d\d\.\d MiB, and has \d\.\d MiB now$/m);
  assert.equal(await pending(config), 200);
});

test('so does that of one that runs, which goes on in it', async (t) => {
  const { config, file } = await stopped(10);
  // Lowered since: it is not filled up again.
  const gateway = await startGateway({ dir: dirname(config), yaml: yaml('8MiB') });
  t.after(() => gateway.kill());
  const { code, stdout, stderr } = await holdfast(['spool', 'compact', '--json', '-c', config]);
  assert.equal(code, 0, stderr);
  const { before, after } = JSON.parse(stdout) as { before: number; after: number };
  assert.ok(before > 18 * MIB && after < MIB, `${before} and ${after} bytes`);
  assert.ok(statSync(file).size <= 8 * MIB);
  assert.equal(await pending(config), 10);
});

test('where there is no room for the copy, it says how much it takes and what to do, and changes nothing', async (t) => {
  const { config, file } = await stopped(300);
  writeFileSync(config, yaml('16MiB'));
  const before = statSync(file).size;
  const refusal =
    /^holdfast: a copy of what is stored takes \d{7} bytes beside the file's \d{8}: more than the quota and keepFree leave\. Nothing was changed\. .*holdfast reload/m;
  const alone = await holdfast(['spool', 'compact', '-c', config]);
  assert.equal(alone.code, 1);
  assert.match(alone.stderr, refusal);
  assert.equal(statSync(file).size, before);
  const gateway = await startGateway({ dir: dirname(config), yaml: yaml('16MiB') });
  t.after(() => gateway.kill());
  const running = await holdfast(['spool', 'compact', '-c', config]);
  assert.equal(running.code, 1);
  assert.match(running.stderr, refusal);
  assert.equal(await pending(config), 300);
});

test('where no gateway ever ran: says so', async () => {
  const config = join(scratch(), 'gateway.yaml');
  writeFileSync(config, yaml('16MiB'));
  const { code, stderr } = await holdfast(['spool', 'compact', '-c', config]);
  assert.equal(code, 1);
  assert.match(stderr, /there is no spool in \S+\/data: no gateway has run with this configuration yet\n$/);
});
