import type { Clock } from '../clock/clock.ts';
import type { Incoming } from '../message/exchange.ts';
import { Complaints } from '../store/complaints.ts';
import { StoreError } from '../store/store-error.ts';
import type { Compacted } from './compaction.ts';
import { lettersIn, type FoundLetter } from './dead-letters.ts';
import { spoolFile, SpoolFiles } from './files.ts';
import { peek, verifyFiles, type Verification } from './inspection.ts';
import { takeIn } from './intake.ts';
import { LateEnvironment } from './late-environment.ts';
import { orderLetters, type LetterOrder, type LettersDone } from './letter-orders.ts';
import type { Spool } from './spool.ts';
import { spoolStats, type SpoolStats } from './stats.ts';
import type { AcceptedAt, Stored } from '../message/message.ts';
import type { TimeOf } from './boot-table.ts';

/** Longest that a commit is held for who reads the files, ms: meanwhile no page is used anew, and the file may grow. */
const PIN_MS_MAX = 60_000;

/** What people ask about the spool of a running gateway, and have done to it. */
export class SpoolDesk {
  readonly #spool: Spool;
  readonly #dataDir: string;
  readonly #clock: Clock;

  constructor(spool: Spool, dataDir: string, clock: Clock) {
    this.#spool = spool;
    this.#dataDir = dataDir;
    this.#clock = clock;
  }

  stats(): SpoolStats {
    const now = this.#spool.snapshot();
    const stats = this.#spool.medium.read((reader) => spoolStats(reader, this.#spool.booksIn(reader), now));
    return { ...stats, ledger: { ...stats.ledger, refused: this.#spool.ledger.refused } };
  }

  /** The account with what those above want to know besides: how long the oldest has waited, and the last loss. */
  summary() {
    return { ...this.#spool.ledger, ...this.#looked() };
  }

  #looked(): { oldestAgeSecs: number | null; lastLoss: object | null } {
    try {
      const ages = this.stats().lanes.flatMap(({ oldestAgeSecs }) => oldestAgeSecs ?? []);
      const { lastLoss } = this.#spool.snapshot();
      return {
        oldestAgeSecs: ages.length === 0 ? null : Math.max(...ages),
        lastLoss: lastLoss && { ...lastLoss, at: lastLoss.at === null ? null : new Date(lastLoss.at).toISOString() },
      };
    } catch (error) {
      // A medium may refuse to be looked at for a moment.
      if (error instanceof StoreError) return { oldestAgeSecs: null, lastLoss: null };
      throw error;
    }
  }

  peek(count: number, lane?: number): readonly Stored[] {
    return this.#spool.medium.read((reader) => peek(reader, this.#spool.booksIn(reader), count, lane));
  }

  /** When a message was accepted, as well as it is known by now. */
  readonly acceptedTime = (accepted: AcceptedAt): TimeOf => this.#spool.acceptedTime(accepted);

  /** The dead letters behind number `after`, until their bodies come to `bytesMax`. */
  deadLetters(after: number, bytesMax: number): readonly FoundLetter[] {
    return this.#spool.medium.read((reader) => lettersIn(reader, after, bytesMax));
  }

  orderLetters(order: LetterOrder, numbers: readonly number[] | null): Promise<LettersDone> {
    return orderLetters(this.#spool, order, numbers);
  }

  /** Makes the spool's file as small as what is in it. `copied` is told how many bytes are done. */
  compact(copied: (bytes: number) => void): Promise<Compacted> {
    return this.#spool.compact(copied);
  }

  /** Takes messages in that another spool gave out. Resolves when each is durable (null) or refused (why). */
  takeIn(messages: readonly Incoming[]): Promise<readonly (string | null)[]> {
    return takeIn(this.#spool, messages);
  }

  /** Holds the newest commit for another process that reads the files, until it is released, and for a minute at the most. */
  pin(): { readonly release: () => void; readonly ended: Promise<void> } {
    const { medium } = this.#spool;
    const shut = medium instanceof LateEnvironment && medium.opened === null;
    const unpin = shut ? () => undefined : this.#spool.environment.pin();
    let release = () => undefined as void;
    const ended = new Promise<void>((resolve) => {
      const late = this.#clock.after(PIN_MS_MAX, () => release());
      release = () => {
        late.cancel();
        unpin();
        resolve();
      };
    });
    return { release, ended };
  }

  async verify(): Promise<Verification> {
    const complaints = new Complaints();
    const complain = (error: Error) => complaints.add(error.message);
    const { medium } = this.#spool;
    const shut = medium instanceof LateEnvironment && medium.opened === null;
    const files = shut
      ? SpoolFiles.stopped(spoolFile(this.#dataDir), complain)
      : SpoolFiles.own(this.#spool.environment, complain);
    try {
      return await verifyFiles(files, complaints, () => this.#clock.monotonic());
    } finally {
      files.close();
    }
  }
}
