import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import {
  calculateJwkThumbprint,
  CompactEncrypt,
  CompactSign,
  compactDecrypt,
  compactVerify,
  FlattenedEncrypt,
} from 'jose';
import { DOCUMENT_BYTES_MAX, DocumentRefused, openDocument, sealDocument } from '../src/registry/document.ts';
import { gatewayKey } from '../src/registry/gateway-key.ts';
import { JwkError, newKeyPair, privateJwkIn, publicJwkIn, thumbprint } from '../src/registry/jwk.ts';
import { newSasKey } from '../src/registry/registry.ts';
import {
  documentOf,
  fleet,
  gateway,
  operator,
  otherGateway,
  sasChild,
  sealed,
  stranger,
} from './parts/sealed-documents.ts';
import { scratch } from './parts/scratch.ts';

const primaryKey = newSasKey();
const document = documentOf(3, [sasChild('panel', primaryKey, undefined, { modules: [], status: 'enabled' })]);
const json = Buffer.from(JSON.stringify(document));
const HEADER = { alg: 'ECDH-ES+A256KW', enc: 'A256GCM' } as const;
const publicKey = (jwk: object) => createPublicKey({ key: { ...jwk }, format: 'jwk' });
const privateKey = (jwk: object) => createPrivateKey({ key: { ...jwk }, format: 'jwk' });

/** Why it is refused; fails when it is not. */
async function refusal(bytes: Buffer | string, trust = null as typeof fleet.public | null): Promise<string> {
  const error = await openDocument(Buffer.from(bytes), gateway.private, trust).then(
    () => assert.fail('it was taken'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof DocumentRefused, `refused by ${String(error)}`);
  assert.ok(!/[\r\n]/.test(error.message) && error.message.length < 500, 'one line');
  assert.ok(!error.message.includes(primaryKey), 'no key in it');
  return error.message;
}

/** Encrypted to the gateway by other hands than ours. */
function encrypted(content: Buffer | string, header: object = {}): Promise<string> {
  return new CompactEncrypt(Buffer.from(content))
    .setProtectedHeader({ ...HEADER, kid: gateway.public.kid, ...header })
    .encrypt(publicKey(gateway.public));
}

test('a document for one gateway is compact, for more it is general JSON, and each recipient opens it alone', async () => {
  const one = await sealDocument(document, [gateway.public]);
  assert.match(one.toString(), /^[\w-]+\.[\w-]+\.[\w-]+\.[\w-]+\.[\w-]+$/);
  const { plaintext, protectedHeader } = await compactDecrypt(one, privateKey(gateway.private));
  assert.deepEqual(JSON.parse(Buffer.from(plaintext).toString()), document);
  assert.equal(protectedHeader.kid, await calculateJwkThumbprint(gateway.public));

  const two = await sealed(document, { by: fleet.private });
  const { recipients } = JSON.parse(two.toString()) as { recipients: { header: { kid: string } }[] };
  assert.deepEqual(
    recipients.map(({ header }) => header.kid),
    [gateway.public.kid, operator.public.kid],
  );
  for (const key of [gateway.private, operator.private]) {
    assert.deepEqual(await openDocument(two, key, fleet.public), { document, signed: true });
    assert.deepEqual(await openDocument(one, gateway.private, null), { document, signed: false });
  }
  const signed = await sealDocument(document, [gateway.public], fleet.private);
  const inner = await compactDecrypt(signed, privateKey(gateway.private));
  const verified = await compactVerify(inner.plaintext, publicKey(fleet.public), { algorithms: ['ES256'] });
  assert.deepEqual(JSON.parse(Buffer.from(verified.payload).toString()), document);
  // Nobody has said whose signature it should be.
  assert.deepEqual(await openDocument(signed, gateway.private, null), { document, signed: false });
  assert.ok(!Buffer.concat([one, two]).includes('panel'), 'nothing of it can be read');
});

test('a document of other hands is opened as well: no kid, spaces around it, one recipient in general JSON', async () => {
  const noKid = await encrypted(json, { kid: undefined });
  assert.equal((await openDocument(Buffer.from(`\n${noKid}\n`), gateway.private, null)).document.version, 3);
  const { header, encrypted_key, ...shared } = await new FlattenedEncrypt(json)
    .setProtectedHeader({ ...HEADER })
    .setUnprotectedHeader({ kid: gateway.public.kid })
    .encrypt(publicKey(gateway.public));
  const general = JSON.stringify({ ...shared, recipients: [{ header, encrypted_key }] });
  assert.equal((await openDocument(Buffer.from(general), gateway.private, null)).document.version, 3);
});

describe('what is refused', () => {
  test('what is no JWE at all', async () => {
    const compact = (await sealDocument(document, [gateway.public])).toString();
    const texts = [
      '{}',
      '[]',
      'null',
      '{"version":1}',
      'a.b.c',
      '....',
      `${compact}.x`,
      json.toString(),
      '\u0000',
      '['.repeat(1e6),
    ];
    for (const text of [...texts, randomBytes(500)]) assert.match(await refusal(text), /^it is not a JWE/);
  });

  test('a document encrypted to another key, with both names', async () => {
    const foreign = await sealDocument(document, [otherGateway.public, operator.public]);
    const kids = `${otherGateway.public.kid}, ${operator.public.kid}`;
    const expected = `it is encrypted to another key (${kids}); the key of this gateway is ${gateway.public.kid}`;
    assert.equal(await refusal(foreign), expected);
    // Under our name, but not to our key.
    const posing = await new CompactEncrypt(json)
      .setProtectedHeader({ ...HEADER, kid: gateway.public.kid })
      .encrypt(publicKey(otherGateway.public));
    assert.match(await refusal(posing), /^it cannot be decrypted: it was changed/);
    const nameless = await new CompactEncrypt(json)
      .setProtectedHeader({ ...HEADER })
      .encrypt(publicKey(operator.public));
    assert.match(await refusal(nameless), /cannot be decrypted with the key of this gateway/);
    const odd = await encrypted(json, { kid: 'x\n\u001b[31m' });
    assert.match(await refusal(odd), /\(none that can be read\)/);
  });

  test('other algorithms, a compressed one, one with an extension', async () => {
    const { publicKey: rsa } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    // The public key, which everybody has, as a shared secret.
    const shared = Buffer.from(gateway.public.x, 'base64url');
    const kid = gateway.public.kid;
    const others: [string, object, Parameters<CompactEncrypt['encrypt']>[0]][] = [
      ['dir', { alg: 'dir', kid }, shared],
      ['A256KW', { alg: 'A256KW', kid }, shared],
      ['PBES2-HS256+A128KW', { alg: 'PBES2-HS256+A128KW', kid }, shared],
      ['RSA-OAEP-256', { alg: 'RSA-OAEP-256', kid }, rsa],
      ['ECDH-ES', { alg: 'ECDH-ES', kid }, publicKey(gateway.public)],
      ['ECDH-ES+A128KW', { alg: 'ECDH-ES+A128KW', kid }, publicKey(gateway.public)],
      ['A128GCM', { enc: 'A128GCM', kid }, publicKey(gateway.public)],
      ['A256CBC-HS512', { enc: 'A256CBC-HS512', kid }, publicKey(gateway.public)],
    ];
    for (const [name, header, key] of others) {
      const jwe = await new CompactEncrypt(json).setProtectedHeader({ ...HEADER, ...header }).encrypt(key);
      assert.ok((await refusal(jwe)).startsWith('it is encrypted by '), name);
      assert.ok((await refusal(jwe)).includes(` ${name}`), name);
    }
    assert.match(await refusal(await encrypted(Buffer.alloc(2 ** 20), { zip: 'DEF' })), /^it is compressed/);
    const [head = '', ...rest] = (await encrypted(json)).split('.');
    const none = { ...JSON.parse(Buffer.from(head, 'base64url').toString()), alg: 'none' } as object;
    const plain = [Buffer.from(JSON.stringify(none)).toString('base64url'), ...rest].join('.');
    assert.match(await refusal(plain), /^it is encrypted by none and A256GCM/);
  });

  test('with trust: one that is not signed, signed by another key, by another algorithm, for another gateway', async () => {
    assert.match(await refusal(await sealed(document), fleet.public), /^it is not signed, and registry\.trust asks/);
    const foreign = await sealed(document, { by: stranger.private });
    const named = `it is signed by another key (${stranger.public.kid}); registry.trust is ${fleet.public.kid}`;
    assert.equal(await refusal(foreign, fleet.public), named);
    const signedBy = (header: object, key: Parameters<CompactSign['sign']>[0]) =>
      new CompactSign(json).setProtectedHeader({ alg: 'ES256', ...header }).sign(key);
    const posing = await signedBy({ kid: fleet.public.kid }, privateKey(stranger.private));
    assert.match(await refusal(await encrypted(posing), fleet.public), /^its signature is not by the key/);
    // The trusted public key, which everybody has, as the secret of a MAC.
    const spki = publicKey(fleet.public).export({ type: 'spki', format: 'pem' });
    const mac = await signedBy({ alg: 'HS256', kid: fleet.public.kid }, Buffer.from(spki));
    for (const trust of [fleet.public, null])
      assert.match(await refusal(await encrypted(mac), trust), /^it is signed by HS256; only ES256/);
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${json.toString('base64url')}.`;
    for (const trust of [fleet.public, null])
      assert.match(await refusal(await encrypted(none), trust), /^it is signed by none; only ES256/);
    const good = await signedBy({ kid: fleet.public.kid }, privateKey(fleet.private));
    assert.equal((await openDocument(Buffer.from(await encrypted(good)), gateway.private, fleet.public)).signed, true);
    const changed = good.replace(
      /\.[^.]+\./,
      `.${Buffer.from(JSON.stringify({ ...document, version: 9 })).toString('base64url')}.`,
    );
    assert.match(await refusal(await encrypted(changed), fleet.public), /^its signature is not by the key/);
    // Whoever can open one sends it on to somebody else.
    const opened = await compactDecrypt(
      await sealDocument(document, [otherGateway.public], fleet.private),
      privateKey(otherGateway.private),
    );
    assert.match(
      await refusal(await encrypted(Buffer.from(opened.plaintext)), fleet.public),
      /^it was signed for other gateways/,
    );
  });

  test('what is encrypted in it is no document: why, and never what stands there', async () => {
    const child = { id: 'panel', auth: { sas: { primaryKey: `${primaryKey}!` } } };
    const cases: [unknown, RegExp][] = [
      [{ ...document, version: 0 }, /version: Too small/],
      [{ ...document, version: 2 ** 53 }, /version: /],
      [{ ...document, version: '3' }, /version: /],
      [{ ...document, issuedAt: 'yesterday' }, /issuedAt: /],
      [{ version: 1, issuedAt: document.issuedAt }, /children: /],
      [{ ...document, more: primaryKey }, /Unrecognized key: "more"/],
      [documentOf(1, [child]), /children\.0\.auth\.sas\.primaryKey: a key is base64/],
      [documentOf(1, [sasChild('a b')]), /children\.0\.id: an id has/],
      [documentOf(1, [sasChild('a'), sasChild('a')]), /two children of one name/],
      [
        documentOf(
          1,
          Array.from({ length: 900 }, () => child),
        ),
        / \.\.\.$/,
      ],
      [
        documentOf(
          1,
          Array.from({ length: 10_000 }, (_, n) => sasChild(`c-${n}`, primaryKey)),
        ),
        /10000 children; at most 1000/,
      ],
    ];
    for (const [value, why] of cases) {
      const said = await refusal(await encrypted(JSON.stringify(value)));
      assert.match(said, /^it is not a registry document: /);
      assert.match(said, why);
    }
    assert.match(await refusal(await encrypted('{"version":')), /is not JSON$/);
    assert.match(await refusal(await encrypted(Buffer.of(0x7b, 0xff))), /is not UTF-8 text$/);
    assert.match(await refusal(await encrypted('hello')), /neither JSON nor a JWS$/);
    assert.match(await refusal(await encrypted('')), /neither JSON nor a JWS$/);
  });

  test('10 MB, before it is looked at', async () => {
    assert.match(await refusal(Buffer.alloc(10e6, 'a')), /^it has 10000000 bytes; at most 4194304/);
    await assert.rejects(sealDocument(documentOf(1, []), []), DocumentRefused);
    assert.match(await refusal(Buffer.alloc(DOCUMENT_BYTES_MAX, '.')), /^it is not a JWE/);
  });
});

describe('the key of the gateway', () => {
  test('it is made once, for its owner only, and kept', async () => {
    const dir = join(scratch(), 'keys');
    const made = gatewayKey(dir);
    assert.equal(statSync(join(dir, 'gateway-key.jwk')).mode & 0o777, 0o600);
    assert.deepEqual(gatewayKey(dir), made);
    assert.equal(made.kid, await calculateJwkThumbprint(made.public));
    assert.deepEqual(Object.keys(made.public).sort(), ['crv', 'kid', 'kty', 'use', 'x', 'y']);
    assert.equal(made.public.use, 'enc');
    const opened = await openDocument(await sealDocument(document, [made.public]), made, null);
    assert.equal(opened.document.version, 3);
  });

  test('one that cannot be used is said and left as it is', () => {
    const dir = scratch();
    const file = join(dir, 'gateway-key.jwk');
    const { d, ...open } = gateway.private;
    const broken = [
      '',
      '{}',
      'null',
      JSON.stringify(open),
      JSON.stringify({ ...gateway.private, d: operator.private.d }),
    ];
    for (const text of [
      ...broken,
      JSON.stringify(fleet.private),
      JSON.stringify({ ...gateway.private, d: 'A'.repeat(43) }),
    ]) {
      writeFileSync(file, text);
      assert.throws(
        () => gatewayKey(dir),
        (error) => error instanceof JwkError && error.message.startsWith(`${file}: `) && !error.message.includes(d),
      );
      assert.equal(readFileSync(file, 'utf8'), text);
    }
    rmSync(file);
    assert.throws(() => gatewayKey(dir, join(dir, 'none.jwk')), /none\.jwk: cannot be read \(ENOENT\)/);
  });

  test('a public key is on the curve, for its purpose, and never a private one', async () => {
    assert.equal(thumbprint(fleet.public), await calculateJwkThumbprint(fleet.public));
    assert.equal(publicJwkIn({ ...fleet.public, kid: 'posing', use: undefined }, 'sig').kid, fleet.public.kid);
    const { x, y } = fleet.public;
    assert.throws(() => publicJwkIn({ ...fleet.public, x: y, y: x }, 'sig'), /no point on P-256/);
    assert.throws(() => publicJwkIn({ ...fleet.public, crv: 'P-384' }, 'sig'), /not a public JWK/);
    assert.throws(() => publicJwkIn(fleet.private, 'sig'), /is a private key/);
    assert.throws(() => publicJwkIn(gateway.public, 'sig'), /to encrypt to, not one to sign/);
    assert.throws(() => privateJwkIn(fleet.private, 'enc'), /to sign with, not one to encrypt/);
    assert.notEqual(newKeyPair('enc').public.kid, newKeyPair('enc').public.kid);
  });
});
