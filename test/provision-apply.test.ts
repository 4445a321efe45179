import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { MachineFiles } from '../src/board/machine-files.ts';
import { loadConfig } from '../src/config/load.ts';
import { resolveSecret } from '../src/config/secret.ts';
import { writePrivate } from '../src/registry/private-file.ts';
import { holdfast } from './parts/command.ts';
import { scratch } from './parts/scratch.ts';
import { mountSmall } from './parts/small-filesystem.ts';

const PASSWORD = 'correct horse battery';
const KEY_TEXT = '-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----\n';
const WIFI = 'wifi secret 42';

const FILE = `\uFEFF# Edited on a PC.
id: line-4
profile: simulated
upstream:
  url: mqtts://broker.example:8883
  username: line-4
  passwordFile: upstream-password
  clientCert: client.pem
  clientKey: client.key
credentials:
  upstream-password: ${PASSWORD}
  client.key: { base64: ${Buffer.from(KEY_TEXT).toString('base64')} }
  client.pem: |
    -----BEGIN CERTIFICATE-----
config:
  children: [{ id: board, host: { every: 60s } }]
wifi: { ssid: "Halle 4; Süd", password: "${WIFI}", country: DE }
ethernet: { address: 192.0.2.7/24, gateway: 192.0.2.1, dns: [192.0.2.53] }
hostname: line-4
timezone: Europe/Berlin
ssh: { keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJmk someone"] }
`.replaceAll('\n', '\r\n');

/** A machine with what a Debian has of this, and the file on its boot partition. */
function machine(file = FILE, more: readonly string[] = []) {
  const root = scratch();
  for (const folder of ['etc', 'boot/firmware', 'usr/share/zoneinfo/Europe', 'root', 'usr/sbin']) {
    mkdirSync(join(root, folder), { recursive: true });
  }
  for (const name of ['usr/share/zoneinfo/Europe/Berlin', ...more]) writeFileSync(join(root, name), '');
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/bash\n');
  writeFileSync(join(root, 'etc/hosts'), '127.0.0.1\tlocalhost\n127.0.1.1\traspberrypi\n');
  writeFileSync(join(root, 'boot/firmware/holdfast-provision.yaml'), file);
  const read = (path: string) => readFileSync(join(root, path), 'utf8');
  const mode = (path: string) => (statSync(join(root, path)).mode & 0o777).toString(8);
  return { root, read, mode, apply: () => holdfast(['provision', 'apply', '--root', root]) };
}

/** Every file of the machine with what is in it, in its order. */
function contents(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .sort()
    .filter((name) => statSync(join(root, name), { throwIfNoEntry: false })?.isFile() === true)
    .map((name) => `${name}: ${readFileSync(join(root, name), 'latin1')}`);
}

test('a file on the boot partition becomes configuration, secrets and network, and its secrets go', async () => {
  const { root, read, mode, apply } = machine();
  const { code, stderr } = await apply();
  assert.equal(code, 0, stderr);

  const { config } = loadConfig(join(root, 'etc/holdfast/gateway.yaml'));
  assert.equal(config.gateway.id, 'line-4');
  assert.equal(config.children[0]!.id, 'board');
  assert.equal(config.upstream!.clientKey, join(root, 'etc/holdfast/secrets/client.key'));
  assert.equal(resolveSecret('upstream-password', join(root, 'etc/holdfast')).value, PASSWORD);
  assert.equal(read('etc/holdfast/secrets/client.key'), KEY_TEXT);
  for (const name of readdirSync(join(root, 'etc/holdfast/secrets')))
    assert.equal(mode(`etc/holdfast/secrets/${name}`), '600');
  assert.equal(mode('etc/holdfast/secrets'), '700');
  assert.equal(mode('etc/holdfast/gateway.yaml'), '640');

  // The key from IEEE 802.11i's formula, as wpa_passphrase prints it.
  const wpa = read('etc/wpa_supplicant/wpa_supplicant-wlan0.conf');
  assert.match(wpa, /^ {2}ssid=48616c6c6520343b2053c3bc64$/m);
  assert.match(wpa, /^ {2}psk=[0-9a-f]{64}$/m);
  assert.equal(mode('etc/wpa_supplicant/wpa_supplicant-wlan0.conf'), '600');
  assert.match(
    read('etc/systemd/network/10-holdfast-ethernet.network'),
    /Address=192\.0\.2\.7\/24\nGateway=192\.0\.2\.1\nDNS=192/,
  );
  assert.equal(read('etc/hostname'), 'line-4\n');
  assert.equal(read('etc/hosts'), '127.0.0.1\tlocalhost\n127.0.1.1\tline-4\n');
  assert.equal(readlinkSync(join(root, 'etc/localtime')), '/usr/share/zoneinfo/Europe/Berlin');
  assert.match(read('root/.ssh/authorized_keys'), /^ssh-ed25519 \S+ someone\n$/);

  assert.deepEqual(readdirSync(join(root, 'boot/firmware')), ['holdfast-provision.done']);
  const done = read('boot/firmware/holdfast-provision.done');
  assert.match(done, /- gateway line-4\r\n- credential upstream-password\r\n/);
  for (const secret of [PASSWORD, WIFI, 'MC4CAQ']) assert.ok(!`${done}${stderr}`.includes(secret), `${secret} is told`);
});

test('the same file again changes nothing but what was lost; another one keeps the configuration before it', async () => {
  const { root, read, apply } = machine();
  await apply();
  const before = contents(join(root, 'etc'));
  writeFileSync(join(root, 'boot/firmware/holdfast-provision.yaml'), FILE);
  assert.equal((await apply()).code, 0);
  assert.deepEqual(contents(join(root, 'etc')), before);
  assert.equal(read('root/.ssh/authorized_keys').split('\n').length, 2);
  writeFileSync(join(root, 'boot/firmware/holdfast-provision.yaml'), 'id: line-5\n');
  assert.equal((await apply()).code, 0);
  assert.match(read('etc/holdfast/gateway.yaml'), /id: line-5/);
  assert.match(read('etc/holdfast/gateway.yaml.old'), /id: line-4/);
});

test('a credential that is called like the half-written file of another keeps its own content, whichever comes first', async () => {
  for (const names of [
    ['a.new', 'a'],
    ['a', 'a.new', 'a.new.new'],
  ]) {
    const credentials = names.map((name) => `  ${name}: secret of ${name}\n`).join('');
    const { root, read, apply } = machine(`id: line-4\nprofile: simulated\ncredentials:\n${credentials}`);
    assert.equal((await apply()).code, 0);
    for (const name of names) assert.equal(read(`etc/holdfast/secrets/${name}`), `secret of ${name}`);
    // One that is there already is left alone by a file that names only the other.
    writeFileSync(
      join(root, 'boot/firmware/holdfast-provision.yaml'),
      'id: line-4\nprofile: simulated\ncredentials: { a: b }\n',
    );
    assert.equal((await apply()).code, 0);
    assert.equal(read('etc/holdfast/secrets/a.new'), 'secret of a.new');
  }
});

test('more secrets than systemd hands to a service are refused, with those that are there already', async () => {
  const bundle = (name: string) => `  ${name}: { base64: ${Buffer.alloc(600_000, 'x').toString('base64')} }\n`;
  const { root, apply } = machine(`id: line-4\nprofile: simulated\ncredentials:\n${bundle('ca.pem')}`);
  assert.equal((await apply()).code, 0);
  const again = async (name: string) => {
    const text = `id: line-4\nprofile: simulated\ncredentials:\n${bundle(name)}`;
    writeFileSync(join(root, 'boot/firmware/holdfast-provision.yaml'), text);
    return apply();
  };
  const { code, stderr } = await again('more.pem');
  assert.equal(code, 1);
  assert.match(stderr, /credentials: with those of \S+secrets they have 1200030 bytes: with more than 1048576 systemd/);
  assert.deepEqual(readdirSync(join(root, 'etc/holdfast/secrets')), ['ca.pem']);
  assert.equal((await again('ca.pem')).code, 0, 'one in the place of the other');
  // What a power cut left half-written is hidden, and no credential.
  writeFileSync(join(root, 'etc/holdfast/secrets/.ca.pem.new'), Buffer.alloc(600_000));
  writeFileSync(join(root, 'etc/holdfast/secrets/.more.pem.new'), Buffer.alloc(600_000));
  assert.equal((await again('ca.pem')).code, 0, 'half-written ones do not count');
});

test('with NetworkManager there the network is its key files', async () => {
  const { read, mode, apply } = machine(FILE, ['usr/sbin/NetworkManager']);
  assert.equal((await apply()).code, 0);
  const folder = 'etc/NetworkManager/system-connections';
  assert.match(read(`${folder}/holdfast-wifi.nmconnection`), /^ssid=72;97;108;108;101;32;52;59;32;83;195;188;100;$/m);
  assert.match(
    read(`${folder}/holdfast-ethernet.nmconnection`),
    /address1=192\.0\.2\.7\/24,192\.0\.2\.1\ndns=192\.0\.2\.53;/,
  );
  assert.equal(mode(`${folder}/holdfast-wifi.nmconnection`), '600');
});

test('a broken file changes nothing, and leaves every problem with its place beside it, without secrets', async () => {
  const broken: [string, RegExp][] = [
    [
      'id: line-4\nconfig:\n  upstream: { url: "mqtt://x" }\n  gateway: { id: b, profile: x86 }\n',
      /:3:3: config\.upstream: write upstream beside config, not in it\s+\S+:4:14: config\.gateway\.id: write id beside config, not in it\s+\S+:4:21: config\.gateway\.profile: write profile beside config, not in it/,
    ],
    ['id: line-4\nupstrem: {}\n', /:2:1: upstrem: .*did you mean.*upstream/],
    ['id: line-4\nupstream: { url: "http://x" }\n', /:2:18: upstream\.url: "http:\/\/x" is not an address/],
    [
      'id: line-4\nconfig: { children: [{ id: a b, host: {} }] }\n',
      /:2:28: config\.children\.0\.id: "a b" is not a name/,
    ],
    [
      'id: line-4\nupstream: { url: "mqtt://x", passwordFile: pw }\n',
      /upstream\.passwordFile: pw is not among the credentials/,
    ],
    ['id: line-4\ncredentials: { pw: 4711 }\n', /credentials\.pw: is not text/],
    ['id: line-4\ncredentials: { pw: { base64: 4711 } }\n', /credentials\.pw\.base64: is not base64; put it in quotes/],
    ['id: line-4\ncredentials: { pw: { base46: x } }\n', /credentials\.pw\.base64: is not base64/],
    ['id: line-4\nwifi: { ssid: a, password: "4711471", country: DE }\n', /wifi\.password: is not a WPA passphrase/],
    ['id: line-4\nwifi: { ssid: a }\n', /wifi\.country: missing; write for example DE/],
    ['id: line-4\ncredentials: 4711\n', /credentials: is not a mapping of names/],
    ['id: line-4\ncredentials: { a: "" }\n', /credentials\.a: is not text of 1 to 65536 characters/],
    [
      'id: line-4\nethernet: { address: 192.0.2.7/24, gateway: 192.0.3.1 }\n',
      /ethernet\.gateway: "192\.0\.3\.1" is not in the network of "192\.0\.2\.7\/24"/,
    ],
    [
      'id: line-4\nethernet: { address: 192.0.2.0/24 }\n',
      /ethernet\.address: "192\.0\.2\.0\/24" is the address of a network/,
    ],
    ['id: line-4\nethernet: { address: 192.0.2.7/0 }\n', /ethernet\.address: .*is not an address/],
    ['id: line-4\nssh: { keys: ["-----BEGIN 4711"] }\n', /ssh\.keys\[0\]: is not a public key/],
    [
      'id: line-4\ntimezone: Mars/Base\nconfig: { children: [{ id: a b, host: {} }] }\n',
      /:2:11: timezone: there is no time zone Mars\/Base in \/[^]*:3:28: config\.children\.0\.id: "a b" is not a name/,
    ],
    ['id: line-4\ntimezone: 5\n', /timezone: 5 is not a time zone/],
    ['id: line-4\ntimezone: Europe\n', /timezone: there is no time zone Europe/],
    ['id: line-4\ntimezone: Mars/Base\n', /timezone: there is no time zone Mars\/Base/],
    ['id: [\n', /:\d+:\d+: /],
  ];
  await Promise.all(
    broken.map(async ([text, problem]) => {
      const { root, read, apply } = machine(text);
      const before = contents(join(root, 'etc'));
      const { code, stderr } = await apply();
      assert.equal(code, 1, text);
      assert.match(stderr, problem);
      assert.deepEqual(contents(join(root, 'etc')), before, text);
      const why = read('boot/firmware/holdfast-provision.error.txt');
      assert.match(why, problem);
      assert.ok(!why.includes('4711'), why);
      assert.match(why, /Correct it, and start the gateway again\.\r\n$/);
      assert.equal(read('boot/firmware/holdfast-provision.yaml'), text);
    }),
  );
});

test('where one of the files cannot take its place, it is said which are there already', async () => {
  const { root, read, apply } = machine();
  mkdirSync(join(root, 'etc/hostname/in-the-way'), { recursive: true });
  const { code, stderr } = await apply();
  assert.equal(code, 1);
  assert.match(
    stderr,
    /^holdfast: only a part of \S+ was taken over:\n.*etc\/hostname'; already written: \S+secrets\/upstream-password,/,
  );
  const why = read('boot/firmware/holdfast-provision.error.txt');
  assert.match(why, /^Only a part of \S+ was taken over:/);
  assert.doesNotMatch(why, /nothing was changed/i);
  assert.equal(read('etc/holdfast/secrets/upstream-password'), PASSWORD);
  assert.equal(read('boot/firmware/holdfast-provision.yaml'), FILE);
  assert.deepEqual(
    readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.new')),
    [],
  );
});

test('a boot partition that is mounted read-only, as on the card image, is written to all the same, and is read-only again', async (t) => {
  const small = mountSmall('tmpfs', 2 * 2 ** 20);
  if (typeof small === 'string') return t.skip(`SKIP: ${small}`);
  try {
    const { root, read, apply } = machine();
    rmSync(join(root, 'boot/firmware'), { recursive: true });
    symlinkSync(small.dir, join(root, 'boot/firmware'));
    for (const file of ['id: line 4\n', FILE]) {
      small.remount('rw');
      writeFileSync(join(small.dir, 'holdfast-provision.yaml'), file);
      small.remount('ro');
      const { code, stderr } = await apply();
      assert.equal(code, file === FILE ? 0 : 1, stderr);
      assert.throws(() => writeFileSync(join(small.dir, 'more'), ''), { code: 'EROFS' });
      const left =
        file === FILE ? ['holdfast-provision.done'] : ['holdfast-provision.error.txt', 'holdfast-provision.yaml'];
      assert.deepEqual(readdirSync(small.dir).sort(), left);
    }
    assert.equal(read('etc/holdfast/secrets/upstream-password'), PASSWORD);
  } finally {
    small.unmount();
  }
});

test('a boot partition that is full keeps no machine from being set up, and its secrets go', async (t) => {
  const small = mountSmall('ext4', 2 * 2 ** 20);
  if (typeof small === 'string') return t.skip(`SKIP: ${small}`);
  try {
    const { root, read, apply } = machine();
    rmSync(join(root, 'boot/firmware'), { recursive: true });
    symlinkSync(small.dir, join(root, 'boot/firmware'));
    const fill = (file: string) => {
      writeFileSync(join(small.dir, 'holdfast-provision.yaml'), file);
      for (const bytes of [65_536, 512]) {
        const full = Buffer.alloc(bytes);
        const append = () => writeFileSync(join(small.dir, `${bytes}`), full, { flag: 'a' });
        assert.throws(
          () => {
            for (;;) append();
          },
          { code: 'ENOSPC' },
        );
      }
    };
    fill('id: line 4\n');
    const wrong = await apply();
    assert.match(
      wrong.stderr,
      /error\.txt cannot be written: ENOSPC[^]*nothing was taken over:\n.*"line 4" is not a name/,
    );
    assert.equal(wrong.code, 1);
    fill(FILE);
    const { code, stderr } = await apply();
    assert.equal(code, 0, stderr);
    assert.equal(read('etc/holdfast/secrets/upstream-password'), PASSWORD);
    const left = readdirSync(small.dir).filter((name) => name.startsWith('holdfast'));
    assert.deepEqual(left, ['holdfast-provision.done']);
    assert.match(read('boot/firmware/holdfast-provision.done'), /- gateway line-4/);
  } finally {
    small.unmount();
  }
});

test('a power cut while it is wiped: the next start wipes what is left', async () => {
  const { root, apply } = machine();
  await apply();
  writeFileSync(join(root, 'boot/firmware/holdfast-provision.yaml.wiping'), FILE);
  assert.equal((await apply()).code, 0);
  assert.ok(!existsSync(join(root, 'boot/firmware/holdfast-provision.yaml.wiping')), 'it is still there');
  const none = await apply();
  assert.equal(none.code, 1);
  assert.match(none.stderr, /nothing to take over/);
});

test('a folder that is not there, or is no root of a machine, is refused; the file stays as it is', async () => {
  const dir = scratch();
  const file = join(dir, 'line-4.yaml');
  writeFileSync(file, FILE);
  writeFileSync(join(dir, 'not-a-folder'), '');
  mkdirSync(join(dir, 'mount-point'));
  const refused: [string, RegExp][] = [
    ['typo', /^holdfast: there is no \S+\/typo: is the card mounted\?\n$/],
    [
      'mount-point',
      /^holdfast: \S+\/mount-point is not the root of a machine, it has no folder etc: is the card's root/,
    ],
    ['not-a-folder', /not-a-folder is not the root of a machine/],
  ];
  for (const [root, why] of refused) {
    const before = contents(dir);
    const { code, stderr } = await holdfast(['provision', 'apply', file, '--root', join(dir, root)]);
    assert.match(stderr, why);
    assert.equal(code, 1);
    assert.deepEqual(contents(dir), before);
    assert.deepEqual(readdirSync(dir).sort(), ['line-4.yaml', 'mount-point', 'not-a-folder']);
  }
});

test('without a profile it is taken over with a warning of what the gateway will be, and where to mend that', async () => {
  const { root, read } = machine('id: line-4\n');
  const { code, stdout, stderr } = await holdfast(['provision', 'apply', '--root', root, '--json']);
  assert.equal(code, 0, stderr);
  const { applied, warnings } = JSON.parse(stdout) as { applied: string[]; warnings: string[] };
  assert.deepEqual(applied, ['gateway line-4']);
  assert.equal(warnings.length, 1);
  assert.match(
    warnings[0]!,
    /^no profile is named, .* nobody can tell a board by its files: the gateway has the profile simulated/,
  );
  assert.match(
    warnings[0]!,
    /`holdfast profile list` shows them; write one as gateway\.profile into \S+\/etc\/holdfast\/gateway\.yaml/,
  );
  assert.ok(read('boot/firmware/holdfast-provision.done').includes(`Warning: ${warnings[0]}\r\n`));
  // What the warning says is so.
  assert.equal(loadConfig(join(root, 'etc/holdfast/gateway.yaml')).profile.name, 'simulated');
  const named = machine('id: line-4\nprofile: simulated\n');
  assert.doesNotMatch((await named.apply()).stderr, /Warning/);
});

test('what is said of a file that was named, and of another machine, holds for these', async () => {
  const { root } = machine();
  const dir = scratch();
  const file = join(dir, 'line-4.yaml');
  writeFileSync(file, 'id: line-4\nssh: { user: ada, keys: [] }\n');
  const wrong = await holdfast(['provision', 'apply', file, '--root', root]);
  assert.equal(wrong.code, 1);
  assert.ok(wrong.stderr.includes(`there is no user ada in ${root}`), wrong.stderr);
  assert.match(readFileSync(join(dir, 'line-4.error.txt'), 'utf8'), /Correct it, and apply it again\.\r\n$/);
  writeFileSync(file, 'id: line-4\nprofile: x86\n');
  const { stderr } = await holdfast(['provision', 'apply', file, '--root', `${root}/`]);
  assert.ok(stderr.includes(`, into ${root}, `), stderr);
  const done = readFileSync(join(dir, 'line-4.done'), 'utf8');
  assert.match(done, /The file itself was wiped; to change something, apply a new one\.\r\n$/);
});

test('a file that finds no room for all of it is not written, and that is said', (t) => {
  const small = mountSmall('tmpfs', 65_536);
  if (typeof small === 'string') return t.skip(`SKIP: ${small}`);
  try {
    // The kernel takes what it has room for, and only says how much that was.
    const text = 'k'.repeat(100_000);
    const files = new MachineFiles(small.dir);
    assert.throws(() => files.write([{ path: '/secrets/key', mode: 0o600, text }], []), { code: 'ENOSPC' });
    assert.deepEqual(readdirSync(join(small.dir, 'secrets')), []);
    assert.throws(() => writePrivate(join(small.dir, 'keys/key'), text), { code: 'ENOSPC' });
    assert.deepEqual(readdirSync(join(small.dir, 'keys')), []);
  } finally {
    small.unmount();
  }
});
