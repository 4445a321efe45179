import { checkServerIdentity, rootCertificates, type PeerCertificate, type TLSSocket } from 'node:tls';
import { readCertificate, type Certificate } from '../registry/certificate.ts';
import { chainFault } from '../registry/chain.ts';
import { authoritiesIn } from '../registry/trust.ts';
import { tlsFault, type TlsFault } from './tls-fault.ts';

/** What OpenSSL says of a certificate when the only thing that it found last are the dates. */
export const DATE_FAULTS: ReadonlySet<string> = new Set(['CERT_NOT_YET_VALID', 'CERT_HAS_EXPIRED']);
/** How {@link serverFault} ends for a date, of whichever certificate of the chain it is. */
const ENDED = /CERT_HAS_EXPIRED$/;
const NOT_TRUSTED = 'name the certificate of the authority that signed it in upstream.ca, or have it made anew';
/** Most certificates of a server that are looked at. */
const CERTIFICATES_MAX = 10;

/** A time that has certainly passed, and whether it is the time itself; `KnownTime` of registry/ is one. */
export interface TrustedTime {
  readonly known: boolean;
  /** Wall ms. */
  now(): number;
}

/** Certificates of a server from its own on, as it showed them. */
export function shownBy(socket: TLSSocket): PeerCertificate[] {
  const chain: PeerCertificate[] = [];
  let at: PeerCertificate | undefined = socket.getPeerCertificate(true);
  // A root is its own issuer.
  while (at?.raw !== undefined && !chain.includes(at) && chain.length < CERTIFICATES_MAX) {
    chain.push(at);
    at = (at as { issuerCertificate?: PeerCertificate }).issuerCertificate;
  }
  return chain;
}

/** As {@link serverFault}, for a connection that OpenSSL, or Node, has something against; null when it has not. Never throws. */
export function faultWhileUncertain(
  socket: TLSSocket,
  host: string,
  ca: string | undefined,
  now: number,
): TlsFault | null {
  if (socket.authorized) return null;
  const code = String(socket.authorizationError);
  const shown = shownBy(socket);
  const scene = { host, shown, ownCa: ca !== undefined };
  try {
    const fault = DATE_FAULTS.has(code) ? serverFault(shown, host, ca, now) : code;
    if (fault === null) return null;
    return tlsFault(ENDED.test(fault) ? 'CERT_HAS_EXPIRED' : fault, scene) ?? { what: fault, advice: NOT_TRUSTED };
  } catch (error) {
    return { what: (error as Error).message, advice: NOT_TRUSTED };
  }
}

/**
 * Judges a server while the time is not known. OpenSSL takes the clock's word, and a date hides every other fault that it
 * found before, so the whole chain is looked at again: names, signatures, uses, and of the dates what is certain. A
 * certificate that had ended by `now` does not count; one that begins later may well have begun. Returns null, or the fault: a code of
 * Node's, or words.
 */
function serverFault(
  shown: readonly PeerCertificate[],
  host: string,
  ca: string | undefined,
  now: number,
): string | null {
  if (shown.length === 0) return 'no certificate was shown';
  const misnamed = checkServerIdentity(host, shown[0]!);
  if (misnamed !== undefined) return 'ERR_TLS_CERT_ALTNAME_INVALID';
  const [leaf, ...others] = shown.map(({ raw }) => readCertificate(raw));
  const trusted = ca === undefined ? roots() : authoritiesIn(ca);
  const dated = ({ notAfter }: Certificate) => (notAfter < now ? 'CERT_HAS_EXPIRED' : null);
  // One that is trusted by itself, without an authority.
  if (trusted.some(({ sha256 }) => sha256 === leaf!.sha256)) return leaf!.flaw ?? dated(leaf!);
  return chainFault(leaf!, others, trusted, dated, 'server');
}

let known: readonly Certificate[] | null = null;

/** Those that Node.js brings, as far as they can be read. */
function roots(): readonly Certificate[] {
  known ??= rootCertificates.flatMap((pem) => {
    try {
      return authoritiesIn(pem);
    } catch {
      return [];
    }
  });
  return known;
}
