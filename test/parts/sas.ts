import { createHmac } from 'node:crypto';

export interface SasParts {
  /** `hub/devices/id[/modules/id]`, as it is; it is encoded here. */
  readonly resource: string;
  /** Base64. */
  readonly key: string;
  /** s since 1970. */
  readonly expiry: number | string;
  readonly policy?: string;
}

/**
 * A token of Azure IoT Hub's ("Control access to IoT Hub with shared access signatures"), made here and not by the code
 * under test: HMAC-SHA256 over the encoded resource, a line break and the expiry.
 */
export function sasToken({ resource, key, expiry, policy }: SasParts): string {
  const encoded = encodeURIComponent(resource);
  const sig = createHmac('sha256', Buffer.from(key, 'base64')).update(`${encoded}\n${expiry}`).digest('base64');
  const named = policy === undefined ? '' : `&skn=${encodeURIComponent(policy)}`;
  return `SharedAccessSignature sr=${encoded}&sig=${encodeURIComponent(sig)}&se=${expiry}${named}`;
}

/** So many seconds from now. */
export function inSeconds(seconds: number): number {
  return Math.floor(Date.now() / 1000) + seconds;
}
