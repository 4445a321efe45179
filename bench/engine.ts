import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { listens } from './broker.ts';
import { ended } from './ended.ts';

/** How long a server may take to listen, ms: three Erlang machines that start on two processors need most of it. */
const START_MS_MAX = 120_000;
const LOOK_EVERY_MS = 100;

const running = new Set<Engine>();

process.prependListener('exit', () => {
  for (const engine of running) engine.signal('SIGKILL');
});

export interface EngineOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Where its log goes. */
  readonly folder: string;
  /** Where it listens for MQTT. */
  readonly port: number;
}

/** A broker's process that can be killed and started again with what it had on its disk. */
export class Engine {
  readonly name: string;
  readonly port: number;
  readonly #options: EngineOptions;
  #child: ChildProcess | null = null;
  #ended: Promise<void> = Promise.resolve();

  constructor(options: EngineOptions) {
    this.#options = options;
    this.name = options.name;
    this.port = options.port;
  }

  /** Starts it; `listening` says when it is there. */
  start(): void {
    const { command, args, environment } = this.#options;
    const log = openSync(this.#log, 'a');
    const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
    // A group of its own: RabbitMQ is started by a shell script that stays, and all of it has to go at once.
    const child = spawn(command, args, {
      env: { ...process.env, PATH: path, ...environment },
      stdio: ['ignore', log, log],
      detached: true,
    });
    closeSync(log);
    this.#child = child;
    this.#ended = ended(child);
    running.add(this);
  }

  /** Resolves when it takes connections. */
  async listening(): Promise<void> {
    const deadline = performance.now() + START_MS_MAX;
    while (!(await listens(this.port))) {
      const { exitCode } = this.#child!;
      if (exitCode !== null || this.#child!.pid === undefined || performance.now() > deadline)
        throw new Error(`${this.name} does not start:\n${readFileSync(this.#log, 'utf8').slice(-4000)}`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  }

  get running(): boolean {
    return this.#child !== null;
  }

  /** Of the process while it runs. */
  get pid(): number {
    return this.#child?.pid ?? -1;
  }

  /** Resolves when it is gone. */
  async kill(signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    this.signal(signal);
    await this.#ended;
    this.#child = null;
    running.delete(this);
  }

  /** To it and all that it has started. */
  signal(signal: 'SIGKILL' | 'SIGTERM'): void {
    const pid = this.#child?.pid;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // It is gone already.
    }
  }

  get #log(): string {
    return join(this.#options.folder, `${this.name}.log`);
  }
}
