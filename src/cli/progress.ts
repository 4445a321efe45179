import { say } from './output.ts';

/** How often it is said how far it is: on a terminal, in place of the time before; and elsewhere, ms. */
const TERMINAL_EVERY_MS = 200;
const LOG_EVERY_MS = 5000;

/** Says on standard error how far something is. */
export class Progress {
  readonly #what: string;
  #saidAt = performance.now();
  #onScreen = false;
  count = 0;

  constructor(what: string) {
    this.#what = what;
  }

  add(count: number): void {
    this.count += count;
    const now = performance.now();
    const { isTTY } = process.stderr;
    if (now - this.#saidAt < (isTTY ? TERMINAL_EVERY_MS : LOG_EVERY_MS)) return;
    this.#saidAt = now;
    if (!isTTY) say(`${this.count} ${this.#what} so far`);
    else {
      this.#onScreen = true;
      process.stderr.write(`\r\x1b[K${this.count} ${this.#what}`);
    }
  }

  /** Takes it off the screen. */
  end(): void {
    if (this.#onScreen) process.stderr.write('\r\x1b[K');
    this.#onScreen = false;
  }
}
