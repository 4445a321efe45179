import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { Authority, type Certificate } from './parts/certificates.ts';
import { reports } from './parts/check-reports.ts';
import { CertificateMaker } from './parts/child-certificates.ts';
import { scratch } from './parts/scratch.ts';

const dir = scratch();
const authority = new Authority(dir);
const stranger = new Authority(dir, 'stranger');
const maker = new CertificateMaker(dir);
const good = authority.issue('broker', 'IP:127.0.0.1,DNS:localhost');
const servers: Server[] = [];
after(() => {
  for (const server of servers) server.close();
});

async function listening(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

/** A server that takes TLS with this certificate and says nothing; its port. */
function speaker({ cert, key }: Certificate, more: TlsOptions = {}): Promise<number> {
  const quiet = (socket: Socket) => void socket.on('error', () => undefined);
  const pem = { cert: readFileSync(cert), key: readFileSync(key) };
  return listening(createTlsServer({ ...pem, ...more }, quiet).on('tlsClientError', () => undefined));
}

/** What the steps up to `upstream-tls` say, `FAIL message -> advice`, of the first that does not pass; else of the last. */
async function said(port: number, upstream: string, timeKnown = true, last = 'upstream-tls'): Promise<string> {
  const yaml = `gateway: { id: line-4, dataDir: data }\nupstream: { url: "mqtts://127.0.0.1:${port}", ${upstream} }\n`;
  const found = await reports({ dir, yaml, timeKnown, only: ['secrets', 'upstream-tls', last] });
  const all = Object.values(found);
  const { result, message, fix } = all.find((each) => each.result === 'FAIL') ?? found[last]!;
  return `${result} ${message}${fix === null ? '' : ` -> ${fix}`}`;
}

const client = ({ cert, key }: Certificate) => `ca: ca.pem, clientCert: ${cert}, clientKey: ${key}`;
const day = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10);

describe('a certificate of the broker', () => {
  const leaf = (wording: { fromDays?: number; toDays?: number }) =>
    maker.selfSigned({ subject: '/CN=broker', extensions: ['subjectAltName=IP:127.0.0.1'], ...wording });

  test('that has ended fails with its date; the clock here may be the reason', async () => {
    const past = leaf({ fromDays: -30, toDays: -3 });
    const port = await speaker(past);
    const text = await said(port, `ca: ${past.cert}`);
    assert.ok(
      text.startsWith(`FAIL 127.0.0.1:${port}: its certificate ended on ${day(-3)} (3 days ago) (CERT_HAS_EXP`),
      text,
    );
    assert.match(
      text,
      /-> it is 20\d\d-.*Z here: correct the clock if that is wrong, else have the certificate renewed/,
    );
  });

  test('that begins later, as well', async () => {
    const { cert, key } = leaf({ fromDays: 2, toDays: 9 });
    const text = await said(await speaker({ cert, key }), `ca: ${cert}`);
    assert.match(
      text,
      /^FAIL .*: its certificate begins on 20.* \(1 day from now\) \(CERT_NOT_YET_VALID\) -> it is 20/,
    );
  });

  test('for another name fails with the names that are in it, as far as they are fit to be shown', async () => {
    const names = ['DNS:broker.example', 'IP:192.0.2.1', ...[1, 2, 3, 4].map((n) => `DNS:b${n}.example`)].join();
    const text = await said(await speaker(authority.issue('far', names)), 'ca: ca.pem');
    assert.match(
      text,
      /its certificate is not for 127\.0\.0\.1, but for broker\.example, 192\.0\.2\.1, b1\.example, b2\.example, b3\.example and 1 more \(ERR_TLS_CERT_ALTNAME_INVALID\) -> use the name that stands/,
    );
  });

  test('of an authority that we do not trust', async () => {
    const port = await speaker(good);
    assert.match(
      await said(port, 'ca: stranger.pem'),
      /: who signed its certificate, Test ca, is not among those in upstream\.ca \(UNABLE_TO_VERIFY_LEAF_SIGNATURE\) -> name the certificate of the authority that signed it in upstream\.ca; where others/,
    );
    assert.match(
      await said(port, ''),
      /Test ca, is not one that Node\.js knows \(UNABLE.*\) -> name the certificate of the authority that signed it in upstream\.ca$/,
    );
    const whole = { cert: join(dir, 'whole.pem'), key: good.key };
    writeFileSync(whole.cert, readFileSync(good.cert));
    appendFileSync(whole.cert, readFileSync(authority.ca));
    assert.match(
      await said(await speaker(whole), 'ca: stranger.pem'),
      /: the authority behind its certificate, Test ca, is not among those in upstream\.ca \(SELF_SIGNED_CERT_IN_CHAIN\) -> name/,
    );
    const own = await speaker(leaf({}));
    const alone = /: its certificate is signed by itself, .* \(DEPTH_ZERO_SELF_SIGNED_CERT\) -> if it is the right one/;
    assert.match(await said(own, 'ca: ca.pem'), alone);
    // The same while nobody knows the time.
    assert.match(await said(own, 'ca: ca.pem', false), alone);
  });
});

describe('what we show and whom we trust', () => {
  test('a client certificate that has ended, or has not begun, fails by its date, although the broker may not look', async () => {
    const port = await speaker(good);
    const ended = await said(port, client(maker.selfSigned({ subject: '/CN=line-4', fromDays: -30, toDays: -9 })));
    assert.match(ended, /^FAIL our client certificate, .*cert\.pem, ended on .* \(9 days ago\) -> have it renewed/);
    assert.ok(ended.includes(`ended on ${day(-9)} `), ended);
    const begins = maker.selfSigned({ subject: '/CN=line-4', fromDays: 3, toDays: 9 });
    assert.match(
      await said(port, client(begins)),
      /^FAIL our client certificate, .*, begins on .* \(2 days from now\) -> it/,
    );
    assert.match(await said(port, client(authority.issue('line-4', 'DNS:line-4'))), /^WARN .* valid, the name matches/);
  });

  test('a key that belongs to another certificate, is locked, or is none', async () => {
    const [one, two] = [authority.issue('one', 'DNS:one'), authority.issue('two', 'DNS:two')];
    assert.match(
      await said(1, client({ cert: one.cert, key: two.key })),
      /^FAIL .*two-\d\.key is not the key of .*one-\d\.pem -> name the two that belong together in upstream\.clientCert and upstream\.clientKey$/,
    );
    assert.match(
      await said(1, client({ cert: one.cert, key: two.cert })),
      /\(upstream\.clientKey\) holds no private key/,
    );
    const locked = join(dir, 'locked.key');
    writeFileSync(locked, '-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n');
    assert.match(await said(1, client({ cert: one.cert, key: locked })), /is locked with a passphrase.* -> unlock it/);
  });

  test('a CA that is not there, or a file that holds none', async () => {
    assert.match(await said(1, 'ca: none.pem'), /^FAIL .*none\.pem \(upstream\.ca\) is not there -> put /);
    assert.match(
      await said(await speaker(good), `ca: ${good.key}`),
      /^FAIL .*\.key \(upstream\.ca\) holds no certificate \(PEM\), but a private key -> name a file with a certificate in upstream\.ca: it begins with -----BEGIN CERT/,
    );
  });

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`a broker that wants a client certificate of an authority that it knows (${version})`, async () => {
      const ask = { requestCert: true, rejectUnauthorized: true, ca: readFileSync(authority.ca), maxVersion: version };
      const port = await speaker(good, ask);
      // With TLS 1.3 we hear of it after the handshake.
      const last = version === 'TLSv1.3' ? 'upstream-mqtt' : 'upstream-tls';
      assert.match(
        await said(port, 'ca: ca.pem', true, last),
        /^FAIL .*(wants a client certificate|breaks the TLS handshake off|connection was closed).* -> .*clientCert/,
      );
      assert.match(
        await said(port, client(stranger.issue('line-4', 'DNS:line-4')), true, last),
        /^FAIL .*(our client certificate|breaks the TLS handshake off|closed).* -> .*client ?cert/i,
      );
    });
  }
});

describe('something else at the port', () => {
  test('that speaks MQTT without TLS, or HTTP', async () => {
    const web = createServer((socket) => void socket.on('error', () => {}).write('HTTP/1.1 400 Bad Request\r\n\r\n'));
    assert.match(
      await said(await listening(web), 'ca: ca.pem'),
      /^FAIL .*: what it sends is not TLS \(ERR_SSL_WRONG_VERSION_NUMBER\) -> name its port for TLS .*, or use mqtt:\/\//,
    );
    const closes = createServer((socket) => void socket.on('error', () => {}).once('data', () => socket.destroy()));
    assert.match(
      await said(await listening(closes), 'ca: ca.pem'),
      /^FAIL .*: the connection was closed in the middle of the TLS handshake \(ECONNRESET\) -> check that the port/,
    );
  });
});
