interface Entry {
  /** 0: nobody waits for an acknowledgement. */
  readonly id: number;
  readonly bytes: number;
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

  /** `answer` says whether to go on: false, and no later answer leaves. `eased` is told after some have left. */
  constructor(answer: (id: number, outcome: Outcome) => boolean, eased: () => void) {
    this.#answer = answer;
    this.#eased = eased;
  }

  get count(): number {
    return this.#entries.length;
  }

  /** `done` never rejects. */
  add(id: number, bytes: number, done: Promise<Outcome>): void {
    const entry: Entry = { id, bytes, outcome: null };
    this.#entries.push(entry);
    this.bytes += bytes;
    void done.then((outcome) => {
      entry.outcome = outcome;
      this.#flush();
    });
  }

  #flush(): void {
    let count = 0;
    while (!this.#stopped && count < this.#entries.length) {
      const { id, bytes, outcome } = this.#entries[count]!;
      if (outcome === null) break;
      count++;
      this.bytes -= bytes;
      if (!this.#answer(id, outcome)) this.#stopped = true;
    }
    if (count === 0) return;
    this.#entries.splice(0, count);
    this.#eased();
  }
}
