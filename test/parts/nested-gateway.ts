import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { asked } from './asked.ts';
import { holdfast } from './command.ts';
import { freePort } from './free-port.ts';
import { startGateway, type GatewayProcess } from './gateway-process.ts';
import { scratch } from './scratch.ts';
import { byPassword, type Registered } from './sdk-gateway.ts';

export interface NestedOptions {
  readonly id: string;
  /** URL of the broker or the gateway above. */
  readonly upstream: string;
  readonly protocol?: '5' | '3.1.1';
  /** As a device of IoT Hub, with this key. */
  readonly iothubKey?: string;
  /** Who may connect; their passwords are `key of ID`. */
  readonly children?: readonly string[];
  /** The same, with children of their own; or with keys, as devices of IoT Hub. */
  readonly gateways?: readonly (string | Registered)[];
  readonly write?: 'always' | 'when-needed';
  /** YAML below what is written here. */
  readonly yaml?: string;
}

export interface Ledger {
  readonly accepted: number;
  readonly delivered: number;
  readonly pending: number;
  readonly deadLetters: number;
  readonly dropped: Readonly<Record<string, number>>;
}

/** A gateway, as users run it, that stands below another one or above: its hub is a port of this machine, its password its id's. */
export class NestedGateway {
  readonly id: string;
  readonly port: number;
  readonly dir = scratch();
  readonly #yaml: string;
  #process: GatewayProcess | null = null;

  constructor(port: number, { id, upstream, protocol = '5', iothubKey, write = 'always', yaml = '' }: NestedOptions) {
    this.id = id;
    this.port = port;
    writeFileSync(join(this.dir, 'secret'), iothubKey ?? `key of ${id}`, { mode: 0o600 });
    const speaks =
      iothubKey === undefined
        ? `protocol: "${protocol}", username: ${id}, passwordFile: secret`
        : 'dialect: iothub, iothubName: localhost, sharedAccessKeyFile: secret';
    const reconnect = '{ minSecs: 0.01, maxSecs: 0.1 }';
    this.#yaml = [
      `gateway: { id: ${id}, profile: simulated, dataDir: data }`,
      `upstream: { url: "${upstream}", ${speaks}, reconnect: ${reconnect} }`,
      `hub: { hostName: localhost, listen: { mqtt: "127.0.0.1:${port}" } }`,
      `storeAndForward: { quota: 64MiB, keepFree: 0%, commitEveryMs: 20, write: ${write} }`,
      yaml,
    ].join('\n');
    writeFileSync(join(this.dir, 'gateway.yaml'), this.#yaml);
  }

  /** Made, with whoever may connect; it does not run yet. */
  static async make(options: NestedOptions): Promise<NestedGateway> {
    const made = new NestedGateway(await freePort(), options);
    const { children = [], gateways = [] } = options;
    const registered = (each: string | Registered) =>
      typeof each === 'string' ? { id: each, auth: byPassword(`key of ${each}`) } : each;
    const all = [...children.map(registered), ...gateways.map((each) => ({ ...registered(each), gateway: true }))];
    if (all.length > 0) {
      const file = join(made.dir, 'children.json');
      writeFileSync(file, JSON.stringify({ version: 1, children: all }), { mode: 0o600 });
      await made.command(['children', 'import', file]);
    }
    return made;
  }

  get log(): readonly string[] {
    return this.#process?.log ?? [];
  }

  async start(): Promise<void> {
    this.#process = await startGateway({ dir: this.dir, yaml: this.#yaml });
  }

  async kill(): Promise<void> {
    await this.#process?.kill();
    this.#process = null;
  }

  async stop(): Promise<void> {
    await this.#process?.stop();
    this.#process = null;
  }

  /** One command line of `holdfast`; its JSON. */
  async command<T>(args: readonly string[]): Promise<T> {
    const { code, stdout, stderr } = await holdfast([...args, '--config', join(this.dir, 'gateway.yaml'), '--json']);
    if (Number(code) !== 0) throw new Error(`holdfast ${args.join(' ')} ended with ${code}:\n${stdout}${stderr}`);
    return JSON.parse(stdout) as T;
  }

  async ledger(): Promise<Ledger> {
    return (await asked<{ ledger: Ledger }>(join(this.dir, 'gateway.yaml'), 'spool stats')).ledger;
  }
}
