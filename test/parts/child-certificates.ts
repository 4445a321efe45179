import { execFileSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Certificate } from './certificates.ts';

export interface ChildCertificate extends Certificate {
  /** SHA-256 over the DER, hex. */
  readonly thumbprint: string;
}

export interface Wording {
  /** A whole subject, as `/CN=press-1`. */
  readonly subject: string;
  /** `ecKey: false` makes an RSA key. */
  readonly ecKey?: boolean;
  /** Lines of an openssl extension section; those of a client's leaf when left out. */
  readonly extensions?: readonly string[];
  /** Days from now at which it begins and ends; now and 2 when left out. */
  readonly fromDays?: number;
  readonly toDays?: number;
}

export const LEAF: readonly string[] = [
  'basicConstraints=critical,CA:false',
  'keyUsage=critical,digitalSignature',
  'extendedKeyUsage=clientAuth',
];
export const AUTHORITY: readonly string[] = [
  'basicConstraints=critical,CA:true',
  'keyUsage=critical,keyCertSign,cRLSign',
];

/** Certificates of children, good and bad, made by openssl in a folder. */
export class CertificateMaker {
  readonly #dir: string;
  #count = 0;

  constructor(dir: string) {
    this.#dir = join(dir, 'child-certificates');
    mkdirSync(this.#dir, { recursive: true });
  }

  selfSigned(wording: Wording): ChildCertificate {
    return this.#make(wording, null);
  }

  issuedBy(issuer: Certificate, wording: Wording): ChildCertificate {
    return this.#make(wording, issuer);
  }

  /** A file with the leaf first, then the others: what a client presents. */
  chain(leaf: ChildCertificate, ...others: readonly Certificate[]): ChildCertificate {
    const cert = join(this.#dir, `${++this.#count}-chain.pem`);
    writeFileSync(cert, [leaf, ...others].map(({ cert: path }) => readFileSync(path, 'utf8')).join(''));
    return { ...leaf, cert };
  }

  // `openssl ca`, since `openssl x509` of 3.0 cannot say when a certificate begins.
  #make({ subject, ecKey = true, extensions = LEAF, fromDays = -1, toDays = 2 }: Wording, issuer: Certificate | null) {
    const folder = join(this.#dir, String(++this.#count));
    mkdirSync(folder);
    const path = (name: string) => join(folder, name);
    const [cert, key, request, config] = ['cert.pem', 'key.pem', 'request.pem', 'openssl.cnf'].map(path) as [
      string,
      string,
      string,
      string,
    ];
    const kind = ecKey ? ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'] : ['rsa:2048'];
    writeFileSync(path('index.txt'), '');
    writeFileSync(
      config,
      [
        '[req]',
        'distinguished_name=dn',
        '[dn]',
        '[ca]',
        'default_ca=this',
        '[this]',
        `database=${path('index.txt')}`,
        `new_certs_dir=${folder}`,
        'rand_serial=yes',
        'default_md=sha256',
        'policy=any',
        'x509_extensions=its',
        'preserve=yes',
        '[any]',
        'commonName=optional',
        'organizationName=optional',
        '[its]',
        ...extensions,
        '',
      ].join('\n'),
    );
    const subjectWords = ['-subj', subject, '-config', config];
    openssl('req', '-new', '-newkey', ...kind, '-nodes', '-keyout', key, '-out', request, ...subjectWords);
    const by = issuer === null ? ['-selfsign', '-keyfile', key] : ['-cert', issuer.cert, '-keyfile', issuer.key];
    const dates = ['-startdate', opensslDate(fromDays), '-enddate', opensslDate(toDays)];
    openssl('ca', '-batch', '-notext', '-config', config, ...by, '-in', request, '-out', cert, ...dates);
    const { raw } = new X509Certificate(readFileSync(cert));
    return { cert, key, thumbprint: createHash('sha256').update(raw).digest('hex') };
  }
}

/** YYYYMMDDHHMMSSZ. */
function opensslDate(daysFromNow: number): string {
  const time = new Date(Date.now() + daysFromNow * 86_400_000).toISOString();
  return `${time.replace(/[-:T]/g, '').slice(0, 14)}Z`;
}

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: 'pipe' });
}
