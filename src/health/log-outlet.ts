import type { Writable } from 'node:stream';

/** What may wait because whoever reads the log stands still, bytes: beyond this lines are left out, and counted. */
export const WAITING_BYTES_MAX = 2 ** 20;

/** Hands lines to whoever reads the log. A journal that stands still must not fill the gateway's memory. */
export class LogOutlet {
  readonly #stream: Writable;
  #leftOut = 0;

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  write(text: string): void {
    if (this.#stream.writableLength < WAITING_BYTES_MAX) this.#stream.write(text);
    else this.#leftOut++;
  }

  /** Calls `listener` when all that waited has been read, with how many lines were left out meanwhile. */
  onReadAgain(listener: (leftOut: number) => void): void {
    this.#stream.on('drain', () => {
      const leftOut = this.#leftOut;
      this.#leftOut = 0;
      if (leftOut > 0) listener(leftOut);
    });
  }
}
