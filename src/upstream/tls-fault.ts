import type { PeerCertificate } from 'node:tls';

/** Names in a certificate that are said, and the longest of each, characters: they are the other side's words. */
const NAMES_MAX = 5;
const NAME_LENGTH_MAX = 100;
const DAY_MS = 86_400_000;

/** Why a TLS connection does not come about. */
export interface TlsFault {
  /** One line about the other side, which is "it". The same fault gives the same line each time, unless `now` was given. */
  readonly what: string;
  readonly advice: string;
  /** What Node or OpenSSL calls it, when it has a name. */
  readonly code?: string;
}

/** What is known of the connection; each part may be missing. */
export interface TlsScene {
  /** By which name or address it was called. */
  readonly host?: string;
  /** What the other side showed, its own first. */
  readonly shown?: readonly PeerCertificate[];
  /** Whether `upstream.ca` takes the place of the authorities that Node.js brings. */
  readonly ownCa?: boolean;
  readonly minVersion?: '1.2' | '1.3' | undefined;
  /** What the clock shows, wall ms, and whether that is known to be right: then it is said how long ago something was. */
  readonly now?: number;
  readonly known?: boolean;
}

type Words = readonly [what: string, advice: string];

export const NAME_AUTHORITY = 'name the certificate of the authority that signed it in upstream.ca';
const OWN_CERTIFICATE = 'name one that it takes in upstream.clientCert, and its key in upstream.clientKey';
const ITS_LOG = 'the log at the other end says more';
const TLS_PORT = 'name its port for TLS in upstream.url (often 8883), or use mqtt:// if it has none';
const REISSUE = 'have its certificate made anew';

/** By Node's name for what OpenSSL finds in a certificate (doc/api/tls.md, "X509 certificate error codes"), and for what ends a handshake. */
const WORDS: Readonly<Record<string, Words>> = {
  CERT_REVOKED: ['its certificate is revoked', REISSUE],
  CERT_REJECTED: ['its certificate is not for servers', REISSUE],
  CERT_UNTRUSTED: ['its certificate is not for servers', REISSUE],
  INVALID_PURPOSE: [
    'its certificate is not for servers (key usage)',
    'have one made for servers (extendedKeyUsage serverAuth)',
  ],
  INVALID_CA: [
    'what signed its certificate may not sign certificates',
    'have it signed by an authority (basicConstraints CA:TRUE), and name that in upstream.ca',
  ],
  PATH_LENGTH_EXCEEDED: ['more authorities stand above its certificate than the highest allows', REISSUE],
  CERT_CHAIN_TOO_LONG: ['more authorities stand above its certificate than are looked at', REISSUE],
  CERT_SIGNATURE_FAILURE: [
    'its certificate is not signed by the authority of that name that we trust',
    'if that authority was made anew, name the new certificate in upstream.ca',
  ],
  UNSPECIFIED: [
    'its certificate is not good enough: a key too short, or a signature by MD5 or SHA-1',
    'have it made anew with RSA of 2048 bits or an elliptic curve, signed with SHA-256',
  ],
  ERR_SSL_WRONG_VERSION_NUMBER: ['what it sends is not TLS', TLS_PORT],
  ERR_SSL_PACKET_LENGTH_TOO_LONG: ['what it sends is not TLS', TLS_PORT],
  ECONNRESET: [
    'the connection was closed in the middle of the TLS handshake',
    'check that the port is the one for TLS (often 8883), and whether the broker wants a client certificate (upstream.clientCert)',
  ],
};

/** By the alert that the other side sends (RFC 8446, section 6.2), as OpenSSL spells it. What it says of a certificate is of ours. */
const ALERTS: Readonly<Record<string, Words>> = {
  CERTIFICATE_REQUIRED: ['it wants a client certificate, and we show none', OWN_CERTIFICATE],
  UNKNOWN_CA: [
    'it does not trust who signed our client certificate',
    `let it trust that authority (mosquitto: cafile), or ${OWN_CERTIFICATE}`,
  ],
  BAD_CERTIFICATE: ['it does not take our client certificate, or the want of one', OWN_CERTIFICATE],
  CERTIFICATE_UNKNOWN: ['it does not take our client certificate', `${OWN_CERTIFICATE}; ${ITS_LOG}`],
  UNSUPPORTED_CERTIFICATE: [
    'it does not take our client certificate: not of that kind',
    `${OWN_CERTIFICATE}; ${ITS_LOG}`,
  ],
  CERTIFICATE_EXPIRED: [
    'it says that our client certificate has expired',
    'have that renewed (upstream.clientCert); if it has not ended, the clock at the other end is wrong',
  ],
  CERTIFICATE_REVOKED: ['it says that our client certificate is revoked', OWN_CERTIFICATE],
  ACCESS_DENIED: ['it does not let our client certificate in', ITS_LOG],
  DECRYPT_ERROR: ['it does not accept what was signed with our key', ITS_LOG],
  HANDSHAKE_FAILURE: [
    'it breaks the TLS handshake off',
    `it may want a client certificate (upstream.clientCert), or have no cipher in common with us; ${ITS_LOG}`,
  ],
  UNRECOGNIZED_NAME: ['it does not know the name that it was called by', 'use the name that stands in its certificate'],
  INTERNAL_ERROR: ['it breaks the TLS handshake off for a fault of its own', ITS_LOG],
};

const TOO_OLD = ['ERR_SSL_UNSUPPORTED_PROTOCOL', 'ERR_SSL_NO_PROTOCOLS_AVAILABLE', 'ERR_SSL_VERSION_TOO_LOW'];

/** Words and advice for what Node and OpenSSL call `code`, which stands behind the words; null: none of TLS that we know. */
export function tlsFault(code: string, scene: TlsScene = {}): TlsFault | null {
  const words = dated(code, scene) ?? unknownIssuer(code, scene) ?? misnamed(code, scene) ?? handshake(code, scene);
  return words === null ? null : { what: `${words[0]} (${code})`, advice: words[1], code };
}

/** OpenSSL does not say which certificate it is: the one that ends first, or begins last. */
function dated(code: string, { shown = [], now, known = true }: TlsScene): Words | null {
  if (code !== 'CERT_HAS_EXPIRED' && code !== 'CERT_NOT_YET_VALID') return null;
  const ended = code === 'CERT_HAS_EXPIRED';
  const here = now === undefined ? '' : `it is ${new Date(now).toISOString()} here`;
  const advice = `${here}${here === '' ? '' : known ? ': ' : ', and nobody has said that this is right: '}correct the clock if that is wrong, else have the certificate renewed at the other end`;
  const rank = (each: PeerCertificate) => (ended ? Date.parse(each.valid_to) : -Date.parse(each.valid_from));
  const at = [...shown].sort((a, b) => rank(a) - rank(b))[0];
  if (at === undefined) return [`its certificate ${ended ? 'has expired' : 'is not valid yet'}`, advice];
  const whose =
    at === shown[0] ? 'its certificate' : `the certificate of ${commonName(at)}, an authority above its own,`;
  const ms = Date.parse(ended ? at.valid_to : at.valid_from);
  const ago =
    now === undefined || !known ? '' : ` (${daysText(ended ? now - ms : ms - now)}${ended ? ' ago' : ' from now'})`;
  return [`${whose} ${ended ? 'ended' : 'begins'} on ${dayText(ms)}${ago}`, advice];
}

function unknownIssuer(code: string, { shown = [], ownCa = false }: TlsScene): Words | null {
  const trusted = ownCa ? 'among those in upstream.ca' : 'one that Node.js knows';
  const [own] = shown;
  switch (code) {
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
      return [
        'its certificate is signed by itself, and by nobody that we trust: self-signed',
        'if it is the right one, name that certificate itself in upstream.ca',
      ];
    case 'SELF_SIGNED_CERT_IN_CHAIN': {
      const root = shown.at(-1);
      const name = root === undefined ? '' : `, ${commonName(root)},`;
      return [`the authority behind its certificate${name} is not ${trusted}`, NAME_AUTHORITY];
    }
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY': {
      const issuer = own?.issuer === undefined ? '' : `, ${printable(String(own.issuer.CN ?? 'without a name'))},`;
      const between = '; where others stand between the two, the other end has to send them along';
      return [`who signed its certificate${issuer} is not ${trusted}`, `${NAME_AUTHORITY}${ownCa ? between : ''}`];
    }
    default:
      return null;
  }
}

function misnamed(code: string, { host = 'that name', shown = [] }: TlsScene): Words | null {
  if (code !== 'ERR_TLS_CERT_ALTNAME_INVALID' && code !== 'HOSTNAME_MISMATCH') return null;
  const [own] = shown;
  const said = own === undefined ? '' : `, but for ${namesIn(own)}`;
  return [
    `its certificate is not for ${host}${said}`,
    `use the name that stands in its certificate, or have one made out for ${host}`,
  ];
}

function handshake(code: string, { minVersion }: TlsScene): Words | null {
  const alert = /^ERR_SSL_.*_ALERT_(\w+)$/.exec(code)?.[1] ?? /^ERR_SSL_TLSV1_(UNRECOGNIZED_NAME)$/.exec(code)?.[1];
  if (alert === 'PROTOCOL_VERSION' || TOO_OLD.includes(code)) {
    const advice = 'have it speak a newer TLS, or lower upstream.tlsMinVersion (1.2 at the least)';
    return [`it does not speak TLS ${minVersion ?? '1.2'} or newer`, advice];
  }
  if (alert !== undefined) return ALERTS[alert] ?? ['it breaks the TLS handshake off', ITS_LOG];
  return WORDS[code] ?? null;
}

/** Names that a certificate is for. Without any the common name counts (RFC 2818, section 3.1). */
function namesIn(certificate: PeerCertificate): string {
  const { subjectaltname } = certificate as { subjectaltname?: string };
  if (subjectaltname === undefined) return commonName(certificate);
  const names = subjectaltname.split(', ').map((name) => printable(name.replace(/^(DNS|IP Address):/, '')));
  const more = names.length > NAMES_MAX ? ` and ${names.length - NAMES_MAX} more` : '';
  return `${names.slice(0, NAMES_MAX).join(', ')}${more}`;
}

function commonName({ subject }: PeerCertificate): string {
  return printable(String(subject?.CN ?? 'no name at all'));
}

/** What a stranger may have made up to confuse who reads it. */
function printable(text: string): string {
  return text.slice(0, NAME_LENGTH_MAX).replaceAll(/[^\x20-\x7e]/g, '?');
}

/** `664 days`. */
export function daysText(ms: number): string {
  const days = Math.floor(ms / DAY_MS);
  return days === 1 ? '1 day' : `${days} days`;
}

/** `2025-02-01`. */
export function dayText(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
