import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** What is wrong with a file of certificates or a key. The message names it. */
export class KeyFileFault extends Error {
  /** What to do about it. */
  readonly fix: string;
  /** It could not be read at all: another user may see it. */
  readonly unread: boolean;

  constructor(message: string, fix: string, unread = false) {
    super(message);
    this.name = 'KeyFileFault';
    this.fix = fix;
    this.unread = unread;
  }
}

/** A file that the configuration names, and by which key. */
export interface NamedFile {
  readonly file: string;
  /** As in `upstream.ca`. */
  readonly setting: string;
}

/** The text of a file of certificates, PEM, with at least one in it, and the first of them. Throws {@link KeyFileFault}. */
export function certificatesIn({ file, setting }: NamedFile): { pem: string; first: X509Certificate } {
  const pem = textOf({ file, setting });
  try {
    // Node.js itself takes what holds none without a word, and trusts nobody then.
    return { pem, first: new X509Certificate(pem) };
  } catch {
    const instead = /-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem) ? ', but a private key' : '';
    throw new KeyFileFault(
      `${file} (${setting}) holds no certificate (PEM)${instead}`,
      `name a file with a certificate in ${setting}: it begins with -----BEGIN CERTIFICATE-----`,
    );
  }
}

/** A certificate and its key. Throws {@link KeyFileFault}, also when they do not belong together. */
export function keyPairIn(cert: NamedFile, key: NamedFile): { cert: string; key: string; first: X509Certificate } {
  const { pem, first } = certificatesIn(cert);
  const keyPem = textOf(key);
  let fits: boolean;
  try {
    fits = first.checkPrivateKey(createPrivateKey(keyPem));
  } catch (error) {
    if (/ENCRYPTED/.test(keyPem)) {
      throw new KeyFileFault(
        `${key.file} (${key.setting}) is locked with a passphrase, and nobody is there to type it at a start`,
        `unlock it (openssl pkey -in ${key.file}), and let nobody but the gateway read the result`,
      );
    }
    throw new KeyFileFault(
      `${key.file} (${key.setting}) holds no private key (PEM): ${(error as Error).message}`,
      `name a file with a private key in ${key.setting}: it begins with -----BEGIN PRIVATE KEY-----`,
    );
  }
  if (fits) return { cert: pem, key: keyPem, first };
  throw new KeyFileFault(
    `${key.file} is not the key of ${cert.file}`,
    `name the two that belong together in ${cert.setting} and ${key.setting}`,
  );
}

function textOf({ file, setting }: NamedFile): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new KeyFileFault(
      `${file} (${setting}) ${unreadable(code)}`,
      'put it there, and let the gateway read it',
      true,
    );
  }
}

function unreadable(code: string | undefined): string {
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'is not there';
  if (code === 'EACCES' || code === 'EPERM') return 'may not be read by this user';
  return `cannot be read (${code})`;
}
