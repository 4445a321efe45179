import { signSasToken } from '../dialects/sas-token.ts';

/** What the device SDKs say, too; it names the form of what follows. */
const API_VERSION = '2021-04-12';
/** How long a token counts, and when the next one is made, ms: as the device SDKs do it. */
const TOKEN_MS = 3_600_000;
const RENEW_MS = 2_700_000;
/** The same while the time is not known: it may be much later than we think. */
const TOKEN_BLIND_MS = 366 * 86_400_000;

/** What tokens are dated by; see `KnownTime`. */
export interface TokenTime {
  readonly known: boolean;
  /** Wall ms; a time that has certainly passed while it is not known. */
  now(): number;
}

export interface DeviceCredentials {
  readonly username: string;
  /** Null: it shows a certificate. */
  readonly password: string | null;
  /** When the next token is needed, ms from now; null: never. */
  readonly renewInMs: number | null;
}

/**
 * With what the device `device` says to Azure IoT Hub who it is ("Communicate with an IoT hub using the MQTT protocol"). `hub`: the hub's
 * host name. `key`: base64; null: it shows a certificate. Throws when the key is none.
 */
export function deviceCredentials(
  hub: string,
  device: string,
  key: string | null,
  version: string,
  time: TokenTime,
): DeviceCredentials {
  const client = encodeURIComponent(`holdfast/${version}`);
  const username = `${hub}/${device}/?api-version=${API_VERSION}&DeviceClientType=${client}`;
  if (key === null) return { username, password: null, renewInMs: null };
  const bytes = Buffer.from(key.trim(), 'base64');
  // Node reads anything as base64; a piece of a connection string would be taken for a key that is merely wrong.
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(key.trim())) throw new Error('the shared access key is not base64');
  const expirySecs = Math.floor((time.now() + (time.known ? TOKEN_MS : TOKEN_BLIND_MS)) / 1000);
  return { username, password: signSasToken(`${hub}/devices/${device}`, bytes, expirySecs), renewInMs: RENEW_MS };
}
