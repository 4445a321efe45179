import type { AgeClock } from '../clock/age.ts';
import type { Change } from '../store/environment.ts';
import { encodeBooks, type Books, type NotCarried } from './books.ts';
import type { BootTable } from './boot-table.ts';
import { BOOKS_KEY, BOOTS_KEY, CHILDREN_KEY, LOSSES_KEY } from './keys.ts';
import type { Losses } from './losses.ts';
import { seal } from './seal.ts';

export interface RecordsParts {
  readonly books: Books;
  readonly losses: Losses;
  readonly age: AgeClock;
  readonly boots: BootTable;
}

/** The spool's own records: the books in each commit, the others when they have changed. */
export class Records {
  readonly #parts: RecordsParts;
  #durableBooks: Buffer;
  #books: Buffer;
  #bootsWritten = '';
  #boots = '';

  constructor(parts: RecordsParts) {
    this.#parts = parts;
    this.#durableBooks = this.#books = encodeBooks(parts.books);
  }

  /** The first commit of this run is on the medium: the next start will know that this one was. */
  get began(): boolean {
    return this.#bootsWritten !== '';
  }

  /** The books' main record as it is on the medium. */
  get durableBooks(): Buffer {
    return this.#durableBooks;
  }

  /** What the next commit carries of them, `without` what it does not carry. */
  changes(without: NotCarried): Change[] {
    const { books, losses, age, boots } = this.#parts;
    boots.learn();
    this.#boots = JSON.stringify(books.boots);
    books.age = age.mark();
    this.#books = encodeBooks(books, without);
    const changes: Change[] = [
      [BOOKS_KEY, this.#books],
      [CHILDREN_KEY, books.children.encode(without.children)],
    ];
    if (this.#boots !== this.#bootsWritten) changes.push([BOOTS_KEY, seal(books.boots)]);
    // All records are there from the first commit on: one that is missing is damage.
    if (losses.takeChanged() || !this.began) changes.push([LOSSES_KEY, seal(losses.rows)]);
    return changes;
  }

  /** They are on the medium. */
  written(): void {
    this.#parts.losses.written();
    this.#durableBooks = this.#books;
    this.#bootsWritten = this.#boots;
  }

  /** They are not. */
  notWritten(): void {
    this.#parts.losses.markChanged();
  }
}
