import { X509Certificate, type KeyObject } from 'node:crypto';
import { contextTag, DerError, inside, oidText, readAll, TAG, timeOf, type Der } from './der.ts';

/** Largest certificate that is looked at, bytes. */
const CERTIFICATE_BYTES_MAX = 16_384;

const OID = {
  commonName: '2.5.4.3',
  keyUsage: '2.5.29.15',
  basicConstraints: '2.5.29.19',
  extendedKeyUsage: '2.5.29.37',
} as const;
/** Extensions whose meaning is seen to here, or that restrict nothing: all that may be critical (RFC 5280, 4.2). */
const UNDERSTOOD: ReadonlySet<string> = new Set([
  OID.keyUsage,
  OID.basicConstraints,
  OID.extendedKeyUsage,
  '2.5.29.14', // subject key identifier
  '2.5.29.17', // subject alternative name
  '2.5.29.18', // issuer alternative name
  '2.5.29.35', // authority key identifier
]);
/** Bits of the key usage (RFC 5280, 4.2.1.3). */
const DIGITAL_SIGNATURE = 0;
const KEY_CERT_SIGN = 5;
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const ANY_USE = '2.5.29.37.0';
/** Signatures with MD5 and SHA-1, which can be forged: RSA PKCS #1 and ECDSA. */
const FORGEABLE: ReadonlySet<string> = new Set(['1.2.840.113549.1.1.4', '1.2.840.113549.1.1.5', '1.2.840.10045.4.1']);
const RSA_BITS_MIN = 2048;

/**
 * What a certificate (X.509 version 3, RFC 5280) says of itself. Node's own X509Certificate reads names and keys and checks a
 * signature; its `verify` looks at neither dates nor constraints nor uses, so these are read here.
 */
export interface Certificate {
  readonly x509: X509Certificate;
  readonly publicKey: KeyObject;
  /** Common names of the subject, in order. */
  readonly commonNames: readonly string[];
  /** Wall ms. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** May sign certificates, as far as its basic constraints and key usage go. */
  readonly signsCertificates: boolean;
  readonly isAuthority: boolean;
  /** Authorities that may stand below it; null for any number. */
  readonly pathLength: number | null;
  /** May show who a client is, as far as its key usage and extended key usage go. */
  readonly provesClients: boolean;
  /** The same of a server. */
  readonly provesServers: boolean;
  /** Why it is not to be trusted whoever signed it; null when there is nothing. */
  readonly flaw: string | null;
  /** Upper-case hex without colons. */
  readonly sha1: string;
  readonly sha256: string;
  readonly serial: string;
}

/** Reads one. Throws {@link DerError} when it is none, or none that can be judged. */
export function readCertificate(bytes: Buffer): Certificate {
  if (bytes.length > CERTIFICATE_BYTES_MAX) throw new DerError('a certificate too large');
  let x509: X509Certificate;
  let publicKey: KeyObject;
  try {
    x509 = new X509Certificate(bytes);
    publicKey = x509.publicKey;
  } catch {
    throw new DerError('no certificate');
  }
  const [tbs, algorithm] = inside(readAll(x509.raw)[0]);
  const fields = inside(tbs);
  // A version stands first in all but those of version 1.
  if (fields[0]?.tag === contextTag(0, true)) fields.shift();
  const [, , , validity, subject] = fields;
  const [notBefore, notAfter] = inside(validity).map(timeOf);
  const extensions = extensionsIn(fields.find(({ tag }) => tag === contextTag(3, true)));
  const usage = extensions.get(OID.keyUsage);
  const uses = (bit: number) => usage === undefined || bitOf(usage.value, bit);
  const constraints = constraintsIn(extensions.get(OID.basicConstraints)?.value);
  const purposes = extensions.get(OID.extendedKeyUsage);
  const purposeOids = purposes === undefined ? null : inside(readAll(purposes.value)[0]).map(oidText);
  const proves = (purpose: string) =>
    uses(DIGITAL_SIGNATURE) && (purposeOids === null || purposeOids.includes(purpose) || purposeOids.includes(ANY_USE));
  return {
    x509,
    publicKey,
    commonNames: commonNames(subject),
    notBefore: notBefore!,
    notAfter: notAfter!,
    signsCertificates: constraints.authority && uses(KEY_CERT_SIGN),
    isAuthority: constraints.authority,
    pathLength: constraints.pathLength,
    provesClients: proves(CLIENT_AUTH),
    provesServers: proves(SERVER_AUTH),
    flaw: flawOf(extensions, oidText(inside(algorithm)[0]), publicKey),
    sha1: x509.fingerprint.replaceAll(':', ''),
    sha256: x509.fingerprint256.replaceAll(':', ''),
    serial: x509.serialNumber.toUpperCase(),
  };
}

interface Extension {
  readonly critical: boolean;
  readonly value: Buffer;
}

function extensionsIn(field: Der | undefined): Map<string, Extension> {
  const found = new Map<string, Extension>();
  if (field === undefined) return found;
  for (const each of inside(readAll(field.content)[0])) {
    const [oid, second, third] = inside(each);
    const critical = second?.tag === TAG.boolean && second.content[0] !== 0;
    const value = second?.tag === TAG.boolean ? third : second;
    if (value?.tag !== TAG.octetString) throw new DerError('an extension without a value');
    const name = oidText(oid);
    if (found.has(name)) throw new DerError('an extension twice');
    found.set(name, { critical, value: value.content });
  }
  return found;
}

function constraintsIn(value: Buffer | undefined): { authority: boolean; pathLength: number | null } {
  if (value === undefined) return { authority: false, pathLength: null };
  const [first, ...rest] = inside(readAll(value)[0]);
  const authority = first?.tag === TAG.boolean && first.content[0] !== 0;
  const length = [first, ...rest].find((each) => each?.tag === TAG.integer);
  return { authority, pathLength: length === undefined ? null : (length.content.at(-1) ?? 0) };
}

/** Bit `number` of a bit string: bit 0 is the first one of the first byte. */
function bitOf(value: Buffer, number: number): boolean {
  const [bits] = readAll(value);
  if (bits?.tag !== TAG.bitString) throw new DerError('a bit string was due');
  return ((bits.content[1 + (number >> 3)] ?? 0) & (0x80 >> (number & 7))) !== 0;
}

function commonNames(subject: Der | undefined): string[] {
  return inside(subject).flatMap((set) =>
    inside(set, TAG.set).flatMap((pair) => {
      const [type, value] = inside(pair);
      return oidText(type) === OID.commonName && value !== undefined ? [value.content.toString('utf8')] : [];
    }),
  );
}

function flawOf(extensions: ReadonlyMap<string, Extension>, signature: string, key: KeyObject): string | null {
  for (const [oid, { critical }] of extensions) {
    if (critical && !UNDERSTOOD.has(oid)) return `it has a critical extension that is not understood (${oid})`;
  }
  if (FORGEABLE.has(signature)) return 'it is signed with MD5 or SHA-1';
  const bits = key.asymmetricKeyDetails?.modulusLength;
  if (bits !== undefined && bits < RSA_BITS_MIN) return `its key has ${bits} bits, ${RSA_BITS_MIN} are the least`;
  return null;
}
