import { timingSafeEqual } from 'node:crypto';
import { isSignedBy, parseSasToken } from '../dialects/sas-token.ts';
import type { Admission, Client, Gatekeeper, Presented, Refusal, RevokedListener } from '../hub/gatekeeper.ts';
import type { Attempts } from './attempts.ts';
import { readCertificate, type Certificate } from './certificate.ts';
import { chainFault } from './chain.ts';
import { clientName, type ClientName } from './client-name.ts';
import { DerError } from './der.ts';
import { credentialName, type Auth } from './identity.ts';
import type { KnownTime } from './known-time.ts';
import { NOBODYS_PASSWORD, passwordFault, type Passwords } from './password.ts';
import type { Registry } from './registry.ts';
import type { Trust } from './trust.ts';

/** Longest chain that is looked at. */
const CERTIFICATES_MAX = 10;

export interface AdmissionOptions {
  readonly registry: Registry;
  /** The names that SDK children may call the hub by, lower case: `hub.iothubName` and `hub.hostName`. */
  readonly hubNames: readonly string[];
  /** As the configuration has it now. */
  readonly policy: () => Policy;
  readonly time: KnownTime;
  readonly passwords: Passwords;
  readonly attempts: Attempts;
}

/** What may change while people are in. */
export interface Policy {
  /** What counts while the time is not known; see {@link Doorkeeper}. */
  readonly tokenExpiry: 'grace' | 'strict';
  readonly trust: Trust;
}

/** Why somebody is not let in. */
interface Verdict {
  readonly refused: Refusal;
  readonly why: string;
}

/** How many passwords were reckoned for somebody who wants in. */
interface Effort {
  reckoned: number;
}

/** Until when somebody is let in, wall ms; null for ever. */
type Dated = Verdict | { readonly expiresAt: number | null };

/** And by what (see {@link credentialName}). `again` judges its certificate once more. */
type Judged =
  | Verdict
  | { readonly expiresAt: number | null; readonly credential: string; readonly again?: () => Judged };

/**
 * Judges who may come in, by the registry alone: no network is asked.
 *
 * Dates are judged by a clock that is known. While it is not: with `grace` a token counts whenever it ends, and a certificate
 * that has not certainly ended counts; the hub ends the connection when the time becomes known and `expiresAt` has passed.
 * With `strict` nobody who depends on the time is let in until it is known: `unavailable`, so that they ask again.
 */
export class Doorkeeper implements Gatekeeper {
  readonly #options: AdmissionOptions;
  /** Those who came in with a certificate. */
  readonly #certified = new WeakMap<Client, () => Judged>();

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  onRevoked(listener: RevokedListener): () => void {
    return this.#options.registry.onRevoked(listener);
  }

  /** Never rejects for what a stranger presents. A refusal may take 2 s. */
  async admit(presented: Presented): Promise<Admission> {
    const { registry, attempts } = this.#options;
    if (registry.empty) return { refused: 'unavailable', why: 'there are no children with credentials yet' };
    const name = clientName(presented.clientId, presented.username);
    const judged: Judged =
      name === null
        ? { refused: 'bad client id', why: 'neither the client id nor the user name is the name of a child' }
        : await this.#judged(presented, name);
    if ('refused' in judged || name === null) {
      const verdict = judged as Verdict;
      if (verdict.refused === 'unavailable') return verdict;
      await attempts.failed(presented.address, name?.child ?? null, verdict.why);
      return { ...verdict, said: true };
    }
    attempts.succeeded(name.child);
    const { child, module, dialect } = name;
    const client: Client = {
      child,
      module,
      dialect,
      get grants() {
        return registry.grants(child);
      },
      // The registry may say otherwise while it is connected.
      get gateway() {
        return module === null && registry.find(child)?.gateway === true;
      },
      expiresAt: judged.expiresAt,
      credential: judged.credential,
    };
    if (judged.again !== undefined) this.#certified.set(client, judged.again);
    return { client };
  }

  /** What cannot be judged just now is no objection: who came in then did so when it could be. */
  objection(client: Client): string | null {
    const judged = this.#certified.get(client)?.();
    return judged !== undefined && 'refused' in judged && judged.refused !== 'unavailable' ? judged.why : null;
  }

  async #judged(presented: Presented, name: ClientName): Promise<Judged> {
    const { hubNames } = this.#options;
    if (name.hub !== null && !hubNames.includes(name.hub)) return no('the user name is of another hub');
    const effort: Effort = { reckoned: 0 };
    const judged = await this.#byRecord(presented, name, effort);
    if (!('refused' in judged) || judged.refused === 'unavailable') return judged;
    return this.#evenly(judged, presented, name, effort);
  }

  async #byRecord(presented: Presented, name: ClientName, effort: Effort): Promise<Judged> {
    const child = this.#options.registry.find(name.child);
    if (child === undefined) return no('there is no such child with credentials');
    const module = name.module === null ? null : child.modules.find(({ id }) => id === name.module);
    if (module === undefined) return no('the child has no such module');
    if (child.status === 'disabled') return no('the child is disabled');
    const own = (module ?? child).auth;
    const judged = await this.#byAuth(own, presented, name, effort, false);
    // A module may also show what its child would.
    if (!('refused' in judged) || module === null || judged.refused === 'unavailable') return judged;
    const asChild = await this.#byAuth(child.auth, presented, name, effort, true);
    return 'refused' in asChild ? judged : asChild;
  }

  /**
   * Refuses after as much reckoning, and in as many words, as a wrong password of a child that has one: else who knocks could
   * tell which ids there are. A module's name stands for two passwords, its own and its child's.
   */
  async #evenly(verdict: Verdict, presented: Presented, name: ClientName, effort: Effort): Promise<Verdict> {
    if (!this.#options.registry.hasPasswords) return verdict;
    const most = name.module === null ? 1 : 2;
    while (effort.reckoned < most) {
      const before = effort.reckoned;
      const right = await this.#reckoned(NOBODYS_PASSWORD, presented, name, effort);
      if (typeof right !== 'boolean') return before === 0 ? right : verdict;
      // Nothing that could be a password was shown.
      if (effort.reckoned === before) return verdict;
    }
    return verdict;
  }

  /** `standsIn`: it is a module that wants in, and these are the credentials of its child. */
  async #byAuth(
    auth: Auth,
    presented: Presented,
    name: ClientName,
    effort: Effort,
    standsIn: boolean,
  ): Promise<Judged> {
    if ('sas' in auth) return this.#bySas(auth.sas, presented, name, standsIn);
    if ('x509' in auth) {
      const again = () => this.#byCertificate(auth.x509, presented, name, standsIn);
      const judged = again();
      return 'refused' in judged ? judged : { ...judged, again };
    }
    return this.#byPassword(auth.password, presented, name, effort);
  }

  #bySas(
    sas: { primaryKey: string; secondaryKey?: string },
    { password }: Presented,
    { child, module }: ClientName,
    standsIn: boolean,
  ): Judged {
    const { time, hubNames, policy } = this.#options;
    const token = password === undefined ? null : parseSasToken(password.toString('utf8'));
    if (token === null) return no('the password is no shared access signature');
    if (token.keyName !== null && token.keyName !== '') return no('the signature is of a policy, not of a child');
    const [hub, ...path] = token.resource.split('/');
    const own = module === null ? `devices/${child}` : `devices/${child}/modules/${module}`;
    const named = standsIn ? [own, `devices/${child}`] : [own];
    if (!hubNames.includes((hub ?? '').toLowerCase()) || !named.includes(path.join('/'))) {
      return no('the signature is for another resource');
    }
    // Both are tried, whichever fits: how long it takes says nothing of either.
    const fitting = [sas.secondaryKey ?? sas.primaryKey, sas.primaryKey]
      .filter((key) => isSignedBy(token, Buffer.from(key, 'base64')))
      .pop();
    if (fitting === undefined) return no('the signature is not by the key of the child');
    const credential = credentialName(fitting);
    const expiresAt = token.expirySecs * 1000;
    if (time.known) return expiresAt <= time.now() ? no('the signature has expired') : { expiresAt, credential };
    if (policy().tokenExpiry === 'grace') return { expiresAt, credential };
    return { refused: 'unavailable', why: 'the time is not known, and tokenExpiry is strict' };
  }

  #byCertificate(
    x509: { thumbprints: string[] } | { ca: true },
    { certificates }: Presented,
    name: ClientName,
    standsIn: boolean,
  ): Judged {
    if (certificates.length === 0) return no('there is no client certificate');
    if (certificates.length > CERTIFICATES_MAX) return no('there are too many client certificates');
    let chain: Certificate[];
    try {
      chain = certificates.map(readCertificate);
    } catch (error) {
      if (!(error instanceof DerError)) throw error;
      return no(`the client certificate cannot be read: ${error.message}`);
    }
    const leaf = chain[0]!;
    if ('ca' in x509) {
      const subject = name.module === null || standsIn ? name.child : `${name.child}/${name.module}`;
      return this.#byAuthority(leaf, chain.slice(1), subject);
    }
    // All are compared, each in constant time.
    const fitting = x509.thumbprints
      .filter((thumbprint) => sameText(thumbprint, thumbprint.length === 40 ? leaf.sha1 : leaf.sha256))
      .pop();
    if (fitting === undefined) return no('the client certificate has another thumbprint');
    const dated = this.#dated(leaf);
    return 'refused' in dated ? dated : { ...dated, credential: credentialName(fitting) };
  }

  #byAuthority(leaf: Certificate, others: readonly Certificate[], subject: string): Judged {
    const { trust } = this.#options.policy();
    const authorities = trust.authorities();
    if (authorities === null) return { refused: 'unavailable', why: 'hub.clientCa cannot be read' };
    if (authorities.length === 0) return no('hub.clientCa names no authority');
    if (leaf.commonNames.length !== 1 || leaf.commonNames[0] !== subject) {
      return no("the client certificate's common name is not the id of the child");
    }
    let unavailable: string | null = null;
    const judge = (certificate: Certificate): string | null => {
      const revoked = trust.isRevoked(certificate);
      if (revoked === null) return (unavailable = 'hub.revoked cannot be read');
      if (revoked) return 'it is revoked';
      const dated = this.#dated(certificate);
      if (!('refused' in dated)) return null;
      if (dated.refused === 'unavailable') unavailable = dated.why;
      return dated.why;
    };
    const fault = chainFault(leaf, others, authorities, judge);
    if (fault === null) return { expiresAt: leaf.notAfter, credential: credentialName(`ca ${subject}`) };
    return unavailable === null ? no(fault) : { refused: 'unavailable', why: unavailable };
  }

  /** By its dates alone. */
  #dated({ notBefore, notAfter }: Certificate): Dated {
    const { time, policy } = this.#options;
    const now = time.now();
    if (notAfter < now) return no('the certificate has expired');
    if (notBefore <= now) return { expiresAt: notAfter };
    if (time.known) return no('the certificate is not valid yet');
    if (policy().tokenExpiry === 'grace') return { expiresAt: notAfter };
    return { refused: 'unavailable', why: 'the time is not known, and tokenExpiry is strict' };
  }

  async #byPassword(hash: string, presented: Presented, name: ClientName, effort: Effort): Promise<Judged> {
    const { password } = presented;
    if (password === undefined) return no('there is no password');
    const letIn = { expiresAt: null, credential: credentialName(hash) };
    if (this.#options.passwords.knows(password, hash)) return letIn;
    const right = await this.#reckoned(hash, presented, name, effort);
    if (typeof right !== 'boolean') return right;
    if (!right) return no('the password is wrong');
    // It may have been changed, or the child removed, while this one was reckoned.
    const now = this.#options.registry.find(name.child);
    if (now?.status !== 'enabled') return no('the child is disabled');
    const hashes = [now.auth, ...now.modules.map(({ auth }) => auth)].map(
      (auth) => 'password' in auth && auth.password,
    );
    return hashes.includes(hash) ? letIn : no('the password was changed');
  }

  /** Whether the password is right, or why that is not reckoned now. What can be no password costs nothing, and is wrong. */
  async #reckoned(
    hash: string,
    { password, address }: Presented,
    { child }: ClientName,
    effort: Effort,
  ): Promise<boolean | Verdict> {
    const { passwords, attempts } = this.#options;
    if (password === undefined || passwordFault(password) !== null) return false;
    if (!attempts.mayGuess(address, child)) return { refused: 'unavailable', why: 'too many wrong passwords' };
    const right = await passwords.matches(password, hash);
    if (right === null) return { refused: 'unavailable', why: 'too many passwords wait to be reckoned' };
    effort.reckoned++;
    return right;
  }
}

function no(why: string): Verdict {
  return { refused: 'not authorised', why };
}

function sameText(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}
