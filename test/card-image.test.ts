import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test, type TestContext } from 'node:test';
import { readProvision } from '../src/config/provision.ts';
import { scratch } from './parts/scratch.ts';

const MIB = 1024 ** 2;
const OVERLAY = 'image/root';
const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin`, LC_ALL: 'C' };
const root = process.getuid?.() !== 0 && 'SKIP: a loop device takes root';

function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', env });
}

/** A card with the image's three parts, the last of `dataMib`, on which `extraMib` are free. */
function card(t: TestContext, dataMib: number, extraMib: number) {
  const dir = scratch();
  const file = join(dir, 'card');
  writeFileSync(file, '');
  truncateSync(file, (4 + dataMib + extraMib) * MIB);
  const table = `label: dos\nstart=1MiB, size=1MiB, type=c\nstart=2MiB, size=2MiB, type=83\nstart=4MiB, size=${dataMib}MiB, type=83\n`;
  execFileSync('sfdisk', ['--quiet', file], { input: table, env });
  const device = run('losetup', '--find', '--show', file).trim();
  // Not every kernel knows the table that a card has; partx tells it what is in it.
  run('partx', '--add', device);
  t.after(() => {
    run('partx', '--delete', device);
    run('losetup', '--detach', device);
  });
  // The one thing it asks that would be answered for this machine: what its root is on.
  writeFileSync(join(dir, 'findmnt'), `#!/bin/sh\necho ${device}p2\n`);
  chmodSync(join(dir, 'findmnt'), 0o755);
  const grow = () =>
    spawnSync('sh', [join(OVERLAY, 'usr/lib/holdfast-image/grow')], {
      encoding: 'utf8',
      env: { ...env, PATH: `${dir}:${env.PATH}` },
    });
  /** MiB, in the table on the card, and as the kernel has it. */
  const sizes = () => {
    const { partitions } = (
      JSON.parse(run('sfdisk', '--json', file)) as { partitiontable: { partitions: { size: number }[] } }
    ).partitiontable;
    const kernel = Number(readFileSync(`/sys/class/block/${device.slice('/dev/'.length)}p3/size`, 'utf8'));
    return { card: partitions.map(({ size }) => size / 2048), kernel: kernel / 2048 };
  };
  return { grow, sizes };
}

test('the data partition takes the rest of the card, once; the others stay', { skip: root }, (t) => {
  const { grow, sizes } = card(t, 16, 48);
  assert.deepEqual(sizes(), { card: [1, 2, 16], kernel: 16 });
  for (let turn = 1; turn <= 2; turn++) {
    const { status, stderr } = grow();
    assert.equal(status, 0, stderr);
    assert.deepEqual(sizes(), { card: [1, 2, 64], kernel: 64 });
  }
});

test('a card that is full already is left as it is', { skip: root }, (t) => {
  const { grow, sizes } = card(t, 16, 0);
  const { status, stderr } = grow();
  assert.equal(status, 0, stderr);
  assert.deepEqual(sizes(), { card: [1, 2, 16], kernel: 16 });
});

test(
  "systemd-analyze verify has nothing to say about the card's own units",
  {
    skip:
      spawnSync('systemd-analyze', ['--version']).status !== 0 && 'SKIP: no systemd-analyze; apt-get install systemd',
  },
  () => {
    const folder = join(OVERLAY, 'etc/systemd/system');
    const dir = scratch();
    const units = readdirSync(folder).filter((name) => name.endsWith('.service'));
    assert.deepEqual(units.toSorted(), ['holdfast-first-boot.service', 'holdfast-grow.service']);
    for (const unit of units) {
      // The program must exist where the unit says.
      const text = readFileSync(join(folder, unit), 'utf8').replace('ExecStart=', `ExecStart=${resolve(OVERLAY)}`);
      writeFileSync(join(dir, unit), text);
      const { stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', join(dir, unit)], {
        encoding: 'utf8',
      });
      assert.equal(stdout + stderr, '');
    }
  },
);

test('the example on the boot partition is one that can be taken over, with all that it comments out', () => {
  const file = 'image/boot/holdfast-provision.yaml.example';
  assert.equal(readProvision(file, 'raspberry-pi-4').provision.wifi, undefined);
  const whole = join(scratch(), 'holdfast-provision.yaml');
  const key = Buffer.concat([Buffer.from('\0\0\0\x0bssh-ed25519\0\0\0\x20', 'latin1'), Buffer.alloc(32)]);
  const text = readFileSync(file, 'utf8')
    .replaceAll(/^#(wifi|ethernet|timezone|ssh):/gm, '$1:')
    .replace('AAAA...', key.toString('base64'));
  writeFileSync(whole, text);
  assert.equal(readProvision(whole, 'raspberry-pi-4').provision.wifi?.ssid, 'Hall 4');
});
