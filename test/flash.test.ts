import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { gzipSync } from 'node:zlib';
import { scratch } from './parts/scratch.ts';

const MIB = 1024 ** 2;
const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` };
const skip = process.getuid?.() !== 0 && 'SKIP: a loop device takes root';

/** A card of so many bytes, with its content as a file. */
function card(t: TestContext, bytes: number) {
  const dir = scratch();
  const file = join(dir, 'card');
  writeFileSync(file, '');
  truncateSync(file, bytes);
  const device = execFileSync('losetup', ['--find', '--show', file], { encoding: 'utf8', env }).trim();
  t.after(() => execFileSync('losetup', ['--detach', device], { env }));
  return { dir, file, device };
}

function flash(...args: string[]) {
  return spawnSync('scripts/flash', args, { encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'pipe'] });
}

test('an image, compressed or not, is written and read back; one byte that differs is noticed', { skip }, (t) => {
  const { dir, file, device } = card(t, 12 * MIB);
  // Not a whole number of blocks.
  const bytes = randomBytes(5 * MIB + 512 * 3);
  const image = join(dir, 'image.img');
  writeFileSync(image, bytes);
  writeFileSync(`${image}.gz`, gzipSync(bytes, { level: 1 }));
  for (const name of [image, `${image}.gz`]) {
    execFileSync('dd', ['if=/dev/zero', `of=${device}`, 'bs=1M', 'count=12', 'conv=fsync'], { stdio: 'ignore' });
    const { status, stdout, stderr } = flash('--force', name, device);
    assert.equal(status, 0, stderr);
    assert.match(stdout, new RegExp(`has the image, all ${bytes.length} bytes of it`));
    assert.match(stderr, /copied/, 'progress is told');
    assert.ok(readFileSync(file).subarray(0, bytes.length).equals(bytes), 'the card has something else');
  }
  assert.equal(flash('--verify', '--force', image, device).status, 0);
  const fd = openSync(file, 'r+');
  writeSync(fd, Buffer.from([bytes[3 * MIB]! ^ 1]), 0, 1, 3 * MIB);
  closeSync(fd);
  const { status, stderr } = flash('--verify', '--force', image, device);
  assert.equal(status, 1);
  assert.match(stderr, /has something else than/);
});

test('nothing is written to what cannot be taken out, is mounted, too small or no disk at all', { skip }, (t) => {
  const { dir, file, device } = card(t, 8 * MIB);
  const image = join(dir, 'image.img');
  writeFileSync(image, randomBytes(4 * MIB));
  execFileSync('mkfs.ext4', ['-q', device], { env });
  const before = readFileSync(file);
  const refused = (why: RegExp, ...args: string[]) => {
    const { status, stderr } = flash(...args);
    assert.equal(status, 1, String(why));
    assert.match(stderr, why);
  };
  refused(/cannot be taken out of this machine.*--force/, image, device);
  refused(/is not a block device/, image, file);
  refused(/cannot be read/, join(dir, 'none'), device);
  writeFileSync(`${image}.large`, '');
  truncateSync(`${image}.large`, 9 * MIB);
  refused(/has 9437184 bytes, .* only 8388608/, '--force', `${image}.large`, device);
  assert.ok(readFileSync(file).equals(before), 'something was written');

  const folder = join(dir, 'mounted');
  mkdirSync(folder);
  execFileSync('mount', [device, folder], { env });
  t.after(() => execFileSync('umount', [folder], { env }));
  refused(/is in use: .*mounted/, '--force', image, device);
});

test('where lsblk cannot tell what is mounted, nothing is written', { skip }, (t) => {
  const { dir, file, device } = card(t, 8 * MIB);
  const image = join(dir, 'image.img');
  writeFileSync(image, randomBytes(4 * MIB));
  const before = readFileSync(file);
  // As util-linux before 2.37, which knows MOUNTPOINT alone.
  const lsblk = execFileSync('sh', ['-c', 'command -v lsblk'], { encoding: 'utf8', env }).trim();
  const old = `#!/bin/sh\ncase "$*" in *MOUNTPOINTS*) echo 'lsblk: unknown column: MOUNTPOINTS' >&2; exit 1 ;; esac\nexec ${lsblk} "$@"\n`;
  mkdirSync(join(dir, 'bin'));
  writeFileSync(join(dir, 'bin/lsblk'), old, { mode: 0o755 });
  const { status, stderr } = spawnSync('scripts/flash', ['--force', image, device], {
    encoding: 'utf8',
    env: { ...env, PATH: `${join(dir, 'bin')}:${env.PATH}` },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  assert.equal(status, 1, stderr);
  assert.match(stderr, /flash: lsblk cannot tell what of \S+ is mounted; needs util-linux 2\.37 or newer/);
  assert.ok(readFileSync(file).equals(before), 'something was written');
});
