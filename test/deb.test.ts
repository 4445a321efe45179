/** The Debian package. It takes a minute or more to build where nothing of it is there yet, so it is part of the long tests. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { scratch } from './parts/scratch.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const ARCH = process.arch === 'x64' ? 'amd64' : 'arm64';
const has = (command: string) => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;
const skip = LONG
  ? !['dpkg-deb', 'adduser', 'deb-systemd-helper', 'g++'].every(has) && 'SKIP: not a Debian with dpkg, adduser and g++'
  : 'SKIP: the package is built and installed by npm run test:long';
const skipInstall =
  skip || (process.getuid?.() !== 0 && 'SKIP: installing it into a copy of this system needs root for overlayfs');

function build(version: string, output: string, arch = ARCH): string {
  execFileSync('scripts/build-deb', [arch, '--quick', '--version', version, '--output', output], { stdio: 'pipe' });
  return join(output, `holdfast_${version}_${arch}.deb`);
}

/** Floating point and vectors that a Cortex-A8, and every processor that Debian's armhf is for, has (`readelf -A`). */
const ARMHF_BASELINE = new Set(['VFPv2', 'VFPv3-D16']);

test(
  'for armhf it leans on the Node.js of the system, and no add-on asks for more than the processor of a BeagleBone has',
  { skip: skip || (!has('arm-linux-gnueabihf-g++') && 'SKIP: needs g++-arm-linux-gnueabihf') },
  () => {
    const root = scratch();
    const deb = build('0.1.0', root, 'armhf');
    execFileSync('dpkg', ['-x', deb, root]);
    assert.equal(readlinkSync(join(root, 'usr/lib/holdfast/bin/node')), '../../../bin/node');
    const depends = execFileSync('dpkg-deb', ['-f', deb, 'Depends'], { encoding: 'utf8' });
    assert.match(depends, /, nodejs \(>= 20\.19\), nodejs \(<< 21~\)/);
    const modules = join(root, 'usr/lib/holdfast/node_modules');
    const addons = readdirSync(modules, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.node'));
    assert.equal(addons.length, 4, addons.join(' '));
    for (const addon of addons) {
      const said = execFileSync('arm-linux-gnueabihf-readelf', ['-hA', join(modules, addon)], { encoding: 'utf8' });
      assert.match(said, /Flags: .*hard-float ABI/, addon);
      const [, floats = ''] = /Tag_FP_arch: (\S+)/.exec(said) ?? [];
      assert.ok(ARMHF_BASELINE.has(floats), `${addon}: ${floats}`);
      assert.doesNotMatch(said, /Tag_Advanced_SIMD_arch/, addon);
    }
  },
);

test(
  'purged on the card image, whose data partition is mounted, all that was in it goes and dpkg hears of no fault',
  { skip: process.getuid?.() !== 0 && 'SKIP: a mount namespace takes root' },
  () => {
    const purge = `
      mount -t tmpfs tmpfs /etc && mount -t tmpfs tmpfs /var/lib
      mkdir -p /etc/holdfast/secrets /var/lib/holdfast && mount -t tmpfs tmpfs /var/lib/holdfast
      mkdir /var/lib/holdfast/spool && echo x >/var/lib/holdfast/spool/data.mdb
      sh systemd/deb/postrm purge >&2 && find /etc/holdfast /var/lib/holdfast 2>/dev/null`;
    const { stdout, stderr } = spawnSync('unshare', ['--mount', 'sh', '-c', purge], { encoding: 'utf8' });
    assert.equal(stdout, '/var/lib/holdfast\n', stderr);
  },
);

describe('the package', { skip }, () => {
  const dir = scratch();
  let first = '';
  let second = '';
  before(() => {
    first = build('0.1.0', dir);
    second = build('0.1.1', dir);
  });

  test('two builds of one commit are the same bytes', () => {
    const hash = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex');
    assert.equal(hash(build('0.1.0', scratch())), hash(first));
  });

  test('unpacked anywhere it runs with its own Node.js and add-ons', () => {
    const root = scratch();
    execFileSync('dpkg', ['-x', first, root]);
    const home = join(root, 'usr/lib/holdfast');
    const node = (...args: string[]) =>
      spawnSync(join(home, 'bin/node'), args, { encoding: 'utf8', cwd: home, env: { PATH: '/usr/bin:/bin' } });
    const run = (...args: string[]) => node(join(home, 'dist/start.cjs'), ...args);
    // Each is loaded when it is needed, which may be late.
    const addons = node(
      '-e',
      `const [lmdb, epoll, koffi, serial] = ['node-lmdb', 'epoll', 'koffi', '@serialport/bindings-cpp'].map(require);
      console.log(new lmdb.Env() !== null, typeof epoll.Epoll, koffi.load(null).func('int getpid()')() === process.pid);
      serial.autoDetect().open({ path: '/dev/none', baudRate: 9600 }).catch(({ message }) => console.log(message));`,
    );
    assert.equal(
      addons.stdout,
      'true function true\nError: No such file or directory, cannot open /dev/none\n',
      addons.stderr,
    );
    assert.match(run('--version').stdout, /^\d+\.\d+\.\d+\n$/);
    const simulated = run('simulate', '--for', '2s', '--json');
    assert.equal(simulated.status, 0, simulated.stderr);
    const config = join(root, 'usr/share/holdfast/gateway.yaml');
    assert.equal(run('config', 'check', config).status, 0);
    const report = JSON.parse(run('check', '--json', '--only', 'config,node', '-c', config).stdout) as { ok: boolean };
    assert.ok(report.ok, 'check is not content');
  });

  test(
    'installed, run, upgraded, removed and purged: spool and configuration stay until the purge',
    { skip: skipInstall },
    (t) => {
      const folder = scratch();
      // A copy of this system that goes with its mount namespace; systemd does not run in it.
      writeFileSync(
        join(folder, 'inside'),
        `set -eu
mount -t tmpfs none ${folder}
mkdir ${folder}/upper ${folder}/work ${folder}/root
mount -t overlay -o lowerdir=/,upperdir=${folder}/upper,workdir=${folder}/work none ${folder}/root
cp "$1" "$2" ${folder}/root/
cat > ${folder}/root/steps <<'STEPS'
set -eu
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
say() { echo "$*: $(cd / && "$@" 2>&1 | tr '\\n' ' ')"; }
run() { setpriv --reuid holdfast --regid holdfast --clear-groups env HOLDFAST_CONFIG=/etc/holdfast/gateway.yaml timeout -s TERM "$1" holdfast run; }
dpkg -i /holdfast_0.1.0_*.deb >/dev/null
say stat -c '%U:%G %a' /etc/holdfast /etc/holdfast/secrets /etc/holdfast/gateway.yaml /var/lib/holdfast
say getent group gpio
say stat -c '%U:%G %a' /usr/lib/holdfast/dist/holdfast.cache
say ls /etc/systemd/system/multi-user.target.wants/holdfast.service
say holdfast config check
sed -i 's/quota:.*//; $a storeAndForward: { quota: 16MiB, keepFree: 0% }\\n# mine' /etc/holdfast/gateway.yaml
sed -i 's/every: 60s/every: 1s/' /etc/holdfast/gateway.yaml
run 8 || true
holdfast spool stats --json | tr -d ' \\n' | sed 's/.*"accepted":\\([0-9]*\\).*/accepted: \\1\\n/'
dpkg -i /holdfast_0.1.1_*.deb </dev/null >/dev/null
say tail -n 1 /etc/holdfast/gateway.yaml
say stat -c '%U:%G %a' /usr/lib/holdfast/dist/holdfast.cache
say dpkg-query -W -f '\${Version}' holdfast
holdfast spool stats --json | tr -d ' \\n' | sed 's/.*"accepted":\\([0-9]*\\).*/accepted after: \\1\\n/'
dpkg -r holdfast >/dev/null
say ls -d /etc/holdfast/gateway.yaml /var/lib/holdfast/spool /usr/lib/holdfast
dpkg -P holdfast >/dev/null
say ls -d /etc/holdfast /var/lib/holdfast
dpkg -i /holdfast_0.1.1_*.deb >/dev/null
say holdfast config check
STEPS
mount -t proc proc ${folder}/root/proc
mount --bind /dev ${folder}/root/dev
chroot ${folder}/root sh /steps
`,
      );
      const { status, stdout, stderr } = spawnSync(
        'unshare',
        ['--mount', '--pid', '--fork', 'sh', join(folder, 'inside'), first, second],
        { encoding: 'utf8' },
      );
      t.diagnostic(stdout);
      assert.equal(status, 0, stdout + stderr);
      assert.match(stdout, /^stat .*: root:holdfast 750 root:root 700 root:holdfast 640 holdfast:holdfast 750 $/m);
      assert.match(stdout, /^getent group gpio: gpio:x:\d+/m);
      assert.equal(stdout.match(/^stat \S+ \S+ \S+ \S+holdfast\.cache: root:root 644 $/gm)?.length, 2, stdout);
      assert.match(
        stdout,
        /^ls \/etc\/systemd\S+: \/etc\/systemd\/system\/multi-user\.target\.wants\/holdfast\.service $/m,
      );
      const [, accepted, after] = /^accepted: (\d+)$[^]*^accepted after: (\d+)$/m.exec(stdout) ?? assert.fail(stdout);
      assert.ok(Number(accepted) > 0, stdout);
      assert.equal(after, accepted, 'the upgrade took the spool along');
      assert.match(stdout, /^tail .*: # mine $/m);
      assert.match(stdout, /^dpkg-query .*: 0\.1\.1/m);
      assert.match(
        stdout,
        /^ls -d \S+ \S+ \S+: .*cannot access '\/usr\/lib\/holdfast'.*\/etc\/holdfast\/gateway\.yaml \/var\/lib\/holdfast\/spool $/m,
      );
      assert.match(
        stdout,
        /^ls -d \/etc\/holdfast \/var\/lib\/holdfast: .*cannot access '\/etc\/holdfast'.*cannot access '\/var\/lib\/holdfast'/m,
      );
    },
  );
});
