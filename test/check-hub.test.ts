import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { SystemClock } from '../src/clock/system-clock.ts';
import { loadConfig } from '../src/config/load.ts';
import { hubChecks } from '../src/health/checks/hub.ts';
import type { Neighbour } from '../src/health/checks/scene.ts';
import { AUTHORITY, CertificateMaker, type Wording } from './parts/child-certificates.ts';
import { holdfast } from './parts/command.ts';
import { freePort } from './parts/free-port.ts';
import { startGateway } from './parts/gateway-process.ts';
import { scratch } from './parts/scratch.ts';

const DAY_MS = 86_400_000;
const ABSENT: Neighbour = { is: 'absent', why: 'none is running' };

/** What the checks say of a hub, by id: result, message, and that what is wrong comes with what to do. */
async function found(dir: string, hub = '', timeKnown = true, builtAt?: number): Promise<Record<string, string>> {
  const file = join(dir, 'gateway.yaml');
  writeFileSync(file, `gateway: { id: line-4, dataDir: data }\nhub: { hostName: gateway.local, ${hub} }\n`);
  const clock = new SystemClock(() => timeKnown);
  const loaded = loadConfig(file);
  const scene = { file, loaded, clock, gateway: ABSENT, user: 'ada', gpioRoot: '/none', ...(builtAt && { builtAt }) };
  const said: Record<string, string> = {};
  for (const check of hubChecks(scene)) {
    const { result, message, fix } = await check.run(new AbortController().signal);
    assert.equal(fix !== undefined && fix !== '', result === 'WARN' || result === 'FAIL', `${check.id}: ${message}`);
    said[check.id] = `${result} ${message}`;
  }
  return said;
}

test('without a hub there is nothing to look at; of one that has never run everything is yet to be made', async () => {
  const dir = scratch();
  assert.deepEqual(await found(dir), {
    'hub-key': 'OK nothing is sealed yet; the key is made at the first start',
    'hub-certificate': "OK the gateway's own authority makes it at the first start",
    hub: 'SKIP no gateway runs that could be asked',
  });
  assert.equal(existsSync(join(dir, 'data')), false);
  writeFileSync(join(dir, 'gateway.yaml'), 'gateway: { id: line-4 }\n');
  const { stdout } = await holdfast(['check', '--list', '-c', join(dir, 'gateway.yaml')]);
  assert.doesNotMatch(stdout, /^hub/m);
});

describe("the hub's certificate from files", () => {
  const dir = scratch();
  const maker = new CertificateMaker(dir);
  const server = (wording: Partial<Wording>) =>
    maker.selfSigned({
      subject: '/CN=gateway.local',
      extensions: ['subjectAltName=DNS:gateway.local'],
      toDays: 90,
      ...wording,
    });
  const good = server({});
  const certificate = async (
    { cert, key }: { cert: string; key: string },
    timeKnown = true,
    builtAt = Date.now() - 10 * DAY_MS,
  ) => (await found(dir, `cert: ${cert}, key: ${key}`, timeKnown, builtAt))['hub-certificate']!;

  test('is good when all fits, and its key should be for its owner alone', async () => {
    chmodSync(good.key, 0o600);
    assert.match(await certificate(good), /^OK .*cert\.pem is for gateway\.local, until 20\d\d-\d\d-\d\d$/);
    chmodSync(good.key, 0o644);
    assert.match(await certificate(good), /^WARN .*key\.pem: can be read by every user/);
    chmodSync(good.key, 0o600);
  });

  const other = server({});
  const text = join(dir, 'text.pem');
  writeFileSync(text, 'no certificate\n');
  const wrong: Readonly<Record<string, [{ cert: string; key: string }, RegExp]>> = {
    'is not there': [{ cert: join(dir, 'none.pem'), key: good.key }, /^FAIL .*none\.pem \(hub\.cert\) is not there$/],
    'is none': [{ cert: text, key: good.key }, /^FAIL .*text\.pem \(hub\.cert\) holds no certificate \(PEM\)$/],
    'has no key': [{ cert: good.cert, key: text }, /^FAIL .*text\.pem \(hub\.key\) holds no private key \(PEM\)/],
    "has another's key": [{ cert: good.cert, key: other.key }, /^FAIL .*key\.pem is not the key of .*cert\.pem$/],
    'is for another name': [
      server({ extensions: ['subjectAltName=DNS:other.local'] }),
      /^FAIL .* is not for gateway\.local \(hub\.hostName\), but for DNS:other\.local/,
    ],
    'has its name where nobody looks': [server({ extensions: [] }), /^FAIL .*, but for no name at all/],
    'has expired': [server({ fromDays: -3, toDays: -1 }), /^FAIL .* has expired at /],
    'is of tomorrow': [server({ fromDays: 1, toDays: 90 }), /^FAIL .* is not valid before /],
    'ends soon': [server({ toDays: 10 }), /^WARN .* expires at /],
  };
  for (const [what, [files, expected]] of Object.entries(wrong)) {
    test(`that ${what} is found`, async () => assert.match(await certificate(files), expected));
  }

  test('is judged by what is certain of the time while nobody knows it: it has certainly ended before the program was built', async () => {
    const expired = server({ fromDays: -3, toDays: -1 });
    chmodSync(expired.key, 0o600);
    assert.match(await certificate(expired, false), /^OK /);
    const builtAt = Date.now();
    assert.match(await certificate(expired, false, builtAt), /^FAIL .* expired at .*, before this program was built$/);
    const begins = server({ fromDays: 1, toDays: 90 });
    chmodSync(begins.key, 0o600);
    assert.match(await certificate(begins, false, builtAt), /^OK /);
  });
});

test('authorities of children, and what is revoked', async () => {
  const dir = scratch();
  const maker = new CertificateMaker(dir);
  const root = maker.selfSigned({ subject: '/CN=Fleet', extensions: AUTHORITY, toDays: 90 });
  const old = maker.selfSigned({ subject: '/CN=Old fleet', extensions: AUTHORITY, fromDays: -3, toDays: -1 });
  const leaf = maker.issuedBy(root, { subject: '/CN=press-1' });
  const [ca, revoked] = [join(dir, 'ca.pem'), join(dir, 'revoked.txt')];
  const said = async (id: string) => (await found(dir, 'clientCa: ca.pem, revoked: revoked.txt'))[id]!;
  assert.match(await said('hub-client-ca'), /^FAIL .*ca\.pem: is not there; children with certificates .* not let in$/);
  assert.match(await said('hub-revoked'), /^FAIL .*revoked\.txt: is not there; /);
  const authorities: [string[], RegExp][] = [
    [[], /^FAIL .*has no certificate in it/],
    [[root.cert], /^OK .*ca\.pem: Fleet$/],
    [[root.cert, old.cert], /^WARN .*expired: Old fleet$/],
    [[old.cert], /^FAIL .*all have expired/],
    [[leaf.cert], /^WARN .*may not sign certificates: press-1$/],
  ];
  for (const [files, expected] of authorities) {
    writeFileSync(ca, files.map((file) => readFileSync(file, 'utf8')).join(''));
    assert.match(await said('hub-client-ca'), expected);
  }
  writeFileSync(revoked, `# lost\n${leaf.thumbprint}\n`);
  assert.match(await said('hub-revoked'), /^OK .*: 1 revoked$/);
  writeFileSync(revoked, `${leaf.thumbprint}\nnonsense\n`);
  assert.match(await said('hub-revoked'), /^FAIL .*line 2 is no serial number/);
});

test('the key that seals, without and with a gateway that runs; looking changes nothing', async (t) => {
  const dir = scratch();
  const yaml = `gateway: { id: line-4, dataDir: data }\nhub: { hostName: 127.0.0.1, listen: { mqtts: "127.0.0.1:${await freePort()}" } }\n`;
  const config = join(dir, 'gateway.yaml');
  writeFileSync(config, yaml);
  assert.equal((await holdfast(['children', 'add', 'panel', '--sas', '-c', config])).code, 0);
  const [key, away] = [join(dir, 'data/keys/holdfast-key'), join(dir, 'away')];
  const stopped = async () => (await found(dir))['hub-key']!;
  const state = readFileSync(join(dir, 'data/state/data.mdb'));
  assert.match(await stopped(), /^OK .*holdfast-key opens what is kept of children$/);
  chmodSync(key, 0o640);
  assert.match(await stopped(), /^WARN .*others than its owner/);
  chmodSync(key, 0o600);
  renameSync(key, away);
  assert.match(await stopped(), /^FAIL .*the key is not in .*: bring it back/);
  writeFileSync(key, Buffer.alloc(32, 1), { mode: 0o600 });
  assert.match(await stopped(), /^FAIL .*sealed with another key than that in/);
  rmSync(key);
  assert.ok(readFileSync(join(dir, 'data/state/data.mdb')).equals(state), 'the state was changed by looking at it');

  const gateway = await startGateway({ dir, yaml });
  t.after(() => gateway.kill());
  const asked = async () => {
    const { stdout } = await holdfast(['check', '--only', 'hub,hub-key,hub-certificate', '-c', config]);
    return stdout;
  };
  assert.match(await asked(), /^FAIL +hub +nobody can: .*the key is not in .*\n +-> it is tried again by itself/m);
  renameSync(away, key);
  await gateway.waitForLog(/children may connect/);
  const now = await asked();
  assert.match(now, /^OK +hub-key +the running gateway has it$/m);
  assert.match(
    now,
    /^OK +hub-certificate +by the gateway's own authority for 127\.0\.0\.1, until .* renewed by itself/m,
  );
  assert.match(now, /^OK +hub +on mqtts \d+; 0 of 1 are connected$/m);
  assert.equal(statSync(key).mode & 0o777, 0o600);
});
