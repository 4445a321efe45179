import { readFileSync, statSync } from 'node:fs';
import type { Logger } from 'pino';
import { readCertificate, type Certificate } from './certificate.ts';

/** Largest file of authorities or of what is revoked, bytes. */
const FILE_BYTES_MAX = 4 * 2 ** 20;
const AUTHORITIES_MAX = 100;
const PEM = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** A file whose meaning is kept until it changes. */
class WatchedFile<T> {
  readonly #path: string;
  readonly #read: (text: string) => T;
  readonly #log: Logger;
  #seen = '';
  #value: T | null = null;
  #said = '';

  constructor(path: string, read: (text: string) => T, log: Logger) {
    this.#path = path;
    this.#read = read;
    this.#log = log;
  }

  /** null when it cannot be read: said once for each state of the file. */
  get value(): T | null {
    let seen = '';
    try {
      const found = statSync(this.#path, { throwIfNoEntry: false });
      seen = found === undefined ? 'absent' : `${found.dev}:${found.ino}:${found.size}:${found.mtimeMs}`;
      if (seen === this.#seen) return this.#value;
      if (found !== undefined && found.size > FILE_BYTES_MAX) throw new Error(`has more than ${FILE_BYTES_MAX} bytes`);
      this.#value = this.#read(readFileSync(this.#path, 'utf8'));
      this.#said = '';
    } catch (error) {
      this.#value = null;
      const { message, errno } = error as NodeJS.ErrnoException;
      const fault = `${seen} ${message}`;
      // What the filesystem says may pass (a permission, a bad moment of the card) without a change of the file.
      if (errno !== undefined) seen = '';
      if (fault !== this.#said)
        this.#log.error(
          `${this.#path} cannot be used, children with certificates of an authority are not let in: ${message}`,
        );
      this.#said = fault;
    }
    this.#seen = seen;
    return this.#value;
  }
}

/** Which authorities' certificates let children in, and which certificates do not count any more. */
export class Trust {
  readonly #authorities: WatchedFile<readonly Certificate[]> | null;
  readonly #revoked: WatchedFile<ReadonlySet<string>> | null;

  /** Paths; undefined for none. The files are read again when they change. */
  constructor(clientCa: string | undefined, revoked: string | undefined, log: Logger) {
    this.#authorities = clientCa === undefined ? null : new WatchedFile(clientCa, authoritiesIn, log);
    this.#revoked = revoked === undefined ? null : new WatchedFile(revoked, revokedIn, log);
  }

  /** None when the configuration names none; null when the file cannot be read. */
  authorities(): readonly Certificate[] | null {
    return this.#authorities === null ? [] : this.#authorities.value;
  }

  /** Whether a certificate is revoked; null when the file cannot be read. */
  isRevoked({ sha1, sha256, serial }: Certificate): boolean | null {
    if (this.#revoked === null) return false;
    const revoked = this.#revoked.value;
    return revoked === null ? null : [sha1, sha256, serial].some((each) => revoked.has(bare(each)));
  }
}

/** The certificates in a PEM file. Throws when there is none, or one that cannot be read. */
export function authoritiesIn(text: string): readonly Certificate[] {
  const blocks = text.match(PEM) ?? [];
  if (blocks.length === 0) throw new Error('has no certificate in it (PEM)');
  if (blocks.length > AUTHORITIES_MAX) throw new Error(`has more than ${AUTHORITIES_MAX} certificates`);
  return blocks.map((block) => readCertificate(Buffer.from(block.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64')));
}

/**
 * One to a line: a serial number, or a SHA-1 or SHA-256 fingerprint, in hex, with or without colons; `#` begins a remark. A
 * line of 40 digits counts as both a SHA-1 fingerprint and a serial number. Throws for any other line: who mistypes a
 * fingerprint must hear of it.
 */
export function revokedIn(text: string): ReadonlySet<string> {
  const found = new Set<string>();
  for (const [index, line] of text.split('\n').entries()) {
    const hex = line.replace(/#.*/, '').replaceAll(/[\s:]/g, '');
    if (hex === '') continue;
    if (!/^[0-9a-f]{1,64}$/i.test(hex))
      throw new Error(`line ${index + 1} is no serial number and no fingerprint in hex`);
    found.add(bare(hex));
  }
  return found;
}

/** As it is compared: tools differ in case and in leading zeros. */
function bare(hex: string): string {
  return hex.toUpperCase().replace(/^0+(?=.)/, '');
}
