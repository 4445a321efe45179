import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { authoritiesIn } from '../src/registry/trust.ts';
import { newSasKey } from '../src/registry/registry.ts';
import { ManualClock } from './manual-clock.ts';
import { CA_EXTENSIONS, CertificateMaker, CLIENT_EXTENSIONS } from './parts/client-certificates.ts';
import { fc } from './parts/properties.ts';
import { decided, HUB, presentedBy, RegistryRig } from './parts/registry-rig.ts';
import { scratch } from './parts/scratch.ts';

/** Seeds are printed by fast-check when one fails; it is then added here. */
const RUNS = process.env['HOLDFAST_TEST_LONG'] === '1' ? 50_000 : 1000;

const dir = scratch();
const maker = new CertificateMaker(dir);
const root = maker.make('Fleet root', { extensions: CA_EXTENSIONS });
const leaf = maker.make('panel', { by: root, extensions: [...CLIENT_EXTENSIONS, 'subjectAltName=DNS:panel'] });
const own = maker.make('self');
const key = newSasKey();

async function opened(): Promise<RegistryRig> {
  const rig = new RegistryRig(dir, new ManualClock({ wall: Date.now() + 60_000 }));
  writeFileSync(join(dir, 'ca.pem'), readFileSync(root.cert));
  rig.hub = 'clientCa: ca.pem';
  await rig.open();
  const { registry } = rig.enrolment;
  if (registry.empty) {
    const thumbprints = [own.x509.fingerprint256.replaceAll(':', '')];
    await registry.add({ id: 'panel', status: 'enabled', auth: { x509: { ca: true } }, modules: [] });
    await registry.add({ id: 'self', status: 'enabled', auth: { x509: { thumbprints } }, modules: [] });
    await registry.add({ id: 'sensor', status: 'enabled', auth: { sas: { primaryKey: key } }, modules: [] });
  }
  return rig;
}

/** Some bytes of `whole` changed, taken out, or put in. */
const mutated = (whole: Buffer): fc.Arbitrary<Buffer> =>
  fc
    .array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255), fc.constantFrom('set', 'cut', 'insert', 'end')), {
      minLength: 1,
      maxLength: 4,
    })
    .map((changes) => {
      let bytes = Buffer.from(whole);
      for (const [at, value, how] of changes) {
        if (how === 'set') bytes[at % bytes.length] = value;
        else if (how === 'end') bytes = bytes.subarray(0, Math.max(1, at));
        else {
          const rest = bytes.subarray(at + (how === 'cut' ? 1 : 0));
          bytes = Buffer.concat([bytes.subarray(0, at), how === 'insert' ? Buffer.of(value) : Buffer.alloc(0), rest]);
        }
        if (bytes.length === 0) bytes = Buffer.of(value);
      }
      return bytes;
    });

test('a certificate that was tampered with lets nobody in, and is no more than refused', async () => {
  const rig = await opened();
  assert.equal(await decided(rig, presentedBy('panel', { certificates: [leaf.der, root.der] })), 'in');
  assert.equal(await decided(rig, presentedBy('self', { certificates: [own.der] })), 'in');
  const keeper = rig.enrolment.gatekeeper();
  await fc.assert(
    fc.asyncProperty(mutated(leaf.der), mutated(own.der), mutated(root.der), async (badLeaf, badOwn, badRoot) => {
      if (!badLeaf.equals(leaf.der)) {
        const answer = await decided(rig, presentedBy('panel', { certificates: [badLeaf, root.der] }), keeper);
        assert.match(answer, /^not authorised: /);
      }
      if (!badOwn.equals(own.der)) {
        assert.match(await decided(rig, presentedBy('self', { certificates: [badOwn] }), keeper), /^not authorised: /);
      }
      // What comes beside a good one is read as well.
      const beside = await decided(rig, presentedBy('panel', { certificates: [leaf.der, badRoot] }), keeper);
      assert.match(beside, /^in$|cannot be read/);
    }),
    { numRuns: RUNS / 4 },
  );
  await rig.close();
});

test('a token or a user name that was tampered with lets nobody in, and is no more than refused', async () => {
  const rig = await opened();
  const keeper = rig.enrolment.gatekeeper();
  const token = rig.token('sensor', key);
  const username = presentedBy('sensor').username!;
  assert.equal(await decided(rig, presentedBy('sensor', { password: token }), keeper), 'in');
  const sound = token.toString().replaceAll(/%../g, (escape) => escape.toUpperCase());
  await fc.assert(
    fc.asyncProperty(
      mutated(token),
      mutated(Buffer.from(username)),
      fc.string({ unit: 'binary', maxLength: 300 }),
      async (bad, name, any) => {
        const answer = await decided(rig, presentedBy('sensor', { password: bad }), keeper);
        // Another spelling of the same signature, or something behind it that nobody signed, is the same token.
        if (answer === 'in') assert.ok(sameToken(bad.toString(), sound), bad.toString());
        else assert.match(answer, /^not authorised: /);
        for (const odd of [name.toString(), any, `${HUB}/${any}/?api-version=1`]) {
          const other = await decided(rig, presentedBy('sensor', { password: token, username: odd }), keeper);
          if (other === 'in') assert.match(odd, /^(?:|sensor|[^/]+\/sensor\/\??api-version=.*)$/s);
        }
        assert.notEqual(
          await decided(rig, presentedBy(any, { password: token, username: undefined }), keeper),
          any === 'sensor' ? '' : 'in',
        );
      },
    ),
    { numRuns: RUNS },
  );
  await rig.close();
});

function sameToken(a: string, b: string): boolean {
  const parts = (text: string) =>
    new Map(
      text
        .split(' ')[1]
        ?.split('&')
        .map((part) => part.split(/=(.*)/s).slice(0, 2) as [string, string]),
    );
  const [x, y] = [parts(a), parts(b)];
  const signature = (part: string | undefined) => Buffer.from(decodeURIComponent(part ?? ''), 'base64').toString('hex');
  return (
    x.get('sr') === y.get('sr') && x.get('se') === y.get('se') && signature(x.get('sig')) === signature(y.get('sig'))
  );
}

test('a file of authorities is taken whole or not at all', () => {
  const text = readFileSync(root.cert);
  assert.equal(authoritiesIn(text.toString()).length, 1);
  fc.assert(
    fc.property(mutated(text), (bad) => {
      try {
        for (const { sha256 } of authoritiesIn(bad.toString('latin1'))) assert.match(sha256, /^[0-9A-F]{64}$/);
      } catch (error) {
        assert.match((error as Error).message, /no certificate|cut short|no DER|due|too large|extension|arc/);
      }
    }),
    { numRuns: RUNS / 2 },
  );
});
