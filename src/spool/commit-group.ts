/** The messages that go to the medium together, and the one promise that they share. */
export class CommitGroup {
  readonly durable: Promise<void>;
  #resolve!: () => void;
  #reject!: (error: Error) => void;

  constructor() {
    this.durable = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // A sender that does not wait must not bring the process down when its commit fails for good.
    this.durable.catch(() => undefined);
  }

  committed(): void {
    this.#resolve();
  }

  failed(error: Error): void {
    this.#reject(error);
  }

  /** This group's commit failed and its messages go with the next one. */
  joins(next: CommitGroup): void {
    next.durable.then(this.#resolve, this.#reject);
  }
}
