import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { jwkFile, JwkError, newKeyPair, privateJwkIn, publicOf, type KeyPair } from './jwk.ts';
import { writePrivate } from './private-file.ts';

/** What the key is called in `dataDir/keys`. */
const GATEWAY_KEY_NAME = 'gateway-key.jwk';

/** The key that registry documents are encrypted to; its public part is what the gateway publishes. */
export interface GatewayKey extends KeyPair {
  readonly kid: string;
}

/**
 * The gateway's key: from `file`, else from `gateway-key.jwk` in `keysDir`, which is made the first time, mode 0600, and is on
 * the medium when this returns. Throws a {@link JwkError}; a key that is there and cannot be used is left as it is, since documents
 * have been encrypted to it.
 */
export function gatewayKey(keysDir: string, file?: string): GatewayKey {
  const path = file ?? keptKeyFile(keysDir);
  if (file === undefined && !existsSync(path)) {
    try {
      writePrivate(path, `${JSON.stringify(newKeyPair('enc').private)}\n`);
    } catch (error) {
      throw new JwkError(`${path}: cannot be made (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
    }
  }
  const found = jwkFile(path, (value) => privateJwkIn(value, 'enc'));
  return { kid: found.kid, private: found, public: publicOf(found) };
}

/** Where the key is kept that the gateway made itself. */
export function keptKeyFile(keysDir: string): string {
  return join(keysDir, GATEWAY_KEY_NAME);
}
