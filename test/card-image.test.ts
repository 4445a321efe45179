import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test, type TestContext } from 'node:test';
import { readProvision } from '../src/config/provision.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

const MIB = 1024 ** 2;
const OVERLAY = 'image/root';
const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin`, LC_ALL: 'C' };
const root = process.getuid?.() !== 0 && 'SKIP: a loop device takes root';
/** capabilities(7): ext4 asks for CAP_SYS_RESOURCE, which root in a container may lack. */
const effective = Number(`0x${/CapEff:\t(\w+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]}`);
const mayNotGrow =
  Math.floor(effective / 2 ** 24) % 2 === 0 &&
  'SKIP: growing a mounted ext4 takes CAP_SYS_RESOURCE, which is not given here';

function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', env });
}

/** A card with the image's three parts, the last of `dataMib` with a file system, on which `extraMib` are free. */
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
  t.after(async () => {
    // udev, where it runs, may just be looking at one of the parts.
    try {
      await until('the parts to be given back', () => {
        return !existsSync(`${device}p3`) || spawnSync('partx', ['--delete', device], { env }).status === 0;
      });
    } finally {
      run('losetup', '--detach', device);
    }
  });
  run('mke2fs', '-q', '-t', 'ext4', `${device}p3`);
  // The one thing it asks that would be answered for this machine: what its root is on.
  writeFileSync(join(dir, 'findmnt'), `#!/bin/sh\necho ${device}p2\n`);
  chmodSync(join(dir, 'findmnt'), 0o755);
  const script = join(OVERLAY, 'usr/lib/holdfast-image/data-partition');
  /** As the card does it at each start; then what the gateway's data is on. */
  const start = () => {
    // In a mount table of its own, with a root partition of its own.
    const look = `mount -t tmpfs root /var/lib && mkdir /var/lib/holdfast && { sh ${script} >&2 || echo failed; } && df -m --output=source,size /var/lib/holdfast`;
    const { stdout, stderr, status } = spawnSync('unshare', ['--mount', 'sh', '-c', look], {
      encoding: 'utf8',
      env: { ...env, PATH: `${dir}:${env.PATH}` },
    });
    assert.equal(status, 0, stderr);
    const [source, mib] = stdout.trim().split('\n').at(-1)!.split(/ +/);
    return { failed: stdout.startsWith('failed'), mounted: source === `${device}p3`, mib: Number(mib), stderr };
  };
  /** MiB of the parts in the card's table. */
  const parts = () => {
    const { partitiontable } = JSON.parse(run('sfdisk', '--json', file)) as {
      partitiontable: { partitions: { size: number }[] };
    };
    return partitiontable.partitions.map(({ size }) => size / 2048);
  };
  return { device, start, parts };
}

test('the data partition takes the rest of the card, once; the others stay', { skip: root }, (t) => {
  const { start, parts } = card(t, 16, 48);
  assert.deepEqual(parts(), [1, 2, 16]);
  for (let turn = 1; turn <= 2; turn++) {
    const { failed, mounted, stderr } = start();
    assert.deepEqual({ failed, mounted }, { failed: false, mounted: true }, stderr);
    assert.deepEqual(parts(), [1, 2, 64]);
  }
});

test('and so does its file system', { skip: root || mayNotGrow }, (t) => {
  const { mounted, mib, stderr } = card(t, 16, 48).start();
  // Without what ext4 needs for itself.
  assert.ok(mounted && mib > 48 && mib <= 64, `${mib} MiB; ${stderr}`);
});

test('on a card that is full already it is mounted as it is', { skip: root }, (t) => {
  const { start, parts } = card(t, 16, 0);
  const { mounted, mib, stderr } = start();
  assert.ok(mounted && mib <= 16, stderr);
  assert.deepEqual(parts(), [1, 2, 16]);
});

test('one beyond repair is left as it is, and the gateway has the root partition', { skip: root }, (t) => {
  const { device, start } = card(t, 16, 0);
  run('dd', 'if=/dev/zero', `of=${device}p3`, 'bs=1M', 'count=16', 'status=none');
  const { failed, mounted, stderr } = start();
  assert.deepEqual({ failed, mounted }, { failed: true, mounted: false });
  assert.match(stderr, /beyond repair/);
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
    assert.deepEqual(units.toSorted(), ['holdfast-data.service', 'holdfast-first-boot.service']);
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
