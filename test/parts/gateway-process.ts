import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Bell, WAIT_MS_MAX } from './until.ts';

const ROOT = resolve(import.meta.dirname, '../..');
/** The file that users run. */
export const PROGRAM: string = join(ROOT, 'dist/start.cjs');

export interface GatewayProcessOptions {
  /** A folder of the test's own; `gateway.yaml` is written there. */
  readonly dir: string;
  /** The whole configuration. A relative `dataDir` starts at the folder. */
  readonly yaml: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly logLevel?: 'trace' | 'debug' | 'info' | 'warn' | 'error';
  /** False: resolve at once, without waiting until it runs. */
  readonly waitUntilRunning?: boolean;
}

/** `holdfast run` in a process of its own, from the bundle. */
export class GatewayProcess {
  readonly process: ChildProcess;
  readonly config: string;
  /** What it logged: lines of JSON. */
  readonly log: string[] = [];
  /** What it wrote to stderr. */
  stderr = '';
  /** The exit code, or the signal that ended it; null while it runs. */
  ended: number | NodeJS.Signals | null = null;
  readonly #bell = new Bell();

  constructor(options: GatewayProcessOptions) {
    this.config = join(options.dir, 'gateway.yaml');
    writeFileSync(this.config, options.yaml);
    const args = ['run', '--config', this.config, '--log-format', 'json', '--log-level', options.logLevel ?? 'info'];
    this.process = spawn(process.execPath, [program(), ...args], {
      cwd: options.dir,
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let rest = '';
    this.process.stdout!.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      this.log.push(...lines);
      this.#bell.ring();
    });
    this.process.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    // `close` rather than `exit`: by then everything it wrote has been read.
    this.process.once('close', (code, signal) => {
      this.ended = code ?? signal ?? -1;
      this.#bell.ring();
    });
  }

  /** Messages of the log, without what stands beside them. */
  messages(): string[] {
    return this.log.map((line) => {
      try {
        return String((JSON.parse(line) as { msg?: unknown }).msg);
      } catch {
        return line;
      }
    });
  }

  /** Resolves with the first line (from number `from`) that matches; rejects when the process ends without one. */
  waitForLog(pattern: RegExp, from = 0, msMax: number = WAIT_MS_MAX): Promise<string> {
    return this.#bell.until(
      () => `the gateway to log ${pattern}; it said:\n${this.#said()}`,
      () => {
        const line = this.log.slice(from).find((text) => pattern.test(text));
        if (line === undefined && this.ended !== null) {
          throw new Error(`the gateway ended (${this.ended}) without logging ${pattern}; it said:\n${this.#said()}`);
        }
        return line;
      },
      msMax,
    );
  }

  /** Resolves with the exit code (or signal) once the process is gone. */
  whenEnded(msMax: number = WAIT_MS_MAX): Promise<number | NodeJS.Signals> {
    // An object, since exit code 0 is as good an end as any.
    return this.#bell
      .until(
        () => `the gateway to end; it said:\n${this.#said()}`,
        () => (this.ended === null ? null : { end: this.ended }),
        msMax,
      )
      .then(({ end }) => end);
  }

  /** Asks it to stop, as systemd does; resolves with the exit code. */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals> {
    this.process.kill(signal);
    return this.whenEnded();
  }

  /** Ends it without asking. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (this.ended === null) this.process.kill(signal);
    await this.whenEnded();
  }

  #said(): string {
    return [...this.log.slice(-30), this.stderr].join('\n');
  }
}

/** Starts a gateway; it runs when this resolves. End it with `stop` or `kill`. */
export async function startGateway(options: GatewayProcessOptions): Promise<GatewayProcess> {
  const gateway = new GatewayProcess(options);
  if (options.waitUntilRunning !== false) {
    try {
      await gateway.waitForLog(/"time":\d+,"msg":"running"/);
    } catch (error) {
      await gateway.kill();
      throw error;
    }
  }
  return gateway;
}

function program(): string {
  if (!existsSync(PROGRAM)) execFileSync(process.execPath, ['scripts/build.mjs'], { cwd: ROOT, stdio: 'ignore' });
  return PROGRAM;
}
