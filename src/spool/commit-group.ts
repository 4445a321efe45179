/** Messages that share one promise: it is kept when the last of the blocks that hold them is on the medium. */
export class CommitGroup {
  readonly durable: Promise<void>;
  #resolve!: () => void;
  #reject!: (error: Error) => void;
  #blocks = 0;

  constructor() {
    this.durable = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // A sender that does not wait must not bring the process down when its commit fails for good.
    this.durable.catch(() => undefined);
  }

  /** One more block holds messages of this group. */
  holds(): void {
    this.#blocks++;
  }

  /** One of them is on the medium. */
  written(): void {
    this.#blocks--;
    if (this.#blocks === 0) this.#resolve();
  }

  failed(error: Error): void {
    this.#reject(error);
  }
}
