import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import pino from 'pino';
import { SystemClock } from '../src/clock/system-clock.ts';
import { ownControlPath } from '../src/config/control-path.ts';
import { ControlServer } from '../src/health/control-server.ts';
import { twinRequests } from '../src/health/twin-requests.ts';
import { Twins } from '../src/twins/twins.ts';
import { holdfast } from './parts/command.ts';
import { startGateway } from './parts/gateway-process.ts';
import { MemoryStore } from './parts/memory-store.ts';
import { scratch } from './parts/scratch.ts';

const dir = scratch();
const config = join(dir, 'gateway.yaml');
const dataDir = join(dir, 'data');
const twins = new Twins({ store: new MemoryStore(), changed: () => undefined });
const asked = {
  twins: () => Promise.resolve(twins),
  twinIds: () => Promise.resolve(['line-4', 'press-1', 'press-1/m']),
};
const clock = new SystemClock(() => true, undefined);
const server = new ControlServer(
  ownControlPath(dataDir),
  twinRequests(() => asked),
  clock,
  pino({ enabled: false }),
);

before(async () => {
  mkdirSync(dataDir);
  writeFileSync(config, 'gateway: { id: line-4, dataDir: data }\nchildren: [{ id: press-1, simulated: {} }]\n');
  await server.start();
});
after(() => server.stop());

const ask = (...args: string[]) => holdfast(['twin', ...args, '--config', config]);

test('twins of wired children without a hub: in the files, live, and kept from one to the other', async () => {
  const dir = scratch();
  const yaml = 'gateway: { id: line-4, dataDir: data }\nchildren: [{ id: press-1, simulated: { messageCount: 1 } }]\n';
  writeFileSync(join(dir, 'gateway.yaml'), yaml);
  const twin = async (...args: string[]) => {
    const { code, stdout, stderr } = await holdfast(['twin', ...args, '--json', '-c', join(dir, 'gateway.yaml')]);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout) as unknown;
  };
  const unset = { desired: { $version: 1 }, reported: { $version: 1 } };
  assert.deepEqual(await twin('get', 'press-1'), unset);
  assert.deepEqual(await twin('set', 'press-1', '--desired', '{"speed": 5}'), { version: 2 });
  const gateway = await startGateway({ dir, yaml });
  assert.deepEqual(await twin('get', 'press-1'), { ...unset, desired: { speed: 5, $version: 2 } });
  // At once, and each counts.
  const keys = ['a', 'b', 'c', 'd'];
  await Promise.all(keys.map((key) => twin('set', 'press-1', '--desired', `{"${key}": true}`)));
  await twin('set', 'line-4', '--desired', '{"site": "north"}');
  await gateway.kill();
  const all = Object.fromEntries(keys.map((key) => [key, true]));
  assert.deepEqual(await twin('get', 'press-1'), { ...unset, desired: { speed: 5, ...all, $version: 6 } });
  assert.deepEqual(await twin('get', 'line-4'), { ...unset, desired: { site: 'north', $version: 2 } });
  const { code, stderr } = await holdfast(['twin', 'get', 'pres-1', '-c', join(dir, 'gateway.yaml')]);
  assert.deepEqual([code, stderr], [1, 'holdfast: "pres-1" has no twin; did you mean "press-1"?\n']);
});

describe('twin', () => {
  test('set changes, deletes and replaces; get shows both sides', async () => {
    const set = await ask('set', 'press-1', '--desired', '{"a": 1, "b": {"c": 2}}');
    assert.deepEqual([set.code, set.stdout, set.stderr], [0, '', 'the desired properties have version 2\n']);
    const again = await ask('set', 'press-1', '--desired', '{"a": null, "b": {"d": 3}}', '--json');
    assert.deepEqual(JSON.parse(again.stdout), { version: 3 });
    await twins.report('press-1', null, Buffer.from('{"ok":true}'));
    const got = await ask('get', 'press-1', '--json');
    assert.equal(got.code, 0);
    assert.deepEqual(JSON.parse(got.stdout), {
      desired: { b: { c: 2, d: 3 }, $version: 3 },
      reported: { ok: true, $version: 2 },
    });
    await ask('set', 'press-1', '--desired', '{"e": 5}', '--replace');
    assert.deepEqual(JSON.parse((await ask('get', 'press-1')).stdout).desired, { e: 5, $version: 4 });
  });

  test('of a module, and of the gateway', async () => {
    for (const whose of [['press-1', '--module', 'm'], ['line-4']]) {
      assert.equal((await ask('set', ...whose, '--desired', '{"x": 1}')).code, 0);
      assert.deepEqual(JSON.parse((await ask('get', ...whose)).stdout).desired, { x: 1, $version: 2 });
    }
  });

  test('of nobody is said, with who may be meant', async () => {
    const get = await ask('get', 'pres-1');
    assert.deepEqual([get.code, get.stderr], [1, 'holdfast: "pres-1" has no twin; did you mean "press-1"?\n']);
    assert.equal((await ask('set', 'press-1', '--module', 'zzzzzzzz', '--desired', '{}')).code, 1);
  });

  test('what cannot be kept, and what is no JSON', async () => {
    const refused = await ask('set', 'press-1', '--desired', '{"a.b": 1}');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /^holdfast: the name "a\.b" may have no "\."/);
    assert.equal((await ask('set', 'press-1', '--desired', '{')).code, 2);
    assert.equal((await ask('set', 'press-1')).code, 2);
  });
});
