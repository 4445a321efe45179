import type { Certificate } from './certificate.ts';

/** Most certificates from a child to the one that is trusted, both included. */
const PATH_MAX = 6;
/** Most signatures that one judgement checks: a bundle of look-alikes must not keep us busy. */
const SIGNATURES_MAX = 24;

/** Why a certificate does not count now; null when it does. */
export type Judge = (certificate: Certificate) => string | null;

/**
 * Looks for a path from a certificate, of a client unless `of` says otherwise, to one that is trusted, by way of those that came with it (RFC 5280, section 6,
 * without policies and name constraints: a certificate with a critical extension of that kind is not taken). Each one of it must
 * be signed by the next, which must be allowed to sign and have no more authorities below it than it allows, and `judge` must
 * have nothing against it (dates, revocation). null when there is such a path, else why not.
 */
export function chainFault(
  leaf: Certificate,
  presented: readonly Certificate[],
  trusted: readonly Certificate[],
  judge: Judge,
  of: 'client' | 'server' = 'client',
): string | null {
  if (leaf.isAuthority) return 'the certificate is that of an authority';
  if (!(of === 'client' ? leaf.provesClients : leaf.provesServers))
    return `the certificate is not for ${of}s (key usage)`;
  let why = 'the certificate is of an authority that is not trusted';
  let signatures = 0;
  const search = (path: readonly Certificate[]): boolean => {
    const last = path.at(-1)!;
    const fault = last.flaw ?? judge(last);
    if (fault !== null) {
      why = `the certificate${path.length > 1 ? ' of an authority' : ''} does not count: ${fault}`;
      return false;
    }
    if (path.length >= PATH_MAX) return false;
    for (const [issuers, end] of [
      [trusted, true],
      [presented, false],
    ] as const) {
      for (const issuer of issuers) {
        if (path.includes(issuer) || last.x509.issuer !== issuer.x509.subject) continue;
        if (++signatures > SIGNATURES_MAX) return false;
        if (!last.x509.checkIssued(issuer.x509) || !last.x509.verify(issuer.publicKey)) continue;
        if (!issuer.signsCertificates) {
          why = 'it is signed by one that may not sign certificates';
          continue;
        }
        if (issuer.pathLength !== null && path.length - 1 > issuer.pathLength) {
          why = 'an authority has more authorities below it than it may have';
          continue;
        }
        if (end) {
          const against = issuer.flaw ?? judge(issuer);
          if (against === null) return true;
          why = `the trusted certificate does not count: ${against}`;
        } else if (search([...path, issuer])) return true;
      }
    }
    return false;
  };
  return search([leaf]) ? null : why;
}
