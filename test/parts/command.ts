import { spawn, type ChildProcess } from 'node:child_process';
import { PROGRAM } from './gateway-process.ts';
import { Bell } from './until.ts';

export interface Ended {
  /** The exit code, or the signal that ended it. */
  readonly code: number | NodeJS.Signals;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** What stands on its standard input; without it there is none. */
  readonly input?: string;
}

/** A command line of the bundle while it runs. */
export class RunningCommand {
  readonly process: ChildProcess;
  stdout = '';
  stderr = '';
  readonly ended: Promise<Ended>;
  readonly #bell = new Bell();

  constructor(args: readonly string[], { env, cwd, input }: CommandOptions = {}) {
    this.process = spawn(process.execPath, [PROGRAM, ...args], {
      cwd,
      // What the tests run under must not change what they see.
      env: { ...process.env, HOLDFAST_CONFIG: '', HOLDFAST_DEBUG: '', ...env },
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
    this.process.stdin?.end(input);
    for (const stream of ['stdout', 'stderr'] as const) {
      this.process[stream]!.setEncoding('utf8').on('data', (text: string) => {
        this[stream] += text;
        this.#bell.ring();
      });
    }
    this.ended = new Promise((resolve) => {
      this.process.once('close', (code, signal) =>
        resolve({ code: code ?? signal ?? -1, stdout: this.stdout, stderr: this.stderr }),
      );
    });
  }

  /** Resolves when its standard output (or error) matches. */
  async said(pattern: RegExp, stream: 'stdout' | 'stderr' = 'stdout'): Promise<void> {
    await this.#bell.until(
      () => `${pattern} on ${stream}; it said:\n${this.stdout}${this.stderr}`,
      () => pattern.test(this[stream]),
    );
  }
}

/** Runs one command line to its end. */
export function holdfast(args: readonly string[], options: CommandOptions = {}): Promise<Ended> {
  return new RunningCommand(args, options).ended;
}
