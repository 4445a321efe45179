import { existsSync } from 'node:fs';
import type { LoadedConfig } from '../../config/load.ts';
import { KEEP } from '../../config/registry.ts';
import { gatewayKey, keptKeyFile } from '../../registry/gateway-key.ts';
import { keysDir, trustedKey } from '../../registry/enrolment.ts';
import { JwkError } from '../../registry/jwk.ts';
import type { SyncStatus } from '../../registry/sync.ts';
import { fail, ok, skip, warn, type Check, type Finding } from './check.ts';
import type { Scene } from './scene.ts';

/** Whose word counts on who may connect, and what came of it. */
export function registryChecks({ loaded, gateway }: Scene): Check[] {
  const run = (): Finding => {
    const { config } = loaded as LoadedConfig;
    if (config.upstream === undefined) return skip('no upstream is configured');
    if (config.upstream.dialect === 'iothub') return skip('none come in the iothub dialect');
    const taken =
      gateway.is === 'running' ? syncText(gateway.status.registry) : 'what was taken is known while it runs';
    try {
      const trusted = trustedKey(config);
      const { gatewayKey: named } = config.registry;
      const file = named === KEEP ? keptKeyFile(keysDir(config)) : named;
      // Looking makes no key.
      if (named !== KEEP || existsSync(file)) gatewayKey(keysDir(config), file);
      if (trusted !== null) return ok(`${taken}; a document must be signed by ${trusted.kid}`);
      return warn(
        `${taken}; any document that decrypts is taken, whoever it is from`,
        'have documents signed, and name the public key: registry: { trust: fleet.pub.jwk }',
      );
    } catch (error) {
      if (!(error instanceof JwkError)) throw error;
      return fail(
        `no registry document is taken: ${error.message}`,
        'bring the key back from where it is kept, or correct registry.trust or registry.gatewayKey',
      );
    }
  };
  return [{ id: 'registry', about: 'registry documents can be trusted and opened', needs: ['config'], run }];
}

function syncText(sync: SyncStatus | null): string {
  if (sync === null) return 'no registry document was taken yet';
  const { version, receivedAt, children, refused } = sync;
  const when = receivedAt === null ? 'at a time unknown' : `at ${receivedAt}`;
  const left = refused.length === 0 ? '' : `, ${refused.length} refused`;
  return `version ${version} was taken ${when}: ${children} ${children === 1 ? 'child' : 'children'}${left}`;
}
