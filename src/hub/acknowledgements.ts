interface Entry {
  /** 0: nobody waits for an acknowledgement. */
  readonly id: number;
  readonly bytes: number;
  readonly wait: Wait;
}

/** What several in a row wait for. */
interface Wait {
  readonly done: Promise<Outcome>;
  outcome: Outcome | null;
}

/** What a PUBLISH came to: taken (0), or refused with MQTT 5's reason for it. */
export interface Outcome {
  readonly reason: number;
  /** Neither taken nor refused: there is no room now. */
  readonly stuck?: boolean;
  /** The client is told on a topic why: MQTT 3.1.1 need not break the connection to say so. */
  readonly explained?: boolean;
}

/**
 * What a client has sent and nobody has answered yet. Answers leave in the order in which the messages came, whichever is
 * durable first (MQTT 3.1.1, section 4.6).
 */
export class Acknowledgements {
  bytes = 0;
  readonly #entries: Entry[] = [];
  readonly #answer: (id: number, outcome: Outcome) => boolean;
  readonly #eased: () => void;
  #stopped = false;
  #last: Wait | null = null;

  /** `answer` says whether to go on: false, and no later answer leaves. `eased` is told after some have left. */
  constructor(answer: (id: number, outcome: Outcome) => boolean, eased: () => void) {
    this.#answer = answer;
    this.#eased = eased;
  }

  get count(): number {
    return this.#entries.length;
  }

  /** `done` never rejects. Messages of one commit may share it: it is waited for once for all that follow each other. */
  add(id: number, bytes: number, done: Promise<Outcome>): void {
    let wait = this.#last;
    if (wait === null || wait.done !== done || wait.outcome !== null) {
      const other: Wait = { done, outcome: null };
      wait = this.#last = other;
      void done.then((outcome) => {
        other.outcome = outcome;
        this.#flush();
      });
    }
    this.#entries.push({ id, bytes, wait });
    this.bytes += bytes;
  }

  #flush(): void {
    let count = 0;
    while (!this.#stopped && count < this.#entries.length) {
      const { id, bytes, wait } = this.#entries[count]!;
      if (wait.outcome === null) break;
      count++;
      this.bytes -= bytes;
      if (!this.#answer(id, wait.outcome)) this.#stopped = true;
    }
    if (count === 0) return;
    this.#entries.splice(0, count);
    this.#eased();
  }
}
