import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { HOST_METRICS } from '../src/config/children.ts';
import { loadConfig } from '../src/config/load.ts';
import type { LoadedConfig } from '../src/config/load.ts';
import { ConfigSchema } from '../src/config/schema.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-config-'));
after(() => fs.rmSync(dir, { recursive: true }));
const bench = path.join(import.meta.dirname, 'fixtures/config/bench.yaml');

function load(content: string): LoadedConfig {
  const file = path.join(dir, 'gateway.yaml');
  fs.writeFileSync(file, content);
  const loaded = loadConfig(file);
  return { ...loaded, warnings: loaded.warnings.map((warning) => warning.replace(`${dir}/`, '')) };
}

const STORES_ONLY = 'gateway.yaml: upstream: left out: messages are stored and sent nowhere';

test('a gateway that says only who it is gets every default', () => {
  const { config, profile, path: file, warnings } = load('gateway: { id: line-4 }\n');
  assert.deepEqual(config, {
    gateway: { id: 'line-4', profile: 'simulated', dataDir: '/var/lib/holdfast' },
    storeAndForward: {
      timeToLiveSecs: 7200,
      quota: { bytes: 512 * 1024 ** 2 },
      keepFree: { percent: 10 },
      whenFull: 'thin',
      commitEveryMs: 250,
      write: 'always',
      durability: 'strict',
    },
    registry: { gatewayKey: 'keep' },
    routes: { upstream: { route: 'FROM /messages/* INTO $upstream' } },
    health: {
      every: 60_000,
      led: 'activity',
      limits: { temperatureCelsius: 80, memoryPercent: 90, diskPercent: 95, lifeDays: 365 },
    },
    children: [],
    modules: [],
  });
  assert.equal(profile.name, 'simulated');
  assert.equal(file, path.join(dir, 'gateway.yaml'));
  assert.deepEqual(warnings, [STORES_ONLY]);
});

test('an upstream that says only where it is gets every default', () => {
  assert.deepEqual(load('gateway: { id: a }\nupstream: { url: "mqtt://localhost:1883" }\n').config.upstream, {
    dialect: 'holdfast',
    url: 'mqtt://localhost:1883',
    protocol: 'auto',
    clientId: 'a',
    tlsMinVersion: '1.2',
    keepaliveSecs: 30,
    window: 128,
    reconnect: { minSecs: 1, maxSecs: 60 },
  });
});

test('children that say only what they are get every default', () => {
  const plain = { activeLow: false, bias: 'as-is', duration: false, initial: 0 };
  const { config } = load(`
gateway: { id: a, profile: raspberry-pi-4 }
children:
  - id: press-1
    simulated:
  - id: scale
    serial: { port: rs485, decoder: json }
  - id: rows
    serial: { port: /dev/ttyS9, decoder: { csv: { columns: [t, h] } } }
  - id: words
    serial: { port: acm0, decoder: { regex: { pattern: '(?<t>\\d+)' } } }
  - id: options
    serial:
      port: usb1
      decoder:
        json:
  - id: door
    gpio: { line: GPIO17 }
  - id: lamp
    gpio: { line: { chip: pinctrl-bcm2711, offset: 4 }, direction: out }
  - id: board
    host:
`);
  const line = { baudRate: 9600, dataBits: 8, parity: 'none', stopBits: 1 };
  const ends = { delimiter: '\n', lineBytesMax: 4096 };
  assert.deepEqual(config.children, [
    { id: 'press-1', simulated: { sendIntervalMs: 5000, messageCount: 500 } },
    { id: 'scale', serial: { port: 'rs485', ...line, decoder: { kind: 'json', ...ends } } },
    {
      id: 'rows',
      serial: { port: '/dev/ttyS9', ...line, decoder: { kind: 'csv', columns: ['t', 'h'], separator: ',', ...ends } },
    },
    { id: 'words', serial: { port: 'acm0', ...line, decoder: { kind: 'regex', pattern: '(?<t>\\d+)', ...ends } } },
    { id: 'options', serial: { port: 'usb1', ...line, decoder: { kind: 'json', ...ends } } },
    {
      id: 'door',
      gpio: { line: 'GPIO17', direction: 'in', edge: 'both', debounceMs: 0, ...plain },
    },
    {
      id: 'lamp',
      gpio: {
        line: { chip: 'pinctrl-bcm2711', offset: 4 },
        direction: 'out',
        edge: 'none',
        debounceMs: 0,
        ...plain,
      },
    },
    { id: 'board', host: { every: 60_000, metrics: [...HOST_METRICS] } },
  ]);
});

test('headings with nothing under them count as empty sections', () => {
  const { config, warnings } = load(`
gateway: { id: a }
upstream:
  url: mqtt://localhost
  reconnect:
storeAndForward:
routes:
children:
`);
  assert.deepEqual(config.upstream?.reconnect, { minSecs: 1, maxSecs: 60 });
  assert.equal(config.storeAndForward.timeToLiveSecs, 7200);
  assert.deepEqual(config.children, []);
  assert.deepEqual(warnings, ['gateway.yaml:7:1: routes: empty: everything goes to $upstream']);
});

test('times and sizes come out in the unit of their key', () => {
  const { config } = load(`
gateway: { id: a }
upstream: { url: mqtt://localhost, keepaliveSecs: 1m, reconnect: { minSecs: 250ms, maxSecs: 2m } }
storeAndForward:
  timeToLiveSecs: 7d
  quota: 25%
  keepFree: 100MB
  commitEveryMs: 1s
  wearBudget: 2GiB/day
children:
  - id: b
    simulated: { sendIntervalMs: 1.5s, messageCount: -1 }
  - id: c
    host: { every: 2m, metrics: [disk, disk] }
`);
  assert.equal(config.upstream?.keepaliveSecs, 60);
  assert.deepEqual(config.upstream.reconnect, { minSecs: 0.25, maxSecs: 120 });
  assert.equal(config.storeAndForward.timeToLiveSecs, 604_800);
  assert.deepEqual(config.storeAndForward.quota, { percent: 25 });
  assert.deepEqual(config.storeAndForward.keepFree, { bytes: 100_000_000 });
  assert.equal(config.storeAndForward.commitEveryMs, 1000);
  assert.equal(config.storeAndForward.wearBudget, 2 * 1024 ** 3);
  assert.deepEqual(config.children[0]?.simulated, { sendIntervalMs: 1500, messageCount: -1 });
  assert.deepEqual(config.children[1]?.host, { every: 120_000, metrics: ['disk'] });
});

test('a protocol version may be written as a number', () => {
  const protocol = (text: string): unknown =>
    load(`gateway: { id: a }\nupstream: { url: mqtt://x, protocol: ${text} }\n`).config.upstream?.protocol;
  assert.deepEqual([protocol('5'), protocol('"5"'), protocol('3.1.1'), protocol('auto')], ['5', '5', '3.1.1', 'auto']);
});

test('addresses of all four schemes are taken as they stand', () => {
  for (const url of [
    'mqtt://h',
    'mqtts://h:8883',
    'ws://h/mqtt',
    'wss://h:443/mqtt?x=1',
    'mqtt://[::1]:1883',
    'mqtt://h/',
  ]) {
    assert.equal(load(`gateway: { id: a }\nupstream: { url: "${url}" }\n`).config.upstream?.url, url);
  }
});

test('routes come out as they were written, with priority and time to live; a time of 0 is none', () => {
  const { config, warnings } = load(`
gateway: { id: a }
upstream: { url: mqtt://localhost }
routes:
  plain: FROM /messages/* INTO $upstream
  lower: "  select  *\\tfrom /messages/*  into $upstream "
  full: { route: SELECT * FROM /messages/* INTO $upstream, priority: 0, timeToLiveSecs: 1d }
  zero: { route: FROM /messages INTO $upstream, timeToLiveSecs: 0 }
`);
  assert.deepEqual(config.routes, {
    plain: { route: 'FROM /messages/* INTO $upstream' },
    lower: { route: '  select  *\tfrom /messages/*  into $upstream ' },
    full: { route: 'SELECT * FROM /messages/* INTO $upstream', priority: 0, timeToLiveSecs: 86_400 },
    zero: { route: 'FROM /messages INTO $upstream' },
  });
  assert.deepEqual(warnings, []);
});

test('what a route says and probably does not mean is a warning with its place', () => {
  const { warnings } = load(`
gateway: { id: a }
upstream: { url: mqtt://localhost }
routes:
  gone: FROM /messages/modules/filter/* INTO $upstream
  typo: FROM /message/* INTO $upstream
  twin: FROM /twinChangeNotifications INTO $upstream
  name: FROM /messages/* WHERE a+b = 'x' AND $contentTyp = 'y' INTO $upstream
`);
  assert.deepEqual(warnings, [
    'gateway.yaml:5:14: routes.gone: nothing comes from here: no module is called "filter"; there is none',
    'gateway.yaml:6:14: routes.typo: nothing comes from "/message/*"; sources are /messages/* and /messages/modules/NAME/outputs/OUTPUT',
    'gateway.yaml:7:14: routes.twin: nothing comes from "/twinChangeNotifications" without a hub; sources are /messages/* and /messages/modules/NAME/outputs/OUTPUT',
    'gateway.yaml:8:32: routes.name: "a+b" is one name, that of a property; put spaces around operators',
    'gateway.yaml:8:46: routes.name: there is no system property "$contentTyp": it is undefined unless a message has a property of that name; did you mean $contentType?',
  ]);
});

test("what a module's query says and probably does not mean is a warning with its place", () => {
  const { warnings } = load(`
gateway: { id: a }
upstream: { url: mqtt://localhost }
modules:
  - id: filter
    query: |
      SELECT a AS q
      FROM input
      WHERE q = 1
`);
  assert.deepEqual(warnings, [
    'gateway.yaml:9:13: modules[0].query: WHERE reads a field q of input, and not the q that this SELECT gives; write there what stands before AS q, or ask in a step behind it',
  ]);
});

test('Modbus children share a port whose settings are equal, in whatever order and however much of them is written', () => {
  const decoder = '{ modbus: { unit: 17, registers: [{ name: voltage, address: 0 }] } }';
  const lines = [
    'rs485: { rtsOnSend: high, delayAfterMs: 2 }',
    'rs485: { delayAfterMs: 2 }, baudRate: 9600',
    'rs485: { delayAfterMs: 2, delayBeforeMs: 0, rtsOnSend: high }, parity: none',
  ];
  const children = lines.map((line, n) => `  - { id: c${n}, serial: { port: rs485, ${line}, decoder: ${decoder} } }\n`);
  const { config } = load(`gateway: { id: a, profile: ${bench} }\nchildren:\n${children.join('')}`);
  for (const { serial } of config.children)
    assert.deepEqual(serial?.rs485, { rtsOnSend: 'high', delayBeforeMs: 0, delayAfterMs: 2 });
});

test('a storage setting comes from the file, else from the profile, else from the schema', () => {
  const { config, warnings } = load(`
gateway: { id: a, profile: ${bench} }
storeAndForward: { quota: 128MiB, write: always }
`);
  const { quota, write, commitEveryMs, durability, whenFull } = config.storeAndForward;
  assert.deepEqual(quota, { bytes: 128 * 1024 ** 2 });
  assert.equal(write, 'always');
  assert.equal(commitEveryMs, 1000);
  assert.equal(durability, 'relaxed');
  assert.equal(whenFull, 'thin');
  assert.deepEqual(warnings, [STORES_ONLY]);
});

test('relative paths start at the folder of the file', () => {
  const { config } = load(`
gateway: { id: a, dataDir: data }
upstream: { url: mqtts://x, ca: ca.pem, clientCert: /etc/c.pem, clientKey: keys/c.key, username: u, passwordFile: pw }
registry: { trust: fleet.pub.jwk, gatewayKey: own.jwk }
`);
  assert.deepEqual(config.registry, {
    trust: path.join(dir, 'fleet.pub.jwk'),
    gatewayKey: path.join(dir, 'own.jwk'),
  });
  assert.equal(load('gateway: { id: a }\nregistry: { gatewayKey: keep }\n').config.registry.gatewayKey, 'keep');
  assert.deepEqual(load('gateway: { id: a }\nregistry:\n').config.registry, { gatewayKey: 'keep' });
  assert.equal(config.gateway.dataDir, path.join(dir, 'data'));
  assert.equal(config.upstream?.ca, path.join(dir, 'ca.pem'));
  assert.equal(config.upstream.clientCert, '/etc/c.pem');
  assert.equal(config.upstream.clientKey, path.join(dir, 'keys/c.key'));
  assert.equal(config.upstream.passwordFile, 'pw', 'a secret keeps its name');
});

test('what is allowed, and probably not meant, is warned about where it stands', () => {
  const { config, warnings } = load(`
gateway: { id: a }
upstream: { url: mqtt://x, username: u, passwordFile: pw, ca: ca.pem }
storeAndForward:
  lanes: { 0: { whenFull: reject-new }, 10: {} }
  wearBudget: 1GiB/day
`);
  assert.deepEqual(warnings, [
    'gateway.yaml:3:63: upstream.ca: not used: mqtt:// is without TLS',
    'gateway.yaml:3:18: upstream.url: mqtt:// sends the password unencrypted',
  ]);
  assert.deepEqual(config.storeAndForward.lanes, { 0: { whenFull: 'reject-new' }, 10: {} });
  assert.equal(config.storeAndForward.wearBudget, 2 ** 30);
});

test('a file without anything odd is loaded without a word', () => {
  const { warnings } = load(`
gateway: { id: a }
upstream: { url: "mqtt://127.0.0.1:1883", username: u, passwordFile: pw }
storeAndForward: { timeToLiveSecs: 2h, whenFull: drop-oldest, write: always }
routes: { all: FROM /messages/* INTO $upstream }
`);
  assert.deepEqual(warnings, []);
});

test('aliases, a byte order mark and carriage returns are fine', () => {
  const { config } = load(
    '\uFEFFgateway: { id: a }\r\nchildren:\r\n  - id: b\r\n    host: &h { every: 5s }\r\n  - id: c\r\n    host: *h\r\n',
  );
  assert.equal(config.children[1]?.host?.every, 5000);
});

test('one anchor may serve hundreds of children', () => {
  const children = Array.from({ length: 500 }, (_, index) => `  - { id: c${index}, host: *h }\n`);
  const { config } = load(`gateway: { id: a }\nchildren:\n  - { id: c, host: &h { every: 5s } }\n${children.join('')}`);
  assert.equal(config.children.at(-1)?.host?.every, 5000);
});

test('the schema alone is enough where there is no file', () => {
  const config = ConfigSchema.parse({ gateway: { id: 'a' }, upstream: { url: 'mqtt://x' } });
  assert.equal(config.upstream?.clientId, 'a');
  assert.equal(config.storeAndForward.commitEveryMs, 250);
});
