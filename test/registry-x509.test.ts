import assert from 'node:assert/strict';
import { chmodSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ManualClock } from './manual-clock.ts';
import { CA_EXTENSIONS, CertificateMaker, CLIENT_EXTENSIONS, type Made } from './parts/client-certificates.ts';
import { decided, presentedBy, RegistryRig } from './parts/registry-rig.ts';
import { scratch } from './parts/scratch.ts';

const DAY_MS = 86_400_000;
/** openssl's certificates begin when they are made. */
const soon = () => Date.now() + 60_000;
const bare = (fingerprint: string) => fingerprint.replaceAll(':', '').toLowerCase();

describe('a certificate by its thumbprint', () => {
  const dir = scratch();
  const maker = new CertificateMaker(dir);
  const [mine, next, other] = ['panel', 'panel', 'panel'].map((name) => maker.make(name)) as [Made, Made, Made];
  const clock = new ManualClock({ wall: soon() });
  const rig = new RegistryRig(dir, clock);
  before(async () => {
    await rig.open();
    const { registry } = rig.enrolment;
    const auth = {
      x509: {
        thumbprints: [mine.x509.fingerprint256, next.x509.fingerprint].map(bare).map((hex) => hex.toUpperCase()),
      },
    };
    await registry.add({ id: 'panel', status: 'enabled', auth, modules: [{ id: 'm', auth }] });
  });
  after(() => rig.close());

  test('lets in by SHA-256 and SHA-1, the device and its module, and nobody with another one', async () => {
    const tries: [string, readonly Buffer[], RegExp][] = [
      ['panel', [mine.der], /^in$/],
      ['panel', [next.der], /^in$/],
      ['panel/m', [mine.der], /^in$/],
      ['panel', [mine.der, other.der], /^in$/],
      ['panel', [other.der], /another thumbprint/],
      ['panel', [other.der, mine.der], /another thumbprint/],
      ['panel', [], /no client certificate/],
      ['panel', [Buffer.from('nonsense')], /cannot be read/],
      ['panel', [mine.der.subarray(0, 200)], /cannot be read/],
      ['panel', Array.from({ length: 11 }, () => mine.der), /too many/],
    ];
    for (const [id, certificates, expected] of tries) {
      assert.match(await decided(rig, presentedBy(id, { certificates })), expected, id);
    }
  });

  test('counts between its dates, by a clock that is known', async () => {
    const now = clock.wall();
    const presented = presentedBy('panel', { certificates: [mine.der] });
    clock.setWall(now - DAY_MS);
    assert.match(await decided(rig, presented), /not valid yet/);
    clock.setWall(now + 31 * DAY_MS);
    assert.match(await decided(rig, presented), /has expired/);
    clock.setWall(now);
    const admission = await rig.enrolment.gatekeeper().admit(presented);
    assert.ok('client' in admission);
    assert.equal(admission.client.expiresAt, Date.parse(mine.x509.validTo));
  });

  test('by a clock that is not known: what has certainly expired does not count, what may be valid does unless strict', async () => {
    await rig.close();
    // The board boots in 1970 and was built long before the certificate.
    const unset = new RegistryRig(dir, new ManualClock({ wall: 0, known: false }));
    unset.builtAt = Date.UTC(2020, 0, 1);
    await unset.open();
    // The time that was known in the run before is the latest that has certainly passed.
    const presented = presentedBy('panel', { certificates: [mine.der] });
    assert.equal(await decided(unset, presented), 'in');
    await unset.close();
    unset.hub = 'tokenExpiry: strict';
    await unset.open();
    assert.match(await decided(unset, presented), /^unavailable/);
    await unset.close();
    unset.hub = '';
    unset.builtAt = Date.now() + 31 * DAY_MS;
    await unset.open();
    assert.match(await decided(unset, presented), /has expired/);
    await unset.close();
    await rig.open();
  });

  test('the time that was known is kept, so that a board without a clock does not go back before it', async () => {
    rig.enrolment.start();
    await rig.clock.flow(0);
    await rig.close();
    const unset = new RegistryRig(dir, new ManualClock({ wall: 0, known: false }));
    unset.builtAt = 0;
    await unset.open();
    assert.ok(Math.abs(unset.enrolment.time.now() - Date.now()) < DAY_MS);
    assert.equal(unset.enrolment.time.known, false);
    await unset.close();
    await rig.open();
  });
});

describe('a certificate by an authority', () => {
  const dir = scratch();
  const maker = new CertificateMaker(dir);
  const root = maker.make('Fleet root', { extensions: CA_EXTENSIONS });
  const narrow = maker.make('Narrow root', {
    extensions: ['basicConstraints=critical,CA:TRUE,pathlen:0', CA_EXTENSIONS[1]!],
  });
  const middle = maker.make('Fleet middle', { by: root, extensions: CA_EXTENSIONS });
  const good = maker.make('panel', { by: middle, extensions: CLIENT_EXTENSIONS });
  const direct = maker.make('panel', { by: root, extensions: CLIENT_EXTENSIONS });
  const revokedLeaf = maker.make('panel', { by: root, extensions: CLIENT_EXTENSIONS });
  const revokedMiddle = maker.make('Fleet middle', { by: root, extensions: CA_EXTENSIONS });
  const trusted = join(dir, 'authorities.pem');
  const revoked = join(dir, 'revoked.txt');
  const clock = new ManualClock({ wall: soon() });
  const rig = new RegistryRig(dir, clock);

  const bySerial = `# lost in the field\n${revokedMiddle.x509.serialNumber.toLowerCase()}\n\n${revokedLeaf.x509.fingerprint256} # stolen\n`;

  before(async () => {
    clock.setWall(soon());
    writeFileSync(trusted, readFileSync(root.cert, 'utf8') + readFileSync(narrow.cert, 'utf8'));
    writeFileSync(revoked, bySerial);
    rig.hub = 'clientCa: authorities.pem, revoked: revoked.txt';
    await rig.open();
    const { registry } = rig.enrolment;
    await registry.add({
      id: 'panel',
      status: 'enabled',
      auth: { x509: { ca: true } },
      modules: [{ id: 'm', auth: { x509: { ca: true } } }],
    });
  });
  after(() => rig.close());

  const decide = (chain: readonly Made[], id = 'panel') =>
    decided(rig, presentedBy(id, { certificates: chain.map(({ der }) => der) }));

  test('lets in along its chain, whatever else comes with it', async () => {
    assert.equal(await decide([direct]), 'in');
    assert.equal(await decide([good, middle]), 'in');
    assert.equal(await decide([good, middle, root]), 'in');
    assert.equal(await decide([good, narrow, root, middle]), 'in');
    assert.equal(await decide([direct], 'panel/m'), 'in', "a module by its device's certificate");
  });

  const plain = ['keyUsage=critical,digitalSignature'];
  const foreign = maker.make('Fleet root', { extensions: CA_EXTENSIONS });
  const client = maker.make('panel', { by: root, extensions: CLIENT_EXTENSIONS });
  const unlimited = maker.make('panel', { by: root });
  const noSign = maker.make('No signer', {
    by: root,
    extensions: ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,cRLSign'],
  });
  const underNarrow = maker.make('Under narrow', { by: narrow, extensions: CA_EXTENSIONS });
  const oldRoot = maker.make('Old middle', { by: root, extensions: CA_EXTENSIONS, days: 1 });
  const refused: Readonly<Record<string, [readonly Made[], RegExp]>> = {
    'of another common name': [[maker.make('other', { by: root, extensions: plain })], /common name is not the id/],
    'of a name that only begins so': [[maker.make('panel2', { by: root, extensions: plain })], /common name is not/],
    'without a common name': [[maker.make('', { by: root, extensions: plain })], /common name is not/],
    'by a foreign authority of the same name': [
      [maker.make('panel', { by: foreign, extensions: plain }), foreign],
      /not trusted/,
    ],
    'that signed itself': [[maker.make('panel', { extensions: plain })], /not trusted/],
    'whose chain has a gap': [[good], /not trusted/],
    // OpenSSL itself takes none for an issuer whose key usage forbids it; without a key usage it is on us.
    'that was signed by a client': [[maker.make('panel', { by: client, extensions: plain }), client], /not trusted/],
    'that was signed by a client without key usage': [
      [maker.make('panel', { by: unlimited, extensions: plain }), unlimited],
      /may not sign certificates/,
    ],
    'that was signed by one without keyCertSign': [
      [maker.make('panel', { by: noSign, extensions: plain }), noSign],
      /not trusted/,
    ],
    'below more authorities than there may be': [
      [maker.make('panel', { by: underNarrow, extensions: plain }), underNarrow],
      /more authorities below/,
    ],
    'of an authority itself': [[maker.make('panel', { by: root, extensions: CA_EXTENSIONS })], /that of an authority/],
    'for servers only': [
      [maker.make('panel', { by: root, extensions: ['extendedKeyUsage=serverAuth'] })],
      /not for clients/,
    ],
    'that may not sign anything': [
      [maker.make('panel', { by: root, extensions: ['keyUsage=critical,keyEncipherment'] })],
      /not for clients/,
    ],
    'with a critical extension that nobody knows': [
      [maker.make('panel', { by: root, extensions: ['1.2.3.4=critical,DER:0500'] })],
      /critical extension .*1\.2\.3\.4/,
    ],
    'below an authority for other names': [
      (() => {
        const limited = maker.make('Limited', {
          by: root,
          extensions: [...CA_EXTENSIONS, 'nameConstraints=critical,permitted;DNS:a.example'],
        });
        return [maker.make('panel', { by: limited, extensions: plain }), limited];
      })(),
      /critical extension/,
    ],
    'signed with SHA-1': [[maker.make('panel', { by: root, extensions: plain, digest: 'sha1' })], /SHA-1/],
    'with a key that is too short': [
      [maker.make('panel', { by: root, extensions: plain, keyType: ['-newkey', 'rsa:1024'] })],
      /1024 bits/,
    ],
    'that is revoked': [[revokedLeaf], /revoked/],
    'by an authority that is revoked': [
      [maker.make('panel', { by: revokedMiddle, extensions: plain }), revokedMiddle],
      /revoked/,
    ],
  };
  for (const [what, [chain, why]] of Object.entries(refused)) {
    test(`one ${what} lets nobody in`, async () => {
      assert.match(await decide(chain), why);
    });
  }

  test('counts between the dates of every one of its chain', async () => {
    const chain = [maker.make('panel', { by: oldRoot, extensions: CLIENT_EXTENSIONS }), oldRoot];
    // It begins now, and what came before may have taken its time.
    clock.setWall(soon());
    assert.equal(await decide(chain), 'in');
    clock.setWall(soon() + 2 * DAY_MS);
    assert.match(await decide(chain), /of an authority does not count: the certificate has expired/);
    assert.equal(await decide([direct]), 'in');
    clock.setWall(soon() + 31 * DAY_MS);
    assert.match(await decide([direct]), /has expired/);
    clock.setWall(soon() - DAY_MS);
    assert.match(await decide([direct]), /not valid yet/);
    clock.setWall(soon());
  });

  test('what is revoked is read again when the file changes; while it cannot be read nobody is let in, and may ask again', async () => {
    const keeper = rig.enrolment.gatekeeper();
    const by = (made: Made) => decided(rig, presentedBy('panel', { certificates: [made.der] }), keeper);
    assert.equal(await by(direct), 'in');
    writeFileSync(revoked, `${bySerial}${bare(direct.x509.fingerprint)}\n`);
    assert.match(await by(direct), /revoked/);
    assert.equal(await by(client), 'in');
    writeFileSync(revoked, `${bySerial}this is no fingerprint\n`);
    assert.match(await by(client), /^unavailable: hub\.revoked cannot be read/);
    assert.ok(rig.log.some((line) => /revoked\.txt cannot be used.*line 5 is no serial number/.test(line)));
    rmSync(revoked);
    assert.match(await by(client), /^unavailable/);
    writeFileSync(revoked, '');
    assert.equal(await by(direct), 'in');
    writeFileSync(revoked, bySerial);
  });

  test(
    'a file that may not be read for a while is read again, though nothing in it has changed',
    { skip: process.getuid?.() !== 0 && 'SKIP: needs root, to become somebody else' },
    async () => {
      const keeper = rig.enrolment.gatekeeper();
      const by = presentedBy('panel', { certificates: [direct.der] });
      const admission = await keeper.admit(by);
      assert.ok('client' in admission);
      utimesSync(revoked, 1, 1);
      // Once the file alone, once the folder as well.
      for (const mode of [0o755, 0o700]) {
        chmodSync(dir, mode);
        chmodSync(revoked, 0o600);
        process.seteuid!(65_534);
        try {
          assert.match(await decided(rig, by, keeper), /^unavailable: hub\.(revoked|clientCa) cannot be read/);
          assert.equal(keeper.objection(admission.client), null);
        } finally {
          process.seteuid!(0);
        }
        assert.equal(await decided(rig, by, keeper), 'in');
      }
      assert.equal(rig.log.filter((line) => /revoked\.txt cannot be used.*EACCES/.test(line)).length, 1);
    },
  );

  test('a search among many look-alikes comes to an end', async () => {
    const lookAlikes = Array.from({ length: 9 }, () => maker.make('Fleet middle', { extensions: CA_EXTENSIONS }));
    // Of the processor: the machine may stand still.
    const before = process.cpuUsage();
    assert.match(await decide([good, ...lookAlikes]), /not trusted/);
    assert.ok(process.cpuUsage(before).user < 2_000_000);
  });
});
