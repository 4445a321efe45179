import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock, Timer } from '../clock/clock.ts';
import type { Fields } from '../query/value.ts';
import { LookQueue } from './look-queue.ts';
import type { ReferenceTable } from './reference-table.ts';
import { readTable, TableProblem } from './reference-rows.ts';

/** Largest file that is read: it is held in memory, and parsed in one go. */
const FILE_BYTES_MAX = 8 * 1024 * 1024;
/** How often the file is looked at when nothing else is said. */
const EVERY_MS = 10_000;
/** A look that takes longer is not waited for, ms: behind the file may be a network that has gone away ... */
const LOOK_MS_MAX = 5000;
/** ... and nor is it on stopping. */
const STOP_MS_MAX = 500;
/** Opening a pipe waits for somebody to write into it; this does not. */
const READING = constants.O_RDONLY | constants.O_NONBLOCK;

/** Of all tables of this process. */
const LOOKS = new LookQueue();

export interface ReferenceFileOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly everyMs?: number;
  /** Called when {@link ReferenceFile.problem} changes: what is wrong now, or null when it is well again. */
  readonly onProblem?: (problem: string | null) => void;
}

/**
 * A reference table in a file. The file is looked at from time to time and read again when its time of change, its size or its inode
 * is another one; rows change all at once, between two events. A file that cannot be read or has something wrong in it changes
 * nothing: the last good rows stay, and {@link problem} says what it is. Whoever writes the file does well to write another and
 * rename it; a change while it is read is noticed, and it is read again.
 */
export class ReferenceFile implements ReferenceTable {
  readonly #options: ReferenceFileOptions;
  #timer: Timer | null = null;
  #rows: readonly Fields[] = [];
  #problem: string | null = null;
  /** The file whose rows these are, or that had something wrong. */
  #stamp: string | null = null;
  #checking: Promise<void> | null = null;
  readonly #ended = new AbortController();

  constructor(options: ReferenceFileOptions) {
    this.#options = options;
  }

  /** Empty until a file was read. */
  get rows(): readonly Fields[] {
    return this.#rows;
  }

  /** What is wrong with the file as it is now, with the line where there is one; null when its rows are in use. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Resolves when the file has been read for the first time, or could not be. */
  async start(): Promise<void> {
    await this.check();
    this.#timer = this.#options.clock.every(this.#options.everyMs ?? EVERY_MS, () => void this.check());
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = null;
    this.#ended.abort();
    if (this.#checking !== null) await this.#within(STOP_MS_MAX, this.#checking, () => undefined);
  }

  /** Looks at the file now. Never rejects; a look without an answer goes on, and no second one begins meanwhile. */
  check(): Promise<void> {
    this.#checking ??= LOOKS.take(dirname(this.#options.path), this.#ended.signal, () => this.#read()).finally(() => {
      this.#checking = null;
    });
    return this.#within(LOOK_MS_MAX, this.#checking, () => {
      // It may answer again as it was.
      this.#stamp = null;
      this.#say(`${this.#options.path}: no answer within ${LOOK_MS_MAX / 1000} s`);
    });
  }

  #within(ms: number, done: Promise<void>, late: () => void): Promise<void> {
    return new Promise((resolve) => {
      const deadline = this.#options.clock.after(ms, () => {
        late();
        resolve();
      });
      void done.then(() => {
        deadline.cancel();
        resolve();
      });
    });
  }

  async #read(): Promise<void> {
    let file: FileHandle | null = null;
    try {
      file = await open(this.#options.path, READING);
      const { stamp, size } = await stampOf(file);
      if (stamp === this.#stamp) return;
      if (size > FILE_BYTES_MAX) {
        this.#stamp = stamp;
        throw new TableProblem(1, `the file has ${size} bytes, at most ${FILE_BYTES_MAX}`);
      }
      const text = await file.readFile('utf8');
      // Somebody is writing it: half a file may look like a whole one.
      if ((await stampOf(file)).stamp !== stamp) return;
      this.#stamp = stamp;
      this.#rows = readTable(text, this.#options.path);
      this.#say(null);
    } catch (error) {
      // One that could not be read at all may come back as it was.
      if (!(error instanceof TableProblem)) this.#stamp = null;
      this.#say(problemOf(error, this.#options.path));
    } finally {
      // What is read is read: a network may say here that something went wrong before.
      await file?.close().catch(() => undefined);
    }
  }

  #say(problem: string | null): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#options.onProblem?.(problem);
  }
}

async function stampOf(file: FileHandle): Promise<{ readonly stamp: string; readonly size: number }> {
  const stats = await file.stat({ bigint: true });
  if (!stats.isFile()) throw new Error('is no file');
  const { mtimeNs, size, ino } = stats;
  return { stamp: `${mtimeNs} ${size} ${ino}`, size: Number(size) };
}

function problemOf(error: unknown, path: string): string {
  if (error instanceof TableProblem) return `${path}:${error.line}: ${error.message}`;
  return `${path}: ${error instanceof Error ? error.message : String(error)}`;
}
