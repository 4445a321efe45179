import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ended } from './ended.ts';
import { PROGRAM, residentMemory, type Resident } from './gateway-process.ts';
import type { ChildrenArgs } from './hub-children.ts';

const HUB = 'plant.azure-devices.net';
const START_MS_MAX = 60_000;

/** Children with keys, and the tokens that they make of them. */
export function keyedChildren(count: number) {
  const expiry = Math.floor(Date.now() / 1000) + 86_400;
  const keys = Array.from({ length: count }, (_, n) => ({ id: `press-${n}`, key: randomBytes(32) }));
  const children: ChildrenArgs['children'] = keys.map(({ id, key }) => {
    const resource = encodeURIComponent(`${HUB}/devices/${id}`);
    const sig = encodeURIComponent(createHmac('sha256', key).update(`${resource}\n${expiry}`).digest('base64'));
    const password = `SharedAccessSignature sr=${resource}&sig=${sig}&se=${expiry}`;
    return { id, username: `${HUB}/${id}/?api-version=2021-04-12`, password };
  });
  const registered = keys.map(({ id, key }) => ({ id, auth: { sas: { primaryKey: key.toString('base64') } } }));
  return { children, registered };
}

/** The program as users run it, with a hub on a loopback port, and no upstream: what comes is kept. */
export class HubGateway {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#ended = ended(child);
  }

  /** It listens when this resolves. */
  static async start(folder: string, port: number, registered: readonly object[]): Promise<HubGateway> {
    const config = join(folder, 'gateway.yaml');
    const lines = [
      'gateway: { id: line-4, dataDir: data }',
      `hub: { hostName: localhost, iothubName: ${HUB}, listen: { mqtt: "127.0.0.1:${port}" }, maxConnectedClients: 2000 }`,
      'storeAndForward: { keepFree: 1%, quota: 256MiB }',
    ];
    writeFileSync(config, `${lines.join('\n')}\n`);
    const children = join(folder, 'children.json');
    writeFileSync(children, JSON.stringify({ version: 1, issuedAt: new Date().toISOString(), children: registered }));
    execFileSync(process.execPath, [PROGRAM, 'children', 'import', children, '-c', config], { stdio: 'ignore' });
    const child = spawn(process.execPath, [PROGRAM, 'run', '-c', config], { stdio: ['ignore', 'pipe', 'inherit'] });
    const gateway = new HubGateway(child);
    let log = '';
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the gateway does not start:\n${log}`)), START_MS_MAX);
      // While its file grows to its quota, it writes what belongs to no message.
      createInterface({ input: child.stdout }).on('line', (line) => {
        log += `${line}\n`;
        if (!line.includes('filled up to 100')) return;
        clearTimeout(timer);
        resolve();
      });
      child.once('exit', (code) => reject(new Error(`the gateway ended with ${code}:\n${log}`)));
    });
    return gateway;
  }

  resident(): Resident {
    return residentMemory(this.#child.pid!);
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#ended;
  }
}
