import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { Authority } from './parts/certificates.ts';
import { reports } from './parts/check-reports.ts';
import { startConnectProxy, type ConnectProxy } from './parts/connect-proxy.ts';
import { freePort } from './parts/free-port.ts';
import { startMosquitto, type Mosquitto } from './parts/mosquitto.ts';
import { startNameServer, type NameServer } from './parts/name-server.ts';
import { scratch } from './parts/scratch.ts';

const dir = scratch();
const authority = new Authority(dir);
const STEPS = ['dns', 'proxy', 'tcp', 'tls', 'websocket', 'mqtt'].map((step) => `upstream-${step}`);

let mosquitto: Mosquitto;
let secureWeb: number;
let proxy: ConnectProxy;
let names: NameServer;

/** What the steps say: `OK text` and so on, one after the other. */
async function steps(upstream: string, timeKnown = true): Promise<string[]> {
  const yaml = `gateway: { id: line-4, dataDir: data }\nupstream: { ${upstream} }\n`;
  const found = await reports({ dir, yaml, only: STEPS, timeKnown });
  return STEPS.map((id) => `${found[id]!.result} ${found[id]!.message}`);
}

before(async () => {
  const { cert, key } = authority.issue('broker', 'DNS:localhost,DNS:broker.example,IP:127.0.0.1');
  const plain = await freePort();
  secureWeb = await freePort();
  mosquitto = await startMosquitto({
    port: plain,
    config: [
      `listener ${plain} 127.0.0.1`,
      `listener ${secureWeb} 127.0.0.1`,
      'protocol websockets',
      `certfile ${cert}`,
      `keyfile ${key}`,
    ],
  });
  proxy = await startConnectProxy({ credentials: 'ann:open sesame' });
  names = await startNameServer({ 'proxy.example': ['127.0.0.1'], 'broker.example': ['127.0.0.1', '::1'] });
  writeFileSync(join(dir, 'word'), 'open sesame\n', { mode: 0o600 });
  writeFileSync(join(dir, 'wrong'), 'open barley\n', { mode: 0o600 });
});
after(() => Promise.all([mosquitto.end(), proxy.end(), names.end()]));

test('every step of the longest way is gone and named', async () => {
  const found = await steps(
    `url: "wss://localhost:${secureWeb}/mqtt", ca: ca.pem, tlsMinVersion: 1.3, dnsServers: ["${names.address}"], ` +
      `proxy: "http://ann@proxy.example:${proxy.port}", proxyPasswordFile: word`,
  );
  assert.match(found[3]!, /^WARN localhost: valid, the name matches, TLS 1\.3; .* ends in [01] days$/);
  assert.deepEqual(found.toSpliced(3, 1), [
    `OK proxy.example is 127.0.0.1 (from ${names.address})`,
    `OK proxy proxy.example:${proxy.port} lets us through`,
    `OK localhost:${secureWeb} takes connections, through the proxy`,
    `OK localhost:${secureWeb} takes the upgrade at /mqtt`,
    'OK it speaks MQTT 5 and takes us',
  ]);
  assert.ok(proxy.asked.length >= 4 && proxy.asked.every((each) => each === `localhost:${secureWeb}`), 'not all by it');
});

test('a proxy with another password, one that allows nothing, and one that does not reach the broker', async () => {
  const by = (file: string, to: number = mosquitto.port) =>
    steps(`url: "mqtt://127.0.0.1:${to}", proxy: "http://ann@127.0.0.1:${proxy.port}", proxyPasswordFile: ${file}`);
  const wrong = await by('wrong');
  assert.match(
    wrong[1]!,
    /^FAIL proxy .*: it answers 407 Proxy Authentication Required \(it does not take user ann\)$/,
  );
  assert.equal(wrong[2], 'SKIP not looked at, because of upstream-proxy');
  proxy.refuses = 403;
  assert.match((await by('word'))[1]!, /^FAIL proxy .*: it answers 403 Forbidden$/);
  proxy.refuses = null;
  const beyond = await by('word', await freePort());
  assert.match(beyond[1]!, /^OK proxy 127\.0\.0\.1:\d+ takes us$/);
  assert.match(beyond[2]!, /^FAIL proxy .*: it answers 502 Bad Gateway$/);
});

test('names with a dot, which some brokers of MQTT 3.1.1 do not take', async () => {
  const mqtt = async (id: string, protocol: string) => {
    const yaml = `gateway: { id: ${id} }\nupstream: { url: "mqtt://127.0.0.1:${mosquitto.port}", protocol: ${protocol} }\n`;
    const found = await reports({ dir, yaml, only: STEPS });
    return `${found['upstream-mqtt']!.result} ${found['upstream-mqtt']!.message}`;
  };
  assert.equal(await mqtt('line.4', '3.1.1'), 'WARN it speaks MQTT 3.1.1 and takes us; names with a dot: line.4');
  assert.equal(await mqtt('line-4', '3.1.1'), 'OK it speaks MQTT 3.1.1 and takes us');
  assert.equal(await mqtt('line.4', '5'), 'OK it speaks MQTT 5 and takes us');
});

test('name servers that are silent, or do not know the name', async () => {
  const by = (name: string) => steps(`url: "mqtt://${name}:${mosquitto.port}", dnsServers: ["${names.address}"]`);
  assert.match(
    (await by('broker.example'))[0]!,
    /^OK broker\.example is (127\.0\.0\.1, ::1|::1, 127\.0\.0\.1) \(from /,
  );
  assert.equal((await by('elsewhere.example'))[0], 'FAIL elsewhere.example: nobody knows the name');
  names.silent = 'all';
  assert.match(
    (await by('broker.example'))[0]!,
    /^FAIL broker\.example: no answer from 127\.0\.0\.1:\d+ \(ETIMEOUT\)$/,
  );
});

test('an old TLS, a path without a WebSocket, and a certificate that only a wrong clock refuses', async () => {
  const { cert, key } = authority.issue('past', 'IP:127.0.0.1', -1);
  const pem = { cert: readFileSync(cert), key: readFileSync(key) };
  const servers = [
    createTlsServer({ ...pem, maxVersion: 'TLSv1.2' }),
    createServer((_, response) => response.writeHead(404).end()),
  ] as Server[];
  const [old, page] = await Promise.all(
    servers.map(async (server) => {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return (server.address() as AddressInfo).port;
    }),
  );
  const newer = await steps(`url: "mqtts://127.0.0.1:${old}", ca: ca.pem, tlsMinVersion: "1.3"`);
  assert.match(newer[3]!, /^FAIL 127\.0\.0\.1:\d+: it does not speak TLS 1\.3 or newer \(ERR_SSL_\w+\)$/);
  const past = await steps(`url: "mqtts://127.0.0.1:${old}", ca: ca.pem`);
  assert.match(past[3]!, /^FAIL .*: its certificate ended on .* \(1 day ago\) \(CERT_HAS_EXPIRED\)$/);
  const pardoned = await steps(`url: "mqtts://127.0.0.1:${old}", ca: ca.pem`, false);
  assert.match(pardoned[3]!, /^WARN 127\.0\.0\.1: CERT_HAS_EXPIRED by the clock here, .* lets it pass until/);
  const web = await steps(`url: "ws://127.0.0.1:${page}/mqtt"`);
  assert.equal(web[4], `FAIL 127.0.0.1:${page}: the WebSocket upgrade is answered with 404 Not Found`);
  for (const server of servers) server.close();
});
