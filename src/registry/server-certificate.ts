import { createPrivateKey, createPublicKey, X509Certificate, type KeyObject } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import type { KnownTime } from './known-time.ts';
import { writePrivate } from './private-file.ts';
import { newKey, signedCertificate } from './signed-certificate.ts';

const DAY_MS = 86_400_000;
/** How long the local authority lasts, ms: children are given its certificate once, by hand. */
const AUTHORITY_MS = 25 * 365 * DAY_MS;
/** How long a server certificate lasts, ms; browsers take none of more than 398 days. */
const SERVER_MS = 397 * DAY_MS;
/** With less than this left it is made anew, ms. */
const RENEW_MS = 130 * DAY_MS;
/** A file that somebody else renews is complained of with less than this left, ms. */
const WARN_MS = 14 * DAY_MS;
/** How often it is looked, ms. */
const LOOK_EVERY_MS = 3_600_000;
/** Most addresses that stand in a certificate. */
const ADDRESSES_MAX = 32;
/**
 * Where the validity of what we make begins, wall ms: a child, or this gateway, may not know what day it is, and that a
 * certificate is older than its owner's clock proves nothing.
 */
const NOT_BEFORE = 0;

/** What a TLS server shows. */
export interface ServerCertificate {
  /** PEM: the server's own and those above it. */
  readonly cert: string;
  readonly key: string;
}

/** The local authority as people see it. */
export interface Authority {
  /** PEM. */
  readonly certificate: string;
  readonly sha256: string;
  /** Wall ms. */
  readonly notAfter: number;
  readonly file: string;
}

/** The same with what it signs with. */
interface LocalAuthority {
  readonly name: string;
  readonly certificate: string;
  readonly privateKey: KeyObject;
}

export interface CertificatesOptions {
  /** `dataDir/keys`. */
  readonly keysDir: string;
  readonly gateway: string;
  readonly hostName: string;
  /** Files that take the place of the local authority. */
  readonly files: { readonly cert: string; readonly key: string } | null;
  /** IP addresses by which this machine can be reached. */
  readonly addresses: () => readonly string[];
  readonly clock: Clock;
  readonly time: KnownTime;
  readonly log: Logger;
}

/**
 * The hub's TLS certificate: from files, or made by an authority of the gateway's own in `dataDir/keys`. It is made anew before
 * it expires and when the machine's addresses change, and files are read again when they change, without a restart: whoever
 * holds a TLS server listens to {@link onRenewed}.
 */
export class Certificates {
  readonly #options: CertificatesOptions;
  readonly #listeners = new Set<(certificate: ServerCertificate) => void>();
  #current: ServerCertificate;
  #seen = '';
  #timer: Timer | null = null;
  #warned = false;

  /** Makes what is not there. Throws when a file cannot be read or written, or a key does not fit its certificate. */
  constructor(options: CertificatesOptions) {
    this.#options = options;
    this.#current = options.files === null ? this.#made() : this.#fromFiles(options.files);
  }

  get current(): ServerCertificate {
    return this.#current;
  }

  /** Calls `listener` with each certificate that takes the place of the one before. */
  onRenewed(listener: (certificate: ServerCertificate) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  start(): void {
    this.#timer = this.#options.clock.every(LOOK_EVERY_MS, () => this.look());
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** Looks whether it has to be renewed. What fails is said; the one before stays. */
  look(): void {
    const { files, log } = this.#options;
    try {
      const next = files === null ? this.#made() : this.#fromFiles(files);
      if (next.cert === this.#current.cert && next.key === this.#current.key) return;
      this.#current = next;
      log.info('the hub has a new server certificate');
      for (const listener of this.#listeners) listener(next);
    } catch (error) {
      log.error(`the server certificate was not renewed: ${(error as Error).message}`);
    }
  }

  /** The authority of our own; null when the configuration names files. */
  authority(): Authority | null {
    if (this.#options.files !== null) return null;
    const { certificate } = this.#authority();
    const { fingerprint256, validTo } = new X509Certificate(certificate);
    return {
      certificate,
      sha256: fingerprint256.replaceAll(':', ''),
      notAfter: Date.parse(validTo),
      file: this.#path('ca.pem'),
    };
  }

  /** Makes the authority anew, and the server certificate with it: children that trust the one before trust it no more. */
  renewAuthority(): void {
    this.#makeAuthority();
    this.look();
  }

  /** The local one as it is kept, or a new one when it is not there, runs out, or names and addresses are not in it. */
  #made(): ServerCertificate {
    const { hostName, addresses, log } = this.#options;
    const authority = this.#authority();
    const names = [...new Set([hostName, 'localhost', '127.0.0.1', '::1', ...addresses().slice(0, ADDRESSES_MAX)])];
    const [cert, key] = [this.#path('server.pem'), this.#path('server.key')];
    if (existsSync(cert) && existsSync(key)) {
      const kept = { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
      if (this.#isGood(kept, authority.certificate, names)) return kept;
    }
    const before = this.#current as ServerCertificate | undefined;
    const isGood = before !== undefined && this.#isGood(before, authority.certificate, names);
    const made = isGood ? before : this.#fresh(authority, names);
    try {
      writePrivate(key, made.key);
      writePrivate(cert, made.cert);
    } catch (error) {
      // It counts all the same: children need not stay outside for it.
      log.error(`the server certificate cannot be kept: ${(error as Error).message}`);
    }
    return made;
  }

  #fresh(authority: LocalAuthority, names: readonly string[]): ServerCertificate {
    const { time, hostName } = this.#options;
    const { publicKey, privateKey } = newKey();
    // While the time is not known its end would be anywhere: it lasts as long as its authority, until the time is known.
    const notAfter = time.known
      ? time.now() + SERVER_MS
      : Date.parse(new X509Certificate(authority.certificate).validTo);
    const wanted = {
      name: hostName.slice(0, 64),
      publicKey,
      notBefore: NOT_BEFORE,
      notAfter,
      as: { serverNames: names },
    };
    const own = signedCertificate(wanted, { name: authority.name, privateKey: authority.privateKey });
    return { cert: own + authority.certificate, key: pem(privateKey) };
  }

  #isGood({ cert, key }: ServerCertificate, authority: string, names: readonly string[]): boolean {
    const { time } = this.#options;
    try {
      const found = new X509Certificate(cert);
      const left = Date.parse(found.validTo) - time.now();
      // One that was made while nobody knew the time lasts too long once it is known.
      if (left < RENEW_MS || (time.known && left > SERVER_MS + DAY_MS)) return false;
      if (!cert.endsWith(authority) || !found.verify(new X509Certificate(authority).publicKey)) return false;
      if (!found.checkPrivateKey(createPrivateKey(key))) return false;
      // IPv6 addresses come and go (RFC 8981), each of them would be a new certificate: they are in it as they were.
      return names.every((name) =>
        isIP(name) === 0 ? found.checkHost(name, { subject: 'never' }) : isIP(name) === 6 || found.checkIP(name),
      );
    } catch {
      return false;
    }
  }

  #authority(): LocalAuthority {
    const [cert, key] = [this.#path('ca.pem'), this.#path('ca.key')];
    if (!existsSync(key)) this.#makeAuthority();
    const privateKey = createPrivateKey(readFileSync(key, 'utf8'));
    if (!existsSync(cert) || !new X509Certificate(readFileSync(cert)).checkPrivateKey(privateKey)) {
      this.#writeAuthority(privateKey);
    }
    const certificate = readFileSync(cert, 'utf8');
    const name = new X509Certificate(certificate).subject.replace(/^CN=/, '');
    return { name, certificate, privateKey };
  }

  /** The key is first: cut off between the two, the certificate is made again from it. */
  #makeAuthority(): void {
    const { privateKey } = newKey();
    writePrivate(this.#path('ca.key'), pem(privateKey));
    this.#writeAuthority(privateKey);
  }

  #writeAuthority(privateKey: KeyObject): void {
    const { gateway, time } = this.#options;
    const name = `Holdfast ${gateway}`.slice(0, 64);
    const publicKey = createPublicKey(privateKey);
    const notAfter = time.now() + AUTHORITY_MS;
    const wanted = { name, publicKey, notBefore: NOT_BEFORE, notAfter, as: 'authority' } as const;
    writePrivate(this.#path('ca.pem'), signedCertificate(wanted, { name, privateKey }));
  }

  #fromFiles(files: { readonly cert: string; readonly key: string }): ServerCertificate {
    const seen = [files.cert, files.key]
      .map((file) => statSync(file))
      .map(({ dev, ino, size, mtimeMs }) => `${dev}:${ino}:${size}:${mtimeMs}`)
      .join();
    const read = seen !== this.#seen;
    const found = read
      ? { cert: readFileSync(files.cert, 'utf8'), key: readFileSync(files.key, 'utf8') }
      : this.#current;
    const certificate = new X509Certificate(found.cert);
    if (read) {
      // Between the two renames of whoever renews them they do not fit: the next look finds both.
      if (!certificate.checkPrivateKey(createPrivateKey(found.key)))
        throw new Error(`${files.key} is not the key of ${files.cert}`);
      this.#seen = seen;
      this.#warned = false;
    }
    const { time, log } = this.#options;
    const left = Date.parse(certificate.validTo) - time.now();
    // While the time is not known it is later than that: what has ended by then has ended, how long the others last nobody knows.
    if (left < (time.known ? WARN_MS : 0) && !this.#warned) {
      this.#warned = true;
      log.warn(
        `${files.cert} ${left < 0 ? 'has expired' : 'expires'} at ${new Date(Date.parse(certificate.validTo)).toISOString()}`,
      );
    }
    return found;
  }

  #path(name: string): string {
    return join(this.#options.keysDir, name);
  }
}

function pem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string;
}
