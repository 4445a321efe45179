import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { lateControlPaths } from '../src/config/control-path.ts';
import { holdfast } from './parts/command.ts';
import { startGateway } from './parts/gateway-process.ts';
import { scratch } from './parts/scratch.ts';

/** What a gateway that ran from memory leaves when it is killed. One of root's, a gateway that is another user cannot take away. */
function staleSocket(t: TestContext, dataDir: string): string {
  const path = lateControlPaths(dataDir).at(-1)!;
  t.after(() => rmSync(path, { force: true }));
  const dies = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['--eval', dies]);
  assert.ok(existsSync(path));
  return path;
}

test('a socket in memory that nobody answers on hides neither a gateway that runs nor the files of one that does not', async (t) => {
  const dir = scratch();
  const yaml = 'gateway: { id: line-4, dataDir: data }\nstoreAndForward: { quota: 8MiB, keepFree: 0% }\n';
  const gateway = await startGateway({ dir, yaml });
  t.after(() => gateway.kill());
  staleSocket(t, join(dir, 'data'));
  const ask = (...args: string[]) => holdfast([...args, '-c', gateway.config]);
  const status = await ask('status');
  assert.equal(status.code, 0, status.stderr);
  assert.match(status.stdout, new RegExp(`process ${gateway.process.pid},`));

  // Not in the files, beside the gateway that has them open.
  const added = await ask('children', 'add', 'panel', '--sas');
  assert.equal(added.code, 0, added.stderr);
  assert.match((await ask('children', 'list')).stdout, /^panel +enabled/m);
  assert.equal(await gateway.stop(), 0);
  assert.match((await ask('status')).stderr, /^holdfast: no gateway is running .*data\/holdfast\.sock/);
  assert.match((await ask('children', 'list')).stdout, /^panel +enabled/m);
});

test('a gateway whose directory lies too deep for a socket is found from outside of the /tmp that systemd gives it', async (t) => {
  const dir = scratch();
  const deep = join('data', 'deep'.repeat(25));
  const yaml = `gateway: { id: line-4, dataDir: ${deep} }\nstoreAndForward: { quota: 8MiB, keepFree: 0% }\n`;
  const gateway = await startGateway({ dir, yaml, env: { TMPDIR: scratch() } });
  t.after(() => gateway.kill());
  const { code, stderr } = await holdfast(['status', '-c', gateway.config]);
  assert.equal(code, 0, stderr);
  assert.equal(await gateway.stop(), 0);
  assert.match((await holdfast(['status', '-c', gateway.config])).stderr, /no gateway is running/);
  assert.equal((await holdfast(['children', 'list', '-c', gateway.config])).code, 0);
});
