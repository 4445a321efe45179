import { execFileSync } from 'node:child_process';
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A certificate with its key, made by openssl. */
export interface Made {
  readonly name: string;
  readonly cert: string;
  readonly key: string;
  readonly der: Buffer;
  readonly x509: X509Certificate;
}

export interface MakeOptions {
  /** Who signs; left out: itself. */
  readonly by?: Made;
  /** openssl's words for extensions, such as `basicConstraints=critical,CA:TRUE`. */
  readonly extensions?: readonly string[];
  readonly days?: number;
  readonly digest?: string;
  readonly keyType?: readonly string[];
}

export const CA_EXTENSIONS: readonly string[] = [
  'basicConstraints=critical,CA:TRUE',
  'keyUsage=critical,keyCertSign,cRLSign',
];
export const CLIENT_EXTENSIONS: readonly string[] = [
  'keyUsage=critical,digitalSignature',
  'extendedKeyUsage=clientAuth',
];

/** Makes certificates in a folder; valid from now on. */
export class CertificateMaker {
  readonly #dir: string;
  #count = 0;

  constructor(dir: string) {
    this.#dir = dir;
  }

  make(name: string, { by, extensions = [], days = 30, digest = 'sha256', keyType }: MakeOptions = {}): Made {
    const path = (ending: string) => join(this.#dir, `certificate-${this.#count}.${ending}`);
    const [cert, key, request, ext] = [path('pem'), path('key'), path('csr'), path('ext')];
    this.#count++;
    const fresh = keyType ?? ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
    openssl(
      'req',
      '-new',
      ...fresh,
      '-nodes',
      '-keyout',
      key,
      '-out',
      request,
      '-subj',
      name === '' ? '/O=nobody' : `/CN=${name}`,
    );
    writeFileSync(ext, `${extensions.join('\n')}\n`);
    const signer = by === undefined ? ['-signkey', key] : ['-CA', by.cert, '-CAkey', by.key, '-CAcreateserial'];
    openssl(
      'x509',
      '-req',
      '-in',
      request,
      ...signer,
      '-out',
      cert,
      '-days',
      String(days),
      `-${digest}`,
      '-extfile',
      ext,
    );
    const x509 = new X509Certificate(readFileSync(cert));
    // What openssl made fits: a test that is wrong for another reason would say nothing.
    const fits = createPublicKey(createPrivateKey(readFileSync(key))).export({ type: 'spki', format: 'der' });
    if (!fits.equals(x509.publicKey.export({ type: 'spki', format: 'der' }))) throw new Error('the key does not fit');
    return { name, cert, key, der: x509.raw, x509 };
  }
}

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: 'pipe' });
}
