import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { rightToken, type Victim } from './bad-credentials.ts';
import { script } from './script.ts';
import { quantile, SteadyChild } from './steady-child.ts';

/** What a {@link GoodChild} found since it was asked last. */
export interface Found {
  readonly acknowledged: number;
  readonly sent: number;
  readonly connections: number;
  readonly complaints: readonly string[];
  /** From being due to PUBACK, ms: median, 99 %, most. */
  readonly latency: readonly number[];
}

interface Args {
  readonly host: string;
  readonly ca: string;
  readonly victim: Victim;
}

/** A child in a process of its own that says something every 20 ms: what slows the others' process does not slow it. */
export class GoodChild {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(args: Args) {
    this.#process = spawn(process.execPath, [...script('test/parts/good-child'), JSON.stringify(args)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#lines = createInterface({ input: this.#process.stdout! })[Symbol.asyncIterator]();
  }

  found(): Promise<Found> {
    return this.#ask('found');
  }

  /** Says no more; resolves when all that it said is acknowledged. */
  finish(): Promise<Found> {
    return this.#ask('finish');
  }

  end(): void {
    this.#process.kill('SIGKILL');
  }

  async #ask(what: string): Promise<Found> {
    this.#process.stdin!.write(`${what}\n`);
    const { value, done } = (await this.#lines.next()) as IteratorResult<string, undefined>;
    if (done === true) throw new Error('the good child has ended');
    return JSON.parse(value) as Found;
  }
}

async function run({ host, ca, victim }: Args): Promise<void> {
  const child = new SteadyChild({
    connection: { host, port: 8883, tls: { ca } },
    credentials: () => rightToken(victim),
    topic: `devices/${victim.id}/messages/events/`,
    body: (n) => Buffer.from(String(n)),
    everyMs: 20,
  });
  const tell = () => {
    const values = child.latencies.splice(0);
    const found: Found = {
      acknowledged: child.acknowledged.length,
      sent: child.sent,
      connections: child.connections,
      complaints: child.complaints,
      latency: [0.5, 0.99, 1].map((part) => quantile(values, part)),
    };
    process.stdout.write(`${JSON.stringify(found)}\n`);
  };
  child.start();
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === 'finish') {
      child.finish();
      while (child.underway > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    }
    tell();
  }
  process.exit(0);
}

if (process.argv[1] === import.meta.filename) await run(JSON.parse(process.argv[2]!) as Args);
