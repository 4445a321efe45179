import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { Bell } from '../parts/until.ts';

/** Longest that a line of shell may take, ms; the guest's side ends it after 600,000. */
const LINE_MS_MAX = 610_000;

/** The outer end of the bench's hand in the machine (agent.sh): runs shell there, as root, one line after the other. */
export class Agent {
  readonly #socket: Socket;
  readonly #bell = new Bell();
  readonly #answers = new Map<number, { readonly code: number; readonly output: string }>();
  #ready = 0;
  #asked = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(socket: Socket) {
    this.#socket = socket;
    const lines = createInterface({ input: socket });
    // It ends with its machine.
    for (const each of [socket, lines]) each.on('error', () => undefined);
    lines.on('line', (line) => {
      const [, id, code, output] = /(\d+) (\d+) ([A-Za-z0-9+/=]*)$/.exec(line) ?? [];
      if (line.endsWith('ready')) this.#ready++;
      else if (id !== undefined)
        this.#answers.set(Number(id), {
          code: Number(code),
          output: Buffer.from(output!, 'base64').toString().trimEnd(),
        });
      this.#bell.ring();
    });
  }

  async whenReady(msMax: number): Promise<void> {
    await this.#bell.until('the agent in the machine', () => this.#ready > 0, msMax);
  }

  /** What the line puts out; rejects when its exit code is not 0. */
  async shell(line: string): Promise<string> {
    const { code, output } = await this.run(line);
    if (code !== 0) throw new Error(`${line} ended with ${code}: ${output}`);
    return output;
  }

  /** The same with whatever exit code. */
  run(line: string): Promise<{ readonly code: number; readonly output: string }> {
    const answer = this.#last.then(async () => {
      const id = ++this.#asked;
      this.#socket.write(`${id} ${Buffer.from(line).toString('base64')}\n`);
      return this.#bell.until(`the machine's answer to ${line}`, () => this.#answers.get(id), LINE_MS_MAX);
    });
    this.#last = answer.catch(() => undefined);
    return answer;
  }

  end(): void {
    this.#socket.destroy();
  }
}
