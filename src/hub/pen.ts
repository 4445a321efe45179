import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import type { Store } from './session-store.ts';

/** How long after a failed write it is tried again, ms. */
const AGAIN_MS = 1000;

interface Note {
  value: Buffer | null;
  readonly written: (() => void)[];
}

/** Writes what changes in sessions, together: what comes while one write is under way is the next one. */
export class Pen {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Logger;
  #notes = new Map<string, Note>();
  #writing: Promise<void> | null = null;
  #failing = false;
  #said = false;

  constructor(store: Store, clock: Clock, log: Logger) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
  }

  /** Resolves when it is durable. Never rejects: a write that fails is tried until it succeeds. */
  set(name: string, value: Buffer | null): Promise<void> {
    return new Promise((resolve) => {
      const note = this.#notes.get(name);
      if (note === undefined) this.#notes.set(name, { value, written: [resolve] });
      else {
        note.value = value;
        note.written.push(resolve);
      }
      this.#write();
    });
  }

  /** Takes back what was set once under a name of its own, and deletes it if that is too late. */
  withdraw(name: string): void {
    const note = this.#notes.get(name);
    if (note === undefined) {
      void this.set(name, null);
      return;
    }
    this.#notes.delete(name);
    for (const written of note.written) written();
  }

  /** Resolves when all that was set so far is durable, or cannot be written. */
  async flush(): Promise<void> {
    while ((this.#writing !== null || this.#notes.size > 0) && !this.#failing) {
      this.#write();
      await this.#writing;
    }
  }

  #write(): void {
    if (this.#writing !== null || this.#notes.size === 0) return;
    this.#writing = new Promise<void>((resolve) => {
      // What comes in the same turn comes along.
      this.#clock.soon(() => void this.#batch().then(resolve));
    }).then(() => {
      this.#writing = null;
      if (!this.#failing) this.#write();
    });
  }

  async #batch(): Promise<void> {
    const notes = this.#notes;
    this.#notes = new Map();
    if (notes.size === 0) return;
    try {
      await this.#store.put([...notes].map(([name, { value }]) => [name, value] as const));
      this.#failing = false;
      this.#said = false;
      for (const { written } of notes.values()) for (const tell of written) tell();
    } catch (error) {
      if (!this.#said) this.#log.error({ err: error }, 'sessions cannot be written; tried again until they can');
      this.#said = true;
      this.#failing = true;
      // What came meanwhile is newer.
      for (const [name, note] of this.#notes) {
        const older = notes.get(name);
        if (older !== undefined) note.written.unshift(...older.written);
        notes.delete(name);
        notes.set(name, note);
      }
      this.#forgetUnkept(notes);
      this.#notes = notes;
      this.#clock.after(AGAIN_MS, () => {
        this.#failing = false;
        this.#write();
      });
    }
  }
  /** What goes and never came to the medium needs no writing: a medium may take nothing for weeks. */
  #forgetUnkept(notes: Map<string, Note>): void {
    for (const [name, { value, written }] of notes) {
      if (value !== null || this.#mayBeKept(name)) continue;
      notes.delete(name);
      for (const tell of written) tell();
    }
  }

  #mayBeKept(name: string): boolean {
    try {
      return this.#store.get(name) !== null;
    } catch {
      return true;
    }
  }
}
