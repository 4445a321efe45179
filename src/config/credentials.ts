import { dirname } from 'node:path';
import { deviceCredentials, type TokenTime } from './iothub-device.ts';
import { certificatesIn, keyPairIn } from './key-files.ts';
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
 * cannot be read, or holds what cannot be used.
 */
export function readCredentials(upstream: UpstreamConfig, configPath: string, time: TokenTime): Credentials {
  const secret = (name: string | undefined) =>
    name === undefined ? undefined : resolveSecret(name, dirname(configPath)).value;
  const { passwordFile, proxy, proxyPasswordFile, tlsMinVersion: minVersion } = upstream;
  return {
    ...(upstream.dialect === 'iothub'
      ? asDevice(upstream, secret(upstream.sharedAccessKeyFile), time)
      : { username: upstream.username, password: secret(passwordFile), renewInMs: undefined }),
    // A file that nobody needs must not keep a gateway from its broker.
    tls: { ...(encrypts(upstream) && tlsFiles(upstream)), minVersion },
    proxy: proxy === undefined ? undefined : { url: proxy, password: secret(proxyPasswordFile) },
  };
}

/** Whether there is TLS on the way, to the broker or to a proxy. */
function encrypts({ url, proxy }: UpstreamConfig): boolean {
  return [url, proxy].some((place) => /^(mqtts|wss|https):/i.test(place ?? ''));
}

/** What TLS is made with, PEM. Throws a KeyFileFault for what cannot be used. */
export function tlsFiles({ ca, clientCert, clientKey }: UpstreamConfig) {
  return {
    ...(ca !== undefined && { ca: certificatesIn({ file: ca, setting: 'upstream.ca' }).pem }),
    ...(clientCert !== undefined && clientKey !== undefined && pair(clientCert, clientKey)),
  };
}

function pair(clientCert: string, clientKey: string) {
  const { cert, key } = keyPairIn(
    { file: clientCert, setting: 'upstream.clientCert' },
    { file: clientKey, setting: 'upstream.clientKey' },
  );
  return { cert, key };
}

function asDevice({ url, iothubName, clientId }: UpstreamConfig, key: string | undefined, time: TokenTime) {
  const hub = iothubName ?? new URL(url).hostname;
  const { username, password, renewInMs } = deviceCredentials(hub, clientId, key ?? null, VERSION, time);
  return { username, password: password ?? undefined, renewInMs: renewInMs ?? undefined };
}
