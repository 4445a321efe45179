import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { deviceCredentials, type TokenTime } from './iothub-device.ts';
import type { UpstreamConfig } from './schema.ts';
import { resolveSecret } from './secret.ts';
import { VERSION } from './version.ts';

/** With what we identify ourselves upstream, and judge who answers. */
export interface Credentials {
  readonly username: string | undefined;
  readonly password: string | undefined;
  /** When others are needed, ms from now; undefined: never. */
  readonly renewInMs: number | undefined;
  /** PEM, and the oldest version of TLS that is spoken. */
  readonly tls: {
    readonly ca?: string;
    readonly cert?: string;
    readonly key?: string;
    readonly minVersion: UpstreamConfig['tlsMinVersion'];
  };
  readonly proxy: { readonly url: string; readonly password: string | undefined } | undefined;
}

/**
 * Reads them from the files that the configuration at `configPath` names. `time` dates what is made for Azure IoT Hub. Throws when one
 * cannot be read.
 */
export function readCredentials(upstream: UpstreamConfig, configPath: string, time: TokenTime): Credentials {
  const file = (path: string | undefined) => (path === undefined ? undefined : readFileSync(path, 'utf8'));
  const secret = (name: string | undefined) =>
    name === undefined ? undefined : resolveSecret(name, dirname(configPath)).value;
  const [ca, cert, key] = [file(upstream.ca), file(upstream.clientCert), file(upstream.clientKey)];
  const { passwordFile, proxy, proxyPasswordFile, tlsMinVersion: minVersion } = upstream;
  return {
    ...(upstream.dialect === 'iothub'
      ? asDevice(upstream, secret(upstream.sharedAccessKeyFile), time)
      : { username: upstream.username, password: secret(passwordFile), renewInMs: undefined }),
    tls: { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }), minVersion },
    proxy: proxy === undefined ? undefined : { url: proxy, password: secret(proxyPasswordFile) },
  };
}

function asDevice({ url, iothubName, clientId }: UpstreamConfig, key: string | undefined, time: TokenTime) {
  const hub = iothubName ?? new URL(url).hostname;
  const { username, password, renewInMs } = deviceCredentials(hub, clientId, key ?? null, VERSION, time);
  return { username, password: password ?? undefined, renewInMs: renewInMs ?? undefined };
}
