import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import { pendingOf, type Books } from './books.ts';
import type { Committer } from './committer.ts';
import type { Medium } from './late-environment.ts';
import type { Quota } from './quota.ts';
import type { Room } from './room.ts';

/** What became of the file, bytes. */
export interface Compacted {
  readonly before: number;
  readonly after: number;
}

export interface CompactionParts {
  readonly environment: Medium;
  readonly books: Books;
  readonly quota: Quota;
  readonly room: Room;
  readonly committer: Committer;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Makes a spool's file as small as what is in it: when asked, and when it is above a lowered quota and empty. */
export class Compaction {
  readonly #parts: CompactionParts;
  #shrinking = false;

  constructor(parts: CompactionParts) {
    this.#parts = parts;
  }

  /** Rejects when there is no room for the copy, or the medium does not take it; the file is then as it was. */
  async compact(copied: (bytes: number) => void): Promise<Compacted> {
    const { environment, committer, room } = this.#parts;
    const before = environment.fileBytes();
    await committer.exclusively(async () => {
      room.mustHaveRoomForCopy();
      await environment.recreate(copied);
    });
    return { before, after: environment.fileBytes() };
  }

  /** After a commit: shrinks a file that is larger than a lowered quota once there is nothing in it. */
  shrink(): void {
    const { environment, books, quota, committer, clock, log } = this.#parts;
    if (this.#shrinking || pendingOf(books) > 0 || books.ledger.deadLetters > 0) return;
    // What was settled while the commit was under way still lies in the file.
    if (committer.unmarked > 0) return;
    if (environment.fileBytes() <= quota.bytes) return;
    this.#shrinking = true;
    clock.soon(() => {
      this.compact(() => undefined)
        .then(() => log.info('the spool is empty: its file has shrunk to the quota'))
        .catch((error: unknown) => log.warn({ err: error }, 'the file could not be made smaller'))
        .finally(() => (this.#shrinking = false));
    });
  }
}
