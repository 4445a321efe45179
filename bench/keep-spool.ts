import type { AcceptedAt, Message } from '../src/message/message.ts';
import type { Keeper } from './keeper.ts';
import type { OpenSpool } from './stored.ts';

/** Holdfast's spool. */
export class SpoolKeeper implements Keeper {
  readonly #open: OpenSpool;
  readonly #emptyBytes: number;

  constructor(open: OpenSpool) {
    this.#open = open;
    this.#emptyBytes = this.#liveBytes();
  }

  stamp(): AcceptedAt {
    return this.#open.spool.stamp();
  }

  accept(message: Message): Promise<void> {
    return this.#open.spool.accept(message, false);
  }

  refused(): void {
    throw new Error('a message was refused');
  }

  discard(): void {
    throw new Error('a message was discarded');
  }

  commit(): Promise<void> {
    return this.#open.spool.flush();
  }

  deliver(count: number): Promise<void> {
    const { spool } = this.#open;
    for (let n = 0; n < count; n++) {
      const stored = spool.next();
      if (stored === null) throw new Error('a message is not there');
      spool.delivered(stored, true);
    }
    return spool.flush();
  }

  heldBytes(): number {
    return this.#liveBytes() - this.#emptyBytes;
  }

  settle(): void {}

  close(): Promise<void> {
    return this.#open.close();
  }

  #liveBytes(): number {
    const { livePages, pageBytes } = this.#open.spool.snapshot();
    return livePages * pageBytes;
  }
}
