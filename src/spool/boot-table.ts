import type { Clock } from '../clock/clock.ts';
import type { AcceptedAt } from '../message/message.ts';
import type { Boot, Books } from './books.ts';

/** Boots whose clock is remembered; messages of earlier ones that never knew the time keep `clock: unknown`. */
const BOOTS_MAX = 64;

/** When a message was accepted, as well as these boots know it. */
export function timeIn(
  boots: readonly Boot[],
  accepted: AcceptedAt,
): { at: number; clock: 'synced' | 'restored' | 'unknown' } {
  if (accepted.clock === 'synced') return { at: accepted.wall, clock: 'synced' };
  const offset = boots.find((boot) => boot.number === accepted.boot)?.offset ?? null;
  if (offset === null) return { at: accepted.wall, clock: 'unknown' };
  return { at: accepted.monotonic + offset, clock: 'restored' };
}

/**
 * Corrects the stamps of messages that were taken on before the time was known. A board without a real-time clock boots in
 * the past; once the kernel is synchronised, the difference between wall and monotonic time dates everything of that boot.
 */
export class BootTable {
  readonly #boots: Boot[];
  readonly #clock: Clock;
  readonly #this: Boot;

  /** Works on the table in the books, and adds this boot to it. */
  constructor(books: Books, clock: Clock) {
    this.#boots = books.boots;
    this.#clock = clock;
    this.#this = this.#find(clock.bootId);
  }

  /** This boot's number, for the stamps of its messages. */
  get number(): number {
    return this.#this.number;
  }

  /** Notes the time if it is known by now. */
  learn(): void {
    if (this.#this.offset !== null || !this.#clock.known()) return;
    this.#this.offset = this.#clock.wall() - this.#clock.monotonic();
  }

  /** When a message was accepted, as well as it is known by now. */
  timeOf(accepted: AcceptedAt): { at: number; clock: 'synced' | 'restored' | 'unknown' } {
    if (accepted.boot === this.#this.number) this.learn();
    return timeIn(this.#boots, accepted);
  }

  #find(id: string): Boot {
    const known = this.#boots.find((boot) => boot.id === id);
    if (known !== undefined) return known;
    const boot: Boot = { number: (this.#boots.at(-1)?.number ?? 0) + 1, id, offset: null };
    this.#boots.push(boot);
    if (this.#boots.length > BOOTS_MAX) this.#boots.shift();
    return boot;
  }
}
