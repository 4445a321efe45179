import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ended } from './ended.ts';
import { Folder } from './folder.ts';

/** How long a broker may take to listen, ms. */
const START_MS_MAX = 10_000;
/** Kernel's unit of processor time in /proc/PID/stat (USER_HZ), microseconds. */
const TICK_US = 10_000;

export interface BrokerOptions {
  /** Lines of mosquitto.conf besides the listener. */
  readonly settings: readonly string[];
  readonly port?: number;
  /** Called with each line of its log. */
  readonly onLine?: (line: string) => void;
}

/** A mosquitto of our own. */
export class Broker {
  readonly port: number;
  readonly #child: ChildProcess;
  readonly #folder: Folder;
  readonly #ended: Promise<unknown>;

  private constructor(port: number, child: ChildProcess, folder: Folder) {
    this.port = port;
    this.#child = child;
    this.#folder = folder;
    this.#ended = ended(child);
  }

  /** Resolves when it listens. */
  static async start({ settings, port = 0, onLine }: BrokerOptions): Promise<Broker> {
    const chosen = port === 0 ? await freePort() : port;
    const folder = new Folder('broker');
    const file = join(folder.path, 'mosquitto.conf');
    const lines = [`listener ${chosen} 127.0.0.1`, 'allow_anonymous true', 'user root', 'log_dest stderr', ...settings];
    writeFileSync(file, `${lines.join('\n')}\n`);
    const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
    const child = spawn('mosquitto', ['-c', file], {
      env: { ...process.env, PATH: path },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let log = '';
    createInterface({ input: child.stderr }).on('line', (line) => {
      if (log.length < 10_000) log += `${line}\n`;
      onLine?.(line);
    });
    const broker = new Broker(chosen, child, folder);
    const deadline = performance.now() + START_MS_MAX;
    while (!(await listens(chosen))) {
      if (child.pid === undefined || child.exitCode !== null || performance.now() > deadline) {
        await broker.stop();
        throw new Error(`mosquitto does not start:\n${log}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return broker;
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  /** Processor time it has used, microseconds, in steps of 10 ms. */
  processorTime(): number {
    return processorTimeOf(this.#child.pid!);
  }

  /** Ends it at once; with `saving` it may save what it holds, which belongs to no measurement. */
  async stop({ saving = false } = {}): Promise<void> {
    this.#child.kill(saving ? 'SIGTERM' : 'SIGKILL');
    await this.#ended;
    this.#folder.remove();
  }
}

/** Processor time that a process has used, microseconds, in steps of 10 ms. */
export function processorTimeOf(pid: number): number {
  // proc(5): after the name in brackets, which may hold anything, utime and stime are the 12th and 13th.
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_US;
}

/** A TCP port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

export function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
