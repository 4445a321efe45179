import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { lookAtSpool } from '../src/spool/files.ts';
import { ROOT } from './worker.ts';

/** The program as users run it. */
export const BUNDLE = join(ROOT, 'dist', 'holdfast.cjs');
/** How often we look whether a message has become durable, ms. */
const LOOK_EVERY_MS = 2;
const FIRST_MS_MAX = 30_000;

export interface GatewayOptions {
  /** Holds gateway.yaml and the data. */
  readonly folder: string;
  readonly children: number;
  readonly upstream?: string;
  readonly nodeFlags?: readonly string[];
}

/** Resident memory of a process, bytes: all, its own, and pages of files (the program, the spool's map). */
export interface Resident {
  readonly all: number;
  readonly own: number;
  readonly files: number;
}

/** `holdfast run` in a process of its own, with simulated children that speak once a minute. */
export class GatewayProcess {
  readonly #child: ChildProcess;
  readonly #startedAt: number;
  readonly #dataDir: string;
  readonly #running: Promise<number>;
  readonly #ended: Promise<unknown>;

  constructor({ folder, children, upstream, nodeFlags = [] }: GatewayOptions) {
    const file = join(folder, 'gateway.yaml');
    const child = (_: unknown, n: number) => `  - { id: press-${n + 1}, simulated: { sendIntervalMs: 60s } }`;
    const lines = [
      'gateway: { id: line-4, dataDir: data }',
      ...(upstream === undefined ? [] : [`upstream: { url: "${upstream}" }`]),
      'storeAndForward: { keepFree: 1% }',
      'children:',
      ...Array.from({ length: children }, child),
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    this.#dataDir = join(folder, 'data');
    this.#startedAt = performance.now();
    this.#child = spawn(process.execPath, [...nodeFlags, BUNDLE, 'run', '-c', file], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, HOLDFAST_CLOCK: 'trusted' },
    });
    this.#ended = new Promise((resolve) => this.#child.once('exit', resolve));
    let log = '';
    this.#running = new Promise((resolve, reject) => {
      createInterface({ input: this.#child.stdout! }).on('line', (line) => {
        log += `${line}\n`;
        if (/\brunning$/.test(line) && !line.includes('press-')) resolve(performance.now() - this.#startedAt);
      });
      this.#child.once('exit', (code) => reject(new Error(`the gateway ended with ${code}:\n${log}`)));
    });
    this.#running.catch(() => undefined);
  }

  /** Milliseconds from exec until the gateway said that it runs. */
  get running(): Promise<number> {
    return this.#running;
  }

  /** Milliseconds from exec until more than `before` messages were accepted, durably, as seen from outside in its files. */
  async firstAccepted(before: number): Promise<number> {
    for (;;) {
      const accepted = await lookAtSpool(this.#dataDir, (_, books) => books.ledger.accepted).catch(() => 0);
      const ms = performance.now() - this.#startedAt;
      if (accepted > before) return ms;
      if (ms > FIRST_MS_MAX) throw new Error('the gateway accepts nothing');
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  }

  resident(): Resident {
    return residentMemory(this.#child.pid!);
  }

  /** Asks it to stop, and waits until it has. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#ended;
  }
}

/** proc(5), /proc/PID/status. */
export function residentMemory(pid: number): Resident {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const bytes = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024;
  return { all: bytes('VmRSS'), own: bytes('RssAnon'), files: bytes('RssFile') };
}
