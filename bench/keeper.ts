import type { SystemClock } from '../src/clock/system-clock.ts';
import { RecordBuffer } from '../src/message/binary.ts';
import type { AcceptedAt, Message } from '../src/message/message.ts';
import type { Sink } from '../src/router/router.ts';

/** One way to keep messages on a medium until they are delivered, oldest first. Messages go in at `accept`. */
export interface Keeper extends Sink {
  /** Makes durable what was accepted since the last time, in one commit. */
  commit(): Promise<void>;
  /** Reads and deletes the oldest `count`, in one commit. */
  deliver(count: number): Promise<void>;
  /** What the messages take of the file, bytes: pages in use, where there are pages; not the file's length. */
  heldBytes(): number;
  /** Puts off nothing any more. */
  settle(): void;
  close(): Promise<void>;
}

/** What peers have in common: messages wait as records, in the form that Holdfast's blocks have them, until the commit. */
export abstract class RecordKeeper implements Keeper {
  readonly #clock: SystemClock;
  readonly #record = new RecordBuffer(1024);
  protected waiting: Buffer[] = [];

  constructor(clock: SystemClock) {
    this.#clock = clock;
  }

  stamp(): AcceptedAt {
    const monotonic = this.#clock.monotonic();
    return { wall: this.#clock.wall(), monotonic, boot: 1, clock: 'synced', age: monotonic };
  }

  accept(message: Message): Promise<void> {
    this.#record.clear();
    this.#record.message(message);
    this.waiting.push(Buffer.from(this.#record.view()));
    return Promise.resolve();
  }

  refused(): void {}

  discard(): void {}

  settle(): void {}

  abstract commit(): Promise<void>;
  abstract deliver(count: number): Promise<void>;
  abstract heldBytes(): number;
  abstract close(): Promise<void>;
}
