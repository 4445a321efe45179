import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect as connectTls } from 'node:tls';
import { test } from 'node:test';
import { promisify } from 'node:util';
import mqtt, { type IClientOptions } from 'mqtt';
import { WebSocket } from 'ws';
import { ManualClock, settle } from './manual-clock.ts';
import { Authority } from './parts/certificates.ts';
import { freePort } from './parts/free-port.ts';
import { credentials, GATEWAY, hubRig, type HubRig } from './parts/hub-rig.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

const run = promisify(execFile);
const authority = new Authority(scratch());
const server = authority.issue('localhost', 'DNS:localhost,IP:127.0.0.1');
const certificate = { cert: readFileSync(server.cert), key: readFileSync(server.key) };
const ca = readFileSync(authority.ca);

/** A hub whose TLS protocols share one port. */
async function secured(body: (rig: HubRig, port: number) => Promise<void>, over: Parameters<typeof hubRig>[0] = {}) {
  const rig = await hubRig(over);
  try {
    await body(rig, rig.hub.ports['mqtts'] ?? 0);
  } finally {
    await rig.hub.stop();
  }
}

const shared = async () => {
  const address = { host: '127.0.0.1', port: await freePort() };
  return { listen: { mqtts: address, wss: address, https: address, certificate } };
};

async function visit(url: string, over: IClientOptions = {}): Promise<void> {
  const client = await mqtt.connectAsync(url, { ...credentials('press-1'), ca, ...over }, false);
  await client.publishAsync(`holdfast/v1/${GATEWAY}/press-1/events`, url, { qos: 1 });
  await client.endAsync();
}

test('MQTT over TLS and over WebSockets share a port, on the paths of the SDK and of others', async () =>
  secured(
    async ({ backroom, hub }, port) => {
      assert.equal(hub.ports['wss'], port);
      await visit(`mqtts://localhost:${port}`);
      await visit(`wss://localhost:${port}/$iothub/websocket`);
      await visit(`wss://localhost:${port}/$iothub/websocket?iothub-no-client-cert=true`);
      await visit(`wss://localhost:${port}/mqtt`, { protocolVersion: 5 });
      assert.equal(backroom.bodies('press-1').length, 4);
      await assert.rejects(visit(`wss://localhost:${port}/elsewhere`, { connectTimeout: 2000 }));
    },
    await shared(),
  ));

test('the gatekeeper is shown the chain that a client sent, over both, and judges it alone', async () =>
  secured(
    async ({ doorkeeper }, port) => {
      const foreign = new Authority(scratch(), 'foreign');
      const mine = foreign.issue('press-1', 'DNS:press-1');
      const pair = {
        cert: Buffer.concat([readFileSync(mine.cert), readFileSync(foreign.ca)]),
        key: readFileSync(mine.key),
      };
      await visit(`mqtts://localhost:${port}`, pair);
      await visit(`wss://localhost:${port}/mqtt`, pair);
      await visit(`mqtts://localhost:${port}`);
      const subjects = doorkeeper.shown.map(({ certificates }) =>
        certificates.map((der) => new X509Certificate(der).subject),
      );
      const chain = ['CN=press-1', 'CN=Test foreign'];
      assert.deepEqual(subjects, [chain, chain, []]);
      assert.deepEqual(new Set(doorkeeper.shown.map(({ address }) => address)), new Set(['127.0.0.1']));
    },
    await shared(),
  ));

test('a new certificate is shown to those who come after, and nobody is disconnected', async () =>
  secured(
    async ({ hub }, port) => {
      const staying = await mqtt.connectAsync(`mqtts://localhost:${port}`, { ...credentials('press-1'), ca }, false);
      const renewed = authority.issue('renewed', 'DNS:localhost');
      hub.setCertificate({ cert: readFileSync(renewed.cert), key: readFileSync(renewed.key) });
      const subject = await new Promise((resolve) => {
        const socket = connectTls({ port, host: '127.0.0.1', servername: 'localhost', ca }, () => {
          resolve(socket.getPeerCertificate().subject.CN);
          socket.destroy();
        });
      });
      assert.equal(subject, 'renewed');
      assert.equal(staying.connected, true);
      await staying.endAsync();
    },
    await shared(),
  ));

test('mosquitto_pub and mosquitto_sub are children as any', async (t) => {
  const has = await run('sh', ['-c', 'command -v mosquitto_pub']).catch(() => null);
  if (has === null) {
    t.skip('no mosquitto-clients on this machine');
    return;
  }
  await secured(
    async ({ backroom, hub }, port) => {
      const as = ['-h', 'localhost', '-p', String(port), '--cafile', authority.ca, '-i', 'press-1', '-u', 'press-1'];
      const login = [...as, '-P', 'key of press-1'];
      await run('mosquitto_pub', [...login, '-q', '1', '-t', `holdfast/v1/${GATEWAY}/press-1/events`, '-m', 'hello']);
      assert.deepEqual(backroom.bodies('press-1'), ['hello']);
      await hub.deliver('press-1', null, 'command', { body: Buffer.from('go') }, null);
      const filter = `holdfast/v1/${GATEWAY}/press-1/commands/#`;
      const { stdout } = await run('mosquitto_sub', [...login, '-q', '1', '-t', filter, '-C', '1', '-W', '5']);
      assert.equal(stdout.trim(), 'go');
      await assert.rejects(
        run('mosquitto_pub', [...as, '-P', 'guess', '-q', '1', '-t', 'x', '-m', 'no']),
        /not authorised|bad user name or password|Connection Refused/i,
      );
    },
    await shared(),
  );
});

test('what comes over HTTPS is handed on, and a port that is not for it answers nothing', async () => {
  const address = { host: '127.0.0.1', port: await freePort() };
  const onRequest = (_: unknown, response: ServerResponse) => void response.end('asked');
  const listen = { mqtts: address, https: address, certificate, onRequest };
  await secured(
    async (_, port) => {
      const { stdout } = await run('curl', [
        '-s',
        '--cacert',
        authority.ca,
        `https://localhost:${port}/twins/x/methods`,
      ]);
      assert.equal(stdout, 'asked');
      await assert.rejects(visit(`wss://localhost:${port}/mqtt`, { connectTimeout: 2000 }));
    },
    { listen },
  );
  await secured(
    async ({ hub }, port) => {
      await assert.rejects(run('curl', ['-s', '--cacert', authority.ca, `https://localhost:${port}/`]));
      assert.equal(hub.refused['connection'], 1);
    },
    { listen: { mqtts: address, certificate } },
  );
});

test('a request may wait long for its answer, and not be long in asking', async () => {
  const clock = new ManualClock();
  const address = { host: '127.0.0.1', port: await freePort() };
  const answers: (() => void)[] = [];
  const onRequest = (request: IncomingMessage, response: ServerResponse) => {
    request.resume();
    request.once('end', () => answers.push(() => response.end('at last')));
  };
  const listen = { https: address, certificate, onRequest };
  await secured(
    async ({ hub }) => {
      const { port } = address;
      const talk = (first: string) => {
        const socket = connectTls({ port, host: '127.0.0.1', servername: 'localhost', ca }, () => socket.write(first));
        let text = '';
        socket.on('data', (chunk) => (text += chunk.toString()));
        socket.on('error', () => undefined);
        return { socket, text: () => text };
      };
      const asking = talk('GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n');
      const slow = talk('POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc');
      await until('the request', () => answers.length === 1);
      await until('the other one to have begun', () => slow.socket.bytesWritten > 0);
      for (let second = 0; second < 11; second++) {
        clock.advance(1000);
        await settle();
      }
      await until('the slow one to be gone', () => slow.socket.destroyed);
      answers[0]!();
      await until('the answer', () => asking.text().includes('at last'));
      assert.equal(hub.refused['connection'], 1);
      asking.socket.destroy();
    },
    { listen, clock, age: () => clock.monotonic() },
  );
});

test('a WebSocket that does not speak MQTT is closed', async () =>
  secured(
    async ({ hub }, port) => {
      const socket = new WebSocket(`wss://localhost:${port}/mqtt`, ['chat'], { ca });
      const code = await new Promise((resolve) => {
        socket.on('error', () => undefined);
        socket.on('close', (reason) => resolve(reason));
      });
      assert.ok(code === 1002 || code === 1006, `closed with ${String(code)}`);
      assert.deepEqual(hub.clients(), []);
    },
    await shared(),
  ));

test('whoever asks for another subprotocol and then breaks that of WebSockets is cut off, and nobody else', async () =>
  secured(
    async (_, port) => {
      const asking = `GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}\r\nSec-WebSocket-Protocol: chat\r\n\r\n`;
      await new Promise<void>((resolve) => {
        // A frame with a reserved bit that no extension has given a meaning (RFC 6455, section 5.2).
        const broken = Buffer.of(0xf2, 0x80, 0, 0, 0, 0);
        const options = { port, host: '127.0.0.1', servername: 'localhost', ca };
        const socket = connectTls(options, () => socket.write(Buffer.concat([Buffer.from(asking), broken])));
        socket.on('error', () => undefined);
        socket.on('data', () => undefined);
        socket.once('close', () => resolve());
      });
      await visit(`mqtts://localhost:${port}`);
    },
    await shared(),
  ));

test('who has gone takes up no room', async () =>
  secured(
    async ({ backroom }, port) => {
      // One client and 128 strangers may be connected at once.
      for (let n = 0; n < 140; n++) {
        await new Promise<void>((resolve) => {
          const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => socket.destroy());
          socket.on('error', () => undefined);
          socket.once('close', () => resolve());
        });
      }
      await visit(`mqtts://localhost:${port}`);
      assert.equal(backroom.events.length, 1);
    },
    { ...(await shared()), limits: { clientsMax: 1 } },
  ));
