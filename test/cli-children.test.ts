import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { SealedStore } from '../src/registry/sealed-store.ts';
import { State } from '../src/store/state.ts';
import { holdfast, type Ended } from './parts/command.ts';
import { freePort } from './parts/free-port.ts';
import { startGateway } from './parts/gateway-process.ts';
import { scratch } from './parts/scratch.ts';

const YAML = `gateway: { id: line-4, dataDir: data }
hub: { hostName: gateway.local, iothubName: myhub.azure-devices.net }
children:
  - id: press-1
    simulated: { messageCount: 1 }
  - id: panel
    connected: {}
    grants: [ { invoke: press-1 } ]
`;
const KEY = Buffer.alloc(32, 'key').toString('base64');
const OTHER = Buffer.alloc(32, 'other').toString('base64');
const SHA1 = 'AB:CD:'.repeat(10).slice(0, -1);

/** A folder with a configuration, and the command line in it. */
function bench(yaml = YAML): {
  dir: string;
  run: (...args: string[]) => Promise<Ended>;
  json: (...args: string[]) => Promise<unknown>;
} {
  const dir = scratch();
  writeFileSync(join(dir, 'gateway.yaml'), yaml);
  const run = (...args: string[]) => holdfast([...args, '-c', join(dir, 'gateway.yaml')]);
  const json = async (...args: string[]) => JSON.parse((await run(...args, '--json')).stdout) as unknown;
  return { dir, run, json };
}

async function everything({ dir, run, json }: ReturnType<typeof bench>, running: boolean): Promise<void> {
  assert.deepEqual(await json('children', 'list'), [
    { id: 'panel', status: 'enabled', origin: 'config', auth: null, presence: null, modules: [] },
  ]);
  const added = await run('children', 'add', 'panel', '--sas', '--primary-key', KEY, '--secondary-key', OTHER);
  assert.equal(added.code, 0, added.stderr);
  const connection = `HostName=myhub.azure-devices.net;DeviceId=panel;SharedAccessKey=${KEY};GatewayHostName=gateway.local`;
  assert.equal(added.stdout, `${connection}\n`);
  assert.match(added.stderr, /added panel\nits connection string, a secret:\nit must trust .*data\/keys\/ca\.pem/);
  const made = (await json('children', 'add', 'panel', '--module', 'filter', '--sas')) as { connectionString: string };
  assert.match(
    made.connectionString,
    /^HostName=\S+;DeviceId=panel;ModuleId=filter;SharedAccessKey=[\w+/]{43}=;GatewayHostName=gateway\.local$/,
  );
  writeFileSync(join(dir, 'password'), 'correct horse\n');
  const pump = await run('children', 'add', 'pump', '--password-file', join(dir, 'password'));
  assert.equal(pump.stdout, '');
  assert.match(pump.stderr, /it connects with the user name pump and its password/);
  const valve = await run(
    'children',
    'add',
    'valve',
    '--x509-thumbprint',
    SHA1,
    '--secondary-thumbprint',
    '0'.repeat(64),
    '--disabled',
  );
  assert.equal(valve.stdout, 'HostName=gateway.local;DeviceId=valve;x509=true\n');
  assert.equal((await run('children', 'add', 'scale', '--x509-ca')).code, 0);

  const list = await run('children', 'list');
  // Whether they are there only a gateway that runs can say.
  const presence = (text: string) => (running ? `   ${text}` : '');
  assert.equal(
    list.stdout,
    [
      `ID            STATUS    AUTH             ORIGIN${presence('PRESENCE').slice(1)}`,
      `panel         enabled   sas              local${presence('absent')}`,
      `panel/filter  enabled   sas              local${presence('absent')}`,
      `pump          enabled   password         local${presence('absent')}`,
      `scale         enabled   x509-ca          local${presence('absent')}`,
      `valve         disabled  x509-thumbprint  local${presence('absent')}`,
      '',
    ].join('\n'),
  );

  // What is secret is shown to who asks for it, and to nobody else.
  const shown = await run('children', 'show', 'panel', '--json');
  for (const secret of [KEY, OTHER]) assert.ok(![shown.stdout, shown.stderr, list.stdout].join('').includes(secret));
  assert.deepEqual((JSON.parse(shown.stdout) as { grants: unknown }).grants, {
    invoke: ['press-1'],
    send: [],
    observe: [],
  });
  const secrets = (await json('children', 'show', 'panel', '--secrets')) as Record<string, unknown>;
  assert.deepEqual(secrets['sas'], { primaryKey: KEY, secondaryKey: OTHER });
  assert.equal(secrets['connectionString'], connection);
  const hidden = await run('children', 'show', 'pump', '--secrets');
  assert.ok(!hidden.stdout.includes('scrypt') && !hidden.stdout.includes('horse'));
  assert.deepEqual(((await json('children', 'show', 'valve')) as { thumbprints: unknown }).thumbprints, [
    SHA1.replaceAll(':', ''),
    '0'.repeat(64),
  ]);

  const rotated = (await json('children', 'rotate-key', 'panel')) as { connectionString: string };
  assert.ok(!rotated.connectionString.includes(KEY));
  const after = (await json('children', 'show', 'panel', '--secrets')) as {
    sas: { primaryKey: string; secondaryKey: string };
  };
  assert.equal(after.sas.secondaryKey, KEY);
  assert.ok(rotated.connectionString.includes(after.sas.primaryKey));
  await run('children', 'rotate-key', 'panel', '--both');
  const both = JSON.stringify(await json('children', 'show', 'panel', '--secrets'));
  assert.ok(!both.includes(KEY) && !both.includes(after.sas.primaryKey));

  assert.equal((await run('children', 'disable', 'panel')).stderr, 'panel is disabled\n');
  assert.equal((await run('children', 'enable', 'valve')).stderr, 'valve is enabled\n');
  assert.equal((await run('children', 'remove', 'panel', '--module', 'filter')).stderr, 'removed panel/filter\n');
  assert.equal((await run('children', 'remove', 'scale')).code, 0);
  const states = (await json('children', 'list')) as { id: string; status: string; modules: unknown[] }[];
  assert.deepEqual(
    states.map(({ id, status, modules }) => [id, status, modules.length]),
    [
      ['panel', 'disabled', 0],
      ['pump', 'enabled', 0],
      ['valve', 'enabled', 0],
    ],
  );
}

/** What cannot be done, after {@link everything}. */
async function refusals({ dir, run }: ReturnType<typeof bench>): Promise<void> {
  writeFileSync(join(dir, 'utf16'), Buffer.from('correct horse', 'utf16le'));
  writeFileSync(join(dir, 'empty'), '\n');
  const orders: [string[], RegExp][] = [
    [['add', 'panel', '--sas'], /^holdfast: there is a child panel already, added here\n$/],
    [['add', 'line-4', '--sas'], /is an id of the configuration/],
    [['add', 'press-1', '--sas'], /is an id of the configuration/],
    [['add', 'a b', '--sas'], /id: an id has 1 to 128 letters/],
    [['add', 'x', '--sas', '--primary-key', 'short'], /primaryKey: a key is base64 of 16 to 64 bytes/],
    [['add', 'x', '--x509-thumbprint', 'abc'], /a thumbprint is SHA-1 or SHA-256 in hex/],
    [['add', 'x', '--module', 'm', '--sas'], /there is no child x with credentials/],
    [['add', 'x', '--password-file', join(dir, 'none')], /none: cannot be read \(ENOENT\)/],
    [
      ['add', 'x', '--password-file', join(dir, 'utf16')],
      /utf16: a password has no NUL \(zero byte\) in it; .*UTF-8\n$/,
    ],
    [['add', 'x', '--password-file', join(dir, 'empty')], /empty: a password has 1 to 1024 bytes/],
    [['remove', 'nobody'], /there is no child nobody with credentials/],
    [['remove', 'panel', '--module', 'm'], /panel has no module m/],
    [['show', 'nobody'], /there is no child nobody that connects/],
    [['rotate-key', 'pump'], /pump has no shared access keys/],
  ];
  const ends = await Promise.all(orders.map(([args]) => run('children', ...args)));
  for (const [index, { code, stdout, stderr }] of ends.entries()) {
    const [args, why] = orders[index]!;
    assert.equal(code, 1, args.join(' '));
    assert.equal(stdout, '');
    assert.match(stderr, why);
  }
}

test('children are added, shown, changed and removed in the files of a gateway that has never run', async () => {
  const it = bench();
  await everything(it, false);
  assert.equal(statSync(join(it.dir, 'data/keys/holdfast-key')).mode & 0o777, 0o600);
});

test('a child that is removed and added again while the gateway is stopped begins with a twin of its own', async () => {
  const { run, json } = bench();
  const added = () => run('children', 'add', 'lathe', '--sas');
  await added();
  await run('children', 'add', 'lathe', '--module', 'm', '--sas');
  for (const id of ['lathe', 'lathe/m']) assert.equal((await run('twin', 'set', id, '--desired', '{"a":1}')).code, 0);
  const desired = async (id: string) => ((await json('twin', 'get', id)) as { desired: object }).desired;
  await run('children', 'remove', 'lathe', '--module', 'm');
  await run('children', 'add', 'lathe', '--module', 'm', '--sas');
  assert.deepEqual([await desired('lathe'), await desired('lathe/m')], [{ a: 1, $version: 2 }, { $version: 1 }]);
  await run('children', 'remove', 'lathe');
  await added();
  assert.deepEqual(await desired('lathe'), { $version: 1 });
});

test('the twin of what the gateway reads itself by now stays when the credentials of that id are removed while it is stopped', async () => {
  const { dir, run, json } = bench('gateway: { id: line-4, dataDir: data }\n');
  assert.equal((await run('children', 'add', 'press-1', '--sas')).code, 0);
  writeFileSync(join(dir, 'gateway.yaml'), YAML);
  assert.equal((await run('twin', 'set', 'press-1', '--desired', '{"a":1}')).code, 0);
  assert.equal((await run('children', 'remove', 'press-1')).code, 0);
  assert.deepEqual(((await json('twin', 'get', 'press-1')) as { desired: object }).desired, { a: 1, $version: 2 });
});

test('what waits for a child that is removed while the gateway is stopped does not wait for one that is added later', async () => {
  const { dir, run } = bench();
  await run('children', 'add', 'lathe', '--sas');
  await run('children', 'add', 'lathe', '--module', 'm', '--sas');
  await run('children', 'add', 'lathe2', '--sas');
  const inStore = async <T>(act: (store: SealedStore) => Promise<T> | T): Promise<T> => {
    const state = new State(join(dir, 'data/state'));
    try {
      return await act(await SealedStore.open(state, join(dir, 'data/keys')));
    } finally {
      await state.close();
    }
  };
  const names = ['lathe', 'lathe/m', 'lathe2'].flatMap((key) => [`letter/${key}/000000000001`, `session/${key}`]);
  await inStore((store) => store.put(names.map((name) => [name, Buffer.from('x')])));
  const kept = () => inStore((store) => [...store.names('letter/'), ...store.names('session/')]);
  assert.equal((await run('children', 'remove', 'lathe', '--module', 'm')).code, 0);
  assert.deepEqual((await kept()).toSorted(), [names[0], names[4], names[1], names[5]]);
  assert.equal((await run('children', 'remove', 'lathe')).code, 0);
  assert.deepEqual(await kept(), [names[4], names[5]]);
});

test('the same in a gateway that runs, whose log has no secret; what was done is there after SIGKILL', async () => {
  const listen = `listen: { mqtts: "127.0.0.1:${await freePort()}" }`;
  const yaml = YAML.replace('gateway.local,', `gateway.local, ${listen},`);
  const it = bench(yaml);
  const gateway = await startGateway({ dir: it.dir, yaml, logLevel: 'trace' });
  await everything(it, true);
  await refusals(it);
  const before = await it.json('children', 'show', 'panel', '--secrets');
  const { sas } = before as { sas: { primaryKey: string; secondaryKey: string } };
  await gateway.kill();
  const said = gateway.log.join('\n') + gateway.stderr;
  for (const secret of [KEY, OTHER, sas.primaryKey, sas.secondaryKey, 'horse', 'scrypt$'])
    assert.ok(!said.includes(secret));
  assert.deepEqual(await it.json('children', 'show', 'panel', '--secrets'), before);
  const again = await startGateway({ dir: it.dir, yaml });
  assert.deepEqual(await it.json('children', 'show', 'panel', '--secrets'), before);
  assert.equal(await again.stop(), 0);
  const medium = readFileSync(join(it.dir, 'data/state/data.mdb'));
  for (const secret of [KEY, sas.primaryKey, 'scrypt$', 'primaryKey']) assert.ok(!medium.includes(secret), secret);
});

describe('children import', () => {
  const azure = (id: string, authentication: unknown, status = 'enabled') =>
    JSON.stringify({ id, eTag: 'x', status, authentication });

  test("takes Azure IoT Hub's export line by line, and says what it does not take", async () => {
    const { dir, run, json } = bench();
    const file = join(dir, 'devices.txt');
    const lines = [
      azure('d1', {
        symmetricKey: { primaryKey: KEY, secondaryKey: OTHER },
        x509Thumbprint: { primaryThumbprint: null, secondaryThumbprint: null },
      }),
      azure(
        'd2',
        { type: 'selfSigned', x509Thumbprint: { primaryThumbprint: 'ab'.repeat(20), secondaryThumbprint: null } },
        'disabled',
      ),
      azure('d3', { type: 'certificateAuthority', symmetricKey: { primaryKey: null } }),
      azure('d4', { type: 'sas', symmetricKey: { primaryKey: 'no key' } }),
      azure('d1', { symmetricKey: { primaryKey: KEY } }),
      JSON.stringify({ deviceId: 'd5', moduleId: 'm', authentication: { symmetricKey: { primaryKey: KEY } } }),
    ];
    writeFileSync(file, lines.join('\n'));
    const { code, stdout, stderr } = await run('children', 'import', file);
    assert.equal(code, 1);
    assert.equal(stdout, '');
    assert.match(
      stderr,
      /d4: auth\.sas\.primaryKey: .*\nd1: there is a child d1 already, added here\nd5: is a module: .*\n3 children imported, 3 not\n$/,
    );
    assert.ok(!stderr.includes('no key'), 'what may be a key is not repeated');
    const list = (await json('children', 'list')) as { id: string; status: string; auth: string }[];
    assert.deepEqual(
      list.map(({ id, status, auth }) => `${id} ${status} ${auth}`),
      ['d1 enabled sas', 'd2 disabled x509-thumbprint', 'd3 enabled x509-ca', 'panel enabled null'],
    );
  });

  test('takes a registry document, and a list; what is no JSON is said by its line', async () => {
    const { dir, run } = bench();
    const file = join(dir, 'registry.json');
    const child = {
      id: 'e1',
      auth: { sas: { primaryKey: KEY } },
      modules: [{ id: 'm', auth: { x509: { ca: true } } }],
    };
    writeFileSync(file, JSON.stringify({ version: 3, issuedAt: 'x', children: [child] }, null, 2));
    assert.equal((await run('children', 'import', file)).stderr, '1 children imported\n');
    writeFileSync(file, JSON.stringify([{ ...child, id: 'e2' }]));
    assert.equal((await run('children', 'import', file)).code, 0);
    writeFileSync(file, `${JSON.stringify({ ...child, id: 'e3' })}\n${KEY}\n`);
    const { code, stderr } = await run('children', 'import', file);
    assert.equal(code, 1);
    assert.match(stderr, /^holdfast: \S+registry\.json:2: is no JSON\n$/);
  });
});

test('without a hub a child can be added all the same, and it is said that nobody can connect yet', async () => {
  const { run } = bench('gateway: { id: line-4, dataDir: data }\n');
  const { code, stdout, stderr } = await run('children', 'add', 'panel', '--sas', '--primary-key', KEY);
  assert.equal(code, 0);
  assert.equal(stdout, `${KEY}\n`);
  assert.match(stderr, /there is no hub in the configuration yet/);
});

test('where the hub listens without TLS alone nothing is said of what to trust', async () => {
  const yaml = 'gateway: { id: line-4, dataDir: data }\nhub: { hostName: gateway.local, listen: { mqtt: 1883 } }\n';
  const { dir, run } = bench(yaml);
  writeFileSync(join(dir, 'word'), 'correct horse\n');
  const { code, stderr } = await run('children', 'add', 'panel', '--password-file', join(dir, 'word'));
  assert.equal(code, 0);
  assert.equal(stderr, 'added panel\nit connects with the user name panel and its password\n');
});

describe('used wrongly', () => {
  test('it ends with 2 and says what is missing', async () => {
    const { run } = bench();
    const plain = await holdfast(['children']);
    assert.equal(plain.code, 2);
    assert.match(plain.stderr, /^Usage: holdfast children/);
    const wrong: [string[], RegExp][] = [
      [['children', 'add'], /missing required argument 'id'/],
      [['children', 'add', 'x'], /say how it shows who it is, with one of --sas/],
      [['children', 'add', 'x', '--sas', '--x509-ca'], /with one of --sas/],
      [['children', 'add', 'x', '--x509-ca', '--primary-key', KEY], /keys are for --sas/],
      [['children', 'add', 'x', '--sas', '--secondary-thumbprint', SHA1], /--secondary-thumbprint needs/],
      [
        ['children', 'add', 'x', '--module', 'm', '--sas', '--disabled'],
        /a module is enabled and disabled with its child/,
      ],
      [['provision', 'cab'], /unknown command 'cab'/],
    ];
    const ends = await Promise.all(wrong.map(([args]) => run(...args)));
    for (const [index, { code, stderr }] of ends.entries()) {
      const [args, why] = wrong[index]!;
      assert.equal(code, 2, args.join(' '));
      assert.match(stderr, why);
    }
  });
});
