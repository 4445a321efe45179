import { asMapping } from './document.ts';
import type { YamlDocument } from './document.ts';
import { moduleWarnings } from './module-check.ts';
import { pathText, problemText } from './problem.ts';
import type { Path } from './problem.ts';
import { routeWarnings } from './route-check.ts';
import type { Config } from './schema.ts';
import { QUOTA_BYTES_MAX } from './storage.ts';

/** Hosts towards which an unencrypted password meets nobody. */
const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

/** What is allowed, but probably not what its writer expects. `document` is the file, `config` what became of it. */
export function configWarnings(document: YamlDocument, config: Config): string[] {
  const warnings: string[] = [];
  const warn = (path: Path, message: string): void => {
    warnings.push(problemText({ path: pathText(path), ...document.atValue(path, message) }));
  };

  const { upstream } = config;
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
    if (upstream.proxyPasswordFile !== undefined && upstream.proxy?.startsWith('http:')) {
      if (!LOOPBACK.test(new URL(upstream.proxy).hostname))
        warn(['upstream', 'proxy'], "the proxy's password is sent to it unencrypted; https:// would not");
    }
    if (!encrypted && upstream.passwordFile !== undefined && !LOOPBACK.test(url.hostname)) {
      warn(['upstream', 'url'], `${url.protocol}// sends the password unencrypted`);
    }
  }

  const { quota } = config.storeAndForward;
  if ('bytes' in quota && quota.bytes > QUOTA_BYTES_MAX)
    warn(['storeAndForward', 'quota'], 'more than a 32-bit program has addresses for: 512MiB are used');

  const { hub } = config;
  config.children.forEach((child, index) => {
    if (child.connected !== undefined && hub === undefined) {
      warn(['children', index, 'connected'], 'there is no hub that it could connect to; write hub:');
    }
  });
  const plain = hub?.listen.mqtt;
  if (plain !== undefined && (plain.host === null || !LOOPBACK.test(plain.host === '::1' ? '[::1]' : plain.host))) {
    warn(['hub', 'listen', 'mqtt'], 'passwords and messages pass unencrypted, for everybody on that network to read');
  }

  const root = asMapping(document.root) ?? {};
  if (root['routes'] === null || Object.keys(asMapping(root['routes']) ?? { absent: true }).length === 0) {
    warn(['routes'], 'empty: everything goes to $upstream');
  }
  warnings.push(
    ...routeWarnings(document, root).map(problemText),
    ...moduleWarnings(document, config).map(problemText),
  );
  return warnings;
}
