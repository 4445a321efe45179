/** Looks at files under way in one moment: each takes a thread of the pool that LMDB's commits share (main.ts). */
const LOOKS_MAX = 4;

interface Waiter {
  readonly folder: string;
  readonly begin: () => void;
}

/**
 * Looks at files in turn: one of a folder, few of all. A look at a mount that is dead never ends, and keeps its thread; of all the
 * tables that lie there it keeps one.
 */
export class LookQueue {
  readonly #folders = new Set<string>();
  readonly #waiting = new Set<Waiter>();

  /** Resolves when `look` has ended, or, if it had not begun by then, when `signal` says that nobody wants it any more. */
  async take(folder: string, signal: AbortSignal, look: () => Promise<void>): Promise<void> {
    if (!(await this.#turn(folder, signal))) return;
    try {
      await look();
    } finally {
      this.#folders.delete(folder);
      this.#next();
    }
  }

  /** False: left before its turn came. */
  #turn(folder: string, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve(false);
      const left = () => {
        if (this.#waiting.delete(waiter)) resolve(false);
      };
      const begin = () => {
        signal.removeEventListener('abort', left);
        resolve(true);
      };
      const waiter: Waiter = { folder, begin };
      signal.addEventListener('abort', left, { once: true });
      this.#waiting.add(waiter);
      this.#next();
    });
  }

  #next(): void {
    for (const waiter of this.#waiting) {
      if (this.#folders.size >= LOOKS_MAX) return;
      if (this.#folders.has(waiter.folder)) continue;
      this.#waiting.delete(waiter);
      this.#folders.add(waiter.folder);
      waiter.begin();
    }
  }
}
