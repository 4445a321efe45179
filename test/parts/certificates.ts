import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** A certificate authority of the test's own, made by openssl in a folder; its certificate is `ca`. */
export class Authority {
  readonly ca: string;
  readonly #dir: string;
  readonly #key: string;
  #count = 0;

  constructor(dir: string, name = 'ca') {
    this.#dir = dir;
    this.ca = join(dir, `${name}.pem`);
    this.#key = join(dir, `${name}.key`);
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', this.#key];
    openssl('req', '-x509', ...key, '-out', this.ca, '-days', '2', '-subj', `/CN=Test ${name}`);
  }

  /** A certificate for these names (as in `IP:127.0.0.1`), valid for so many days from now; of a day that is past when negative. */
  issue(name: string, names: string, days = 1): Certificate {
    const path = (ending: string) => join(this.#dir, `${name}-${this.#count}.${ending}`);
    this.#count++;
    const [cert, key, request, extensions] = [path('pem'), path('key'), path('csr'), path('ext')];
    const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key];
    openssl('req', '-new', ...fresh, '-out', request, '-subj', `/CN=${name}`);
    writeFileSync(extensions, `subjectAltName=${names}\n`);
    const by = ['-CA', this.ca, '-CAkey', this.#key, '-CAcreateserial'];
    openssl('x509', '-req', '-in', request, ...by, '-out', cert, '-days', String(days), '-extfile', extensions);
    return { cert, key };
  }
}

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: 'pipe' });
}
