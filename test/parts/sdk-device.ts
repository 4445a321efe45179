import { spawn, type ChildProcess } from 'node:child_process';
import type { SdkEvent, SdkMessage, SdkOptions, SdkOrders } from './sdk-child.ts';
import { script } from './script.ts';
import { Bell, WAIT_MS_MAX } from './until.ts';

type Received = Extract<SdkEvent, { event: 'message' }>;

/** A device of the unmodified SDK ({@link SdkOptions}), seen from the test. */
export class SdkDevice {
  /** What happened to it, oldest first. */
  readonly events: SdkEvent[] = [];
  stderr = '';
  readonly #process: ChildProcess;
  readonly #bell = new Bell();
  readonly #answers = new Map<number, { resolve: (answer: unknown) => void; reject: (error: Error) => void }>();
  #orders = 0;
  #ended = false;

  constructor(options: SdkOptions) {
    this.#process = spawn(process.execPath, [...script('test/parts/sdk-child'), JSON.stringify(options)], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let rest = '';
    this.#process.stdout!.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      for (const line of lines) this.#hear(line);
      this.#bell.ring();
    });
    this.#process.stderr!.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    // Writing to one that has ended is told by the end itself.
    this.#process.stdin!.on('error', () => undefined);
    this.#process.once('close', (code, signal) => {
      this.#ended = true;
      for (const { reject } of this.#answers.values()) {
        reject(new Error(`the SDK's process ended (${code ?? signal}):\n${this.stderr}`));
      }
      this.#answers.clear();
      this.#bell.ring();
    });
  }

  /** Resolves with the SDK's answer; rejects with the SDK's error, as `Name: message`. */
  tell<K extends keyof SdkOrders>(order: K, rest: SdkOrders[K]['order']): Promise<SdkOrders[K]['answer']> {
    const n = ++this.#orders;
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(new Error(`the SDK's process has ended:\n${this.stderr}`));
        return;
      }
      this.#answers.set(n, { resolve, reject });
      this.#process.stdin!.write(`${JSON.stringify({ n, order, ...rest })}\n`);
    });
  }

  open(): Promise<null> {
    return this.tell('open', {});
  }

  /** Resolves when the gateway has acknowledged it. */
  send(body: string, properties: Record<string, string> = {}, known: Partial<SdkMessage> = {}): Promise<null> {
    return this.tell('send', { message: { body, properties, ...known } });
  }

  received(): Received[] {
    return this.events.filter((event): event is Received => event.event === 'message');
  }

  /** Resolves with what `check` gives once that is true; looks again at each event. */
  until<T>(what: string, check: (device: this) => T, msMax: number = WAIT_MS_MAX) {
    return this.#bell.until(
      () => `the SDK's device: ${what}; so far: ${JSON.stringify(this.events)}\n${this.stderr}`,
      () => {
        const found = check(this);
        if (this.#ended && (found === false || found === null || found === undefined)) {
          throw new Error(`the SDK's process ended before ${what}:\n${this.stderr}`);
        }
        return found;
      },
      msMax,
    );
  }

  /** Takes it away at once, as a device that loses power. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#bell.until('the SDK to end', () => this.#ended);
  }

  #hear(line: string): void {
    const said = JSON.parse(line) as SdkEvent | { n: number; answer?: unknown; error?: string };
    if ('event' in said) {
      this.events.push(said);
      return;
    }
    const waiting = this.#answers.get(said.n);
    this.#answers.delete(said.n);
    if (said.error === undefined) waiting?.resolve(said.answer);
    else waiting?.reject(new Error(said.error));
  }
}
