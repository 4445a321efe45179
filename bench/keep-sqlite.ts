import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { SystemClock } from '../src/clock/system-clock.ts';
import { RecordKeeper } from './keeper.ts';

/** SQLite through better-sqlite3: a row for each message, write-ahead log, a sync at each commit. */

/** The part of better-sqlite3 12 that we use. */
interface Sqlite {
  pragma(text: string, options?: { simple: true }): unknown;
  exec(text: string): void;
  prepare(text: string): { run(...values: unknown[]): void; all(...values: unknown[]): unknown[] };
  close(): void;
}

export class SqliteKeeper extends RecordKeeper {
  readonly #database: Sqlite;
  readonly #insert: ReturnType<Sqlite['prepare']>;
  readonly #oldest: ReturnType<Sqlite['prepare']>;
  readonly #delete: ReturnType<Sqlite['prepare']>;
  #first = 1;
  #next = 1;

  constructor(folder: string, clock: SystemClock, peers: string) {
    super(clock);
    const Database = createRequire(join(peers, 'package.json'))('better-sqlite3') as new (path: string) => Sqlite;
    this.#database = new Database(join(folder, 'messages.sqlite'));
    this.#database.pragma('journal_mode = WAL');
    this.#database.pragma('synchronous = FULL');
    this.#database.exec('CREATE TABLE messages (seq INTEGER PRIMARY KEY, record BLOB NOT NULL)');
    this.#insert = this.#database.prepare('INSERT INTO messages VALUES (?, ?)');
    this.#oldest = this.#database.prepare('SELECT record FROM messages WHERE seq < ?');
    this.#delete = this.#database.prepare('DELETE FROM messages WHERE seq < ?');
  }

  commit(): Promise<void> {
    this.#database.exec('BEGIN');
    for (const record of this.waiting) this.#insert.run(this.#next++, record);
    this.#database.exec('COMMIT');
    this.waiting = [];
    return Promise.resolve();
  }

  deliver(count: number): Promise<void> {
    this.#first += count;
    if (this.#oldest.all(this.#first).length !== count) throw new Error('a message is not there');
    this.#delete.run(this.#first);
    return Promise.resolve();
  }

  heldBytes(): number {
    const number = (name: string) => this.#database.pragma(name, { simple: true }) as number;
    return (number('page_count') - number('freelist_count')) * number('page_size');
  }

  /** What the log still holds goes to the file. */
  override settle(): void {
    this.#database.pragma('wal_checkpoint(FULL)');
  }

  close(): Promise<void> {
    this.#database.close();
    return Promise.resolve();
  }
}
