import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ended } from './ended.ts';

/*
 * Each contender runs in a process of its own. It is given its task with a line, prepares itself, says so with a line, waits
 * for a line, and then does the measured part; its answer is one line of JSON.
 */

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
const READY = 'ready';

/** A number of things measured. */
export type Figures = Readonly<Record<string, number>>;

export interface WorkerOptions {
  /** Environment variables besides our own. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Bundled first: what translates TypeScript as it is loaded takes memory, where memory is what is measured. */
  readonly bundled?: boolean;
}

/** A contender's process, prepared. */
export class Worker {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #name: string;
  readonly #ended: Promise<void>;

  private constructor(name: string, child: ChildProcess, lines: Interface) {
    this.#name = name;
    this.#child = child;
    this.#lines = lines[Symbol.asyncIterator]();
    this.#ended = ended(child);
  }

  /** Starts `bench/NAME.ts`; resolves when it is prepared. */
  static async start(name: string, args: object, options: WorkerOptions = {}): Promise<Worker> {
    const { environment = {}, bundled = false } = options;
    const program = bundled ? [await bundle(name)] : ['--import', 'tsx', sourceOf(name)];
    const child = spawn(process.execPath, program, {
      cwd: ROOT,
      env: { ...process.env, ...environment },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const worker = new Worker(name, child, createInterface({ input: child.stdout }));
    // Not on its command line: that of a thousand children is longer than Linux lets one be.
    child.stdin.write(`${JSON.stringify(args)}\n`);
    const line = await worker.#line();
    if (line === READY) return worker;
    await worker.kill();
    throw new Error(`${name} said ${line}`);
  }

  /** Lets it go; resolves with what it measured, when it has ended. */
  async go(): Promise<Figures> {
    this.#child.stdin!.write('go\n');
    const figures = JSON.parse(await this.#line()) as Figures;
    await this.#ended;
    return figures;
  }

  /** Ends it, measured or not; resolves when it has ended. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  async #line(): Promise<string> {
    const { value, done } = (await this.#lines.next()) as IteratorResult<string, undefined>;
    if (done !== true) return value;
    await this.#ended;
    throw new Error(`${this.#name} ended without an answer`);
  }
}

function sourceOf(name: string): string {
  return fileURLToPath(new URL(`${name}.ts`, import.meta.url));
}

/** One file of JavaScript that needs nothing but the packages in `node_modules`. */
async function bundle(name: string): Promise<string> {
  const outfile = join(ROOT, '.scratch', 'bench', `${name}.mjs`);
  // Here, since workers load this file as well.
  const { build } = await import('esbuild');
  await build({
    entryPoints: [sourceOf(name)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
  });
  return outfile;
}

/** The other side: `prepare` is not measured, what it returns is. The process exits afterwards. */
export async function contend<Args>(prepare: (args: Args) => Promise<() => Promise<Figures>>): Promise<void> {
  // Nobody waits for us any more, and what we work in may be gone.
  process.stdin.once('end', () => process.exit(1));
  const lines = createInterface({ input: process.stdin });
  const given = new Promise<string>((resolve) => lines.once('line', resolve));
  const measured = await prepare(JSON.parse(await given) as Args);
  const go = new Promise((resolve) => lines.once('line', resolve));
  process.stdout.write(`${READY}\n`);
  await go;
  const figures = await measured();
  process.stdout.write(`${JSON.stringify(figures)}\n`, () => process.exit(0));
}

/** Processor time since it was made, microseconds. */
export function processorTime(): () => number {
  const from = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(from);
    return user + system;
  };
}
