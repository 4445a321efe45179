import type { YamlDocument } from './document.ts';
import { RELEASE } from './later.ts';
import { pathText, problemText } from './problem.ts';
import type { Path } from './problem.ts';
import { TIME_TO_LIVE_SECS_DEFAULT } from './storage.ts';
import type { Config } from './schema.ts';

/** Hosts towards which an unencrypted password meets nobody. */
const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

/** What is allowed, but probably not what its writer expects. `document` is the file, `config` what became of it. */
export function configWarnings(document: YamlDocument, config: Config): string[] {
  const warnings: string[] = [];
  const warn = (path: Path, message: string): void => {
    warnings.push(problemText({ path: pathText(path), ...document.atValue(path, message) }));
  };
  const written = (path: Path): unknown => valueAt(document.root, path);

  const { upstream, storeAndForward } = config;
  if (upstream === undefined) {
    warnings.push(
      problemText({
        file: document.file,
        line: 0,
        column: 0,
        path: 'upstream',
        message: 'left out: messages are stored and sent nowhere',
      }),
    );
  } else {
    const url = new URL(upstream.url);
    const encrypted = url.protocol === 'mqtts:' || url.protocol === 'wss:';
    for (const key of ['ca', 'clientCert', 'clientKey'] as const) {
      if (!encrypted && upstream[key] !== undefined)
        warn(['upstream', key], `not used: ${url.protocol}// is without TLS`);
    }
    if (!encrypted && upstream.passwordFile !== undefined && !LOOPBACK.test(url.hostname)) {
      warn(['upstream', 'url'], `${url.protocol}// sends the password unencrypted`);
    }
  }

  const routes = written(['routes']);
  if (routes !== undefined && (routes === null || Object.keys(routes).length === 0)) {
    warn(['routes'], 'empty: everything goes to $upstream');
  }

  const idle = (path: Path, instead: string): void => warn(path, `accepted, but Holdfast ${RELEASE} ${instead}`);
  if (
    written(['storeAndForward', 'timeToLiveSecs']) !== undefined &&
    storeAndForward.timeToLiveSecs !== TIME_TO_LIVE_SECS_DEFAULT
  ) {
    idle(['storeAndForward', 'timeToLiveSecs'], 'does not expire messages yet');
  }
  for (const [name, route] of Object.entries(config.routes)) {
    if (route.timeToLiveSecs !== undefined) idle(['routes', name, 'timeToLiveSecs'], 'does not expire messages yet');
  }
  if (written(['storeAndForward', 'whenFull']) === 'thin')
    idle(['storeAndForward', 'whenFull'], 'acts as with drop-oldest');
  if (written(['storeAndForward', 'write']) === 'when-needed')
    idle(['storeAndForward', 'write'], 'acts as with always');
  if (storeAndForward.wearBudget !== undefined) idle(['storeAndForward', 'wearBudget'], 'does not keep to it yet');
  return warnings;
}

function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const step of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<string | number, unknown>)[step];
  }
  return value;
}
