import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { importEdgeHub, NoEdgeHub } from '../src/config/edgehub.ts';
import { loadConfig } from '../src/config/load.ts';
import { holdfast } from './parts/command.ts';
import { fc } from './parts/properties.ts';
import { scratch } from './parts/scratch.ts';

const dir = scratch();
const UP = 'FROM /messages/* INTO $upstream';
const DESIRED = {
  schemaVersion: '1.1',
  routes: { up: UP },
  storeAndForwardConfiguration: { timeToLiveSecs: 3600 },
};
/** Said of every manifest: it does not know these. */
const ALWAYS = [
  'gateway.id: the manifest does not name the device; "edge-gateway" stands there',
  'upstream: the manifest does not say where the hub is, nor its credentials; fill in the section',
];

/** What a manifest comes to: the configuration that is loaded from it, and what was said besides. */
function imported(root: unknown) {
  const { yaml, notes, whole } = importEdgeHub(root);
  const file = join(dir, 'imported.yaml');
  writeFileSync(file, yaml);
  const { config } = loadConfig(file);
  return { yaml, config, whole, notes: notes.filter((note) => !ALWAYS.includes(note)) };
}

describe('an edge hub is found', () => {
  const twin = { properties: { desired: DESIRED } };
  const forms: Readonly<Record<string, unknown>> = {
    'in a deployment manifest': { modulesContent: { $edgeAgent: {}, $edgeHub: { 'properties.desired': DESIRED } } },
    'in one with content around it': { content: { modulesContent: { $edgeHub: { 'properties.desired': DESIRED } } } },
    'in the old spelling': { moduleContent: { $edgeHub: { 'properties.desired': DESIRED } } },
    'in a module twin': { deviceId: 'd', moduleId: '$edgeHub', version: 3, ...twin },
    'as properties.desired': { 'properties.desired': DESIRED },
    'as the desired properties alone': { ...DESIRED, $version: 4, $metadata: {} },
    'in a layered deployment': {
      modulesContent: {
        $edgeHub: {
          'properties.desired.schemaVersion': '1.1',
          'properties.desired.routes.up': { route: UP },
          'properties.desired.storeAndForwardConfiguration.timeToLiveSecs': 3600,
        },
      },
    },
  };
  for (const [how, root] of Object.entries(forms)) {
    test(how, () => {
      const { config, notes, whole } = imported(root);
      assert.deepEqual(config.routes, { up: { route: UP } });
      assert.equal(config.storeAndForward.timeToLiveSecs, 3600);
      assert.deepEqual({ notes, whole }, { notes: [], whole: true });
    });
  }

  test('in nothing else', () => {
    for (const root of [null, 5, [], {}, { modulesContent: { $edgeAgent: {} } }, { modulesContent: {} }]) {
      assert.throws(() => importEdgeHub(root), NoEdgeHub, JSON.stringify(root));
    }
  });

  test('of the schema versions that there are', () => {
    for (const schemaVersion of ['1.0', '1.1', '1.2', '1.3', 1, 1.2]) {
      assert.deepEqual(imported({ ...DESIRED, schemaVersion }).notes, []);
    }
    assert.deepEqual(imported({ routes: { up: UP } }).notes, ['schemaVersion: missing; read as 1.1']);
    assert.throws(() => importEdgeHub({ ...DESIRED, schemaVersion: '2.0' }), /schemaVersion "2.0" is not known/);
  });
});

describe('routes', () => {
  const routes = (written: Record<string, unknown>, schemaVersion = '1.1') =>
    imported({ ...DESIRED, schemaVersion, routes: written });

  test('keep text, priority and time to live', () => {
    const text = `SELECT * FROM /messages WHERE a = "b: #c" AND d = 'e'\n INTO $upstream`;
    const { config, notes } = routes({ plain: text, full: { route: text, priority: 0, timeToLiveSecs: 60 } });
    assert.deepEqual(config.routes, {
      plain: { route: text },
      full: { route: text, priority: 0, timeToLiveSecs: 60 },
    });
    assert.deepEqual(notes, []);
  });

  test('a time to live of 0 is none of their own, and one below is for ever', () => {
    const { config, notes } = routes({
      none: { route: UP, timeToLiveSecs: 0 },
      ever: { route: UP, timeToLiveSecs: -1 },
    });
    assert.deepEqual(config.routes, { none: { route: UP }, ever: { route: UP, timeToLiveSecs: 2_147_483_647 } });
    assert.deepEqual(notes, ['routes.ever.timeToLiveSecs: -1 means for ever; 2147483647 (68 years) stands there']);
  });

  test('that lead to a module wait for it as comments, and the module is named', () => {
    const { config, yaml, notes, whole } = routes({
      up: 'FROM /messages/modules/filter/outputs/* INTO $upstream',
      down: `FROM /messages/* INTO BrokeredEndpoint('/modules/filter/inputs/in')`,
    });
    assert.deepEqual(Object.keys(config.routes), ['up']);
    assert.deepEqual(notes, [
      'routes.down: leads to module filter, which is not there yet; it stands there as a comment',
      'module filter: routes name it; write it as a query under modules',
    ]);
    assert.equal(whole, true);
    // With the sign of the comment taken away, the route is what it was.
    const uncommented = parse(yaml.replace('  # down:', '  down:')) as { routes: Record<string, string> };
    assert.equal(uncommented.routes['down'], `FROM /messages/* INTO BrokeredEndpoint('/modules/filter/inputs/in')`);
  });

  test('that cannot be read are comments, and named with their place', () => {
    const { config, yaml, notes, whole } = routes({
      up: UP,
      bad: 'FROM /messages\nWHERE t > 30 INTO $upstream',
      five: 5,
    });
    assert.deepEqual(Object.keys(config.routes), ['up']);
    assert.match(yaml, /^ {2}# bad: "FROM \/messages\\nWHERE t > 30 INTO \$upstream"$/m);
    assert.deepEqual(notes, [
      'routes.bad: 2:9: > between text and a number; properties are text: write AS_NUMBER(x); it stands there as a comment',
      'routes.five: 5 is no route; left out',
    ]);
    assert.equal(whole, false);
  });

  test('that are empty or deleted are left out', () => {
    const old = routes({ up: UP, empty: '', gone: null }, '1.0');
    assert.deepEqual(old.notes, [
      'routes.empty: empty; left out, as schema 1.0 does',
      'routes.gone: null, so it was deleted; left out',
    ]);
    assert.equal(old.whole, true);
    assert.equal(routes({ up: UP, empty: '' }).whole, false);
  });

  test('names that ours cannot be are changed, and stay apart', () => {
    const { config, notes } = routes({ 'a b': UP, 'a-b': UP, '': UP, '7': UP });
    assert.deepEqual(Object.keys(config.routes).sort(), ['7', 'a-b', 'a-b-2', 'route']);
    assert.deepEqual(notes, [
      'routes.a b: is called a-b here',
      'routes.a-b: is called a-b-2 here',
      'routes.: is called route here',
    ]);
  });

  test('whose last one is gone let everything through, which is said', () => {
    assert.deepEqual(routes({}).notes, ['routes: none is left, and without any everything goes to $upstream']);
  });

  test('what routes and storage say besides is named', () => {
    const { notes, config } = imported({
      ...DESIRED,
      routes: { up: { route: UP, priority: 12, colour: 'red' } },
      storeAndForwardConfiguration: { timeToLiveSecs: 'x', storeLimits: {} },
      mqttBroker: {},
    });
    assert.deepEqual(notes, [
      'storeAndForwardConfiguration.storeLimits: no counterpart',
      'storeAndForwardConfiguration.timeToLiveSecs: "x" is no whole number of seconds; left out',
      'routes.up.colour: no counterpart',
      'routes.up.priority: 12 is not 0 to 9; left out',
      '$edgeHub mqttBroker: no counterpart',
    ]);
    assert.equal(config.storeAndForward.timeToLiveSecs, 7200);
  });
});

describe("the hub's container", () => {
  const container = (edgeHub: unknown, modules: unknown = {}) =>
    imported({
      modulesContent: {
        $edgeAgent: { 'properties.desired': { systemModules: { edgeAgent: {}, edgeHub }, modules } },
        $edgeHub: { 'properties.desired': DESIRED },
        other: { 'properties.desired': { a: 1 } },
      },
    });

  test('gives its folder, its protocol and its clients', () => {
    const { config, yaml, notes } = container({
      env: {
        storageFolder: { value: '/iotedge/storage' },
        upstreamProtocol: { value: 'MqttWs' },
        MaxConnectedClients: { value: 20 },
        OptimizeForPerformance: { value: 'false' },
      },
    });
    assert.equal(config.gateway.dataDir, '/iotedge/storage');
    assert.match(yaml, /^# {3}url: wss:\/\/HOST:443\/mqtt$/m);
    assert.match(yaml, /^(# )?hub:\n(# )? {2}maxConnectedClients: 20$/m);
    const rest = notes.filter((note) => !note.startsWith('env MaxConnectedClients'));
    assert.deepEqual(rest, [
      'env storageFolder: /iotedge/storage is a folder of the container; dataDir is the same path on the host',
      'env OptimizeForPerformance: no counterpart',
      "other: a module's desired properties have no counterpart",
    ]);
  });

  test('gives the folder of the host where it is bound to one, also from options that are text in pieces', () => {
    const options = JSON.stringify({
      Env: ['storageFolder=/data/hub', 'CacheTokens=true'],
      HostConfig: { Binds: ['volume:/logs', '/srv/edge:/data/:rw'], PortBindings: { '8883/tcp': [] } },
    });
    const settings = { image: 'hub:1.5', createOptions: options.slice(0, 40), createOptions01: options.slice(40) };
    const { config, notes } = container(
      { settings, env: { UpstreamProtocol: { value: 'Amqp' } } },
      {
        filter: { settings: { image: 'filter:1' } },
      },
    );
    assert.equal(config.gateway.dataDir, '/srv/edge/hub');
    assert.deepEqual(notes, [
      'env UpstreamProtocol: there is no AMQP; mqtts (MQTT) stands there',
      'module filter (filter:1): images do not run here; write it as a query under modules',
      'env CacheTokens: no counterpart',
      "other: a module's desired properties have no counterpart",
      '$edgeAgent systemModules.edgeHub: ports 8883/tcp: the gateway listens where its hub section says',
      '$edgeAgent systemModules.edgeHub: image hub:1.5: the gateway is a program, not an image',
    ]);
  });
});

test('whatever a manifest holds, it becomes a configuration that loads, or is refused', () => {
  const word = fc.constantFrom(
    ...'modulesContent $edgeHub $edgeAgent properties.desired properties desired schemaVersion routes route priority'.split(
      ' ',
    ),
    ...'timeToLiveSecs storeAndForwardConfiguration systemModules edgeHub env value storageFolder settings createOptions'.split(
      ' ',
    ),
    ...'MaxConnectedClients UpstreamProtocol modules image properties.desired.routes.a HostConfig Binds __proto__ a'.split(
      ' ',
    ),
  );
  const leaf = fc.oneof(
    fc.constantFrom(null, true, 0, -1, 1.1, '1.1', '', UP, 'FROM', '/a:/b', '{"Env":["a"]}'),
    fc.string(),
  );
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 6 },
      leaf,
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(word, tie('value'), { maxKeys: 5 }),
    ),
  }));
  let made = 0;
  fc.assert(
    fc.property(value, fc.boolean(), (root, isDesired) => {
      // As it would be read.
      const manifest: unknown = JSON.parse(
        JSON.stringify(isDesired ? { ...DESIRED, schemaVersion: '1.2', routes: root } : root),
      );
      try {
        imported(manifest);
        made++;
      } catch (error) {
        assert.ok(error instanceof NoEdgeHub, String((error as Error).stack));
      }
    }),
    { numRuns: 400, seed: 20261126 },
  );
  assert.ok(made > 100, `only ${made} of the manifests became configurations`);
});

describe('config import-edgehub', () => {
  const manifest = join(dir, 'deployment.json');
  writeFileSync(manifest, JSON.stringify(DESIRED));

  test('writes a configuration that config check takes, and says the rest on standard error', async () => {
    const output = join(dir, 'gateway.yaml');
    const { code, stdout, stderr } = await holdfast(['config', 'import-edgehub', manifest, '-o', output]);
    assert.deepEqual([code, stdout], [0, '']);
    assert.equal(
      stderr,
      `${ALWAYS.join('\n')}\nwritten to ${output}; look through it, then: holdfast config check ${output}\n`,
    );
    assert.equal((await holdfast(['config', 'check', output])).code, 0);
    const again = await holdfast(['config', 'import-edgehub', manifest]);
    assert.deepEqual([again.code, again.stdout], [0, readFileSync(output, 'utf8')]);
    const second = await holdfast(['config', 'import-edgehub', manifest, '-o', output]);
    assert.equal(second.code, 1);
    const left = 'is there already, and is left as it is: name another one with -o, or move it away';
    assert.equal(second.stderr, `holdfast: ${output} ${left}\n`);
    for (const [name, why] of [
      ['none/x', /^holdfast: there is no folder \S+\/none: make it, or name another place with -o\n$/],
      ['gateway.yaml/x', /^holdfast: \S+\/gateway.yaml is not a folder: name another place with -o\n$/],
      ['.', /^holdfast: \S+ is a folder: name a file in it\n$/],
    ] as const) {
      const { code: ended, stderr: said } = await holdfast([
        'config',
        'import-edgehub',
        manifest,
        '-o',
        `${dir}/${name}`,
      ]);
      assert.equal(ended, 1);
      assert.match(said, why);
    }
  });

  test('as JSON; a route that cannot be read ends it with 1', async () => {
    const bad = join(dir, 'bad.json');
    writeFileSync(bad, JSON.stringify({ ...DESIRED, routes: { a: 'FROM' } }));
    const { code, stdout, stderr } = await holdfast(['config', 'import-edgehub', bad, '--json']);
    assert.deepEqual([code, stderr], [1, '']);
    const { file, whole, notes, yaml } = JSON.parse(stdout) as Record<string, unknown>;
    assert.deepEqual({ file, whole }, { file: null, whole: false });
    assert.ok((notes as string[]).some((note) => note.startsWith('routes.a: 1:5: expected a source')));
    assert.match(yaml as string, /# a: FROM$/m);
  });

  test('what is no manifest is refused', async () => {
    const none = join(dir, 'none.json');
    const refusals: readonly (readonly [string, RegExp])[] = [
      ['{', /none\.json is not JSON: /],
      ['{}', /none\.json cannot be imported: it has no desired properties of \$edgeHub/],
    ];
    for (const [text, complaint] of refusals) {
      writeFileSync(none, text);
      const { code, stderr } = await holdfast(['config', 'import-edgehub', none]);
      assert.equal(code, 1);
      assert.match(stderr, complaint);
    }
    assert.match((await holdfast(['config', 'import-edgehub', join(dir, 'nowhere')])).stderr, /cannot be read: ENOENT/);
  });
});
