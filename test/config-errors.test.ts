import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { stringify } from 'yaml';
import { ConfigError, loadConfig } from '../src/config/load.ts';
import { fc } from './parts/properties.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-config-'));
after(() => fs.rmSync(dir, { recursive: true }));
const profileDirs = [path.join(dir, 'profiles')];
fs.mkdirSync(path.join(dir, 'profiles'));
const root = path.join(import.meta.dirname, '..');
fs.copyFileSync(path.join(root, 'device-profiles/simulated.yaml'), path.join(dir, 'profiles/simulated.yaml'));
fs.copyFileSync(path.join(root, 'test/fixtures/config/bench.yaml'), path.join(dir, 'profiles/bench.yaml'));
fs.copyFileSync(path.join(root, 'test/fixtures/config/broken-profile.yaml'), path.join(dir, 'broken-profile.yaml'));

/** The lines that loading prints, with the folder taken out. */
function problemsOf(content: string | Buffer): string[] {
  fs.writeFileSync(path.join(dir, 'gateway.yaml'), content);
  return failure('gateway.yaml');
}

function failure(name: string): string[] {
  try {
    loadConfig(path.join(dir, name), { profileDirs });
  } catch (error) {
    assert.ok(error instanceof ConfigError, String((error as Error).stack));
    assert.equal(error.problems.length, error.message.split('\n').length);
    return error.message.replaceAll(`${dir}/`, '').split('\n');
  }
  return [];
}

const GATEWAY = 'gateway: { id: line-4, profile: bench }\n';
const UPSTREAM = 'upstream:\n  url: mqtt://localhost\n';
const ALL = '"FROM /messages/* INTO $upstream"';
const IDENTIFIER = 'is not a name of 1 to 128 letters, digits, "-", "." or "_"';
const PATTERN = '"T=(?<temperature>[0-9.]+)"';
const MODBUS = '{ modbus: { unit: 17, registers: [{ name: voltage, type: input, address: 0 }] } }';
const DECODERS = `json, nmea, { csv: { columns: [temperature, humidity] } } or { regex: { pattern: ${PATTERN} } }; or a mapping with frame or modbus`;
const serial = (settings: string): string =>
  `${GATEWAY}children:\n  - id: a\n    serial: { port: rs485, ${settings} }\n`;
const frame = (settings: string): string => serial(`decoder: { frame: { ${settings} } }`);
const gpio = (settings: string): string => `${GATEWAY}children:\n  - id: a\n    gpio: { ${settings} }\n`;

/** What is wrong, the file, and every line that must be printed for it. */
const broken: readonly (readonly [string, string | Buffer, ...string[]])[] = [
  // the file
  ['an empty file', '', 'gateway.yaml:1:1: the file is empty'],
  ['a file of comments', '# nothing\n', 'gateway.yaml:1:1: the file is empty'],
  [
    'a file that is too large',
    Buffer.alloc(1024 ** 2 + 1, '#'),
    'gateway.yaml: has 1048577 bytes; a configuration has at most 1048576',
  ],
  ['UTF-16', Buffer.from('\uFEFFgateway: {}', 'utf16le'), 'gateway.yaml:1:1: is UTF-16 text; save it as UTF-8'],
  [
    'Latin-1',
    Buffer.from('gateway:\n  id: caf\xe9\n', 'latin1'),
    'gateway.yaml:2:10: is not UTF-8 text from here on; save it as UTF-8',
  ],
  [
    'a list',
    '- gateway\n',
    'gateway.yaml:1:1: a list is not a mapping; write "key: value" lines, with the keys gateway, upstream, hub, registry, storeAndForward, routes, health, children, modules',
  ],
  [
    'text',
    'gateway\n',
    'gateway.yaml:1:1: "gateway" is not a mapping; write "key: value" lines, with the keys gateway, upstream, hub, registry, storeAndForward, routes, health, children, modules',
  ],
  ['a tab for indentation', 'gateway:\n\tid: a\n', 'gateway.yaml:2:1: not YAML: tabs are not allowed as indentation'],
  [
    'an open bracket',
    'gateway: { id: a\n',
    'gateway.yaml:2:1: not YAML: flow map in block collection must be sufficiently indented and end with a }',
  ],
  ['a key twice', 'gateway:\n  id: a\n  id: b\n', 'gateway.yaml:3:3: "id" stands twice here; keep one'],
  ['a section twice', `${GATEWAY}${UPSTREAM}${UPSTREAM}`, 'gateway.yaml:4:1: "upstream" stands twice here; keep one'],
  [
    'a second document',
    `${GATEWAY}---\n${GATEWAY}`,
    'gateway.yaml:2:1: a second document begins here (---); a file holds one',
  ],
  ['a tag', 'gateway:\n  id: !secret id\n', 'gateway.yaml:2:15: a tag (!name) has no meaning here; remove it'],
  [
    'a tag that YAML knows',
    'gateway: !!set { id }\n',
    'gateway.yaml:1:16: a tag (!name) has no meaning here; remove it',
  ],
  [
    'YAML 1.1',
    '%YAML 1.1\n---\ngateway: { id: a }\n',
    'gateway.yaml:1:1: the file is read as YAML 1.2; remove the %YAML line',
  ],
  ['an alias for nothing', 'gateway: *none\n', 'gateway.yaml:1:10: there is no &none before *none'],
  ['an alias inside itself', 'a: &a [*a]\n', 'gateway.yaml:1:8: *a stands inside what it repeats'],
  ['a key that is true', 'true: 1\n', 'gateway.yaml:1:1: a key must be a word'],
  ['a key that is nothing', ': 1\n', 'gateway.yaml:1:1: a key must be a word'],
  ['a key that is a list', '[a, b]: c\n', 'gateway.yaml:1:1: a key must be a word'],
  ['a prototype', `${GATEWAY}__proto__: { a: 1 }\n`, 'gateway.yaml:2:1: "__proto__" cannot be a key'],
  ['an alias bomb', bomb(), 'gateway.yaml:1:1: aliases (*name) multiply too often; write the values out'],
  ['a pit of brackets', `gateway: ${'['.repeat(50_000)}`, 'gateway.yaml:1:73: nested more than 64 deep'],

  // gateway
  [
    'no gateway',
    'routes: {}\n',
    'gateway.yaml:1:1: gateway: missing; write "key: value" lines, with the keys id, profile, dataDir',
  ],
  ['an empty gateway', 'gateway:\n', 'gateway.yaml:1:1: gateway.id: missing; write for example line-4'],
  ['no id', 'gateway:\n  profile: bench\n', 'gateway.yaml:1:1: gateway.id: missing; write for example line-4'],
  [
    'a slash in the id',
    'gateway:\n  id: a/b\n  profile: bench\n',
    `gateway.yaml:2:7: gateway.id: "a/b" ${IDENTIFIER}; write for example line-4`,
  ],
  [
    'a wildcard in the id',
    'gateway:\n  id: "#"\n  profile: bench\n',
    `gateway.yaml:2:7: gateway.id: "#" ${IDENTIFIER}; write for example line-4`,
  ],
  [
    'a dollar before the id',
    'gateway:\n  id: $SYS\n  profile: bench\n',
    `gateway.yaml:2:7: gateway.id: "$SYS" ${IDENTIFIER}; write for example line-4`,
  ],
  [
    'an id without letters',
    'gateway:\n  id: ""\n  profile: bench\n',
    `gateway.yaml:2:7: gateway.id: "" ${IDENTIFIER}; write for example line-4`,
  ],
  [
    'a number for an id',
    'gateway:\n  id: 0123\n  profile: bench\n',
    'gateway.yaml:2:7: gateway.id: 123 is read as a number; put it in quotes',
  ],
  [
    'an id that is left open',
    'gateway:\n  id:\n  profile: bench\n',
    `gateway.yaml:2:3: gateway.id: an empty value ${IDENTIFIER}; write for example line-4`,
  ],
  [
    'an id that is too long',
    `gateway:\n  id: ${'x'.repeat(129)}\n  profile: bench\n`,
    `gateway.yaml:2:7: gateway.id: "${'x'.repeat(60)}…" ${IDENTIFIER}; write for example line-4`,
  ],
  [
    'a folder that is a list',
    'gateway: { id: a, profile: bench, dataDir: [a] }\n',
    'gateway.yaml:1:44: gateway.dataDir: a list is not a folder; write for example /var/lib/holdfast',
  ],
  [
    'a profile that does not exist',
    'gateway: { id: a, profile: bunch }\n',
    'gateway.yaml:1:28: gateway.profile: no profile "bunch"; there are bench, simulated; did you mean "bench"?',
  ],
  [
    'the path of a profile that does not exist',
    'gateway: { id: a, profile: ./no.yaml }\n',
    'gateway.yaml:1:28: gateway.profile: no profile "./no.yaml"; there is no file no.yaml',
  ],
  [
    'a broken profile',
    'gateway: { id: a, profile: ./broken-profile.yaml, x: 1 }\n',
    'gateway.yaml:1:51: gateway.x: "x" is not a key of gateway; the keys are id, profile, dataDir',
    'broken-profile.yaml:2:14: description: 5 is read as a number; put it in quotes',
    'broken-profile.yaml:4:11: storage.medium: "floppy" is not one of sd, emmc, ssd, simulated',
    'broken-profile.yaml:5:3: storage.commitEvryMs: "commitEvryMs" is not a key of storage; did you mean "commitEveryMs"?',
    'broken-profile.yaml:7:10: serial.rs485: "ttyUSB0" is not the path of a device; write for example /dev/ttyUSB0',
  ],

  // keys that do not exist
  [
    'a misspelt key',
    'gateway: { id: a, profile: bench, datDir: b }\n',
    'gateway.yaml:1:35: gateway.datDir: "datDir" is not a key of gateway; did you mean "dataDir"?',
  ],
  [
    'a key in the wrong case',
    'gateway: { id: a, profile: bench, datadir: b }\n',
    'gateway.yaml:1:35: gateway.datadir: "datadir" is not a key of gateway; did you mean "dataDir"?',
  ],
  [
    'a key in the wrong section',
    `${GATEWAY}${UPSTREAM}  quota: 1GiB\n`,
    'gateway.yaml:4:3: upstream.quota: "quota" is not a key of upstream; it belongs under storeAndForward',
  ],
  [
    'a key outside its section',
    `${GATEWAY}url: mqtt://x\n`,
    'gateway.yaml:2:1: url: "url" is not a key at the top level; it belongs under upstream',
  ],
  [
    'a misspelt key in the wrong section',
    `${GATEWAY}qouta: 1GiB\n`,
    'gateway.yaml:2:1: qouta: "qouta" is not a key at the top level; did you mean "quota" under storeAndForward?',
  ],
  [
    'a misspelt section',
    `${GATEWAY}route: {}\n`,
    'gateway.yaml:2:1: route: "route" is not a key at the top level; it belongs under routes.<name>',
  ],
  [
    'a password in the file',
    `${GATEWAY}${UPSTREAM}  password: hunter2\n`,
    'gateway.yaml:4:3: upstream.password: "password" is not a key of upstream; did you mean "passwordFile"?',
  ],
  [
    'a merge key',
    `${GATEWAY}${UPSTREAM}  <<: { window: 1 }\n`,
    'gateway.yaml:4:3: upstream.<<: "<<" is not a key of upstream; the keys are dialect, url, protocol, clientId, username, passwordFile, sharedAccessKeyFile, iothubName, clientCert, clientKey, ca, tlsMinVersion, proxy, proxyPasswordFile, dnsServers, keepaliveSecs, window, reconnect, maxRate',
  ],

  // later releases
  [
    'two modules of one name, a query that is a list, a bound without its unit',
    `${GATEWAY}modules:\n  - { id: a, query: [x], outOfOrder: 5 }\n  - { id: a, query: SELECT * INTO o FROM i }\n`,
    'gateway.yaml:3:21: modules[0].query: a list is not a query; write for example SELECT * INTO output FROM input WHERE temperature > 30',
    'gateway.yaml:3:38: modules[0].outOfOrder: 5 is not a time from 0s to 1h, with its unit; write for example 2s',
    'gateway.yaml:4:11: modules[1].id: "a" is the id of an earlier module; ids are unique',
  ],
  [
    'the iothub dialect',
    `${GATEWAY}${UPSTREAM}  dialect: iothub\n`,
    'gateway.yaml:4:12: upstream.dialect: "iothub" needs sharedAccessKeyFile, or clientCert and clientKey, beside it',
  ],
  [
    'a key for Azure IoT Hub without its dialect',
    `${GATEWAY}${UPSTREAM}  sharedAccessKeyFile: k\n`,
    'gateway.yaml:4:24: upstream.sharedAccessKeyFile: "k" is for the iothub dialect; remove it, or write dialect: iothub',
  ],
  [
    'what Azure IoT Hub does not take',
    `${GATEWAY}${UPSTREAM}  dialect: iothub\n  protocol: 5\n  username: x\n  sharedAccessKeyFile: k\n`,
    'gateway.yaml:5:13: upstream.protocol: 5 is not what Azure IoT Hub speaks; write 3.1.1',
    'gateway.yaml:6:13: upstream.username: "x" is not for the iothub dialect; write sharedAccessKeyFile, or clientCert and clientKey',
  ],
  [
    'a proxy with a password in its address, which is not repeated, and an old TLS',
    `${GATEWAY}${UPSTREAM}  proxy: http://user:sesame@proxy:3128\n  tlsMinVersion: 1.1\n`,
    'gateway.yaml:4:10: upstream.proxy: an address with a password in it; leave the user name there and name a file with the password in proxyPasswordFile',
    'gateway.yaml:5:18: upstream.tlsMinVersion: 1.1 is not a version of TLS; write 1.2 or 1.3',
  ],
  [
    'a proxy that is none, and a password for nobody',
    `${GATEWAY}${UPSTREAM}  proxy: socks5://proxy:1080\n  proxyPasswordFile: word\n`,
    'gateway.yaml:4:10: upstream.proxy: "socks5://proxy:1080" is not the address of an HTTP proxy; write for example http://proxy.example:3128',
    'gateway.yaml:5:22: upstream.proxyPasswordFile: "word" needs a user in proxy; write for example http://user@proxy.example',
  ],
  [
    'a proxy whose user is not percent-encoded',
    `${GATEWAY}${UPSTREAM}  proxy: http://100%me@proxy:3128\n`,
    'gateway.yaml:4:10: upstream.proxy: a user name in it with a % that begins no character; write %25 for the sign itself',
  ],
  [
    'a password for no proxy, no name servers at all',
    `${GATEWAY}${UPSTREAM}  proxyPasswordFile: word\n  dnsServers: []\n`,
    'gateway.yaml:4:22: upstream.proxyPasswordFile: "word" needs proxy beside it',
    'gateway.yaml:5:15: upstream.dnsServers: a list of 0; write 1 to 8, or leave it out',
  ],
  [
    'name servers by name, and with a port that is none',
    `${GATEWAY}${UPSTREAM}  dnsServers: [dns.example, "192.0.2.53:70000", "[2001:db8::53]:53", 192.0.2.53]\n`,
    'gateway.yaml:4:16: upstream.dnsServers[0]: "dns.example" is not the address of a name server; write for example 192.0.2.53, or 192.0.2.53:5353',
    'gateway.yaml:4:29: upstream.dnsServers[1]: "192.0.2.53:70000" is not the address of a name server; write for example 192.0.2.53, or 192.0.2.53:5353',
  ],

  // hub
  [
    'a hub without a name, with half a certificate and a policy that does not exist',
    `${GATEWAY}hub:\n  cert: a.pem\n  tokenExpiry: lenient\n`,
    'gateway.yaml:2:1: hub.hostName: missing; write for example gateway.local',
    'gateway.yaml:3:9: hub.cert: "a.pem" needs key beside it',
    'gateway.yaml:4:16: hub.tokenExpiry: "lenient" is not one of grace, strict',
  ],
  [
    'a hub whose name cannot stand in a certificate',
    `${GATEWAY}hub: { hostName: "a b" }\n`,
    'gateway.yaml:2:18: hub.hostName: "a b" is not a host name or an address; write for example gateway.local',
  ],
  [
    'a hub that listens nowhere',
    `${GATEWAY}hub: { hostName: a, listen: {} }\n`,
    'gateway.yaml:2:29: hub.listen: listens nowhere; write some of mqtts, wss, mqtt, https',
  ],
  [
    'ports that are none, or one for two kinds',
    `${GATEWAY}hub: { hostName: a, listen: { mqtts: 70000, wss: "a:b", mqtt: 443, https: 443 } }\n`,
    'gateway.yaml:2:38: hub.listen.mqtts: 70000 is not a port or host:port; write for example 8883 or "192.0.2.1:8883"',
    'gateway.yaml:2:50: hub.listen.wss: "a:b" is not a port or host:port; write for example 8883 or "192.0.2.1:8883"',
    'gateway.yaml:2:75: hub.listen.https: 443 is the port of mqtt, which is without TLS',
  ],
  [
    'a listener without a port behind it, beside one that has one',
    `${GATEWAY}hub:\n  hostName: a\n  listen:\n    mqtts: 8883\n    mqtt:\n`,
    'gateway.yaml:6:5: hub.listen.mqtt: an empty value is not a port or host:port; write for example 8883 or "192.0.2.1:8883"',
  ],
  [
    'a listener written as a mapping: that alone is said, and nothing of ports that nobody wrote',
    `${GATEWAY}hub: { hostName: a, listen: { mqtt: { host: localhost } } }\n`,
    'gateway.yaml:2:37: hub.listen.mqtt: a mapping is not a port or host:port; write for example 8883 or "192.0.2.1:8883"',
  ],
  [
    'grants of a child that does not connect, of two kinds in one, and with a wildcard in the middle',
    `${GATEWAY}hub: { hostName: a }\nchildren:\n  - id: b\n    simulated: {}\n    grants: [ { send: c } ]\n  - id: d\n    connected: {}\n    grants: [ { send: b, invoke: b }, { observe: "a#" } ]\n`,
    'gateway.yaml:6:13: children[0].grants: grants are for children that connect: this one only does what it is told',
    'gateway.yaml:9:15: children[1].grants[0]: a grant is exactly one of invoke, send, observe',
    'gateway.yaml:9:50: children[1].grants[1].observe: "a#" is not a topic filter; write for example "#" or "press-1/events/#"',
  ],

  // upstream
  [
    'an empty upstream',
    `${GATEWAY}upstream:\n`,
    'gateway.yaml:2:1: upstream.url: missing; write for example mqtts://broker.example:8883',
  ],
  [
    'an upstream that is an address',
    `${GATEWAY}upstream: mqtt://x\n`,
    'gateway.yaml:2:11: upstream: "mqtt://x" is not a mapping; write "key: value" lines, with the keys dialect, url, protocol, clientId, username, passwordFile, sharedAccessKeyFile, iothubName, clientCert, clientKey, ca, tlsMinVersion, proxy, proxyPasswordFile, dnsServers, keepaliveSecs, window, reconnect, maxRate',
  ],
  [
    'an address without a scheme',
    `${GATEWAY}upstream: { url: "broker.example:8883" }\n`,
    'gateway.yaml:2:18: upstream.url: "broker.example:8883" is not an address that begins with mqtt, mqtts, ws or wss; write for example mqtts://broker.example:8883',
  ],
  [
    'a web address',
    `${GATEWAY}upstream: { url: https://broker }\n`,
    'gateway.yaml:2:18: upstream.url: "https://broker" is not an address that begins with mqtt, mqtts, ws or wss; write for example mqtts://broker.example:8883',
  ],
  [
    'an address without a host',
    `${GATEWAY}upstream: { url: "mqtt://" }\n`,
    'gateway.yaml:2:18: upstream.url: "mqtt://" is not an address that begins with mqtt, mqtts, ws or wss; write for example mqtts://broker.example:8883',
  ],
  [
    'a port that is none',
    `${GATEWAY}upstream: { url: "mqtt://x:99999" }\n`,
    'gateway.yaml:2:18: upstream.url: "mqtt://x:99999" is not an address that begins with mqtt, mqtts, ws or wss; write for example mqtts://broker.example:8883',
  ],
  [
    'a path where there is none',
    `${GATEWAY}upstream: { url: mqtt://x/mqtt }\n`,
    'gateway.yaml:2:18: upstream.url: "mqtt://x/mqtt" has a path, which only ws and wss take; write for example mqtts://broker.example:8883',
  ],
  [
    'a password in the address',
    `${GATEWAY}upstream: { url: "mqtt://me:hunter2@x" }\n`,
    'gateway.yaml:2:18: upstream.url: an address with a user name or password in it; write username and passwordFile instead',
  ],
  [
    'a protocol that is none',
    `${GATEWAY}${UPSTREAM}  protocol: 3.1\n`,
    'gateway.yaml:4:13: upstream.protocol: 3.1 is not a protocol version; write auto, 5 or 3.1.1',
  ],
  [
    'another dialect',
    `${GATEWAY}${UPSTREAM}  dialect: aws\n`,
    'gateway.yaml:4:12: upstream.dialect: "aws" is not a topic contract; write holdfast or iothub',
  ],
  [
    'a password for nobody',
    `${GATEWAY}${UPSTREAM}  passwordFile: pw\n`,
    'gateway.yaml:4:17: upstream.passwordFile: "pw" needs username beside it',
  ],
  [
    'a certificate without its key',
    `${GATEWAY}${UPSTREAM}  clientCert: c.pem\n`,
    'gateway.yaml:4:15: upstream.clientCert: "c.pem" needs clientKey beside it',
  ],
  [
    'a key without its certificate',
    `${GATEWAY}${UPSTREAM}  clientKey: c.key\n`,
    'gateway.yaml:4:14: upstream.clientKey: "c.key" needs clientCert beside it',
  ],
  [
    'a window out of range',
    `${GATEWAY}${UPSTREAM}  window: 10001\n  keepaliveSecs: 0\n`,
    'gateway.yaml:4:11: upstream.window: 10001 is not a whole number from 1 to 10000',
    'gateway.yaml:5:18: upstream.keepaliveSecs: 0 is not a time from 1 to 65535 seconds; write for example 30 or 30s',
  ],
  [
    'a wait that shrinks',
    `${GATEWAY}${UPSTREAM}  reconnect: { minSecs: 2m }\n`,
    'gateway.yaml:4:3: upstream.reconnect.maxSecs: 60 is less than minSecs, 120; write 120 or more',
  ],

  // storeAndForward
  [
    'a rate that bounds nothing',
    `${GATEWAY}${UPSTREAM}  maxRate: {}\n`,
    'gateway.yaml:4:12: upstream.maxRate: bounds nothing; write messagesPerSec, bytesPerSec or both',
  ],
  [
    'rates out of range',
    `${GATEWAY}${UPSTREAM}  maxRate: { messagesPerSec: 0, bytesPerSec: 2GiB }\n`,
    'gateway.yaml:4:30: upstream.maxRate.messagesPerSec: 0 is not a whole number from 1 to 1000000',
    'gateway.yaml:4:46: upstream.maxRate.bytesPerSec: "2GiB" is not a size from 1B to 1GiB; write for example 64KiB',
  ],
  [
    'a rate in words',
    `${GATEWAY}${UPSTREAM}  maxRate: 64KiB\n`,
    'gateway.yaml:4:12: upstream.maxRate: "64KiB" is not a mapping; write "key: value" lines, with the keys messagesPerSec, bytesPerSec',
  ],
  [
    'a misspelt rate',
    `${GATEWAY}${UPSTREAM}  maxRate: { messagesPerSec: 1.5, bytePerSec: 1 }\n`,
    'gateway.yaml:4:30: upstream.maxRate.messagesPerSec: 1.5 is not a whole number from 1 to 1000000',
    'gateway.yaml:4:35: upstream.maxRate.bytePerSec: "bytePerSec" is not a key of upstream.maxRate; did you mean "bytesPerSec"?',
  ],
  [
    'a size in parsecs',
    `${GATEWAY}storeAndForward:\n  quota: 12 parsecs\n`,
    'gateway.yaml:3:10: storeAndForward.quota: "12 parsecs" is not a size; write for example 512MiB or 10%',
  ],
  [
    'a unit that is ambiguous',
    `${GATEWAY}storeAndForward:\n  quota: 512M\n`,
    'gateway.yaml:3:10: storeAndForward.quota: "512M" is not a size; write for example 512MiB or 10%',
  ],
  [
    'a quota that is too small',
    `${GATEWAY}storeAndForward:\n  quota: 4MiB\n`,
    'gateway.yaml:3:10: storeAndForward.quota: "4MiB" is not a size of at least 8MiB or a percentage from 1% to 95%; write for example 512MiB or 10%',
  ],
  [
    'a quota of 512 bytes',
    `${GATEWAY}storeAndForward:\n  quota: 512\n`,
    'gateway.yaml:3:10: storeAndForward.quota: 512 is not a size of at least 8MiB or a percentage from 1% to 95%; write for example 512MiB or 10%',
  ],
  [
    'more than all of the disk',
    `${GATEWAY}storeAndForward:\n  keepFree: 110%\n`,
    'gateway.yaml:3:13: storeAndForward.keepFree: "110%" is not a size or a percentage from 0% to 95%; write for example 512MiB or 10%',
  ],
  [
    'storage settings out of range',
    `${GATEWAY}storeAndForward:\n  timeToLiveSecs: 2147483648\n  commitEveryMs: 5\n  whenFull: thinn\n  write: never\n  durability: true\n  wearBudget: 2GiB\n`,
    'gateway.yaml:3:19: storeAndForward.timeToLiveSecs: 2147483648 is not a time from 1 to 2147483647 seconds; write for example 7200 or 2h',
    'gateway.yaml:4:18: storeAndForward.commitEveryMs: 5 is not a time from 10 to 60000 milliseconds; write for example 250 or 250ms',
    'gateway.yaml:5:13: storeAndForward.whenFull: "thinn" is not one of thin, drop-oldest, reject-new; did you mean "thin"?',
    'gateway.yaml:6:10: storeAndForward.write: "never" is not one of always, when-needed',
    'gateway.yaml:7:15: storeAndForward.durability: true is not one of strict, relaxed',
    'gateway.yaml:8:15: storeAndForward.wearBudget: "2GiB" is not a size per day; write for example 2GiB/day',
  ],
  [
    'half a second to live',
    `${GATEWAY}storeAndForward: { timeToLiveSecs: 500ms }\n`,
    'gateway.yaml:2:36: storeAndForward.timeToLiveSecs: "500ms" is not a time from 1 to 2147483647 seconds; write for example 7200 or 2h',
  ],

  // routes
  [
    'a route whose condition is wrong',
    `${GATEWAY}routes:\n  hot: FROM /messages/* WHERE t > 30 INTO $upstream\n`,
    'gateway.yaml:3:33: routes.hot: > between text and a number; properties are text: write AS_NUMBER(x)',
  ],
  [
    'routes that are wrong in each of the ways to write text',
    `${GATEWAY}routes:\n  a: |\n    FROM /messages/*\n      WHERE x =\n        INTO $upstream\n` +
      '  b:\n    route: >-\n      FROM /messages/*\n      WHERE true < 1\n      INTO $upstream\n' +
      "  c: 'FROM /messages/* INTO $up'\n" +
      '  d: "FROM /messages/* INTO $up"\n' +
      '  e: "FROM /messages/* WHERE \\"a\\" = 1 INTO $upstream"\n' +
      '  f: FROM /messages/*\n    INTO\n    $up\n' +
      '  g: FROM /messages/*\n',
    'gateway.yaml:6:9: routes.a: expected a value, found "INTO"',
    'gateway.yaml:10:18: routes.b.route: < between true or false and a number',
    'gateway.yaml:12:29: routes.c: no sink is called "$up"; write $upstream or BrokeredEndpoint("/modules/NAME/inputs/INPUT")',
    'gateway.yaml:13:29: routes.d: no sink is called "$up"; write $upstream or BrokeredEndpoint("/modules/NAME/inputs/INPUT")',
    'gateway.yaml:14:6: routes.e: = between text and a number; properties are text: write AS_NUMBER(x)',
    'gateway.yaml:17:5: routes.f: no sink is called "$up"; write $upstream or BrokeredEndpoint("/modules/NAME/inputs/INPUT")',
    'gateway.yaml:18:22: routes.g: expected WHERE or INTO, found the end of the route',
  ],
  [
    'routes that lead to nobody',
    `${GATEWAY}routes:\n  hot: { route: FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i") }\n  on: FROM /messages/* INTO BrokeredEndpoint('/children/lamb/inputs/set')\nchildren:\n  - { id: lamp, host: {} }\n`,
    'gateway.yaml:3:57: routes.hot.route: no module is called "m"; there is none',
    'gateway.yaml:4:47: routes.on: no child is called "lamb"; did you mean "lamp"?',
  ],
  [
    'routes that are no routes',
    `${GATEWAY}routes:\n  a: 5\n  b:\n  c: { priority: 10 }\n  d/e: FROM /messages/* INTO $upstream\n`,
    `gateway.yaml:3:6: routes.a: 5 is not a route; write ${ALL}`,
    `gateway.yaml:4:3: routes.b: an empty value is not a route; write ${ALL}`,
    `gateway.yaml:5:3: routes.c.route: missing; write ${ALL}`,
    'gateway.yaml:5:18: routes.c.priority: 10 is not a whole number from 0 to 9',
    `gateway.yaml:6:3: routes.d/e: "d/e" ${IDENTIFIER}; write for example telemetry`,
  ],
  [
    'a list of routes',
    `${GATEWAY}routes: []\n`,
    'gateway.yaml:2:9: routes: a list is not a mapping; write for example "telemetry: FROM /messages/* INTO $upstream"',
  ],

  // children
  [
    'children that are a mapping',
    `${GATEWAY}children: { a: {} }\n`,
    'gateway.yaml:2:11: children: a mapping is not a list; write lines that begin with "- "',
  ],
  [
    'a child that is a word',
    `${GATEWAY}children: [a]\n`,
    'gateway.yaml:2:12: children[0]: "a" is not a mapping; write "key: value" lines, with the keys id, simulated, serial, gpio, host, connected, grants',
  ],
  [
    'children that are nothing or two things',
    `${GATEWAY}children:\n  - id: a\n  - id: b\n    simulated: {}\n    host: {}\n`,
    'gateway.yaml:3:5: children[0]: says nothing of what it is; write one of simulated, serial, gpio, host, connected',
    'gateway.yaml:6:11: children[1].host: this child is simulated already; make two children of it',
  ],
  [
    'ids that clash',
    `${GATEWAY}children:\n  - { id: a, host: {} }\n  - { id: a, host: {} }\n  - { id: line-4, host: {} }\n  - { host: {} }\n`,
    'gateway.yaml:4:11: children[1].id: "a" is the id of an earlier child; ids are unique',
    'gateway.yaml:5:11: children[2].id: "line-4" is the id of the gateway; ids are unique',
    'gateway.yaml:6:5: children[3].id: missing; write for example press-1',
  ],
  [
    'simulated settings out of range',
    `${GATEWAY}children:\n  - id: a\n    simulated: { sendIntervalMs: 0, messageCount: -2, topic: x }\n`,
    'gateway.yaml:4:34: children[0].simulated.sendIntervalMs: 0 is not a time from 1 to 86400000 milliseconds; write for example 5000 or 5s',
    'gateway.yaml:4:51: children[0].simulated.messageCount: -2 is not a whole number from -1 to 2147483647',
    'gateway.yaml:4:55: children[0].simulated.topic: "topic" is not a key of children[0].simulated; the keys are sendIntervalMs, messageCount',
  ],
  [
    'host settings that make no sense',
    `${GATEWAY}children:\n  - { id: a, host: { every: 60, metrics: [cpuTemprature] } }\n  - { id: b, host: { every: 500ms, metrics: [] } }\n`,
    'gateway.yaml:3:29: children[0].host.every: 60 is not a time from 1s to 7d, with its unit; write for example 60s',
    'gateway.yaml:3:43: children[0].host.metrics[0]: "cpuTemprature" is not one of cpuTemperature, load, memory, disk, network, power, wear, lastReadings; did you mean "cpuTemperature"?',
    'gateway.yaml:4:29: children[1].host.every: "500ms" is not a time from 1s to 7d, with its unit; write for example 60s',
    'gateway.yaml:4:45: children[1].host.metrics: an empty list; write some of cpuTemperature, load, memory, disk, network, power, wear, lastReadings',
  ],

  // serial
  [
    'an empty serial child',
    `${GATEWAY}children:\n  - id: a\n    serial:\n`,
    'gateway.yaml:4:5: children[0].serial.port: missing; write for example rs485 or /dev/ttyUSB0',
    `gateway.yaml:4:5: children[0].serial.decoder: missing; write ${DECODERS}`,
  ],
  [
    'a port that the board does not have',
    `${GATEWAY}children:\n  - id: a\n    serial: { port: rs422, decoder: json }\n`,
    'gateway.yaml:4:21: children[0].serial.port: profile bench has no serial port "rs422"; it has rs485; or write a path such as /dev/ttyUSB0',
  ],
  [
    'a port beside other mistakes',
    `${GATEWAY}children:\n  - serial: { port: com1, decoder: json }\n`,
    'gateway.yaml:3:5: children[0].id: missing; write for example press-1',
    'gateway.yaml:3:21: children[0].serial.port: profile bench has no serial port "com1"; it has rs485; or write a path such as /dev/ttyUSB0',
  ],
  [
    'a line that no UART has',
    serial('decoder: json, baudRate: 9600.5, dataBits: 9, parity: evn, stopBits: 3'),
    'gateway.yaml:4:53: children[0].serial.baudRate: 9600.5 is not a whole number from 50 to 4000000',
    'gateway.yaml:4:71: children[0].serial.dataBits: 9 is not one of 5, 6, 7, 8',
    'gateway.yaml:4:82: children[0].serial.parity: "evn" is not one of none, even, odd; did you mean "even"?',
    'gateway.yaml:4:97: children[0].serial.stopBits: 3 is not one of 1, 2',
  ],
  [
    'csv without columns',
    serial('decoder: csv'),
    'gateway.yaml:4:37: children[0].serial.decoder: "csv" needs columns; write for example { csv: { columns: [temperature, humidity] } }',
  ],
  [
    'regex without a pattern',
    serial('decoder: regex'),
    `gateway.yaml:4:37: children[0].serial.decoder: "regex" needs a pattern; write for example { regex: { pattern: ${PATTERN} } }`,
  ],
  [
    'a decoder that is none',
    serial('decoder: xml'),
    `gateway.yaml:4:37: children[0].serial.decoder: "xml" is not a decoder; write ${DECODERS}`,
  ],
  [
    'an empty decoder',
    serial('decoder: {}'),
    `gateway.yaml:4:37: children[0].serial.decoder: an empty mapping is not a decoder; write ${DECODERS}`,
  ],
  [
    'two decoders',
    serial('decoder: { json: {}, csv: { columns: [a] } }'),
    'gateway.yaml:4:37: children[0].serial.decoder: json and csv at once; keep one',
  ],
  [
    'csv settings that make no sense',
    serial('decoder: { csv: { columns: [a, a], separator: ";;", lineBytesMax: 8, delimiter: "" } }'),
    'gateway.yaml:4:59: children[0].serial.decoder.csv.columns[1]: "a" stands twice; columns need names of their own',
    'gateway.yaml:4:74: children[0].serial.decoder.csv.separator: ";;" is not one character other than a quote or an end of line; write for example ","',
    'gateway.yaml:4:94: children[0].serial.decoder.csv.lineBytesMax: 8 is not a whole number from 16 to 262144',
    'gateway.yaml:4:108: children[0].serial.decoder.csv.delimiter: "" is not text of 1 to 8 characters; write for example "\\n"',
  ],
  [
    'csv columns that make no sense',
    serial('decoder: { csv: { columns: [1, { name: b, type: date }, { type: text }, ""] } }'),
    'gateway.yaml:4:56: children[0].serial.decoder.csv.columns[0]: 1 is read as a number; put it in quotes',
    'gateway.yaml:4:76: children[0].serial.decoder.csv.columns[1].type: "date" is not one of text, number',
    'gateway.yaml:4:84: children[0].serial.decoder.csv.columns[2].name: missing; write for example temperature',
    'gateway.yaml:4:100: children[0].serial.decoder.csv.columns[3]: "" is not the name of a column; write for example temperature',
  ],
  [
    'csv columns of one name, one with a type',
    serial('decoder: { csv: { columns: [a, { name: a, type: text }] } }'),
    'gateway.yaml:4:67: children[0].serial.decoder.csv.columns[1].name: "a" stands twice; columns need names of their own',
  ],
  [
    'types of groups that are not there, or none',
    serial('decoder: { regex: { pattern: "(?<a>.)(?<b>.)", types: { c: text } } }'),
    'gateway.yaml:4:87: children[0].serial.decoder.regex.types.c: "c" is no group of the pattern, which has a, b',
  ],
  [
    'a type of a group that is none',
    serial('decoder: { regex: { pattern: "(?<a>.)", types: { a: integer } } }'),
    'gateway.yaml:4:80: children[0].serial.decoder.regex.types.a: "integer" is not one of text, number',
  ],
  [
    'csv options without columns',
    serial('decoder: { csv: {} }'),
    'gateway.yaml:4:39: children[0].serial.decoder.csv.columns: missing; write for example [temperature, humidity]',
  ],
  [
    'no columns',
    serial('decoder: { csv: { columns: [] } }'),
    'gateway.yaml:4:55: children[0].serial.decoder.csv.columns: an empty list; write for example [temperature, humidity]',
  ],
  [
    'a pattern that does not compile',
    serial('decoder: { regex: { pattern: "T=(" } }'),
    `gateway.yaml:4:57: children[0].serial.decoder.regex.pattern: "T=(" is not a regular expression (unterminated group); write for example ${PATTERN}`,
  ],
  [
    'a pattern that names nothing',
    serial('decoder: { regex: { pattern: "T=([0-9]+)" } }'),
    `gateway.yaml:4:57: children[0].serial.decoder.regex.pattern: "T=([0-9]+)" has no named group; write for example ${PATTERN}`,
  ],
  [
    'a decoder option of another decoder',
    serial('decoder: { json: { separator: ";" } }'),
    'gateway.yaml:4:47: children[0].serial.decoder.json.separator: "separator" is not a key of children[0].serial.decoder.json; it belongs under children[].serial.decoder.csv',
  ],

  [
    'a port of two children',
    `${GATEWAY}children:\n${['a', 'b'].map((id) => `  - id: ${id}\n    serial: { port: rs485, decoder: json }\n`).join('')}`,
    'gateway.yaml:6:21: children[1].serial.port: "rs485" (/dev/ttyBENCH0) is the port of "a" already; only modbus children share one',
  ],
  [
    'a GPIO line of two children',
    `${GATEWAY}children:\n  - id: a\n    gpio: { line: { chip: c, offset: 4 }, direction: out }\n  - id: b\n    gpio: { line: { offset: 4, chip: c } }\n`,
    'gateway.yaml:6:19: children[1].gpio.line: line 4 of "c" is the line of "a" already; a line has one child',
  ],
  [
    'Modbus children that want one line to be two',
    `${GATEWAY}children:\n  - id: a\n    serial: { port: rs485, baudRate: 19200, decoder: ${MODBUS} }\n  - id: b\n    serial: { port: /dev/ttyBENCH0, parity: odd, decoder: ${MODBUS} }\n`,
    'gateway.yaml:6:21: children[1].serial.port: 9600 differs from "a", which has 19200 on the same port',
    'gateway.yaml:6:45: children[1].serial.parity: "odd" differs from "a", which has "none" on the same port',
  ],
  [
    'Modbus children of one line that switch its direction in two ways, or one of them not at all',
    `${GATEWAY}children:\n${[
      'rs485: { rtsOnSend: high, delayAfterMs: 2 }',
      'rs485: { delayAfterMs: 3 }',
      'parity: none',
    ]
      .map((line, n) => `  - id: c${n}\n    serial: { port: rs485, ${line}, decoder: ${MODBUS} }\n`)
      .join('')}`,
    'gateway.yaml:6:35: children[1].serial.rs485: { rtsOnSend: "high", delayBeforeMs: 0, delayAfterMs: 3 } differs from "c0", which has { rtsOnSend: "high", delayBeforeMs: 0, delayAfterMs: 2 } on the same port',
    'gateway.yaml:8:21: children[2].serial.port: nothing differs from "c0", which has { rtsOnSend: "high", delayBeforeMs: 0, delayAfterMs: 2 } on the same port',
  ],
  [
    'modbus without registers',
    serial('decoder: modbus'),
    `gateway.yaml:4:37: children[0].serial.decoder: "modbus" needs registers; write for example ${MODBUS}`,
  ],
  [
    'Modbus in bytes of 7 bits',
    serial(`dataBits: 7, decoder: ${MODBUS}`),
    'gateway.yaml:4:38: children[0].serial.dataBits: 7 is too few for Modbus RTU, whose bytes have 8 bits; remove it',
  ],
  [
    'registers that cannot be',
    serial(
      'decoder: { modbus: { unit: 248, registers: [{ name: a, type: coil, address: 1, format: int16 }, { name: a, address: 65535, format: float32 }, { name: c, type: input, address: 1, writable: true }, { name: e, address: 1, format: int16, bit: 3 }, { name: d, address: 1, format: string, scale: 2 }] } }',
    ),
    'gateway.yaml:4:55: children[0].serial.decoder.modbus.unit: 248 is not a whole number from 1 to 247',
    'gateway.yaml:4:115: children[0].serial.decoder.modbus.registers[0].format: "int16" is for registers, and a coil is one bit; remove it',
    'gateway.yaml:4:132: children[0].serial.decoder.modbus.registers[1].name: "a" stands twice; registers need names of their own',
    'gateway.yaml:4:144: children[0].serial.decoder.modbus.registers[1].address: 65535 is too near to the end: it would reach to 65536, past 65535',
    'gateway.yaml:4:216: children[0].serial.decoder.modbus.registers[2].writable: no input can be written; remove it',
    'gateway.yaml:4:267: children[0].serial.decoder.modbus.registers[3].bit: is for format bool in a holding or input register; remove it',
    'gateway.yaml:4:272: children[0].serial.decoder.modbus.registers[4].length: missing; a string needs it',
    'gateway.yaml:4:318: children[0].serial.decoder.modbus.registers[4].scale: is for numbers, and this is string; remove it',
  ],

  [
    'a USB port by half a name, and a direction that RTS has not',
    `${GATEWAY}children:\n  - id: a\n    serial: { port: { usb: { vendor: 0403 } }, decoder: json, rs485: { rtsOnSend: up, delayAfterMs: -1 } }\n`,
    'gateway.yaml:4:23: children[0].serial.port.usb.product: missing; write for example "6001"',
    'gateway.yaml:4:38: children[0].serial.port.usb.vendor: 403 is read as a number; put it in quotes, for example "0403"',
    'gateway.yaml:4:83: children[0].serial.rs485.rtsOnSend: "up" is not one of high, low',
    'gateway.yaml:4:101: children[0].serial.rs485.delayAfterMs: -1 is not a whole number from 0 to 1000',
  ],
  [
    'a port that is a list',
    `${GATEWAY}children:\n  - id: a\n    serial: { port: [a], decoder: json }\n`,
    'gateway.yaml:4:21: children[0].serial.port: a list is not a serial port; write for example rs485 or /dev/ttyUSB0',
  ],
  [
    'one USB port of two children',
    `${GATEWAY}children:\n${['a', 'b'].map((id) => `  - id: ${id}\n    serial: { port: { usb: { vendor: "0403", product: "6001" } }, decoder: json }\n`).join('')}`,
    'gateway.yaml:6:21: children[1].serial.port: {"usb":{"vendor":"0403","product":"6001"}} is the port of "a" already; only modbus children share one',
  ],
  [
    'frames that nothing delimits',
    serial('decoder: { frame: { fields: [{ name: a, at: 1, format: int16 }] } }'),
    'gateway.yaml:4:46: children[0].serial.decoder.frame: says nothing of where a frame ends; write end, length or size',
    'gateway.yaml:4:46: children[0].serial.decoder.frame: without start, end or checksum nothing tells a frame from noise; write one of them',
  ],
  [
    'fields that no frame of the size reaches',
    frame(
      'start: "42", size: 4, fields: [{ name: a, at: 3, format: uint32 }, { name: b, at: 0, format: float32 }, { name: c, at: 0, format: hex, length: 9 }, { name: d, at: 4 }]',
    ),
    'gateway.yaml:4:94: children[0].serial.decoder.frame.fields[0].at: 3 is too far: the uint32 there has 4 bytes, and a frame has 4 (size); write at most 0, or a size of at least 7',
    'gateway.yaml:4:167: children[0].serial.decoder.frame.fields[2].at: 0 is too far: the hex there has 9 bytes, and a frame has 4 (size); write a size of at least 9',
    'gateway.yaml:4:211: children[0].serial.decoder.frame.fields[3].at: 4 is too far: the uint8 there has 1 byte, and a frame has 4 (size); write at most 3, or a size of at least 5',
  ],
  [
    'fields that no frame with an end reaches',
    frame(
      'end: "0d 0a", frameBytesMax: 16, fields: [{ name: a, at: 13, format: int16 }, { name: b, at: 12, format: int16 }]',
    ),
    'gateway.yaml:4:105: children[0].serial.decoder.frame.fields[0].at: 13 is too far: the int16 there has 2 bytes, and a frame has at most 14 (frameBytesMax without end); write at most 12, or a frameBytesMax of at least 17',
  ],
  [
    'fields that no length reaches',
    frame('start: "42", length: { at: 1, adds: 4 }, fields: [{ name: a, at: 259 }, { name: b, at: 258 }]'),
    'gateway.yaml:4:113: children[0].serial.decoder.frame.fields[0].at: 259 is too far: the uint8 there has 1 byte, and a frame has at most 259 (255 of length and 4 of adds); write at most 258',
  ],
  [
    'a checksum that is longer than the frame',
    frame('size: 2, checksum: { kind: crc32 }'),
    'gateway.yaml:4:75: children[0].serial.decoder.frame.checksum.kind: "crc32" has 4 bytes, and a frame has 2 (size); write a size of at least 5',
  ],
  [
    'a checksum without room behind the start',
    frame('start: "42 4d", size: 3, checksum: { kind: sum16 }'),
    'gateway.yaml:4:91: children[0].serial.decoder.frame.checksum.kind: "sum16" has 2 bytes behind the 2 of start, and a frame has 3 (size); write a size of at least 4',
  ],
  [
    'a checksum without room between start and end',
    frame('start: "02", end: "03", frameBytesMax: 5, checksum: { kind: crc32 }'),
    'gateway.yaml:4:108: children[0].serial.decoder.frame.checksum.kind: "crc32" has 4 bytes behind the 1 of start, and a frame has at most 4 (frameBytesMax without end); write a frameBytesMax of at least 6',
  ],
  [
    'a checksum of nothing',
    frame('size: 8, checksum: { kind: sum16, from: 6 }'),
    'gateway.yaml:4:88: children[0].serial.decoder.frame.checksum.from: 6 is too far: nothing stands between there and the 2 bytes of sum16, and a frame has 8 (size); write at most 5, or a size of at least 9',
  ],
  [
    'a size that is less than the start',
    frame('start: "42 4d", size: 1'),
    'gateway.yaml:4:70: children[0].serial.decoder.frame.size: 1 is less than the 2 bytes of start; write at least 2',
  ],
  [
    'a longest frame that is less than start and end',
    frame('start: "01 02", end: "03 04", frameBytesMax: 3'),
    'gateway.yaml:4:93: children[0].serial.decoder.frame.frameBytesMax: 3 is less than start and end have; write at least 4',
  ],
  [
    'a length that lies beyond the longest frame',
    frame('start: "42", length: { at: 15, format: uint16 }, frameBytesMax: 16'),
    'gateway.yaml:4:75: children[0].serial.decoder.frame.length.at: 15 is too far: the uint16 there has 2 bytes, and a frame has at most 16 (frameBytesMax); write at most 14, or a frameBytesMax of at least 17',
  ],
  [
    'a length that is always too much',
    frame('start: "42", length: { at: 1, adds: 17 }, frameBytesMax: 16'),
    'gateway.yaml:4:84: children[0].serial.decoder.frame.length.adds: 17 alone is more than frameBytesMax, which is 16; write at most 16, or a frameBytesMax of at least 17',
  ],
  [
    'a length that is always too little',
    frame('start: "42", length: { at: 1, adds: -254 }'),
    'gateway.yaml:4:84: children[0].serial.decoder.frame.length.adds: -254 is too little: with the largest length a frame would have 1 byte, and its length stands in the first 2; write at least -253',
  ],
  [
    'frames that cannot be',
    serial(
      'decoder: { frame: { start: 42, end: "7", size: 9, checksum: { kind: crc16 }, fields: [{ name: a, at: 1, format: hex }, { name: a, at: 1, bit: 2 }] } }',
    ),
    'gateway.yaml:4:55: children[0].serial.decoder.frame.start: 42 is read as a number; put it in quotes, for example "7e"',
    'gateway.yaml:4:64: children[0].serial.decoder.frame.end: "7" is not 1 to 8 bytes in hexadecimal; write for example "7e"',
    'gateway.yaml:4:96: children[0].serial.decoder.frame.checksum.kind: "crc16" is not one of sum8, sum8-complement, sum16, xor8, crc8, crc16-modbus, crc16-ccitt, crc16-x25, crc32',
    'gateway.yaml:4:114: children[0].serial.decoder.frame.fields[0].length: missing; a hex needs it',
    'gateway.yaml:4:155: children[0].serial.decoder.frame.fields[1].name: "a" stands twice; fields need names of their own',
    'gateway.yaml:4:170: children[0].serial.decoder.frame.fields[1].bit: is for bool, and this is uint8; remove it',
  ],
  [
    'a sentence that is none',
    serial('decoder: { nmea: { sentences: [gprmc] } }'),
    'gateway.yaml:4:59: children[0].serial.decoder.nmea.sentences[0]: "gprmc" is not the name of a sentence; write for example RMC, or GPRMC for one talker',
  ],

  // gpio
  [
    'a pin that the board does not have',
    gpio('line: GPIO71'),
    'gateway.yaml:4:19: children[0].gpio.line: profile bench has no line "GPIO71"; it has GPIO17; or write { chip: label, offset: number }',
  ],
  [
    'a bare pin number',
    gpio('line: 17'),
    'gateway.yaml:4:19: children[0].gpio.line: 17 is not a GPIO line; write for example GPIO17 or { chip: pinctrl-bcm2711, offset: 17 }',
  ],
  [
    'half of a line',
    gpio('line: { chip: a }'),
    'gateway.yaml:4:13: children[0].gpio.line.offset: missing; write a whole number from 0 to 65535',
  ],
  [
    'an output with the settings of an input',
    gpio('line: GPIO17, direction: out, edge: both, debounceMs: 20, activeLow: yes'),
    'gateway.yaml:4:49: children[0].gpio.edge: "both" is for direction in, and this line is out; remove it',
    'gateway.yaml:4:67: children[0].gpio.debounceMs: 20 is for direction in, and this line is out; remove it',
    'gateway.yaml:4:82: children[0].gpio.activeLow: "yes" is not true or false',
  ],
  [
    'an input with a level',
    gpio('line: GPIO17, initial: 1'),
    'gateway.yaml:4:36: children[0].gpio.initial: 1 is for direction out, and this line is in; remove it',
  ],
  [
    'a debounce that is too long',
    gpio('line: GPIO17, debounceMs: 1m'),
    'gateway.yaml:4:39: children[0].gpio.debounceMs: "1m" is not a time from 0 to 10000 milliseconds; write for example 20 or 20ms',
  ],
  [
    'an output that counts, and one that measures',
    gpio('line: GPIO17, direction: out, count: { every: 1m }, duration: true'),
    'gateway.yaml:4:50: children[0].gpio.count: a mapping is for direction in, and this line is out; remove it',
    'gateway.yaml:4:75: children[0].gpio.duration: true is for direction in, and this line is out; remove it',
  ],
  [
    'an input with a safe state, that counts nothing',
    gpio('line: GPIO17, edge: none, safe: 0, count: { every: 1m }'),
    'gateway.yaml:4:45: children[0].gpio.safe: 0 is for direction out, and this line is in; remove it',
    'gateway.yaml:4:55: children[0].gpio.count: with edge none there is nothing to count',
  ],
  [
    'an input that measures what it does not see',
    gpio('line: GPIO17, edge: rising, duration: true, bias: up'),
    'gateway.yaml:4:51: children[0].gpio.duration: how long a level lasts is known with edge both, and this line has "rising"',
    'gateway.yaml:4:63: children[0].gpio.bias: "up" is not one of as-is, none, pull-up, pull-down',
  ],
  [
    'a count without its interval, or with duration',
    gpio('line: GPIO17, count: { every: 10 }, duration: true'),
    'gateway.yaml:4:43: children[0].gpio.count.every: 10 is not a time from 1s to 1d, with its unit; write for example 10s',
    'gateway.yaml:4:59: children[0].gpio.duration: a count says itself how long the level was 1 (activeMs); remove duration',
  ],
];

for (const [title, content, ...expected] of broken) {
  test(`${title} is refused with its place`, () => assert.deepEqual(problemsOf(content), expected));
}

test('a file that is something else altogether is not gone through to the end', () => {
  const lines = problemsOf(GATEWAY + Array.from({ length: 20_000 }, (_, index) => `x${index}: 1\n`).join(''));
  assert.equal(lines.length, 51);
  assert.equal(lines.at(-1), 'gateway.yaml:52:1: and 19950 more unknown keys from here on');
});

test('a file that is not there, or no file, is told apart', () => {
  assert.deepEqual(failure('no/gateway.yaml'), ['no/gateway.yaml: no such file']);
  fs.mkdirSync(path.join(dir, 'folder'));
  assert.deepEqual(failure('folder'), ['folder: is a folder, not a file']);
});

test('without any profile the default one is missed', () => {
  fs.writeFileSync(path.join(dir, 'bare.yaml'), 'gateway: { id: a }\n');
  assert.throws(() => loadConfig(path.join(dir, 'bare.yaml'), { profileDirs: [path.join(dir, 'nowhere')] }), {
    message: `${dir}/bare.yaml:1:1: gateway.profile: no profile "simulated"; there are none`,
  });
});

test('a file that this user may not read says so', { skip: process.getuid?.() === 0 }, () => {
  fs.writeFileSync(path.join(dir, 'secret.yaml'), GATEWAY, { mode: 0o000 });
  assert.deepEqual(failure('secret.yaml'), ['secret.yaml: may not be read by this user']);
});

test('positions count characters after a byte order mark and in files with carriage returns', () => {
  assert.deepEqual(problemsOf('\uFEFFgateway:\r\n  id: a\r\n  profile: bench\r\n  datDir: ü\r\n'), [
    'gateway.yaml:4:3: gateway.datDir: "datDir" is not a key of gateway; did you mean "dataDir"?',
  ]);
  assert.deepEqual(problemsOf('\uFEFFgatway: {}\n')[0]?.startsWith('gateway.yaml:1:1: '), true);
});

test('a mistake behind an alias is shown where it stands', () => {
  assert.deepEqual(problemsOf(`${GATEWAY}children:\n  - { id: a, host: &h { every: 1 } }\n  - { id: b, host: *h }\n`), [
    'gateway.yaml:3:32: children[0].host.every: 1 is not a time from 1s to 7d, with its unit; write for example 60s',
    'gateway.yaml:3:32: children[1].host.every: 1 is not a time from 1s to 7d, with its unit; write for example 60s',
  ]);
});

test('whatever a file holds, loading ends well or with problems that have places', () => {
  const keys =
    'gateway upstream storeAndForward routes children id profile url quota reconnect serial gpio host simulated decoder csv columns line port metrics route edge';
  const word = fc.constantFrom(...keys.split(' '));
  const leaf = fc.oneof(
    fc.constantFrom(null, true, 0, -1, 'json', 'out', 'bench', 'rs485', '1s', '10%', ''),
    fc.string(),
    fc.double(),
  );
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      leaf,
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(word, tie('value'), { maxKeys: 5 }),
    ),
  }));
  fc.assert(
    fc.property(fc.dictionary(word, value, { maxKeys: 5 }), (root) => {
      for (const line of problemsOf(stringify(root))) assert.match(line, /^gateway\.yaml:[1-9]\d*:[1-9]\d*: ./);
    }),
    { numRuns: 50 },
  );
});

/** Nine levels, each nine times the one before. */
function bomb(): string {
  const levels = ['a: &a [x]'];
  for (let level = 1; level < 9; level++) {
    const [name, before] = ['abcdefghi'[level], 'abcdefghi'[level - 1]];
    levels.push(`${name}: &${name} [${Array.from({ length: 9 }, () => `*${before}`).join(', ')}]`);
  }
  return `${levels.join('\n')}\n`;
}
