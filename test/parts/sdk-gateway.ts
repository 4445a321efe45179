import { randomBytes, scryptSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Authority } from './certificates.ts';
import { holdfast } from './command.ts';
import { startGateway, type GatewayProcess } from './gateway-process.ts';
import { SdkDevice } from './sdk-device.ts';
import type { SdkOptions } from './sdk-child.ts';

/** The hub that children believe they talk to; there is none. */
export const IOT_HUB = 'plant.azure-devices.net';
export const GATEWAY = 'line-4';

export interface HubGatewayOptions {
  /** A folder of the test's own. */
  readonly dir: string;
  /** URL of the broker above; no upstream when left out. */
  readonly upstream?: string;
  /** YAML: entries of `children`, `routes` and others, below what is written here. */
  readonly yaml?: string;
  /** Lines of `hub:` besides ours. */
  readonly hub?: readonly string[];
  readonly storage?: string;
  /** Its certificate is by its own authority; children are given `holdfast provision ca` ({@link HubGateway.trustOwn}). */
  readonly ownAuthority?: boolean;
  /**
   * The gateway finds what systemd-timesyncd leaves where it has set the clock, whether this machine has it or not: dates are
   * judged as on a machine that knows the time.
   */
  readonly timeKnown?: boolean;
  /** CommonJS that the gateway's process runs before the program. */
  readonly preload?: string;
}

/** Loaded into the gateway's process before the program. */
const TIME_KNOWN = `const fs = require('node:fs');
const { existsSync } = fs;
fs.existsSync = (path) => path === '/run/systemd/timesync/synchronized' || existsSync(path);
`;

/** Credentials in the form of the registry document. */
export type Auth =
  | { readonly sas: { readonly primaryKey: string } }
  | { readonly x509: { readonly thumbprints: readonly string[] } | { readonly ca: true } }
  | { readonly password: string };

export interface Registered {
  readonly id: string;
  readonly auth: Auth;
}

export function bySas(primaryKey: string): Auth {
  return { sas: { primaryKey } };
}

export function byPassword(password: string): Auth {
  const [salt, N, r, p] = [randomBytes(16), 16_384, 8, 1];
  const hash = scryptSync(password, salt, 32, { N, r, p });
  return { password: `scrypt$${N}$${r}$${p}$${salt.toString('base64')}$${hash.toString('base64')}` };
}

/** How a child proves who it is, as `holdfast children add` takes it. */
export type Proof = readonly string[];

export function newKey(): string {
  return randomBytes(32).toString('base64');
}

/**
 * A gateway with a hub, as users run it, on an address of this machine that is the test's alone: the SDK knows no other
 * ports than 8883 and 443.
 */
export class HubGateway {
  readonly address: string;
  /** PEM of the authority that signed the gateway's certificate. */
  ca: string;
  readonly dir: string;
  readonly #yaml: string;
  readonly #env: Readonly<Record<string, string>>;
  #process: GatewayProcess | null = null;

  constructor(options: HubGatewayOptions) {
    const { dir, upstream, yaml = '', hub = [], storage = 'commitEveryMs: 20, quota: 64MiB, keepFree: 1%' } = options;
    const [a, b, c] = randomBytes(3);
    this.address = `127.${(a! % 200) + 20}.${b}.${(c! % 250) + 2}`;
    this.dir = dir;
    const preload = join(dir, 'preload.cjs');
    const text = (options.timeKnown === true ? TIME_KNOWN : '') + (options.preload ?? '');
    if (text !== '') writeFileSync(preload, text);
    this.#env = text === '' ? {} : { NODE_OPTIONS: `--require ${preload}` };
    const authority = new Authority(dir, 'server-ca');
    const { cert, key } = authority.issue('gateway', `IP:${this.address}`, 2);
    this.ca = readFileSync(authority.ca, 'utf8');
    const listen = `mqtts: "${this.address}:8883", wss: "${this.address}:443", https: "${this.address}:443", mqtt: "${this.address}:1883"`;
    this.#yaml = [
      `gateway: { id: ${GATEWAY}, profile: simulated, dataDir: ${join(dir, 'data')} }`,
      ...(upstream === undefined
        ? []
        : [`upstream: { url: "${upstream}", reconnect: { minSecs: 0.01, maxSecs: 0.2 } }`]),
      'hub:',
      `  hostName: ${this.address}`,
      `  iothubName: ${IOT_HUB}`,
      `  listen: { ${listen} }`,
      ...(options.ownAuthority === true ? [] : [`  cert: ${cert}`, `  key: ${key}`]),
      ...hub.map((line) => `  ${line}`),
      `storeAndForward: { ${storage} }`,
      yaml,
    ].join('\n');
    writeFileSync(join(dir, 'gateway.yaml'), this.#yaml);
  }

  get process(): GatewayProcess {
    if (this.#process === null) throw new Error('the gateway does not run');
    return this.#process;
  }

  /** What it logged last. */
  said(): string {
    return [...(this.#process?.log.slice(-30) ?? []), this.#process?.stderr ?? ''].join('\n');
  }

  /** It runs when this resolves. */
  async start(): Promise<void> {
    this.#process = await startGateway({ dir: this.dir, yaml: this.#yaml, env: this.#env });
  }

  async kill(): Promise<void> {
    await this.#process?.kill();
    this.#process = null;
  }

  async stop(): Promise<number | NodeJS.Signals> {
    const end = await this.process.stop();
    this.#process = null;
    return end;
  }

  /** From now on children trust what `holdfast provision ca` says. */
  async trustOwn(): Promise<void> {
    this.ca = (await this.command<{ certificate: string }>(['provision', 'ca'])).certificate;
  }

  /** One command line of `holdfast`; its JSON. Throws when it ends with neither of the codes. */
  async command<T>(args: readonly string[], codes: readonly number[] = [0]): Promise<T> {
    const { code, stdout, stderr } = await holdfast([...args, '--config', join(this.dir, 'gateway.yaml'), '--json']);
    if (!codes.includes(Number(code)))
      throw new Error(`holdfast ${args.join(' ')} ended with ${code}:\n${stdout}${stderr}`);
    return JSON.parse(stdout) as T;
  }

  addChild(id: string, proof: Proof): Promise<unknown> {
    return this.command(['children', 'add', id, ...proof]);
  }

  /** Many at once. */
  importChildren(children: readonly Registered[]): Promise<unknown> {
    const file = join(this.dir, 'children.json');
    writeFileSync(file, JSON.stringify({ version: 1, issuedAt: new Date().toISOString(), children }), { mode: 0o600 });
    return this.command(['children', 'import', file]);
  }

  async invoke(
    child: string,
    name: string,
    payload: unknown,
    timeoutSecs = 10,
  ): Promise<{ status: number; payload: unknown }> {
    const words = ['--payload', JSON.stringify(payload), '--timeout', String(timeoutSecs)];
    return this.command(['method', 'invoke', child, name, ...words], [0, 1]);
  }

  /** A device of the SDK that knows its key. */
  sasDevice(id: string, key: string, options: Partial<SdkOptions> = {}, module?: string): SdkDevice {
    const named = module === undefined ? '' : `;ModuleId=${module}`;
    return new SdkDevice({
      connectionString: `HostName=${IOT_HUB};DeviceId=${id}${named};SharedAccessKey=${key};GatewayHostName=${this.address}`,
      transport: 'mqtt',
      module: module !== undefined,
      ca: this.ca,
      ...options,
    });
  }

  /**
   * A device of the SDK with a certificate. From a connection string with `x509=true` the SDK does not take the gateway's
   * host name (1.18.4, `Client.fromConnectionString`), so the gateway is the host.
   */
  certifiedDevice(id: string, x509: { cert: string; key: string }, transport: 'mqtt' | 'ws' = 'mqtt'): SdkDevice {
    return new SdkDevice({
      connectionString: `HostName=${this.address};DeviceId=${id};x509=true`,
      transport,
      module: false,
      ca: this.ca,
      x509: { cert: readFileSync(x509.cert, 'utf8'), key: readFileSync(x509.key, 'utf8') },
    });
  }
}

/** Why the SDK's ports cannot be had here, or false. */
export function portsRefused(): Promise<string | false> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) =>
      // Another test file looks at the same moment, and may have it.
      error.code === 'EADDRINUSE'
        ? resolve(false)
        : resolve(`port 443 cannot be had (${error.message}): run as root, or set net.ipv4.ip_unprivileged_port_start`),
    );
    server.listen(443, '127.13.13.13', () => server.close(() => resolve(false)));
  });
}
