import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { takeHold } from '../src/cli/control-place.ts';
import { ControlServer } from '../src/health/control-server.ts';
import { PROGRAM, startGateway } from './parts/gateway-process.ts';
import { scratch } from './parts/scratch.ts';
import { ManualClock } from './manual-clock.ts';

const yaml = 'gateway: { id: line-4, dataDir: data }\nstoreAndForward: { quota: 8MiB, keepFree: 0% }\n';
/** `nobody` of Debian. */
const NOBODY = 65_534;
const USER = ['--reuid', String(NOBODY), '--regid', String(NOBODY), '--clear-groups'];

/** Why no gateway can be run here as another user; false: one can. */
function unable(): string | false {
  if (process.getuid?.() !== 0) return 'SKIP: another user takes root';
  const reads = (path: string) => spawnSync('setpriv', [...USER, 'test', '-r', path]).status === 0;
  return !(reads(process.execPath) && reads(PROGRAM)) && 'SKIP: another user may not read this checkout';
}

test('of two gateways that start in the same instant one has the directory', async () => {
  const dataDir = join(scratch(), 'data');
  const log = pino({ level: 'silent' });
  const hold = () => takeHold(dataDir, (path) => new ControlServer(path, {}, new ManualClock(), log));
  const ends = await Promise.allSettled([hold(), hold(), hold()]);
  const held = ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []));
  const refused = ends.flatMap((end) => (end.status === 'rejected' ? [(end.reason as Error).message] : []));
  await Promise.all(held.map(({ control }) => control.stop()));
  assert.equal(held.length, 1);
  for (const why of refused) assert.match(why, /^another gateway is running here: it (has|answers on) /);
});

test("a gateway that root runs by hand keeps the service's user off the directory", { skip: unable() }, async (t) => {
  const dir = scratch();
  chmodSync(dir, 0o755);
  mkdirSync(join(dir, 'data'));
  chownSync(join(dir, 'data'), NOBODY, NOBODY);
  const gateway = await startGateway({ dir, yaml });
  t.after(() => gateway.kill());
  const run = [process.execPath, PROGRAM, 'run', '-c', gateway.config];
  const { status, stdout, stderr } = spawnSync('setpriv', [...USER, 'timeout', '60', ...run], { encoding: 'utf8' });
  assert.equal(status, 1, stdout);
  assert.match(stderr, /^holdfast: another gateway is running here: it has \S+data\n$/);
  assert.equal(await gateway.stop(), 0);
});
