import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { UpstreamConfig } from './schema.ts';
import { resolveSecret } from './secret.ts';

/** With what we identify ourselves upstream, and judge who answers. */
export interface Credentials {
  readonly password: string | undefined;
  /** PEM, and the oldest version of TLS that is spoken. */
  readonly tls: {
    readonly ca?: string;
    readonly cert?: string;
    readonly key?: string;
    readonly minVersion: UpstreamConfig['tlsMinVersion'];
  };
  readonly proxy: { readonly url: string; readonly password: string | undefined } | undefined;
}

/** Reads them from the files that the configuration at `configPath` names. Throws when one cannot be read. */
export function readCredentials(upstream: UpstreamConfig, configPath: string): Credentials {
  const file = (path: string | undefined) => (path === undefined ? undefined : readFileSync(path, 'utf8'));
  const secret = (name: string | undefined) =>
    name === undefined ? undefined : resolveSecret(name, dirname(configPath)).value;
  const [ca, cert, key] = [file(upstream.ca), file(upstream.clientCert), file(upstream.clientKey)];
  const { passwordFile, proxy, proxyPasswordFile, tlsMinVersion: minVersion } = upstream;
  return {
    password: secret(passwordFile),
    tls: { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }), minVersion },
    proxy: proxy === undefined ? undefined : { url: proxy, password: secret(proxyPasswordFile) },
  };
}
