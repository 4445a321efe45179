import { readFileSync } from 'node:fs';
import type { Certificate } from './certificates.ts';
import { AUTHORITY, LEAF, type CertificateMaker, type ChildCertificate } from './child-certificates.ts';
import { userName, type Forgery } from './bad-credentials.ts';

/** What a child with certificates is registered by: thumbprints, or null for the authority that everyone trusts. */
export interface Holder {
  readonly id: string;
  readonly thumbprint: string | null;
}

/** One who presents a certificate that must not let it in as `holder`. */
export interface FalseHolder {
  readonly name: string;
  readonly holder: Holder;
  readonly forgery: Forgery;
}

export interface Trust {
  /** The authority that the gateway trusts (`hub.clientCa`). */
  readonly root: ChildCertificate;
  /** Under it; children of this one are good. */
  readonly shop: ChildCertificate;
  /** A leaf of `shop` on the gateway's list of revoked ones. */
  readonly revoked: ChildCertificate;
}

export function makeTrust(maker: CertificateMaker): Trust {
  const root = maker.selfSigned({ subject: '/CN=Root', extensions: AUTHORITY });
  const shop = maker.issuedBy(root, { subject: '/CN=Shop floor', extensions: AUTHORITY });
  return { root, shop, revoked: maker.issuedBy(shop, { subject: '/CN=cert-revoked' }) };
}

export function presenting(id: string, certificate: Certificate | null, password?: string): Forgery {
  const read = ({ cert, key }: Certificate) => ({ cert: readFileSync(cert), key: readFileSync(key) });
  return {
    clientId: id,
    username: userName(id),
    ...(certificate === null ? {} : { tls: read(certificate) }),
    ...(password === undefined ? {} : { password }),
  };
}

/** Everyone who is wrong with a certificate; each has a child of its own. */
export function falseHolders(maker: CertificateMaker, { root, shop, revoked }: Trust): FalseHolder[] {
  const found: FalseHolder[] = [];
  const own = (id: string) => maker.selfSigned({ subject: `/CN=${id}` });
  const add = (
    name: string,
    byThumbprint: boolean,
    present: (id: string) => Certificate | null,
    registered = own,
  ): void => {
    const id = `cert-${found.length}`;
    const thumbprint = byThumbprint ? registered(id).thumbprint : null;
    found.push({ name, holder: { id, thumbprint }, forgery: presenting(id, present(id)) });
  };
  const same = (wording: { fromDays?: number; toDays?: number }) => {
    // What is registered is what is presented: only its dates are wrong.
    let made: ChildCertificate | null = null;
    const make = (id: string) => (made ??= maker.selfSigned({ subject: `/CN=${id}`, ...wording }));
    return [make, make] as const;
  };
  const by =
    (issuer: Certificate, ...others: Certificate[]) =>
    (id: string) =>
      maker.chain(maker.issuedBy(issuer, { subject: `/CN=${id}` }), ...others);

  add('a thumbprint, no certificate', true, () => null);
  add('a thumbprint, another key with the same name', true, own);
  add('a thumbprint, one of another name', true, () => own('somebody'));
  add('a thumbprint, one that the trusted authority signed', true, by(shop, shop));
  add('a thumbprint that ended a day ago', true, ...same({ fromDays: -3, toDays: -1 }));
  add('a thumbprint that ended a minute ago', true, ...same({ fromDays: -3, toDays: -1 / 1440 }));
  add('a thumbprint that begins tomorrow', true, ...same({ fromDays: 1, toDays: 3 }));
  add('a thumbprint that begins in an hour', true, ...same({ fromDays: 1 / 24, toDays: 3 }));

  const foreign = maker.selfSigned({ subject: '/CN=Foreign', extensions: AUTHORITY });
  const double = maker.selfSigned({ subject: '/CN=Root', extensions: AUTHORITY });
  const doubleShop = maker.selfSigned({ subject: '/CN=Shop floor', extensions: AUTHORITY });
  const leaf = maker.issuedBy(shop, { subject: '/CN=cert-leaf' });
  const mute = maker.issuedBy(root, {
    subject: '/CN=Mute',
    extensions: ['basicConstraints=critical,CA:true', 'keyUsage=critical,digitalSignature'],
  });
  const old = maker.issuedBy(root, { subject: '/CN=Old', extensions: AUTHORITY, fromDays: -3, toDays: -1 });
  const short = maker.issuedBy(root, {
    subject: '/CN=Short',
    extensions: ['basicConstraints=critical,CA:true,pathlen:0', 'keyUsage=critical,keyCertSign'],
  });
  const below = maker.issuedBy(short, { subject: '/CN=Below', extensions: AUTHORITY });
  const wording = (extra: object) => (id: string) =>
    maker.chain(maker.issuedBy(shop, { subject: `/CN=${id}`, ...extra }), shop);

  add('an authority, no certificate', false, () => null);
  add('an authority, one that signed itself', false, own);
  add('a foreign authority', false, by(foreign, foreign));
  add('a foreign authority of the same name', false, by(double, double));
  add('a foreign authority of the same name, in the middle', false, by(doubleShop, doubleShop, root));
  add('a foreign authority, with the trusted one beside it', false, by(foreign, shop, root));
  add('the name of another child', false, () => wording({})('somebody'));
  add('a name that goes on', false, (id) => wording({})(`${id}0`));
  add('a name in capitals', false, (id) => wording({})(id.toUpperCase()));
  add('no common name', false, () => wording({ subject: '/O=Shop' })(''));
  add('the id as organisation', false, (id) => wording({ subject: `/O=${id}/CN=somebody` })(id));
  add('two common names, one of them right', false, (id) => wording({ subject: `/CN=somebody/CN=${id}` })(id));
  add('two common names, the other way round', false, (id) => wording({ subject: `/CN=${id}/CN=somebody` })(id));
  add('ended yesterday', false, wording({ fromDays: -3, toDays: -1 }));
  add('begins tomorrow', false, wording({ fromDays: 1, toDays: 3 }));
  add('signed by a child', false, by(leaf, leaf, shop));
  add('signed by one that may not sign', false, by(mute, mute));
  add('signed by an authority whose days are over', false, by(old, old));
  add('too long a path', false, by(below, below, short));
  add('for servers only', false, wording({ extensions: [...LEAF.slice(0, 2), 'extendedKeyUsage=serverAuth'] }));
  add('that of an authority itself', false, wording({ extensions: AUTHORITY }));
  add('without the authority in the middle', false, (id) => maker.issuedBy(shop, { subject: `/CN=${id}` }));
  found.push({
    name: 'revoked',
    holder: { id: 'cert-revoked', thumbprint: null },
    forgery: presenting('cert-revoked', maker.chain(revoked, shop)),
  });
  found.push({
    name: "another child's client id beside the own certificate",
    holder: { id: 'cert-elsewhere', thumbprint: null },
    forgery: { ...presenting('cert-elsewhere', by(shop, shop)('cert-mine')), username: userName('cert-mine') },
  });
  return found;
}
