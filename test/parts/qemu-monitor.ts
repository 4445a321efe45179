import { connect, type Socket } from 'node:net';
import { Bell } from './until.ts';

interface Answer {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
  readonly event?: string;
}

/** A line to a QEMU program: its machine protocol (QMP), one request at a time. */
export class Monitor {
  readonly #socket: Socket;
  readonly #answers: Answer[] = [];
  readonly #bell = new Bell();

  private constructor(socket: Socket) {
    this.#socket = socket;
    let rest = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        if (line.trim() === '') continue;
        const answer = JSON.parse(line) as Answer;
        if (answer.event === undefined) this.#answers.push(answer);
      }
      this.#bell.ring();
    });
    // It ends with its program.
    socket.on('error', () => undefined);
  }

  static async connect(path: string): Promise<Monitor> {
    const monitor = new Monitor(connect(path));
    await monitor.#answer('its greeting');
    await monitor.ask('qmp_capabilities', {});
    return monitor;
  }

  /** Rejects with what QEMU says is wrong. */
  async ask(execute: string, args: Record<string, unknown>): Promise<unknown> {
    this.#socket.write(`${JSON.stringify({ execute, arguments: args })}\n`);
    const { error, return: value } = await this.#answer(execute);
    if (error !== undefined) throw new Error(`${execute}: ${error.desc}`);
    return value;
  }

  end(): void {
    this.#socket.destroy();
  }

  #answer(to: string): Promise<Answer> {
    return this.#bell.until(`QEMU's answer to ${to}`, () => this.#answers.shift());
  }
}
