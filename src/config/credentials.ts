import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { UpstreamConfig } from './schema.ts';
import { resolveSecret } from './secret.ts';

/** With what we identify ourselves upstream, and judge who answers. */
export interface Credentials {
  readonly password: string | undefined;
  /** PEM. */
  readonly tls: { readonly ca?: string; readonly cert?: string; readonly key?: string };
}

/** Reads them from the files that the configuration at `configPath` names. Throws when one cannot be read. */
export function readCredentials(upstream: UpstreamConfig, configPath: string): Credentials {
  const file = (path: string | undefined) => (path === undefined ? undefined : readFileSync(path, 'utf8'));
  const [ca, cert, key] = [file(upstream.ca), file(upstream.clientCert), file(upstream.clientKey)];
  return {
    password:
      upstream.passwordFile === undefined ? undefined : resolveSecret(upstream.passwordFile, dirname(configPath)).value,
    tls: { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) },
  };
}
