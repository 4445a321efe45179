import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Authority } from './parts/certificates.ts';
import { holdfast, RunningCommand, type Ended } from './parts/command.ts';
import { freePort } from './parts/free-port.ts';
import { startGateway } from './parts/gateway-process.ts';
import { startMosquitto, type Mosquitto } from './parts/mosquitto.ts';
import { PlayedGateway, type Played } from './parts/played-gateway.ts';
import { scratch } from './parts/scratch.ts';

let broker: Mosquitto;
const ends: (() => Promise<void>)[] = [];
/** The home of an operator who has said once where the fleet is. */
const home = scratch();

before(async () => {
  broker = await startMosquitto();
  mkdirSync(join(home, 'holdfast'));
  writeFileSync(join(home, 'holdfast/fleet.yaml'), `upstream: { url: "${broker.url}" }\n`);
});

after(async () => {
  for (const end of ends) await end();
  await broker.end();
});

const env = { XDG_CONFIG_HOME: home, HOLDFAST_FLEET_CONFIG: '' };

function fleet(...args: string[]): Promise<Ended> {
  return holdfast(['fleet', ...args], { env });
}

async function json(...args: string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await fleet(...args, '--json');
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as Record<string, unknown>;
}

async function gateway(id: string, played: Partial<Played> = {}): Promise<PlayedGateway> {
  const started = await PlayedGateway.start({ url: broker.url, id, ...played });
  ends.push(() => started.end());
  return started;
}

describe('holdfast fleet', { concurrency: 3 }, () => {
  test('list and status show a real gateway: backlog, its age, the last loss, and where children connect', async () => {
    const dir = scratch();
    const real = await startGateway({
      dir,
      yaml: `
gateway: { id: line-4, dataDir: data }
upstream: { url: "${broker.url}" }
hub: { hostName: gateway.local, iothubName: hub.example, listen: { mqtt: ${await freePort()} } }
storeAndForward: { quota: 16MiB, keepFree: 0%, commitEveryMs: 20 }
routes: { some: "FROM /messages/* WHERE nothing = '1' INTO $upstream" }
children: [{ id: press-1, simulated: { sendIntervalMs: 20, messageCount: 3 } }]
`,
    });
    ends.push(async () => {
      await real.stop();
    });
    await real.waitForLog(/connected to/);
    await real.waitForLog(/finished: sent 3/);
    const { code, stdout } = await fleet('list');
    assert.equal(code, 0);
    assert.match(stdout, /^GATEWAY +STATE +SINCE +VERSION +BACKLOG +OLDEST +LAST LOSS +CHILDREN\n/);
    assert.match(stdout, /^line-4 +online +\d+ s ago +\d/m);
    const { hub, children, backlog } = await json('status', 'line-4');
    assert.deepEqual(hub, { hostName: 'gateway.local', iothubName: 'hub.example' });
    assert.equal(children, 1);
    assert.deepEqual(backlog, { pending: 0, oldestAgeSecs: null });
    const ping = await json('method', 'invoke', 'line-4', 'ping', '--gateway', 'line-4');
    assert.equal(ping['status'], 200);
    const set = await fleet('config', 'set', 'storeAndForward.timeToLiveSecs=86400', '--gateway', 'line-4');
    assert.deepEqual([set.code, set.stderr.split('\n')[0]], [0, 'line-4 has applied version 1']);
    const bad = await fleet('config', 'set', 'storeAndForward.timeToLiveSecs=0', '--gateway', 'line-4');
    assert.equal(bad.code, 1);
    assert.match(bad.stderr, /^line-4 refuses version 2; what it had before stays\n(.*\n)*.*timeToLiveSecs/);
    assert.equal(await real.stop(), 0);
    const offline = await fleet('status', 'line-4');
    assert.equal(offline.code, 1);
    assert.match(offline.stdout, /^state +offline since \d+ s ago$/m);
    // What was lost before it went is in its last words.
    assert.match(offline.stdout, /^losses +3 no-route; the last: \d+ no-route \d+ s ago$/m);
    const away = await fleet('method', 'invoke', 'line-4', 'ping', '--gateway', 'line-4');
    assert.deepEqual([away.code, away.stdout], [1, '']);
    assert.match(away.stderr, /^holdfast: line-4 is offline, since 20/);
  });

  test('children: what is handed out, what became of it, in words and as JSON, and the exit code', async () => {
    const line = await gateway('line-5', { hub: { hostName: 'gateway.local' }, clashes: ['clash'] });
    const at = ['--gateway', 'line-5'];
    const added = await fleet(
      'children',
      'add',
      'panel',
      '--sas',
      '--primary-key',
      'c2VjcmV0IHNlY3JldCBzZWNyZXQ=',
      ...at,
    );
    assert.equal(added.code, 0, added.stderr);
    assert.equal(
      added.stdout,
      'HostName=gateway.local;DeviceId=panel;SharedAccessKey=c2VjcmV0IHNlY3JldCBzZWNyZXQ=;GatewayHostName=gateway.local\n',
    );
    assert.match(added.stderr, /^added panel in the registry document of line-5\nline-5 has applied version 1\n/);
    const again = await fleet('children', 'add', 'panel', '--sas', ...at);
    assert.deepEqual([again.code, again.stderr], [1, 'holdfast: there is a child panel already\n']);
    const clash = await json('children', 'add', 'below', '--as-gateway', '--x509-ca', ...at);
    assert.equal(clash['connectionString'], 'HostName=gateway.local;DeviceId=below;x509=true');
    assert.equal(line.documents.at(-1)?.children.find(({ id }) => id === 'below')?.gateway, true);
    const refused = await fleet('children', 'add', 'clash', '--x509-ca', ...at);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /line-5 does not take clash: there is a child of that name already/);

    const list = await fleet('children', 'list', ...at);
    assert.match(list.stdout, /^panel +enabled +sas$/m);
    assert.match(list.stdout, /^below +enabled +x509-ca +gateway$/m);
    assert.doesNotMatch(JSON.stringify(await json('children', 'list', ...at)), /c2VjcmV0/);
    const rotated = await json('children', 'rotate-key', 'panel', ...at);
    assert.equal(rotated['rotated'], 'panel');
    assert.equal((await json('children', 'disable', 'panel', '--no-wait', ...at))['state'], 'published');
    const file = join(scratch(), 'children.json');
    writeFileSync(file, JSON.stringify([{ id: 'one', auth: { x509: { ca: true } } }]));
    assert.deepEqual((await json('children', 'import', file, '--replace', ...at))['imported'], ['one']);
    assert.deepEqual(
      line.documents.at(-1)?.children.map(({ id }) => id),
      ['one'],
    );
    const nowhere = await fleet('children', 'list');
    assert.deepEqual([nowhere.code, nowhere.stderr], [2, 'holdfast: say which gateway, with --gateway ID\n']);
  });

  test('twins and settings', async () => {
    await gateway('line-6');
    const at = ['--gateway', 'line-6'];
    const set = await fleet('twin', 'set', 'press', '--desired', '{"speed":5}', ...at);
    assert.match(set.stderr, /have version 1; press reports:/);
    assert.deepEqual((await json('twin', 'get', 'press', ...at))['desired'], { speed: 5, $version: 1 });
    const all = 'routes.all=FROM /messages/* INTO $upstream';
    const pairs = ['storeAndForward.timeToLiveSecs=86400', 'storeAndForward.quota=1GiB', all];
    const good = await fleet('config', 'set', ...pairs, ...at);
    assert.deepEqual([good.code, good.stderr.split('\n')[0]], [0, 'line-6 has applied version 1']);
    const desired = {
      storeAndForward: { timeToLiveSecs: 86_400, quota: '1GiB' },
      routes: { all: 'FROM /messages/* INTO $upstream' },
      $version: 1,
    };
    assert.deepEqual((await json('config', 'get', ...at))['desired'], desired);
    const bad = await fleet('config', 'set', 'bad=1', ...at);
    assert.equal(bad.code, 1);
    assert.match(bad.stderr, /line-6 refuses version 2; what it had before stays\n(.*\n)*bad: it is not to be\n/);
    assert.equal((await fleet('config', 'set', 'novalue', ...at)).code, 2);
  });

  test('losses: what was lost so far, then each as it comes', async () => {
    const line = await gateway('line-7');
    assert.equal(
      (await fleet('losses', '--totals', '--gateway', 'line-7')).stdout.slice(0, 27),
      'line-7  in all: 7 evicted; ',
    );
    const watching = new RunningCommand(['fleet', 'losses', '--json', '--count', '1', '--gateway', 'line-7'], { env });
    await watching.said(/^watching losses of line-7 at mqtt:/m, 'stderr');
    await line.loss({ epoch: 1, lane: 10, reason: 'evicted', firstSeq: 1, lastSeq: 4, count: 4 });
    const { code, stdout } = await watching.ended;
    const lines = stdout
      .trim()
      .split('\n')
      .map((text) => JSON.parse(text) as Record<string, unknown>);
    assert.deepEqual([code, lines.map(({ kind }) => kind), lines[1]?.['count']], [0, ['totals', 'loss'], 4]);
  });

  test('the keys: only their public halves are shown', async () => {
    const folder = join(scratch(), 'keys');
    const without = await fleet('key', '--signing', '--folder', folder);
    assert.equal(without.code, 1);
    assert.match(without.stderr, /there is no signing key; make one with/);
    const { stdout, stderr } = await fleet('key', '--make-signing-key', '--folder', folder);
    assert.match(stderr, /for `registry\.trust` of gateways/);
    assert.doesNotMatch(stdout, /"d":/);
    const { kty, use } = JSON.parse((await fleet('key', '--signing', '--folder', folder)).stdout) as Record<
      string,
      unknown
    >;
    assert.deepEqual([kty, use], ['EC', 'sig']);
  });

  test("the keys that are shown are those that sign: in the folder that the operator's file names", async () => {
    await gateway('line-20');
    const dir = scratch();
    const file = join(dir, 'fleet.yaml');
    writeFileSync(file, `upstream: { url: "${broker.url}" }\nfolder: keys\n`);
    const { folder, signing } = await json('key', '--make-signing-key', '--fleet-config', file);
    assert.equal(folder, join(dir, 'keys'));
    await json('children', 'add', 'panel', '--sas', '--gateway', 'line-20', '--fleet-config', file);
    const made = JSON.parse(readFileSync(join(dir, 'keys/operator.jwk'), 'utf8')) as { kid: string };
    const shown = await holdfast(['fleet', 'key', '--json'], { env: { ...env, HOLDFAST_FLEET_CONFIG: file } });
    const { operator, ...keys } = JSON.parse(shown.stdout) as { operator: { kid: string }; signing: unknown };
    assert.deepEqual([operator.kid, keys.signing], [made.kid, signing]);
    const other = await json('key', '--fleet-config', file, '--folder', join(dir, 'others'));
    assert.deepEqual([other['folder'], other['signing']], [join(dir, 'others'), null]);
  });

  test('where the fleet is: an option, a file, else the gateway here; what is wrong with it is said', async () => {
    const at = (args: string[], more: Record<string, string> = {}) =>
      holdfast(['fleet', 'list', ...args], { env: { ...env, XDG_CONFIG_HOME: scratch(), ...more } });
    const local = join(scratch(), 'gateway.yaml');
    writeFileSync(local, `gateway: { id: line-4 }\nupstream: { url: "${broker.url}" }\n`);
    const usual = join(home, 'holdfast/fleet.yaml');
    const tries = [at(['--url', broker.url]), at(['-c', local]), at([], { HOLDFAST_FLEET_CONFIG: usual })];
    for (const { code, stderr } of await Promise.all(tries)) assert.equal(code, 0, stderr);
    const misspelt = join(scratch(), 'fleet.yaml');
    writeFileSync(misspelt, 'upstream: { ulr: "mqtt://x" }\n');
    const wrong = await at(['--fleet-config', misspelt]);
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /fleet\.yaml:1:13:.*did you mean.*url/);
    const alone = await at(['--username', 'me']);
    assert.deepEqual([alone.code, alone.stderr], [2, 'holdfast: --username is for --url\n']);
  });

  test('over TLS, as an operator with no more rights than docs/fleet.md names', async () => {
    const dir = scratch();
    const authority = new Authority(dir);
    const { ca } = authority;
    const server = authority.issue('broker', 'IP:127.0.0.1');
    const [passwords, rights, port] = [join(dir, 'passwords'), join(dir, 'rights'), await freePort()];
    for (const who of ['operator', 'line-8'])
      execFileSync('mosquitto_passwd', [...(who === 'operator' ? ['-c'] : []), '-b', passwords, who, 'open sesame'], {
        stdio: 'pipe',
      });
    writeFileSync(rights, `${docsRights()}\nuser line-8\ntopic readwrite holdfast/v1/line-8/#\n`);
    const plain = await freePort();
    const strict = await startMosquitto({
      port: plain,
      anonymous: false,
      config: [
        `listener ${plain} 127.0.0.1`,
        `listener ${port} 127.0.0.1`,
        `cafile ${ca}`,
        `certfile ${server.cert}`,
        `keyfile ${server.key}`,
        'require_certificate true',
        `password_file ${passwords}`,
        `acl_file ${rights}`,
      ],
    });
    const line = await PlayedGateway.start({ url: strict.url.replace('//', '//line-8:open%20sesame@'), id: 'line-8' });
    try {
      const client = authority.issue('operator', 'DNS:operator');
      writeFileSync(join(dir, 'password'), 'open sesame\n');
      const there = ['--url', `mqtts://127.0.0.1:${port}`, '--ca', ca, '--username', 'operator', '--json'];
      const how = [...there, '--client-cert', client.cert, '--client-key', client.key, '--gateway', 'line-8'];
      const password = join(dir, 'password');
      const run = async (...args: string[]) => {
        const { code, stdout, stderr } = await fleet(...args, ...how, '--folder', join(dir, 'keys'));
        assert.equal(code, 0, stderr);
        return JSON.parse(stdout) as Record<string, unknown>;
      };
      const added = await run('children', 'add', 'panel', '--x509-ca', '--broker-password-file', password);
      assert.equal(added['state'], 'applied');
      const rest = [...how, '--password-file', password];
      const echo = await fleet('method', 'invoke', 'press', 'echo', ...rest);
      assert.deepEqual([echo.code, echo.stderr], [0, '']);
      assert.equal((await fleet('twin', 'set', 'press', '--desired', '{"a":1}', ...rest)).code, 0);
      assert.equal((await fleet('config', 'set', 'storeAndForward.timeToLiveSecs=60', ...rest)).code, 0);
      assert.match(
        (await fleet('list', ...rest.filter((arg) => arg !== '--gateway' && arg !== 'line-8'))).stdout,
        /"gateway": "line-8"/,
      );
      const wrong = await fleet('list', '--url', `mqtts://127.0.0.1:${port}`);
      assert.equal(wrong.code, 1);
      assert.match(wrong.stderr, /^holdfast: cannot connect to mqtts:.*certificate/);
    } finally {
      await line.end();
      await strict.end();
    }
  });
});

/** What the page says for mosquitto's `acl_file`. */
function docsRights(): string {
  const page = readFileSync(join(import.meta.dirname, '../docs/fleet.md'), 'utf8');
  const found = /```text\n(user operator\n[^`]*)```/.exec(page)?.[1];
  assert.ok(found !== undefined, 'docs/fleet.md has the rights of an operator');
  return found;
}
