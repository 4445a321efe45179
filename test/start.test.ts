import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { before, describe, test } from 'node:test';
import { PROGRAM } from './parts/gateway-process.ts';
import { scratch } from './parts/scratch.ts';

/* The bundle as it is started on a board: beside what V8 has compiled of it. */

const ROOT = resolve(import.meta.dirname, '..');
/** Says at the end whether V8 took the data, and whether any was given. */
const WATCH = `
const vm = require('node:vm');
const Script = vm.Script;
vm.Script = class extends Script {
  constructor(text, options) {
    super(text, options);
    const said = options.cachedData === undefined ? 'none' : this.cachedDataRejected ? 'rejected' : 'taken';
    process.on('exit', () => process.stderr.write('data: ' + said + '\\n'));
  }
};`;

describe('the bundle and what V8 has compiled of it', () => {
  const dir = scratch();
  const dist = join(dir, 'dist');
  const start = join(dist, 'start.cjs');
  const cache = join(dist, 'holdfast.cache');
  const watch = join(dir, 'watch.cjs');

  const run = (args: readonly string[], env: Record<string, string> = {}, flags: readonly string[] = []) =>
    spawnSync(process.execPath, [...flags, '--require', watch, start, ...args], {
      encoding: 'utf8',
      env: { ...process.env, ...env },
    });
  const data = (args: readonly string[] = ['--version'], flags: readonly string[] = []): string => {
    const { status, stdout, stderr } = run(args, {}, flags);
    assert.equal(status, 0, stderr);
    assert.notEqual(stdout, '');
    return /^data: (\w+)$/m.exec(stderr)?.[1] ?? stderr;
  };
  const compile = () => assert.equal(run(['config', 'schema'], { HOLDFAST_COMPILE: '1' }).status, 0);

  before(() => {
    mkdirSync(dist);
    for (const name of ['start.cjs', 'holdfast.cjs']) copyFileSync(join(dirname(PROGRAM), name), join(dist, name));
    for (const name of ['node_modules', 'device-profiles']) symlinkSync(join(ROOT, name), join(dir, name));
    writeFileSync(watch, WATCH);
  });

  test('what the build has made is taken by the Node.js that built', () => {
    for (const args of [['--version'], ['profile', 'list']]) {
      const { stderr } = spawnSync(process.execPath, ['--require', watch, PROGRAM, ...args], { encoding: 'utf8' });
      assert.match(stderr, /^data: taken$/m);
    }
  });

  test('it is made where it is asked for, also anew, and starts say the same with it and without', () => {
    const alone = spawnSync(process.execPath, [join(dist, 'holdfast.cjs'), 'profile', 'list'], { encoding: 'utf8' });
    for (let round = 0; round < 2; round++) {
      compile();
      assert.equal(data(), 'taken');
      assert.equal(run(['profile', 'list']).stdout, alone.stdout);
      assert.ok(!existsSync(`${cache}.new`));
    }
    assert.match(alone.stdout, /raspberry-pi-4/);
  });

  test('what cannot be kept is said, and changes nothing of what the program did', () => {
    compile();
    const before = readFileSync(cache);
    // A folder of that name is in the way of the file, for root too.
    rmSync(cache);
    mkdirSync(join(cache, 'in-the-way'), { recursive: true });
    const { status, stdout, stderr } = run(['--version'], { HOLDFAST_COMPILE: '1' });
    assert.equal(status, 0);
    assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
    assert.match(stderr, /^holdfast: what V8 has compiled is not kept: .*\n/m);
    assert.deepEqual(
      readdirSync(dist).filter((name) => name.endsWith('.new')),
      [],
    );
    assert.equal(data(), 'none');
    rmSync(cache, { recursive: true });
    writeFileSync(cache, before);
    assert.equal(data(), 'taken');
  });

  test('another build of the same Node.js does not take it, nor does the bundle in another place', () => {
    compile();
    const elsewhere = join(dir, 'elsewhere');
    cpSync(dist, elsewhere, { recursive: true });
    const other = join(dir, 'other-build.cjs');
    writeFileSync(other, `Object.defineProperty(process, 'version', { value: process.version + '-1' });`);
    assert.equal(data(['--version'], ['--require', other]), 'none');
    const moved = spawnSync(process.execPath, ['--require', watch, join(elsewhere, 'start.cjs'), '--version'], {
      encoding: 'utf8',
    });
    assert.match(moved.stderr, /^data: none$/m);
    assert.equal(data(), 'taken');
  });

  test('damaged, cut short, empty, of another bundle or of another V8: it is not used, and everything works', () => {
    compile();
    const good = readFileSync(cache);
    const damaged = Buffer.from(good);
    damaged[Math.floor(good.length / 2)]! ^= 0x10;
    writeFileSync(cache, damaged);
    assert.equal(data(), 'none');
    writeFileSync(cache, good);
    truncateSync(cache, good.length - 4096);
    assert.equal(data(), 'none');
    writeFileSync(cache, '');
    assert.equal(data(), 'none');

    writeFileSync(cache, good);
    assert.equal(data(['--version'], ['--no-opt']), 'rejected');
    const bundle = readFileSync(join(dist, 'holdfast.cjs'), 'utf8');
    // Of the same length, which is all that V8 compares.
    assert.match(bundle, /a board/);
    writeFileSync(join(dist, 'holdfast.cjs'), bundle.replace('a board', 'a bread'));
    assert.equal(data(), 'none');
  });
});
