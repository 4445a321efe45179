import { createHash, createPublicKey, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';
import { isIP } from 'node:net';
import { contextTag, der, derBits, derInteger, derOid, derSequence, derTime, TAG } from './der.ts';

/*
 * Certificates as this gateway makes them (X.509 version 3, RFC 5280): ECDSA with SHA-256 over P-256, nothing else.
 */

const ECDSA_SHA256 = derSequence(derOid('1.2.840.10045.4.3.2'));
const SERIAL_BYTES = 16;
const TRUE = der(TAG.boolean, Buffer.of(0xff));
const OID = {
  commonName: '2.5.4.3',
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyId: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
} as const;

/** What a certificate is to say. */
export interface Wanted {
  /** The common name. */
  readonly name: string;
  readonly publicKey: KeyObject;
  /** Wall ms. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** An authority signs others, a server has names: DNS names and IP addresses. */
  readonly as: 'authority' | { readonly serverNames: readonly string[] };
}

/** Who signs: for one that signs itself, its own name and key. */
export interface Issuer {
  readonly name: string;
  readonly privateKey: KeyObject;
}

export function newKey(): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
}

/** A signed certificate, PEM. */
export function signedCertificate(wanted: Wanted, issuer: Issuer): string {
  // Positive, and never with a leading zero, so that every tool shows the same digits.
  const serial = randomBytes(SERIAL_BYTES);
  serial[0] = (serial[0]! & 0x7f) | 0x40;
  const tbs = derSequence(
    der(contextTag(0, true), derInteger(Buffer.of(2))),
    derInteger(serial),
    ECDSA_SHA256,
    distinguished(issuer.name),
    derSequence(derTime(wanted.notBefore), derTime(wanted.notAfter)),
    distinguished(wanted.name),
    spki(wanted.publicKey),
    der(contextTag(3, true), derSequence(...extensions(wanted, issuer))),
  );
  const signature = sign('sha256', tbs, issuer.privateKey);
  const base64 = derSequence(tbs, ECDSA_SHA256, derBits(signature)).toString('base64');
  return `-----BEGIN CERTIFICATE-----\n${base64.match(/.{1,64}/g)!.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function extensions({ as, publicKey }: Wanted, issuer: Issuer): Buffer[] {
  const subjectKeyId = extension(OID.subjectKeyId, false, der(TAG.octetString, keyId(publicKey)));
  const authorityKeyId = extension(
    OID.authorityKeyId,
    false,
    derSequence(der(contextTag(0, false), keyId(createPublicKey(issuer.privateKey)))),
  );
  if (as === 'authority') {
    return [
      // No authority below it.
      extension(OID.basicConstraints, true, derSequence(TRUE, derInteger(Buffer.of(0)))),
      // keyCertSign and cRLSign: bits 5 and 6.
      extension(OID.keyUsage, true, derBits(Buffer.of(0x06), 1)),
      subjectKeyId,
    ];
  }
  return [
    extension(OID.basicConstraints, true, derSequence()),
    // digitalSignature: bit 0.
    extension(OID.keyUsage, true, derBits(Buffer.of(0x80), 7)),
    extension(OID.extendedKeyUsage, false, derSequence(derOid(OID.serverAuth))),
    extension(OID.subjectAltName, false, derSequence(...as.serverNames.map(alternativeName))),
    subjectKeyId,
    authorityKeyId,
  ];
}

function extension(oid: string, critical: boolean, value: Buffer): Buffer {
  return derSequence(derOid(oid), ...(critical ? [TRUE] : []), der(TAG.octetString, value));
}

function distinguished(name: string): Buffer {
  return derSequence(der(TAG.set, derSequence(derOid(OID.commonName), der(TAG.utf8, Buffer.from(name, 'utf8')))));
}

function spki(key: KeyObject): Buffer {
  return key.export({ type: 'spki', format: 'der' });
}

/** RFC 7093, section 2, method 1: the first 160 bits of the SHA-256 of the key, here with its algorithm. */
function keyId(key: KeyObject): Buffer {
  return createHash('sha256').update(spki(key)).digest().subarray(0, 20);
}

/** A GeneralName (RFC 5280, 4.2.1.6): an IP address by its bytes, anything else as a DNS name. */
function alternativeName(name: string): Buffer {
  if (isIP(name) === 0) return der(contextTag(2, false), Buffer.from(name, 'latin1'));
  return der(contextTag(7, false), addressBytes(name));
}

function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number));
  // The URL parser writes an IPv6 address in groups of hex, whatever form it had.
  const [left = '', right] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groups = (text: string) => text.split(':').filter((group) => group !== '');
  const [before, after] = [groups(left), groups(right ?? '')];
  const all = [...before, ...Array.from({ length: 8 - before.length - after.length }, () => '0'), ...after];
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
}
