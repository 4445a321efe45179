import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { holdfast, RunningCommand, type Ended } from './parts/command.ts';
import { freePort } from './parts/free-port.ts';
import { startGateway } from './parts/gateway-process.ts';
import { scratch } from './parts/scratch.ts';

const YAML = `gateway: { id: line-4, dataDir: data }
hub: { hostName: gateway.local }
children: [ { id: board, host: {} } ]
`;

function bench(yaml = YAML): { dir: string; run: (...args: string[]) => Promise<Ended> } {
  const dir = scratch();
  writeFileSync(join(dir, 'gateway.yaml'), yaml);
  return { dir, run: (...args) => holdfast([...args, '-c', join(dir, 'gateway.yaml')]) };
}

test('provision ca prints the certificate to trust, the same each time until it is made anew', async () => {
  const { dir, run } = bench();
  const first = await run('provision', 'ca');
  assert.equal(first.code, 0, first.stderr);
  const ca = new X509Certificate(first.stdout);
  assert.equal(ca.subject, 'CN=Holdfast line-4');
  assert.equal(ca.ca, true);
  assert.match(first.stderr, /data\/keys\/ca\.pem, good until 20\d\d-.*Z, SHA-256 [0-9A-F]{64}\n$/);
  assert.ok(!(first.stdout + first.stderr).includes('PRIVATE'));
  assert.equal((await run('provision', 'ca')).stdout, first.stdout);
  const server = () => new X509Certificate(readFileSync(join(dir, 'data/keys/server.pem')));
  assert.ok(server().verify(ca.publicKey));
  const anew = await run('provision', 'ca', '--renew', '--json');
  const { certificate, sha256 } = JSON.parse(anew.stdout) as { certificate: string; sha256: string };
  assert.notEqual(certificate.trim(), first.stdout.trim());
  assert.equal(new X509Certificate(certificate).fingerprint256.replaceAll(':', ''), sha256);
  assert.ok(server().verify(new X509Certificate(certificate).publicKey));
});

test('provision ca says so when there is no authority of its own, or no hub', async () => {
  const none = bench('gateway: { id: line-4, dataDir: data }\n');
  const without = await none.run('provision', 'ca');
  assert.equal(without.code, 1);
  assert.match(without.stderr, /^holdfast: there is no hub in the configuration/);
  const own = bench();
  await own.run('provision', 'ca');
  const keys = join(own.dir, 'data/keys');
  const files = bench(
    `gateway: { id: line-4, dataDir: data }\nhub: { hostName: a, cert: ${keys}/server.pem, key: ${keys}/server.key }\n`,
  );
  const with_ = await files.run('provision', 'ca');
  assert.equal(with_.code, 1);
  assert.match(with_.stderr, /has its certificate from files/);
});

test('the seal is changed in a gateway that runs and in a stopped one; the old key opens nothing any more', async () => {
  const { dir, run } = bench();
  const key = join(dir, 'data/keys/holdfast-key');
  await run('children', 'add', 'panel', '--sas');
  const shown = (await run('children', 'show', 'panel', '--secrets')).stdout;
  const old = readFileSync(key);
  assert.equal((await run('provision', 'rotate-key')).code, 0);
  const second = readFileSync(key);
  assert.ok(!second.equals(old));
  const gateway = await startGateway({ dir, yaml: YAML });
  assert.equal((await run('provision', 'rotate-key')).code, 0);
  assert.equal((await run('children', 'show', 'panel', '--secrets')).stdout, shown);
  await gateway.kill();
  assert.equal((await run('children', 'show', 'panel', '--secrets')).stdout, shown);
  const newest = readFileSync(key);
  writeFileSync(key, second);
  const wrong = await run('children', 'list');
  assert.equal(wrong.code, 1);
  assert.match(
    wrong.stderr,
    /sealed with another key than that in .*: nothing was changed; bring the right key back\n$/,
  );
  writeFileSync(key, newest);
  assert.equal((await run('children', 'show', 'panel', '--secrets')).stdout, shown);
});

test('a gateway whose key is gone runs all the same, says so once, and lets children in by itself when it is back', async () => {
  const yaml = YAML.replace('gateway.local }', `gateway.local, listen: { mqtts: "127.0.0.1:${await freePort()}" } }`);
  const { dir, run } = bench(yaml);
  const key = join(dir, 'data/keys/holdfast-key');
  await run('children', 'add', 'panel', '--sas');
  renameSync(key, join(dir, 'away'));
  const gateway = await startGateway({ dir, yaml });
  await gateway.waitForLog(/no child can connect: .*the key is not in/);
  const refused = await run('children', 'list');
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /the key is not in .*holdfast-key: bring it back/);
  assert.match((await run('list')).stdout, /board/);
  assert.match((await run('status')).stdout, /^hub +no child can connect: .*the key is not in/m);
  assert.ok(!existsSync(key));
  renameSync(join(dir, 'away'), key);
  await gateway.waitForLog(/children may connect/);
  assert.match((await run('status')).stdout, /^hub +0 of 1 connected; listens on mqtts/m);
  assert.match((await run('children', 'list')).stdout, /panel +enabled +sas/);
  assert.equal(gateway.messages().filter((message) => message.startsWith('no child can connect')).length, 1);
  assert.equal(await gateway.stop(), 0);
  rmSync(dir, { recursive: true, force: true });
});

test('the key may be a systemd credential; then it is not ours to change', async () => {
  const { dir } = bench();
  const credentials = scratch();
  writeFileSync(join(credentials, 'holdfast-key'), `${Buffer.alloc(32, 7).toString('base64')}\n`);
  const config = ['-c', join(dir, 'gateway.yaml')];
  const env = { CREDENTIALS_DIRECTORY: credentials };
  assert.equal((await holdfast(['children', 'add', 'panel', '--sas', ...config], { env })).code, 0);
  assert.ok(!existsSync(join(dir, 'data/keys/holdfast-key')));
  const { code, stderr } = await holdfast(['provision', 'rotate-key', ...config], { env });
  assert.equal(code, 1);
  assert.match(
    stderr,
    /the key is a systemd credential: give the new one as holdfast-key and the one before as holdfast-key-old/,
  );
  const without = await holdfast(['children', 'list', ...config], { env: { CREDENTIALS_DIRECTORY: '' } });
  assert.match(without.stderr, /the key is not in/);
});

test('a change of the seal that is killed at any moment loses nothing', async () => {
  const kills = process.env['HOLDFAST_TEST_LONG'] === '1' ? 50 : 3;
  const { dir, run } = bench();
  const ids = Array.from({ length: 200 }, (_, index) => `child-${String(index).padStart(3, '0')}`);
  const auth = { sas: { primaryKey: Buffer.alloc(32, 'k').toString('base64') } };
  writeFileSync(join(dir, 'children.json'), JSON.stringify(ids.map((id) => ({ id, auth }))));
  assert.equal((await run('children', 'import', join(dir, 'children.json'))).code, 0);
  const keys = new Set<string>();
  let killed = 0;
  for (let round = 0; round < kills; round++) {
    const changing = new RunningCommand(['provision', 'rotate-key', '-c', join(dir, 'gateway.yaml')]);
    // From when it begins to write its key on; each time a little later.
    while (!existsSync(join(dir, 'data/keys/holdfast-key.next')) && changing.process.exitCode === null) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await new Promise((resolve) => setTimeout(resolve, round * 2));
    changing.process.kill('SIGKILL');
    if ((await changing.ended).code === 'SIGKILL') killed++;
    const { stdout, stderr } = await run('children', 'list', '--json');
    const found = JSON.parse(stdout) as { id: string; auth: string }[];
    assert.deepEqual(
      found.map(({ id }) => id),
      ids,
      stderr,
    );
    assert.equal(stderr, '');
    keys.add(readFileSync(join(dir, 'data/keys/holdfast-key'), 'hex'));
  }
  assert.ok(killed > 0, 'none was killed: the test has seen nothing');
  assert.ok(keys.size > 1, 'a change that had begun went on');
});
