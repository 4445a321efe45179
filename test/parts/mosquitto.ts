import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './free-port.ts';
import { Bell } from './until.ts';

// Debian puts it where an ordinary user's PATH does not reach.
const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;

export interface MosquittoOptions {
  readonly port?: number;
  /** Lines for mosquitto.conf, after ours. With `listener` among them, ours is left out. */
  readonly config?: readonly string[];
  /** Whether sessions, queues and retained messages survive a stop (SIGTERM). */
  readonly persistence?: boolean;
  /** Whether anyone may come in; true when left out. */
  readonly anonymous?: boolean;
}

/** A real mosquitto on a port of its own, which can go away and come back. */
export class Mosquitto {
  readonly port: number;
  readonly url: string;
  /** A folder of its own, removed by {@link end}; its persistence lies there. */
  readonly dir: string;
  /** What it wrote, line by line, over all its lives. */
  readonly log: string[] = [];
  readonly #bell = new Bell();
  readonly #config: string;
  #process: ChildProcess | null = null;

  constructor(port: number, dir: string, options: MosquittoOptions) {
    this.port = port;
    this.url = `mqtt://127.0.0.1:${port}`;
    this.dir = dir;
    this.#config = join(dir, 'mosquitto.conf');
    const { config = [], persistence = false, anonymous = true } = options;
    const lines = [
      ...(config.some((line) => line.startsWith('listener')) ? [] : [`listener ${port} 127.0.0.1`]),
      `allow_anonymous ${anonymous}`,
      'log_dest stderr',
      'log_type error',
      'log_type warning',
      'log_type notice',
      'log_type information',
      // It would otherwise give up root for a user who may not read its folder.
      'user root',
      // As many as there are: a limit here would be a loss in the broker.
      'max_queued_messages 0',
      ...(persistence ? ['persistence true', `persistence_location ${dir}/`] : ['persistence false']),
      ...config,
    ];
    writeFileSync(this.#config, `${lines.join('\n')}\n`);
  }

  /** Starts it (again, on the same port); it takes connections when this resolves. */
  async start(): Promise<void> {
    if (this.#process !== null) throw new Error('mosquitto runs already');
    const from = this.log.length;
    const child = spawn('mosquitto', ['-c', this.#config], {
      env: { ...process.env, PATH },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#process = child;
    child.once('error', (error) => {
      this.log.push(error.message);
      this.#bell.ring();
    });
    child.once('exit', () => {
      if (this.#process === child) this.#process = null;
      this.#bell.ring();
    });
    let rest = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      this.log.push(...lines);
      this.#bell.ring();
    });
    const said = () => this.log.slice(from).join('\n');
    await this.#bell.until(
      () => `mosquitto to start: ${said()}`,
      () => {
        if (this.#process !== child) throw new Error(`mosquitto did not start: ${said()}`);
        return /mosquitto version \S+ running/.test(said());
      },
    );
  }

  get running(): boolean {
    return this.#process !== null;
  }

  /** Stops it as an operator would; what it persists is on disk then. */
  stop(): Promise<void> {
    return this.#end('SIGTERM');
  }

  /** Takes it away at once. */
  kill(): Promise<void> {
    return this.#end('SIGKILL');
  }

  /** Holds it still (SIGSTOP): connections stay, nothing is answered. */
  freeze(): void {
    this.#process?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#process?.kill('SIGCONT');
  }

  /** Resolves when a line of its log matches. */
  waitForLog(pattern: RegExp): Promise<string> {
    return this.#bell.until(`mosquitto to say ${pattern}`, () => this.log.find((line) => pattern.test(line)));
  }

  /** Gone for good, with its folder. */
  async end(): Promise<void> {
    await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (child === null) return;
    child.kill(signal);
    if (signal !== 'SIGKILL') child.kill('SIGCONT');
    await this.#bell.until('mosquitto to end', () => this.#process !== child);
  }
}

/** Starts a mosquitto; {@link Mosquitto.end} it when the test is over. */
export async function startMosquitto(options: MosquittoOptions = {}): Promise<Mosquitto> {
  const port = options.port ?? (await freePort());
  const mosquitto = new Mosquitto(port, mkdtempSync(join(tmpdir(), 'holdfast-mosquitto-')), options);
  await mosquitto.start();
  return mosquitto;
}
