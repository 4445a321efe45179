import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { SystemClock } from '../src/clock/system-clock.ts';
import { OpenSerialPort } from '../src/drivers/serial-port.ts';
import { runChecks, type Check, type Report } from '../src/health/checks/check.ts';
import { node, NODE_BEFORE, NODE_FROM } from '../src/health/checks/machine.ts';
import type { Neighbour } from '../src/health/checks/scene.ts';
import { newKeyPair } from '../src/registry/jwk.ts';
import type { GatewayStatus } from '../src/health/status.ts';
import { NO_SOCAT, SerialCable, systemClock } from './driver-rig.ts';
import { Awake } from './parts/awake.ts';
import { CharacterChip } from './parts/character-chip.ts';
import { reports, type Case } from './parts/check-reports.ts';
import { freePort } from './parts/free-port.ts';
import { PROGRAM } from './parts/gateway-process.ts';
import { startMosquitto, type Mosquitto } from './parts/mosquitto.ts';
import { scratch } from './parts/scratch.ts';

async function report(id: string, rest: Omit<Case, 'only'>): Promise<Report> {
  const found = await reports({ ...rest, only: [id] });
  assert.deepEqual(Object.keys(found), [id]);
  return found[id]!;
}

const GATEWAY = 'gateway: { id: line-4, dataDir: data }\nstoreAndForward: { quota: 8MiB, keepFree: 0% }\n';

describe('the configuration', () => {
  test('that cannot be used fails, and everything that needs it is skipped because of it', async () => {
    const found = await reports({ yaml: 'gateway: {}\n' });
    assert.equal(found['config']!.result, 'FAIL');
    assert.match(found['config']!.message, /gateway\.yaml:1:1: gateway\.id: missing/);
    for (const id of ['config-warnings', 'data-dir', 'spool', 'gateway', 'upstream-mqtt']) {
      assert.deepEqual(found[id], { id, result: 'SKIP', message: 'not looked at, because of config', fix: null });
    }
    assert.equal(found['clock']!.result, 'OK');
    assert.equal(found['node']!.result, 'OK');
  });

  test('that says what was hardly meant is warned of, line by line', async () => {
    const { result, message } = await report('config-warnings', { yaml: 'gateway: { id: line-4 }\nroutes: {}\n' });
    assert.equal(result, 'WARN');
    assert.match(message, /upstream: left out: .*\n.*:2:9: routes: empty/);
  });

  test('secrets must be there, and not for everybody to read', async () => {
    const dir = scratch();
    const yaml = `${GATEWAY}upstream: { url: "mqtts://broker.example", username: u, passwordFile: word }\n`;
    const absent = await report('secrets', { yaml, dir });
    assert.equal(absent.result, 'FAIL');
    assert.match(absent.message, /secret "word" is in none of/);
    writeFileSync(join(dir, 'word'), 'secret\n', { mode: 0o644 });
    const exposed = await report('secrets', { yaml, dir });
    assert.equal(exposed.result, 'WARN');
    assert.match(exposed.message, /can be read by every user .* chmod o-r /);
    chmodSync(join(dir, 'word'), 0o600);
    assert.equal((await report('secrets', { yaml, dir })).result, 'OK');
  });
});

describe('registry documents', () => {
  const upstream = `${GATEWAY}upstream: { url: "mqtt://127.0.0.1:1" }\n`;

  test("do not come without an upstream, and without trust may be anybody's; looking makes no key", async () => {
    const dir = scratch();
    assert.equal((await report('registry', { yaml: GATEWAY, dir })).result, 'SKIP');
    const iothub = upstream.replace('upstream: {', 'upstream: { dialect: iothub, sharedAccessKeyFile: k,');
    assert.equal((await report('registry', { yaml: iothub.replace('mqtt://', 'mqtts://'), dir })).result, 'SKIP');
    const { result, message } = await report('registry', { yaml: upstream, dir });
    assert.equal(result, 'WARN');
    assert.match(message, /any document that decrypts is taken/);
    assert.ok(!existsSync(join(dir, 'data/keys')), 'no key was made');
  });

  test('need keys that can be used: a trusted one, and one of the gateway', async () => {
    const dir = scratch();
    const yaml = `${upstream}registry: { trust: fleet.jwk, gatewayKey: own.jwk }\n`;
    const [fleet, own] = [newKeyPair('sig'), newKeyPair('enc')];
    const why = async () => (({ result, message }) => `${result} ${message}`)(await report('registry', { yaml, dir }));
    assert.match(await why(), /^FAIL no registry document is taken: .*fleet\.jwk: cannot be read \(ENOENT\)$/);
    writeFileSync(join(dir, 'fleet.jwk'), JSON.stringify(fleet.private));
    assert.match(await why(), /^FAIL .*fleet\.jwk: is a private key/);
    writeFileSync(join(dir, 'fleet.jwk'), JSON.stringify(fleet.public));
    assert.match(await why(), /^FAIL .*own\.jwk: cannot be read/);
    writeFileSync(join(dir, 'own.jwk'), JSON.stringify(own.private), { mode: 0o600 });
    assert.equal(
      await why(),
      `OK what was taken is known while it runs; a document must be signed by ${fleet.public.kid}`,
    );
  });
});

describe('storage', () => {
  test('a data directory that can be written passes, and nothing stays behind', async () => {
    const dir = scratch();
    assert.match(
      (await report('data-dir', { yaml: GATEWAY, dir })).message,
      /is not there yet; `holdfast run` makes it/,
    );
    mkdirSync(join(dir, 'data'));
    const { result, message } = await report('data-dir', { yaml: GATEWAY, dir });
    assert.equal(result, 'OK');
    assert.match(message, /written and made durable in \d+ ms/);
    assert.equal(execFileSync('ls', ['-A', join(dir, 'data')], { encoding: 'utf8' }), '');
  });

  test('a file in its place fails, a quarantine is warned of', async () => {
    const dir = scratch();
    writeFileSync(join(dir, 'data'), '');
    assert.match((await report('data-dir', { yaml: GATEWAY, dir })).message, /data is not a folder$/);
    const other = scratch();
    mkdirSync(join(other, 'data/quarantine'), { recursive: true });
    const found = await report('data-dir', { yaml: GATEWAY, dir: other });
    assert.equal(found.result, 'WARN');
    assert.match(found.fix!, /then: sudo rm -r .*data\/quarantine$/);
  });

  test('a read-only place fails', async () => {
    // Nobody, not even root, makes files there.
    const found = await report('data-dir', { yaml: 'gateway: { id: line-4, dataDir: /proc }\n' });
    assert.equal(found.result, 'FAIL');
  });

  test(
    'a place of another user fails, and says as whom to look',
    { skip: process.getuid?.() !== 0 && 'SKIP: needs root, to become somebody else' },
    () => {
      const dir = scratch();
      chmodSync(dir, 0o755);
      mkdirSync(join(dir, 'data'), { mode: 0o750 });
      writeFileSync(join(dir, 'gateway.yaml'), GATEWAY);
      const args = [PROGRAM, 'check', '--only', 'data-dir', '-c', join(dir, 'gateway.yaml')];
      const { status, stdout } = spawnSync(process.execPath, args, { uid: 65_534, gid: 65_534, encoding: 'utf8' });
      assert.equal(status, 1);
      assert.match(
        stdout,
        /^FAIL {2}data-dir +nobody may not write to \S+, which belongs to root\n +-> look as .*sudo -u root holdfast check/,
      );
    },
  );

  test('disk space is held against what is to be kept free, and against the quota', async () => {
    const settings = (text: string) => `gateway: { id: line-4, dataDir: data }\nstoreAndForward: { ${text} }\n`;
    const space = (text: string) => report('disk-space', { yaml: settings(text) });
    assert.equal((await space('quota: 8MiB, keepFree: 0%')).result, 'OK');
    assert.equal((await space('quota: 1000000GiB, keepFree: 0%')).result, 'WARN');
    const none = await space('quota: 8MiB, keepFree: 1000000GiB');
    assert.equal(none.result, 'FAIL');
    assert.match(none.message, /the spool cannot grow/);
  });

  test('a spool that is damaged fails, and says what the gateway will do', async () => {
    const dir = scratch();
    mkdirSync(join(dir, 'data/spool'), { recursive: true });
    assert.equal((await report('spool', { yaml: GATEWAY, dir })).result, 'OK');
    writeFileSync(join(dir, 'data/spool/data.mdb'), Buffer.alloc(8192, 7));
    const found = await report('spool', { yaml: GATEWAY, dir });
    assert.equal(found.result, 'FAIL');
    assert.match(found.message, /is not an LMDB file/);
    assert.match(found.fix!, /^at its next start the gateway sets it aside/);
  });
});

describe('children', () => {
  const serial = (port: string) => `${GATEWAY}children: [{ id: meter, serial: { port: ${port}, decoder: json } }]\n`;

  test('a serial port must be a device that is there', async () => {
    const id = 'serial:meter';
    assert.equal((await report(id, { yaml: serial('/dev/ptmx') })).result, 'OK');
    const absent = await report(id, { yaml: serial('/dev/ttyNONE') });
    assert.equal(absent.result, 'FAIL');
    assert.match(absent.fix!, /^plug it in/);
    const usb = await report(id, { yaml: serial('{ usb: { vendor: "ffff", product: "ffff" } }') });
    assert.equal(usb.result, 'FAIL');
    assert.match(usb.message, /^USB serial port ffff:ffff is not plugged in/);
    assert.match((await report(id, { yaml: serial('/etc/passwd') })).message, /\/etc\/passwd is not a device/);
    // The name before the colon stands for all of them.
    assert.deepEqual(Object.keys(await reports({ yaml: serial('/dev/ptmx'), only: ['serial'] })), [id]);
  });

  test('a device that is no serial port fails in the words of run', async () => {
    const { result, message } = await report('serial:meter', { yaml: serial('/dev/null') });
    assert.deepEqual([result, message], ['FAIL', '/dev/null is not a serial port']);
  });

  test('a port that somebody else has locked fails with their name', { skip: NO_SOCAT }, async (t) => {
    const cable = new SerialCable();
    t.after(() => cable.discard());
    await cable.plugIn();
    const ask = (gateway?: Neighbour) =>
      report('serial:meter', { yaml: serial(cable.port), ...(gateway && { gateway }) });
    // socat has its ends open, too: that keeps nobody out.
    assert.equal((await ask()).result, 'OK');
    const line = { port: cable.port, baudRate: 9600, dataBits: 8, parity: 'none', stopBits: 1 } as const;
    const port = await OpenSerialPort.open(line, systemClock, { bytes: () => undefined, gone: () => undefined });
    t.after(() => port.close());
    const held = await ask();
    assert.equal(held.result, 'FAIL');
    assert.match(held.message, new RegExp(`^${cable.port} is in use by \\S+ \\(process ${process.pid}\\)$`));
    const status = { pid: process.pid } as unknown as GatewayStatus;
    const own: Neighbour = { is: 'running', status, spoolStats: () => assert.fail('not asked for') };
    assert.equal((await ask(own)).result, 'OK');
    assert.equal((await ask({ is: 'silent', why: 'it hangs' })).result, 'SKIP');
  });

  test('a GPIO line by the character device is looked at, and not taken', async () => {
    const chip = new CharacterChip('pinctrl-x');
    const line = (more: string) =>
      `${GATEWAY}children: [{ id: door, gpio: { line: { chip: pinctrl-x, offset: 17 }${more} } }]\n`;
    const look = (yaml = line('')) => report('gpio:door', { yaml, gpioKernel: () => chip.kernel });
    const free = await look();
    assert.deepEqual(
      [free.result, free.message],
      ['OK', 'line 17 of pinctrl-x is free, by the character device /dev/gpiochip0'],
    );
    chip.consumer = 'heartbeat';
    const used = await look();
    assert.deepEqual([used.result, used.message], ['FAIL', "'heartbeat' uses line 17 of pinctrl-x"]);
    chip.forbidden = true;
    const forbidden = await look();
    assert.deepEqual([forbidden.result, chip.asked.length, chip.open.size], ['FAIL', 0, 0]);
    assert.match(forbidden.message, /no permission for \/dev\/gpiochip0/);
    assert.match(forbidden.fix!, /usermod -aG gpio ada/);
  });

  test('a GPIO line is found by the label of its chip', async () => {
    const gpioRoot = scratch();
    mkdirSync(join(gpioRoot, 'gpiochip512'));
    for (const [name, text] of [
      ['label', 'pinctrl-x'],
      ['base', '512'],
      ['ngpio', '54'],
    ] as const) {
      writeFileSync(join(gpioRoot, 'gpiochip512', name), `${text}\n`);
    }
    writeFileSync(join(gpioRoot, 'export'), '');
    const line = (chip: string) =>
      `${GATEWAY}children: [{ id: door, gpio: { line: { chip: ${chip}, offset: 17 }, direction: in } }]\n`;
    const found = await report('gpio:door', { yaml: line('pinctrl-x'), gpioRoot });
    assert.deepEqual(
      [found.result, found.message],
      ['OK', 'line 17 of pinctrl-x is number 529, by sysfs, which merges edges: there is no /dev/gpiochip*'],
    );
    const other = await report('gpio:door', { yaml: line('pinctrl-y'), gpioRoot });
    assert.equal(other.result, 'FAIL');
    assert.match(other.message, /no GPIO chip is labelled 'pinctrl-y'; this machine has 'pinctrl-x'/);
    assert.match((await report('gpio:door', { yaml: line('x') })).message, /this kernel offers no GPIO/);
  });
});

describe('the machine', () => {
  test('what the running gateway sees beyond its limits is warned of', async () => {
    const limits = async (over: readonly { message: string }[]) => {
      const status = { board: { over } } as unknown as GatewayStatus;
      const gateway = { is: 'running' as const, status, spoolStats: () => assert.fail('not asked for') };
      const { result, message } = await report('limits', { yaml: GATEWAY, gateway });
      return [result, message];
    };
    assert.deepEqual((await limits([]))[0], 'OK');
    assert.deepEqual(await limits([{ message: 'too hot' }, { message: 'too full' }]), ['WARN', 'too hot\ntoo full']);
    assert.equal((await report('limits', { yaml: GATEWAY })).result, 'SKIP');
  });

  test("a profile that is another board's is warned of, and one for any machine is fine", async () => {
    const pi = { model: 'Raspberry Pi 4 Model B Rev 1.4', dmi: null, processor: 'arm64' };
    const pc = { model: null, dmi: 'QEMU Standard PC', processor: 'x64' };
    const on = async (profile: string, machine: typeof pi | typeof pc) => {
      const { result, message, fix } = await report('board', {
        yaml: `gateway: { id: g, profile: ${profile} }\n`,
        machine,
      });
      return [result, fix?.match(/gateway.profile: ([\w-]+)/)?.[1] ?? message];
    };
    assert.deepEqual(await on('raspberry-pi-4', pi), [
      'OK',
      'profile raspberry-pi-4: it calls itself "Raspberry Pi 4 Model B Rev 1.4"',
    ]);
    assert.deepEqual(await on('raspberry-pi-5', pi), ['WARN', 'raspberry-pi-4']);
    assert.deepEqual(await on('simulated', pi), ['WARN', 'raspberry-pi-4']);
    assert.deepEqual(await on('simulated', pc), ['OK', 'profile simulated, on QEMU Standard PC']);
    assert.deepEqual(await on('raspberry-pi-4', pc), [
      'WARN',
      'profile raspberry-pi-4 is for "Raspberry Pi 4 Model B", and this is QEMU Standard PC',
    ]);
  });

  test('a profile that was left out is warned of where one fits, and simulated by choice is not', async () => {
    const pc = { model: null, dmi: 'QEMU Standard PC', processor: 'x64' };
    const left = await report('board', { yaml: GATEWAY, machine: pc });
    assert.equal(left.result, 'WARN');
    assert.match(
      left.message,
      /^gateway\.profile is left out, .* is simulated.*; x86 fits: it has a processor of the kind x64$/,
    );
    assert.equal(left.fix, 'write gateway.profile: x86, or gateway.profile: simulated if that is meant');
    const pi = { model: 'Raspberry Pi 4 Model B Rev 1.4', dmi: null, processor: 'arm64' };
    assert.match((await report('board', { yaml: GATEWAY, machine: pi })).fix!, /profile: raspberry-pi-4, or/);
    const unknown = { model: 'Some Board', dmi: null, processor: 'riscv64' };
    assert.equal((await report('board', { yaml: GATEWAY, machine: unknown })).result, 'OK');
  });

  test('an unknown time is warned of', async () => {
    const { result, fix } = await report('clock', { yaml: GATEWAY, timeKnown: false });
    assert.equal(result, 'WARN');
    assert.match(fix!, /timedatectl/);
  });

  test("the versions of Node.js are those of package.json's engines", () => {
    const { engines } = JSON.parse(readFileSync('package.json', 'utf8')) as { engines: { node: string } };
    assert.equal(engines.node, `>=${NODE_FROM.join('.')} <${NODE_BEFORE}`);
    const results = ['18.20.4', '20.18.9', '20.19.0', '22.1.0', '25.9.9', '26.0.0'].map(
      (version) => node(version).result,
    );
    assert.deepEqual(results, ['FAIL', 'FAIL', 'OK', 'OK', 'OK', 'FAIL']);
  });

  test('a gateway that does not answer fails, one that does not run is warned of', async () => {
    const silent = await report('gateway', { yaml: GATEWAY, gateway: { is: 'silent', why: 'it says nothing' } });
    assert.equal(silent.result, 'FAIL');
    const { result, fix } = await report('gateway', { yaml: GATEWAY });
    assert.equal(result, 'WARN');
    assert.match(fix!, /^start it: /);
  });
});

describe('one check', () => {
  const clock = new SystemClock(() => true);
  const check = (id: string, run: Check['run'], needs: string[] = []): Check => ({ id, about: 'x', needs, run });
  const run = async (checks: Check[], only: string[] = [], skip: string[] = []) => {
    const found: Report[] = [];
    for await (const each of runChecks(checks, { only, skip }, clock)) found.push(each);
    return found.map(({ id, result }) => `${id} ${result}`);
  };
  const good = () => ({ result: 'OK', message: '' }) as const;
  const bad = () => ({ result: 'FAIL', message: '', fix: 'x' }) as const;

  test('that throws fails, and those that need it are skipped', async () => {
    const thrower = check('a', () => {
      throw new Error('oh');
    });
    assert.deepEqual(await run([thrower, check('b', good, ['a']), check('c', good, ['b'])]), [
      'a FAIL',
      'b SKIP',
      'c SKIP',
    ]);
  });

  test('that is asked for alone runs what it needs, without showing that', async () => {
    assert.deepEqual(await run([check('a', good), check('b', good, ['a']), check('c', bad)], ['b']), ['b OK']);
  });

  test('that is asked for alone fails where what it needs does, however far back', async () => {
    const checks = [check('a', bad), check('b', good, ['a']), check('c', good, ['b'])];
    assert.deepEqual(await run(checks, ['b']), ['b FAIL']);
    assert.deepEqual(await run(checks, ['c']), ['c FAIL']);
    assert.deepEqual(await run(checks, ['a', 'c']), ['a FAIL', 'c SKIP']);
  });

  test("that is skipped by name is not run, and stands in nobody's way", async () => {
    assert.deepEqual(await run([check('a', bad), check('b', good, ['a'])], [], ['a']), ['b OK']);
  });
});

describe('the way to the broker', () => {
  const dir = scratch();
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' });
  const brokers: Mosquitto[] = [];
  const servers: Server[] = [];

  const certificate = (name: string, days: number, host: string) => {
    openssl(
      'req',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
      '-subj',
      `/CN=${name}`,
    );
    writeFileSync(join(dir, `${name}.ext`), `subjectAltName=${host}\n`);
    const from = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-extfile', `${name}.ext`];
    openssl('x509', '-req', '-in', `${name}.csr`, ...from, '-out', `${name}.pem`, '-days', String(days));
  };

  /** A broker with TLS; resolves with its port. */
  const broker = async (name: string, ...config: string[]) => {
    const port = await freePort();
    const keys = [`cafile ${dir}/ca.pem`, `certfile ${dir}/${name}.pem`, `keyfile ${dir}/${name}.key`];
    brokers.push(await startMosquitto({ port, config: [`listener ${port} 127.0.0.1`, ...keys, ...config] }));
    return port;
  };

  const upstream = (url: string, more = '') => ({
    dir,
    yaml: `${GATEWAY}upstream: { url: "${url}"${more} }\n`,
    only: ['upstream-dns', 'upstream-tcp', 'upstream-tls', 'upstream-mqtt'],
  });
  const results = (found: Record<string, Report>) =>
    Object.values(found)
      .map(({ result }) => result)
      .join(' ');

  before(() => {
    openssl(
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      'ca.key',
      '-out',
      'ca.pem',
      '-days',
      '3650',
      '-subj',
      '/CN=the test CA',
    );
    certificate('good', 90, 'IP:127.0.0.1,DNS:localhost');
    certificate('ending', 10, 'IP:127.0.0.1');
    certificate('stranger', 90, 'DNS:elsewhere.example');
  });

  after(async () => {
    await Promise.all(brokers.map((each) => each.end()));
    for (const server of servers) server.close();
  });

  test('is clear when name, port, certificate and password are right', async () => {
    const port = await broker('good');
    const found = await reports(upstream(`mqtts://localhost:${port}`, ', ca: ca.pem'));
    assert.equal(results(found), 'OK OK OK OK');
    assert.match(
      found['upstream-tls']!.message,
      /^localhost: valid, the name matches, TLS 1\.3; good ends in (89|90) days$/,
    );
    assert.equal(found['upstream-mqtt']!.message, 'it speaks MQTT 5 and takes us');
    const unknown = await reports(upstream(`mqtts://localhost:${port}`));
    assert.equal(results(unknown), 'OK OK FAIL SKIP');
    assert.equal(unknown['upstream-tls']!.fix, 'name the certificate of the authority that signed it in upstream.ca');
  });

  test('a certificate that ends soon is warned of, one for another name fails', async () => {
    const [ending, stranger] = await Promise.all([broker('ending'), broker('stranger')]);
    const soon = await reports(upstream(`mqtts://127.0.0.1:${ending}`, ', ca: ca.pem'));
    assert.equal(results(soon), 'OK OK WARN OK');
    assert.match(soon['upstream-tls']!.message, /ending ends in (9|10) days$/);
    const wrong = await reports(upstream(`mqtts://127.0.0.1:${stranger}`, ', ca: ca.pem'));
    assert.equal(results(wrong), 'OK OK FAIL SKIP');
    assert.match(
      wrong['upstream-tls']!.message,
      /: its certificate is not for 127\.0\.0\.1, but for elsewhere\.example \(ERR_/,
    );
  });

  test('a broker that wants a client certificate lets in only who has one', async () => {
    const port = await broker('good', 'require_certificate true');
    assert.equal(results(await reports(upstream(`mqtts://127.0.0.1:${port}`, ', ca: ca.pem'))), 'OK OK OK FAIL');
    const keys = ', ca: ca.pem, clientCert: good.pem, clientKey: good.key';
    assert.equal(results(await reports(upstream(`mqtts://127.0.0.1:${port}`, keys))), 'OK OK OK OK');
  });

  test('a wrong password fails, and says what to correct; a gateway that is online says otherwise', async () => {
    const closed = await startMosquitto({ anonymous: false });
    brokers.push(closed);
    const found = await reports(upstream(closed.url));
    assert.equal(results(found), 'OK OK OK FAIL');
    assert.equal(found['upstream-mqtt']!.message, 'Connection refused: Not authorized');
    assert.match(found['upstream-mqtt']!.fix!, /^correct upstream\.username/);
    const status = { pid: 1, uptimeSecs: 1, upstream: { state: 'online' } };
    const gateway = { is: 'running', status, spoolStats: () => Promise.reject(new Error('x')) } as unknown as Neighbour;
    assert.equal(results(await reports({ ...upstream(closed.url), gateway })), 'OK OK OK WARN');
  });

  test('a name that nobody knows, a port where nobody listens, and none at all', async () => {
    assert.equal(results(await reports(upstream('mqtt://no-such-host.invalid'))), 'FAIL SKIP SKIP SKIP');
    const found = await reports(upstream(`mqtt://127.0.0.1:${await freePort()}`));
    assert.equal(results(found), 'OK FAIL SKIP SKIP');
    assert.equal(found['upstream-tcp']!.fix, 'start the broker, or correct the port in upstream.url');
    const none = await reports({ yaml: GATEWAY, only: ['upstream-mqtt'] });
    assert.equal(results(none), 'SKIP');
  });

  test('how soon a dead line is noticed, and a keepalive that a mobile network does not wait for', async () => {
    const url = '  url: mqtt://127.0.0.1:1\n';
    const keepalive = async (secs: number) => {
      const yaml = `${GATEWAY}upstream:\n${url}  keepaliveSecs: ${secs}\n`;
      return (await reports({ yaml, only: ['upstream-keepalive'] }))['upstream-keepalive']!;
    };
    const fine = await keepalive(30);
    assert.equal(fine.result, 'OK');
    assert.match(fine.message, /given up after 45 s/);
    assert.equal((await keepalive(600)).result, 'WARN');
  });

  test('something else behind the port is noticed: one that says nothing within five seconds, one that hangs up', async () => {
    const listening = async (server: Server) => {
      servers.push(server);
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return (server.address() as AddressInfo).port;
    };
    const silent = await listening(createServer((socket) => socket.on('error', () => undefined)));
    const web = await listening(
      createServer((socket) => void socket.on('error', () => undefined).write('HTTP/1.1 400 Bad Request\r\n\r\n')),
    );
    const rude = await listening(createServer((socket) => socket.destroy()));
    const awake = new Awake();
    const [quiet, tls, gone, page] = await Promise.all([
      reports(upstream(`mqtt://127.0.0.1:${silent}`)),
      reports({ ...upstream(`mqtts://127.0.0.1:${silent}`), dir: scratch() }),
      reports({ ...upstream(`mqtt://127.0.0.1:${rude}`), dir: scratch() }),
      reports({ ...upstream(`mqtt://127.0.0.1:${web}`), dir: scratch() }),
    ]);
    const took = awake.stop();
    assert.equal(results(quiet), 'OK OK OK FAIL');
    assert.equal(results(tls), 'OK OK FAIL SKIP');
    assert.equal(results(gone), 'OK OK OK FAIL');
    assert.match(page['upstream-mqtt']!.message, /^127\.0\.0\.1:\d+ does not talk MQTT: Invalid header/);
    assert.match(page['upstream-mqtt']!.fix!, /^check the port in upstream\.url: something else answers there/);
    assert.match(gone['upstream-mqtt']!.message, /closed the connection without an answer/);
    assert.ok(took < 8000, `it took ${took} ms`);
  });
});
