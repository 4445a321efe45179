import { createHmac, timingSafeEqual } from 'node:crypto';
import { encoded } from './bag.ts';

/*
 * Shared access signatures, with which devices show that they know their key ("Control access to IoT Hub with shared access
 * signatures"): `SharedAccessSignature sr={resource}&sig={signature}&se={expiry}[&skn={key name}]`. The signature is HMAC-SHA256
 * over `{sr}\n{se}`, both as they stand in the token.
 */

const SCHEME = 'SharedAccessSignature ';
/** Longest token that is looked at, characters. */
const TOKEN_LENGTH_MAX = 4096;
/** Bytes of an HMAC-SHA256. */
const SIGNATURE_BYTES = 32;

export interface SasToken {
  /** Whose it is, decoded: `{hub}/devices/{device}[/modules/{module}]`. */
  readonly resource: string;
  /** When it ends, seconds since 1970. */
  readonly expirySecs: number;
  readonly keyName: string | null;
  readonly signature: Buffer;
  /** What was signed. */
  readonly signed: string;
}

/** Takes a token apart; null when it is none. Nothing of it has been verified. */
export function parseSasToken(text: string): SasToken | null {
  if (text.length > TOKEN_LENGTH_MAX || !text.startsWith(SCHEME)) return null;
  const parts = new Map<string, string>();
  for (const piece of text.slice(SCHEME.length).split('&')) {
    const equals = piece.indexOf('=');
    const name = piece.slice(0, equals);
    if (equals < 0 || parts.has(name)) return null;
    parts.set(name, piece.slice(equals + 1));
  }
  const [sr, sig, se, skn] = ['sr', 'sig', 'se', 'skn'].map((name) => parts.get(name));
  if (sr === undefined || sig === undefined || se === undefined || !/^\d{1,12}$/.test(se)) return null;
  try {
    const text = decodeURIComponent(sig);
    // Node's decoder leaves out whatever is not base64.
    if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return null;
    const signature = Buffer.from(text, 'base64');
    if (signature.length !== SIGNATURE_BYTES) return null;
    return {
      resource: decodeURIComponent(sr),
      expirySecs: Number(se),
      keyName: skn === undefined ? null : decodeURIComponent(skn),
      signature,
      signed: `${sr}\n${se}`,
    };
  } catch {
    return null;
  }
}

/** Whether `key` (its bytes, not base64) made the token's signature. Takes the same time wherever they differ. */
export function isSignedBy(token: SasToken, key: Buffer): boolean {
  return timingSafeEqual(token.signature, hmac(token.signed, key));
}

/** A token for `resource` until `expirySecs` (since 1970), made with `key` (its bytes, not base64). */
export function signSasToken(resource: string, key: Buffer, expirySecs: number, keyName?: string): string {
  const sr = encoded(resource);
  const sig = encoded(hmac(`${sr}\n${expirySecs}`, key).toString('base64'));
  return `${SCHEME}sr=${sr}&sig=${sig}&se=${expirySecs}${keyName === undefined ? '' : `&skn=${encoded(keyName)}`}`;
}

function hmac(text: string, key: Buffer): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
