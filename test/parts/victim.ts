import { spawn, type ChildProcess } from 'node:child_process';
import type { VictimOptions } from './kill-victim.ts';
import { script } from './script.ts';
import { Bell } from './until.ts';

/** One life of a {@link VictimOptions kill victim}, seen from outside. */
export class Victim {
  /** Numbers whose acknowledgement was given. */
  readonly acknowledged: number[] = [];
  drained = false;
  ready = false;
  /** What it logged. */
  log = '';
  readonly #process: ChildProcess;
  readonly #bell = new Bell();
  #ended: number | NodeJS.Signals | null = null;
  #complaint: string | null = null;

  constructor(options: VictimOptions) {
    this.#process = spawn(process.execPath, [...script('test/parts/kill-victim'), JSON.stringify(options)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let rest = '';
    this.#process.stdout!.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      for (const line of lines) this.#hear(line);
      this.#bell.ring();
    });
    this.#process.stderr!.setEncoding('utf8').on('data', (text: string) => (this.log += text));
    this.#process.once('close', (code, signal) => {
      this.#ended = code ?? signal ?? -1;
      this.#bell.ring();
    });
  }

  /** Resolves once `check` holds; rejects when it ends before, or refuses a message. */
  async until(what: string, check: (victim: this) => boolean): Promise<void> {
    await this.#bell.until(
      () => `the victim: ${what}; it said:\n${this.log}`,
      () => {
        if (this.#complaint !== null) throw new Error(this.#complaint);
        if (check(this)) return true;
        if (this.#ended !== null) throw new Error(`the victim ended (${this.#ended}) before ${what}:\n${this.log}`);
        return false;
      },
    );
  }

  /** Resolves with its exit code, or the signal that ended it, when all that it said has been heard. */
  async end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals> {
    this.#process.kill(signal);
    await this.#bell.until('the victim to end', () => this.#ended !== null);
    return this.#ended!;
  }

  #hear(line: string): void {
    if (line.startsWith('a ')) this.acknowledged.push(Number(line.slice(2)));
    else if (line === 'drained') this.drained = true;
    else if (line === 'ready') this.ready = true;
    else this.#complaint = `the victim says: ${line}`;
  }
}
