import type { Stored } from '../message/message.ts';
import { PACKET_IDS } from './session.ts';

export type Answer =
  | { readonly kind: 'delivered'; readonly matched: boolean }
  | { readonly kind: 'refused'; readonly reason: number }
  /** Not sent: a packet of so many bytes, where the broker takes so many; -1: MQTT cannot say it at all. */
  | { readonly kind: 'oversized'; readonly bytes: number; readonly bytesMax: number };

interface InFlight {
  readonly stored: Stored;
  answer: Answer | null;
}

/** Messages sent and not settled, oldest first. Packet identifiers are given in turn, so an answer finds its place by number. */
export class Flight {
  #items: InFlight[] = [];
  #head = 0;
  #headId = 1;

  get size(): number {
    return this.#items.length - this.#head;
  }

  get oldest(): Stored | null {
    return this.#items[this.#head]?.stored ?? null;
  }

  /** The packet identifier that the next message gets. */
  get nextId(): number {
    return ((this.#headId - 1 + this.size) % PACKET_IDS) + 1;
  }

  add(stored: Stored): void {
    this.#items.push({ stored, answer: null });
  }

  /** Notes the answer to a packet; one that is not in flight is of no interest. */
  answered(packetId: number, answer: Answer): void {
    const place = (packetId - this.#headId + PACKET_IDS) % PACKET_IDS;
    const item = place < this.size ? this.#items[this.#head + place] : undefined;
    if (item !== undefined) item.answer ??= answer;
  }

  /** Takes the oldest message out once it is answered; null when it is not. */
  shift(): { readonly stored: Stored; readonly answer: Answer } | null {
    const item = this.#items[this.#head];
    if (item === undefined || item.answer === null) return null;
    this.#head++;
    this.#headId = (this.#headId % PACKET_IDS) + 1;
    if (this.#head === this.#items.length || this.#head > 4096) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return { stored: item.stored, answer: item.answer };
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
    this.#headId = 1;
  }
}
