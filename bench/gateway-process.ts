import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { lookAtSpool } from '../src/spool/files.ts';
import type { Ledger } from '../src/spool/ledger.ts';
import { processorTimeOf } from './broker.ts';
import { ended } from './ended.ts';
import { ROOT } from './worker.ts';

/** What the program is made of. */
export const BUNDLE = join(ROOT, 'dist', 'holdfast.cjs');
/** The program as users run it: the bundle, with what V8 has compiled of it before. */
export const PROGRAM = join(ROOT, 'dist', 'start.cjs');
/** How often we look whether a message has become durable, ms. */
const LOOK_EVERY_MS = 2;
const FIRST_MS_MAX = 30_000;

export interface GatewayOptions {
  /** Holds gateway.yaml and the data. */
  readonly folder: string;
  /** `line-4` when it is left out. */
  readonly id?: string;
  readonly children: number;
  readonly upstream?: string;
  /** How often each child speaks; once a minute when it is left out. */
  readonly sendEveryMs?: number;
  /** Settings of `storeAndForward`, as a line of YAML. */
  readonly storage?: string;
}

/** Resident memory of a process, bytes: all, its own, and pages of files (the program, the spool's map). */
export interface Resident {
  readonly all: number;
  readonly own: number;
  readonly files: number;
}

/** What `holdfast status` says, as far as a bench wants to know. */
interface Status {
  readonly upstream: { readonly state: string } | null;
  readonly ledger: { readonly accepted: number; readonly delivered: number };
}

let built = false;

/** Builds {@link PROGRAM} from the sources as they are, once. */
export function buildProgram(): void {
  if (!built) execFileSync(process.execPath, [join(ROOT, 'scripts', 'build.mjs')], { stdio: 'ignore' });
  built = true;
}

/** `holdfast run` in a process of its own, with simulated children. */
export class GatewayProcess {
  readonly #child: ChildProcess;
  readonly #startedAt: number;
  readonly #file: string;
  readonly #dataDir: string;
  readonly #running: Promise<number>;
  readonly #ended: Promise<unknown>;

  constructor(options: GatewayOptions) {
    const { folder, id = 'line-4', children, upstream, sendEveryMs = 60_000, storage = 'keepFree: 1%' } = options;
    const file = (this.#file = join(folder, 'gateway.yaml'));
    const simulated = `simulated: { sendIntervalMs: ${sendEveryMs}, messageCount: -1 }`;
    const child = (_: unknown, n: number) => `  - { id: press-${n + 1}, ${simulated} }`;
    const lines = [
      `gateway: { id: ${id}, dataDir: data }`,
      ...(upstream === undefined ? [] : [`upstream: { url: "${upstream}" }`]),
      `storeAndForward: { ${storage} }`,
      'children:',
      ...Array.from({ length: children }, child),
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    this.#dataDir = join(folder, 'data');
    this.#startedAt = performance.now();
    this.#child = spawn(process.execPath, [PROGRAM, 'run', '-c', file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#ended = ended(this.#child);
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

  /** Asks it, as a user would. */
  async status(): Promise<Status> {
    const { stdout } = await promisify(execFile)(process.execPath, [PROGRAM, 'status', '-c', this.#file, '--json']);
    return JSON.parse(stdout) as Status;
  }

  /** Length of its spool's file, bytes. */
  fileBytes(): number {
    return statSync(join(this.#dataDir, 'spool', 'data.mdb')).size;
  }

  resident(): Resident {
    return residentMemory(this.#child.pid!);
  }

  /** Its share of memory: what it has for itself, and its part of what it has in common with others; bytes. */
  share(): number {
    // proc(5), /proc/PID/smaps_rollup.
    const text = readFileSync(`/proc/${this.#child.pid}/smaps_rollup`, 'latin1');
    return Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1]) * 1024;
  }

  /** Processor time it has used, microseconds. */
  processorTime(): number {
    return processorTimeOf(this.#child.pid!);
  }

  /** What the files say; it is not running any more. */
  ledger(): Promise<Ledger> {
    return lookAtSpool(this.#dataDir, (_, books) => books.ledger);
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
