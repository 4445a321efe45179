import { LANES, type Stored } from '../message/message.ts';
import { BlockDamaged, type BlockHeader } from './block.ts';
import type { Books } from './books.ts';
import { isDeadLetter, keyLane, keySeq } from './keys.ts';
import { balanced } from './stats.ts';

/** Holds the blocks and dead letters of one commit against its books. They come in the order of their keys. */
export class Account {
  readonly #books: Books;
  readonly #complain: (complaint: string) => void;
  readonly #pending = Array.from({ length: LANES }, () => 0);
  #before: { readonly lane: number; readonly lastSeq: number } | null = null;
  #newestLetter = 0;
  blocks = 0;
  deadLetters = 0;

  constructor(books: Books, complain: (complaint: string) => void) {
    this.#books = books;
    this.#complain = complain;
  }

  /** Whether the header alone does not say how many of the block's messages wait. */
  needsMessages(key: Buffer, { firstSeq }: BlockHeader): boolean {
    return keyLane(key) < LANES && firstSeq <= this.#books.lanes[keyLane(key)]!.settledTo;
  }

  /** Counts one entry. What cannot be read, or is neither block nor dead letter, is left out: its reader complains of it. */
  entry(key: Buffer, read: () => { readonly header: BlockHeader; readonly messages: readonly Stored[] }): void {
    const lane = keyLane(key);
    if (isDeadLetter(key)) {
      this.deadLetters++;
      this.#newestLetter = keySeq(key);
      return;
    }
    if (lane >= LANES) return;
    try {
      const { header, messages } = read();
      this.#block(key, header, messages);
    } catch (error) {
      if (!(error instanceof BlockDamaged)) throw error;
    }
  }

  #block(key: Buffer, header: BlockHeader, messages: readonly Stored[]): void {
    const lane = keyLane(key);
    this.blocks++;
    const name = `block ${keySeq(key)} of lane ${lane}`;
    const { settledTo, nextSeq } = this.#books.lanes[lane]!;
    if (this.#before?.lane === lane && header.firstSeq <= this.#before.lastSeq)
      this.#complain(`${name} overlaps the one before it`);
    if (header.lastSeq >= nextSeq)
      this.#complain(`${name} holds number ${header.lastSeq}, beyond the next one, ${nextSeq}`);
    if (header.lastSeq <= settledTo) this.#complain(`${name} is settled and was not deleted`);
    this.#before = { lane, lastSeq: header.lastSeq };
    this.#pending[lane]! += this.needsMessages(key, header)
      ? messages.filter(({ seq }) => seq > settledTo).length
      : header.count;
  }

  /** After the last entry: the sums. */
  close(): void {
    const { lanes, ledger, nextDeadLetter } = this.#books;
    lanes.forEach((lane, number) => {
      if (lane.pending !== this.#pending[number])
        this.#complain(`lane ${number}: the books say ${lane.pending} pending, there are ${this.#pending[number]}`);
    });
    if (this.deadLetters !== ledger.deadLetters)
      this.#complain(`the books say ${ledger.deadLetters} dead letters, there are ${this.deadLetters}`);
    if (this.#newestLetter >= nextDeadLetter)
      this.#complain(`there is a dead letter ${this.#newestLetter}, and the next one is ${nextDeadLetter}`);
    if (!balanced(this.#books))
      this.#complain('the ledger is not even: accepted is not delivered + pending + deadLetters + dropped');
  }
}
