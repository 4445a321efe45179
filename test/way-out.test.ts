import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { Dialer } from '../src/upstream/dialer.ts';
import { Resolver } from '../src/upstream/resolver.ts';
import type { ProxyWay, TlsKeys, WayOut } from '../src/upstream/way-out.ts';
import { ManualClock } from './manual-clock.ts';
import { Authority, type Certificate } from './parts/certificates.ts';
import { startConnectProxy, type ConnectProxy } from './parts/connect-proxy.ts';
import { freePort } from './parts/free-port.ts';
import { startMosquitto, type Mosquitto } from './parts/mosquitto.ts';
import { startNameServer, type NameServer } from './parts/name-server.ts';
import { openSockets } from './parts/open-files.ts';
import { scratch } from './parts/scratch.ts';
import { systemClock } from './parts/spool-rig.ts';
import { until } from './parts/until.ts';
import { UpstreamRig } from './parts/upstream-rig.ts';

const NAME = 'localhost';
const never = new AbortController().signal;
const dir = scratch();
const authority = new Authority(dir);
const own = authority.issue('line-4', 'DNS:line-4');
const tls: TlsKeys = { ca: text(authority.ca), cert: text(own.cert), key: text(own.key) };

let server: Certificate;
let names: NameServer;
let mosquitto: Mosquitto;
let ports: Readonly<Record<'mqtt' | 'mqtts' | 'ws' | 'wss', number>>;
let proxy: ConnectProxy;
let secured: ConnectProxy;
const servers: Server[] = [];

function text(file: string): string {
  return readFileSync(file, 'utf8');
}

async function listening(one: Server): Promise<number> {
  servers.push(one);
  await new Promise<void>((resolve) => one.listen(0, '127.0.0.1', resolve));
  return (one.address() as AddressInfo).port;
}

function dialer(): Dialer {
  const resolver = new Resolver({ servers: [names.address], clock: systemClock, book: null, hostsFile: '/dev/null' });
  return new Dialer({ clock: systemClock, resolver });
}

/** Why there is no connection; and nothing stays behind. */
async function refusal(way: WayOut, msMax = 10_000, from = dialer()): Promise<{ stage: string; message: string }> {
  const before = openSockets();
  const error = await from.dial(way, msMax, never).then(
    () => assert.fail('it connected'),
    (reason: { stage: string; message: string }) => reason,
  );
  await until('the sockets to be closed', () => openSockets() <= before);
  return { stage: error.stage, message: error.message };
}

/** The same of an attempt whose time is over, by its clock, once `heard` says that the other side has been asked. */
async function timedOut(way: WayOut, heard: () => number): Promise<{ stage: string; message: string }> {
  const clock = new ManualClock();
  const already = heard();
  const refused = refusal(way, 100, new Dialer({ clock }));
  await until('it to be asked', () => heard() > already);
  clock.advance(100);
  return refused;
}

before(async () => {
  server = authority.issue('broker', `DNS:broker.example,DNS:proxy.example,DNS:${NAME},IP:127.0.0.1`);
  names = await startNameServer({ 'broker.example': ['127.0.0.1'], 'proxy.example': ['127.0.0.1'] });
  const [plain, encrypted, web, secureWeb] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const keys = [
    `cafile ${authority.ca}`,
    `certfile ${server.cert}`,
    `keyfile ${server.key}`,
    'require_certificate true',
  ];
  mosquitto = await startMosquitto({
    port: plain,
    config: [
      `listener ${plain} 127.0.0.1`,
      `listener ${encrypted} 127.0.0.1`,
      ...keys,
      `listener ${web} 127.0.0.1`,
      'protocol websockets',
      `listener ${secureWeb} 127.0.0.1`,
      'protocol websockets',
      ...keys,
    ],
  });
  ports = { mqtt: plain, mqtts: encrypted, ws: web, wss: secureWeb };
  proxy = await startConnectProxy({ credentials: 'line 4:open:sesame' });
  secured = await startConnectProxy({ tls: { cert: readFileSync(server.cert), key: readFileSync(server.key) } });
});
after(async () => {
  await Promise.all([mosquitto.end(), proxy.end(), secured.end(), names.end()]);
  for (const one of servers) one.close();
});

describe('messages get out', () => {
  for (const scheme of ['mqtt', 'mqtts', 'ws', 'wss'] as const) {
    for (const through of ['nothing else', 'an HTTP proxy with a password', 'an HTTPS proxy'] as const) {
      test(`by ${scheme}, through ${through}`, async () => {
        // The proxy finds the broker by the names of this machine, we by our name server.
        const direct = through === 'nothing else';
        const url = `${scheme}://${direct ? 'broker.example' : NAME}:${ports[scheme]}`;
        const by: Record<typeof through, ProxyWay | undefined> = {
          'nothing else': undefined,
          'an HTTP proxy with a password': {
            url: `http://line%204@proxy.example:${proxy.port}`,
            password: 'open:sesame',
          },
          'an HTTPS proxy': { url: `https://proxy.example:${secured.port}` },
        };
        const before = openSockets();
        const rig = await UpstreamRig.open(url, {
          dialer: dialer(),
          credentials: () => ({ tls, proxy: by[through] }),
          window: 100,
        });
        try {
          await rig.fill(500);
          rig.upstream.start();
          await rig.drained();
          assert.equal(rig.complaints().length, 0, rig.complaints().join('\n'));
          assert.equal(rig.upstream.snapshot().attempts, 1);
          if (!direct) assert.equal((through === 'an HTTPS proxy' ? secured : proxy).asked.at(-1), url.split('//')[1]);
        } finally {
          await rig.end();
        }
        await until('the sockets to be closed', () => openSockets() <= before);
      });
    }
  }
});

describe('a proxy that does not let us through is named, with what it said', () => {
  const way = (port: number, user = ''): WayOut => ({
    url: `mqtt://127.0.0.1:${ports.mqtt}`,
    tls: {},
    proxy: { url: `http://${user}127.0.0.1:${port}`, password: 'open barley' },
  });
  test('407 to nobody, and to a wrong password', async () => {
    const { port } = proxy;
    assert.deepEqual(await refusal(way(port)), {
      stage: 'proxy',
      message: `proxy 127.0.0.1:${port}: it answers 407 Proxy Authentication Required (it wants a user name)`,
    });
    assert.deepEqual(await refusal(way(port, 'ann@')), {
      stage: 'proxy',
      message: `proxy 127.0.0.1:${port}: it answers 407 Proxy Authentication Required (it does not take user ann)`,
    });
  });
  test('403, 502, 302', async () => {
    const strict = await startConnectProxy();
    for (const [status, said] of [
      [403, '403 Forbidden'],
      [502, '502 Bad Gateway'],
      [302, '302 Found'],
    ] as const) {
      strict.refuses = status;
      assert.deepEqual(await refusal(way(strict.port)), {
        stage: 'proxy',
        message: `proxy 127.0.0.1:${strict.port}: it answers ${said}`,
      });
    }
    strict.refuses = 0;
    assert.deepEqual(await timedOut(way(strict.port), () => strict.asked.length), {
      stage: 'proxy',
      message: `proxy 127.0.0.1:${strict.port}: no answer within 0.1 s`,
    });
    await strict.end();
  });
  test('not there, not a proxy, hangs up', async () => {
    const closed = await freePort();
    assert.deepEqual(await refusal(way(closed)), {
      stage: 'tcp',
      message: `proxy 127.0.0.1:${closed}: connect ECONNREFUSED 127.0.0.1:${closed}`,
    });
    const stranger = await listening(
      createServer((socket) =>
        socket
          .on('error', () => undefined)
          .resume()
          .end('220 mail\r\n'),
      ),
    );
    assert.match((await refusal(way(stranger))).message, /^proxy 127\.0\.0\.1:\d+: what it answers is not HTTP$/);
    const rude = await listening(createServer((socket) => socket.destroy()));
    assert.match((await refusal(way(rude))).message, /^proxy .*: it closed the connection without an answer$/);
  });
  test('an HTTPS proxy whose certificate nobody knows', async () => {
    const { message } = await refusal({
      url: `mqtt://127.0.0.1:${ports.mqtt}`,
      tls: {},
      proxy: { url: `https://127.0.0.1:${secured.port}` },
    });
    assert.match(
      message,
      /^proxy 127\.0\.0\.1:\d+: who signed its certificate, Test ca, is not one that Node\.js knows \(UNABLE_TO_\w+\)$/,
    );
  });
});

describe('TLS', () => {
  test('an older version than the least is not spoken', async () => {
    const port = await listening(
      createTlsServer({ cert: text(server.cert), key: text(server.key), maxVersion: 'TLSv1.2' }),
    );
    const way = (minVersion: '1.2' | '1.3'): WayOut => ({
      url: `mqtts://127.0.0.1:${port}`,
      tls: { ...tls, minVersion },
    });
    const { stage, message } = await refusal(way('1.3'));
    assert.equal(stage, 'tls');
    assert.match(message, /^it does not speak TLS 1\.3 or newer \(ERR_SSL_\w+\)$/);
    (await dialer().dial(way('1.2'), 5000, never)).stream.destroy();
  });

  test('a handshake that never ends is given up, and leaves no socket', async () => {
    let heard = 0;
    const silent = await listening(
      createServer((socket) =>
        socket
          .on('error', () => undefined)
          .once('data', () => heard++)
          .resume(),
      ),
    );
    for (const scheme of ['mqtts', 'ws', 'wss']) {
      const found = await timedOut({ url: `${scheme}://127.0.0.1:${silent}`, tls }, () => heard);
      assert.deepEqual(found, { stage: scheme === 'ws' ? 'websocket' : 'tls', message: 'no answer within 0.1 s' });
    }
  });

  describe('while the time is not known', () => {
    const uncertain = (now: number, known = false) =>
      new Dialer({ clock: systemClock, time: { known, now: () => now } });
    const DAY_MS = 86_400_000;
    let past: number;
    let other: number;
    let misnamed: number;
    let foreign: number;
    before(async () => {
      const stranger = new Authority(dir, 'stranger');
      const serve = ({ cert, key }: Certificate) =>
        listening(createTlsServer({ cert: text(cert), key: text(key), ca: text(authority.ca) }));
      past = await serve(authority.issue('past', 'IP:127.0.0.1', -1));
      misnamed = await serve(authority.issue('misnamed', 'DNS:other.example', -1));
      foreign = await serve(stranger.issue('foreign', 'IP:127.0.0.1', -1));
      other = await serve(server);
    });
    const by = (port: number): WayOut => ({ url: `mqtts://127.0.0.1:${port}`, tls });

    test('a certificate that has ended by this clock, but not for certain, counts', async () => {
      (await uncertain(Date.now() - 5 * DAY_MS).dial(by(past), 5000, never)).stream.destroy();
      (await uncertain(Date.now() - 5 * DAY_MS).dial(by(other), 5000, never)).stream.destroy();
    });
    test('one that has certainly ended does not, nor with the time known', async () => {
      const ended = /^its certificate ended on 20\d\d-\d\d-\d\d \(CERT_HAS_EXPIRED\)$/;
      const sure = await refusal(by(past), 5000, uncertain(Date.now() - DAY_MS / 2));
      assert.match(sure.message, ended);
      const known = await refusal(by(past), 5000, uncertain(Date.now() - 5 * DAY_MS, true));
      assert.match(known.message, ended);
    });
    test('wrong dates hide neither another name nor another authority', async () => {
      const name = await refusal(by(misnamed), 5000, uncertain(0));
      assert.match(name.message, /^its certificate is not for 127\.0\.0\.1, but for other\.example \(ERR/);
      const issuer = await refusal(by(foreign), 5000, uncertain(0));
      assert.match(issuer.message, /authority that is not trusted|unable to verify/);
      const nobody = await refusal({ ...by(past), tls: {} }, 5000, uncertain(0));
      assert.match(nobody.message, /authority that is not trusted|unable to verify/);
    });
  });
});

test('a WebSocket that is refused says how', async () => {
  const port = await listening(createHttpServer((_, response) => response.writeHead(404).end()));
  assert.deepEqual(await refusal({ url: `ws://127.0.0.1:${port}/mqtt`, tls: {} }), {
    stage: 'websocket',
    message: 'the WebSocket upgrade is answered with 404 Not Found',
  });
});

test('an attempt that is given up at any stage leaves nothing', async () => {
  const silent = await listening(createServer((socket) => socket.on('error', () => undefined).resume()));
  const clock = new ManualClock();
  const ways: WayOut[] = [
    { url: `mqtts://127.0.0.1:${silent}`, tls },
    { url: `ws://127.0.0.1:${silent}`, tls },
    { url: 'mqtt://x:1', tls, proxy: { url: `http://127.0.0.1:${silent}` } },
    { url: 'mqtt://x:1', tls, proxy: { url: `https://127.0.0.1:${silent}` } },
    { url: 'mqtt://127.0.0.1:9', tls },
  ];
  const before = openSockets();
  for (const way of ways) {
    const stop = new AbortController();
    const dialing = new Dialer({ clock }).dial(way, 5000, stop.signal);
    const ended = assert.rejects(dialing);
    await new Promise((resolve) => setImmediate(resolve));
    stop.abort();
    await ended;
  }
  await until('the sockets to be closed', () => openSockets() <= before);
  assert.equal(clock.timers, 0);
});
