import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { ConfigError, type LoadedConfig } from '../../config/load.ts';
import { tlsFiles } from '../../config/credentials.ts';
import { KeyFileFault } from '../../config/key-files.ts';
import { resolveSecret } from '../../config/secret.ts';
import { fail, ok, skip, warn, type Check, type Finding } from './check.ts';
import type { Scene } from './scene.ts';

/** Whether the configuration can be used, and what it refers to is there. */
export function configurationChecks(scene: Scene): Check[] {
  const { file, loaded, gateway } = scene;
  return [
    {
      id: 'config',
      about: 'the configuration can be used',
      needs: [],
      run: () =>
        loaded instanceof ConfigError
          ? fail(loaded.message, 'correct the configuration; `holdfast config check` looks at it alone')
          : ok(`${file}: gateway ${loaded.config.gateway.id} on ${loaded.profile.name}`),
    },
    {
      id: 'config-warnings',
      about: 'the configuration says what was probably meant',
      needs: ['config'],
      run: () => {
        const { warnings } = loaded as LoadedConfig;
        if (warnings.length === 0) return ok('nothing odd in it');
        return warn(warnings.join('\n'), 'change these lines, or leave them if they are meant');
      },
    },
    {
      id: 'secrets',
      about: 'secrets and certificates can be read, by nobody else',
      needs: ['config'],
      run: () =>
        secrets(loaded as LoadedConfig, gateway.is === 'running' && gateway.status.upstream?.state === 'online'),
    },
  ];
}

function secrets({ config: { upstream }, path }: LoadedConfig, online: boolean): Finding {
  if (upstream === undefined) return skip('no upstream is configured');
  const { passwordFile, proxyPasswordFile, sharedAccessKeyFile, clientKey, clientCert, ca } = upstream;
  const named: string[] = [];
  const exposed: string[] = [];
  try {
    for (const name of [passwordFile, proxyPasswordFile, sharedAccessKeyFile].filter((each) => each !== undefined)) {
      named.push(name);
      exposed.push(...resolveSecret(name, dirname(path)).warnings);
    }
    tlsFiles(upstream);
    named.push(...[clientKey, clientCert, ca].filter((each) => each !== undefined));
    if (clientKey !== undefined && (statSync(clientKey).mode & 0o004) !== 0)
      exposed.push(`${clientKey}: can be read by every user of this machine; run: chmod o-r ${clientKey}`);
  } catch (error) {
    if (error instanceof KeyFileFault && !error.unread) return fail(error.message, error.fix);
    // systemd hands credentials to the service alone: that the gateway is online says that they are right.
    if (online) return ok(`not all can be read by this user, but the running gateway is online with them`);
    return fail(
      (error as Error).message,
      "put the file there and let the gateway's user read it; a secret that systemd hands over (LoadCredential=) is seen by the service only: start it, and check again",
    );
  }
  if (exposed.length > 0) return warn(exposed.join('\n'), 'take the right to read away from others, as said above');
  return ok(named.length === 0 ? 'none are named' : `readable: ${named.join(', ')}`);
}
