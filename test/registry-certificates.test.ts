import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import { pino } from 'pino';
import { KnownTime } from '../src/registry/known-time.ts';
import { Certificates, type CertificatesOptions, type ServerCertificate } from '../src/registry/server-certificate.ts';
import { ManualClock } from './manual-clock.ts';
import { Authority } from './parts/certificates.ts';
import { scratch } from './parts/scratch.ts';
import { mountSmall } from './parts/small-filesystem.ts';

const DAY_MS = 86_400_000;

/** The hub's certificates with a clock of the test's own; the machine's time where TLS itself looks. */
class Rig {
  readonly dir = scratch();
  readonly clock: ManualClock;
  readonly log: string[] = [];
  addresses: string[] = ['192.0.2.7', '2001:db8::7'];

  constructor(clock: ManualClock = new ManualClock({ wall: Date.now() })) {
    this.clock = clock;
  }

  open(more: Partial<CertificatesOptions> = {}): Certificates {
    const { clock } = this;
    return new Certificates({
      keysDir: join(this.dir, 'keys'),
      gateway: 'line-4',
      hostName: 'gateway.local',
      files: null,
      addresses: () => this.addresses,
      clock,
      time: new KnownTime(clock, { get: () => undefined, put: () => Promise.resolve() }, Date.UTC(2026, 0, 1)),
      log: pino({ base: null }, { write: (line: string) => void this.log.push(line) }),
      ...more,
    });
  }

  path(name: string): string {
    return join(this.dir, 'keys', name);
  }
}

const ends = (certificate: ServerCertificate) => Date.parse(new X509Certificate(certificate.cert).validTo);

describe('the authority of our own', () => {
  test('and its server certificate stand up to OpenSSL, by every name, and are kept', () => {
    const rig = new Rig();
    const { current } = rig.open();
    for (const name of ['ca.pem', 'ca.key', 'server.pem', 'server.key']) {
      assert.equal(statSync(rig.path(name)).mode & 0o777, 0o600, name);
    }
    const verify = (...more: string[]) =>
      execFileSync(
        'openssl',
        [
          'verify',
          '-x509_strict',
          '-purpose',
          'sslserver',
          '-CAfile',
          rig.path('ca.pem'),
          ...more,
          rig.path('server.pem'),
        ],
        { encoding: 'utf8', stdio: 'pipe' },
      );
    for (const name of ['gateway.local', 'localhost']) assert.match(verify('-verify_hostname', name), /: OK/);
    for (const ip of ['127.0.0.1', '::1', '192.0.2.7', '2001:db8::7']) assert.match(verify('-verify_ip', ip), /: OK/);
    assert.throws(() => verify('-verify_hostname', 'other.local'));
    assert.deepEqual(rig.open().current, current);
  });

  test('serves a real TLS connection that trusts it, and the next ones with a new certificate, without a restart', async () => {
    const rig = new Rig();
    const certificates = rig.open();
    const server = createServer(certificates.current, (socket) => socket.end('hello'));
    const context: string[] = [];
    certificates.onRenewed((next) => {
      server.setSecureContext(next);
      context.push(next.cert);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const ca = certificates.authority()!.certificate;
    const seen = async (): Promise<string> => {
      const { port } = server.address() as AddressInfo;
      const socket: TLSSocket = connect({ port, host: '127.0.0.1', servername: 'gateway.local', ca });
      await once(socket, 'secureConnect');
      assert.equal(socket.authorized, true);
      const { fingerprint256 } = socket.getPeerCertificate();
      socket.destroy();
      return fingerprint256;
    };
    const first = await seen();
    certificates.start();
    await rig.clock.flow(3_600_000);
    assert.equal(await seen(), first, 'nothing to renew');
    // The machine has got another address.
    rig.addresses = ['198.51.100.4'];
    await rig.clock.flow(3_600_000);
    assert.equal(context.length, 1);
    assert.notEqual(await seen(), first);
    certificates.stop();
    server.close();
    assert.equal(rig.clock.timers, 0);
  });

  test('renews before the end, also after months off, and never for an address of IPv6 alone', () => {
    const rig = new Rig();
    const certificates = rig.open();
    const first = ends(certificates.current);
    const later = (days: number) => {
      rig.clock.setWall(rig.clock.wall() + days * DAY_MS);
      certificates.look();
    };
    rig.addresses = ['192.0.2.7', '2001:db8::8'];
    for (let days = 0; days < 250; days += 10) later(10);
    assert.equal(ends(certificates.current), first);
    later(30);
    assert.ok(ends(certificates.current) - rig.clock.wall() > 300 * DAY_MS);
    rig.clock.setWall(rig.clock.wall() + 1000 * DAY_MS);
    assert.ok(ends(rig.open().current) > rig.clock.wall());
  });

  test('is made with a clock that stands in 1970, lasts, and is shortened once the time is known', async () => {
    const rig = new Rig(new ManualClock({ wall: 0, known: false }));
    const certificates = rig.open();
    const ca = certificates.authority()!;
    assert.ok(ca.notAfter > Date.UTC(2045, 0, 1));
    assert.ok(ends(certificates.current) > Date.UTC(2045, 0, 1));
    assert.equal(new X509Certificate(certificates.current.cert).validFrom, 'Jan  1 00:00:00 1970 GMT');
    rig.clock.setWall(Date.now());
    rig.clock.setKnown(true);
    certificates.look();
    assert.ok(ends(certificates.current) < Date.now() + 400 * DAY_MS);
    assert.equal(certificates.authority()!.sha256, ca.sha256);
  });

  test('that cannot be kept, since the medium is full, lets children in all the same, and is kept when it can be', (t) => {
    const small = mountSmall('tmpfs', 256 * 1024);
    if (typeof small === 'string') {
      t.skip(`SKIP: ${small}`);
      return;
    }
    const rig = new Rig();
    const keysDir = join(small.dir, 'keys');
    const kept = () => readFileSync(join(keysDir, 'server.pem'), 'utf8');
    try {
      const first = rig.open({ keysDir }).current;
      assert.throws(() => writeFileSync(join(small.dir, 'other'), Buffer.alloc(2 ** 20)), /ENOSPC/);
      rig.addresses = ['192.0.2.8'];
      const certificates = rig.open({ keysDir });
      const { cert } = certificates.current;
      assert.ok(new X509Certificate(cert).checkIP('192.0.2.8') !== undefined);
      assert.equal(kept(), first.cert);
      certificates.look();
      assert.equal(certificates.current.cert, cert, 'it is not made again while it is good');
      assert.ok(rig.log.some((line) => /the server certificate cannot be kept: ENOSPC/.test(line)));
      rmSync(join(small.dir, 'other'));
      certificates.look();
      assert.deepEqual([certificates.current.cert, kept()], [cert, cert]);
    } finally {
      small.unmount();
    }
  });

  test('that was cut off between its files is made whole; another key or authority is not taken for ours', () => {
    const rig = new Rig();
    const { sha256: before } = rig.open().authority()!;
    for (const lost of ['ca.pem', 'server.pem', 'server.key']) {
      rmSync(rig.path(lost));
      const again = rig.open();
      assert.ok(existsSync(rig.path(lost)), lost);
      assert.ok(
        new X509Certificate(again.current.cert).verify(new X509Certificate(again.authority()!.certificate).publicKey),
      );
    }
    writeFileSync(rig.path('server.key'), readFileSync(rig.path('ca.key')));
    const { current } = rig.open();
    assert.ok(current.key !== readFileSync(rig.path('ca.key'), 'utf8'));
    // The key is what makes it ours: a new one makes everything new.
    rmSync(rig.path('ca.key'));
    const anew = rig.open();
    assert.notEqual(anew.authority()!.sha256, before);
    assert.ok(
      new X509Certificate(anew.current.cert).verify(new X509Certificate(anew.authority()!.certificate).publicKey),
    );
  });

  test('is made anew on demand, and those who serve hear of it', () => {
    const rig = new Rig();
    const certificates = rig.open();
    const before = certificates.authority()!;
    const heard: ServerCertificate[] = [];
    certificates.onRenewed((next) => heard.push(next));
    certificates.renewAuthority();
    const now = certificates.authority()!;
    assert.notEqual(now.sha256, before.sha256);
    assert.equal(heard.length, 1);
    assert.ok(new X509Certificate(heard[0]!.cert).verify(new X509Certificate(now.certificate).publicKey));
  });
});

describe('a certificate from files', () => {
  test('is read again when they change, never half of it, and its end is said', async () => {
    const rig = new Rig();
    const authority = new Authority(rig.dir);
    const [one, two] = [
      authority.issue('one', 'DNS:gateway.local', 30),
      authority.issue('two', 'DNS:gateway.local', 5),
    ];
    const files = { cert: join(rig.dir, 'hub.pem'), key: join(rig.dir, 'hub.key') };
    const put = (from: string, to: string) => {
      writeFileSync(`${to}.new`, readFileSync(from));
      renameSync(`${to}.new`, to);
    };
    put(one.cert, files.cert);
    put(one.key, files.key);
    const certificates = rig.open({ files });
    assert.equal(certificates.authority(), null);
    assert.equal(certificates.current.cert, readFileSync(one.cert, 'utf8'));
    const heard: ServerCertificate[] = [];
    certificates.onRenewed((next) => heard.push(next));
    put(two.cert, files.cert);
    certificates.look();
    assert.equal(heard.length, 0);
    assert.ok(rig.log.some((line) => /not renewed: .*hub\.key is not the key of .*hub\.pem/.test(line)));
    put(two.key, files.key);
    certificates.look();
    assert.equal(heard[0]?.cert, readFileSync(two.cert, 'utf8'));
    assert.ok(rig.log.some((line) => /hub\.pem expires at /.test(line)));
    rmSync(files.cert);
    certificates.look();
    assert.equal(certificates.current.cert, readFileSync(two.cert, 'utf8'), 'the one before stays');
    assert.ok(!existsSync(rig.path('ca.key')), 'no authority is made that nobody needs');
    assert.throws(() => rig.open({ files }), /ENOENT/);
  });

  test('that had ended when the program was built is said at once and once, also while nobody knows the time', () => {
    const rig = new Rig(new ManualClock({ wall: 0, known: false }));
    const authority = new Authority(rig.dir);
    const builtAt = (ms: number) =>
      new KnownTime(rig.clock, { get: () => undefined, put: () => Promise.resolve() }, ms);
    const ended = authority.issue('ended', 'DNS:gateway.local', -1);
    const certificates = rig.open({ files: ended, time: builtAt(Date.now()) });
    certificates.look();
    assert.equal(rig.log.length, 1);
    assert.match(rig.log[0]!, /"level":40,.*ended-\d\.pem has expired at /);
    rig.open({ files: authority.issue('soon', 'DNS:gateway.local', 5), time: builtAt(Date.now()) });
    assert.equal(rig.log.length, 1, 'how long it lasts nobody knows');
  });
});
