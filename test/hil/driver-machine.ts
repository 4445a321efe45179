import type { Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { build } from 'esbuild';
import { Bell, WAIT_MS_MAX } from '../parts/until.ts';
import type { Request, Requests, Told } from './guest.ts';
import { Machine } from './machine.ts';
import type { Pins } from './pins.ts';

/** Longest until the guest's program says something, ms. */
const HELLO_MS_MAX = 60_000;

/** Told by a driver in the guest. */
export type GuestReading = Extract<Told, { child: string }>;

/** A machine in which test/hil/guest.ts runs, bundled from the sources as they are now, by the .deb's Node and add-ons. */
export class DriverMachine {
  readonly #machine: Machine;
  readonly #agent: Socket;
  readonly #hold: Socket;
  readonly readings: GuestReading[] = [];
  readonly bell = new Bell();
  #hello: string | undefined;
  #ended = false;
  #asked = 0;
  readonly #waiting = new Map<number, { resolve: (answer: unknown) => void; reject: (error: Error) => void }>();

  private constructor(machine: Machine, agent: Socket, hold: Socket) {
    this.#machine = machine;
    this.#agent = agent;
    this.#hold = hold;
    createInterface({ input: agent }).on('line', (line) => this.#heard(JSON.parse(line) as Told));
    agent.once('close', () => {
      this.#ended = true;
      for (const { reject } of this.#waiting.values()) reject(new Error(`the machine ended:\n${this.console()}`));
      this.#waiting.clear();
      this.bell.ring();
    });
  }

  /** Resolves when the guest's program is ready to be asked. */
  static async boot(): Promise<DriverMachine> {
    const machine = await Machine.boot({
      files: {
        'app/guest.cjs': await bundle(),
        'app/start':
          'export NODE_PATH=/usr/lib/holdfast/node_modules\nexec /usr/lib/holdfast/bin/node /app/guest.cjs\n',
      },
      ports: ['agent', 'hold'],
    });
    try {
      const vm = new DriverMachine(machine, await machine.port('agent'), await machine.port('hold'));
      await vm.bell.until(
        () => `the guest's first word; its console:\n${vm.console()}`,
        () => vm.#live() && vm.#hello,
        HELLO_MS_MAX,
      );
      return vm;
    } catch (error) {
      await machine.end();
      throw error;
    }
  }

  get pins(): Pins {
    return this.#machine.pins;
  }

  /** What it runs: `Node v24.21.0 for arm64`. */
  get hello(): string {
    return this.#hello!;
  }

  ask<K extends keyof Requests>(ask: K, given: Requests[K]['given']): Promise<Requests[K]['answer']> {
    const request: Request = { id: ++this.#asked, ask, given };
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(request.id, { resolve, reject });
      const late = setTimeout(
        () =>
          reject(new Error(`the guest does not answer ${JSON.stringify(request)}; its console:\n${this.console()}`)),
        WAIT_MS_MAX,
      );
      late.unref();
    });
    this.#agent.write(`${JSON.stringify(request)}\n`);
    return answer as Promise<Requests[K]['answer']>;
  }

  /** As {@link Machine.shell}. */
  shell(line: string): Promise<string> {
    return this.#machine.shell(line);
  }

  /** Does `act` while the guest's event loop stands still. */
  async whileBusy(act: () => Promise<void>): Promise<void> {
    await this.ask('hold', {});
    await act();
    this.#hold.write('.');
  }

  /** As {@link Machine.console}. */
  console(): string {
    return this.#machine.console();
  }

  async end(): Promise<void> {
    for (const socket of [this.#agent, this.#hold]) socket.destroy();
    await this.#machine.end();
  }

  #live(): true {
    if (this.#ended) throw new Error(`the machine ended; its console:\n${this.console()}`);
    return true;
  }

  #heard(told: Told): void {
    if ('hello' in told) this.#hello = told.hello;
    else if ('child' in told) this.readings.push(told);
    else {
      const asked = this.#waiting.get(told.id);
      this.#waiting.delete(told.id);
      if ('error' in told) asked?.reject(new Error(told.error));
      else asked?.resolve(told.answer);
    }
    this.bell.ring();
  }
}

/** The guest's program, all in one text but for the native add-ons. */
async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(import.meta.dirname, 'guest.ts')],
    write: false,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    external: ['epoll', 'koffi'],
    supported: { 'dynamic-import': false },
    // As scripts/build.mjs does for the product's bundle.
    banner: { js: 'const holdfastModuleUrl = require("node:url").pathToFileURL(__filename).href;' },
    define: { 'import.meta.url': 'holdfastModuleUrl' },
    sourcemap: 'inline',
    logLevel: 'error',
  });
  return outputFiles[0]!.text;
}
