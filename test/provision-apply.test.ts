import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../src/config/load.ts';
import { resolveSecret } from '../src/config/secret.ts';
import { holdfast } from './parts/command.ts';
import { scratch } from './parts/scratch.ts';

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
    ['id: line-4\nwifi: { ssid: a, password: "4711471", country: DE }\n', /wifi\.password: is not a WPA passphrase/],
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
      assert.equal(read('boot/firmware/holdfast-provision.yaml'), text);
    }),
  );
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
