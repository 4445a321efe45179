import type { Stored } from '../message/message.ts';

/** Told once: null when the message is durable, else why it never will be. */
export type Durable = (error: Error | null) => void;

function tellNow(durable: Durable): void {
  durable(null);
}

interface Item extends Stored {
  /** When it came, monotonic ms. */
  readonly since: number;
  readonly lifeMs: number;
  readonly durable: Durable | null;
  /** It is not sent before it is on the medium, unless that is not waited for any more. */
  readonly held: boolean;
}

/**
 * Messages of one lane that are not on the medium, oldest first, where they may be sent from memory
 * (`write: when-needed`). One leaves when it is on the medium or the upstream has acknowledged it, whichever comes first.
 */
export class Unwritten {
  #items: Item[] = [];
  #head = 0;

  get size(): number {
    return this.#items.length - this.#head;
  }

  /** When the oldest came, monotonic ms; Infinity when there is none. */
  get oldestSince(): number {
    return this.#items[this.#head]?.since ?? Infinity;
  }

  get firstSeq(): number {
    return this.#items[this.#head]?.seq ?? 0;
  }

  add(item: Item): void {
    this.#items.push(item);
  }

  /** The first one whose number is `seq` or more. */
  from(seq: number): Item | null {
    return this.#items[this.#find(seq)] ?? null;
  }

  /** Those with numbers from `firstSeq` to `lastSeq`. */
  between(firstSeq: number, lastSeq: number): readonly Item[] {
    return this.#items.slice(this.#find(firstSeq), this.#find(lastSeq + 1));
  }

  /** All up to `seq` are durable, and leave; in this order their senders hear of it, or are handed to `later`. */
  durableTo(seq: number, later: ((durable: Durable) => void) | null = null): void {
    while (this.#head < this.#items.length && this.#items[this.#head]!.seq <= seq) {
      const { durable } = this.#items[this.#head++]!;
      if (durable !== null) (later ?? tellNow)(durable);
    }
    if (this.#head > 1024 || this.#head === this.#items.length) {
      this.#items.splice(0, this.#head);
      this.#head = 0;
    }
  }

  /** Takes those of a range out: they are let go. */
  drop(firstSeq: number, lastSeq: number): void {
    const at = this.#find(firstSeq);
    for (const { durable } of this.#items.splice(at, this.#find(lastSeq + 1) - at)) durable?.(null);
  }

  /** All of them stand in another epoch. */
  renumber(epoch: number): void {
    this.#items = this.#items.map((item) => ({ ...item, epoch }));
  }

  /** None of them will be written any more. */
  failed(why: Error): void {
    for (const { durable } of this.#items) durable?.(why);
  }

  /** Where the first one stands whose number is `seq` or more. */
  #find(seq: number): number {
    let low = this.#head;
    let high = this.#items.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#items[middle]!.seq < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
