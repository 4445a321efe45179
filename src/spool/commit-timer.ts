import type { Clock, Timer } from '../clock/clock.ts';
import { Patience } from './patience.ts';

/** Settled messages after which their marks are written ... */
export const MARKS_MAX = 1000;
/** ... or this long after the first of them, ms. */
const MARKS_MS_MAX = 250;

/**
 * Knows when the next commit is due. Three things ask for one: a message whose sender does not wait (within
 * `commitEveryMs`), a message whose sender waits for its acknowledgement (see {@link Patience}), and marks of what has been
 * delivered. While a commit is under way nothing fires; what became due meanwhile fires when it has ended.
 */
export class CommitTimer {
  readonly #clock: Clock;
  readonly #commitEveryMs: () => number;
  readonly #due: () => void;
  readonly #messagesDueAt: () => number;
  readonly #patience = new Patience();
  #dueAt = Infinity;
  /** When the oldest message is due that waits for the medium only; it may be gone by then. */
  #messagesAt = Infinity;
  /** The last commit failed: whoever asks, not before this. */
  #notBefore = -Infinity;
  #armedFor = Infinity;
  #timer: Timer | null = null;
  #sendersWait = false;
  #soon = false;
  #busy = false;

  /**
   * `messagesDueAt` says, when a message's time has come, when the oldest is due that still waits: where messages may be
   * sent from memory, it need not be written any more.
   */
  constructor(
    clock: Clock,
    commitEveryMs: () => number,
    due: () => void,
    messagesDueAt: () => number = () => -Infinity,
  ) {
    this.#clock = clock;
    this.#commitEveryMs = commitEveryMs;
    this.#due = due;
    this.#messagesDueAt = messagesDueAt;
  }

  /** A message joined a tail. */
  message(senderWaits: boolean): void {
    if (!senderWaits) {
      if (this.#messagesAt === Infinity) this.#messagesBy(this.#clock.monotonic() + this.#commitEveryMs());
      return;
    }
    this.#patience.arrival(this.#clock.monotonic());
    if (this.#sendersWait) return;
    this.#sendersWait = true;
    this.#lookSoon();
  }

  /** So many settled messages are not marked on the medium. */
  marks(count: number): void {
    if (count >= MARKS_MAX) this.now();
    else this.#by(this.#clock.monotonic() + MARKS_MS_MAX);
  }

  /** Something is to be written within so many ms, with whatever else is due by then. */
  within(ms: number): void {
    this.#by(this.#clock.monotonic() + ms);
  }

  /** Commit as soon as the one under way has ended. */
  now(): void {
    this.#by(-Infinity);
  }

  /** Not before so many ms: the last commit failed. */
  retryAfter(ms: number): void {
    this.#notBefore = this.#dueAt = this.#clock.monotonic() + ms;
    this.#sendersWait = false;
  }

  /** A commit begins; whoever asked for it has been heard. */
  begun(): void {
    this.#busy = true;
    this.#dueAt = Infinity;
    this.#messagesAt = Infinity;
    this.#notBefore = -Infinity;
    this.#sendersWait = false;
    this.#patience.committed();
    this.#disarm();
  }

  ended(): void {
    this.#busy = false;
    // What the commit left out becomes due as well, also when no other message comes.
    const leftOut = this.#messagesDueAt();
    if (leftOut > -Infinity) this.#messagesAt = Math.min(this.#messagesAt, leftOut);
    if (this.#sendersWait) this.#lookSoon();
    else this.#arm(Math.min(this.#dueAt, this.#messagesAt));
  }

  stop(): void {
    this.#busy = true;
    this.#disarm();
  }

  #by(at: number): void {
    if (at >= this.#dueAt) return;
    this.#dueAt = at;
    if (!this.#busy) this.#arm(at);
  }

  #messagesBy(at: number): void {
    this.#messagesAt = at;
    if (!this.#busy) this.#arm(at);
  }

  #arm(at: number): void {
    if (at >= this.#armedFor || at === Infinity) return;
    const ms = at - this.#clock.monotonic();
    if (ms <= 0) {
      this.#lookSoon();
      return;
    }
    this.#disarm();
    this.#armedFor = at;
    this.#timer = this.#clock.after(ms, () => {
      this.#armedFor = Infinity;
      this.#look();
    });
  }

  #disarm(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#armedFor = Infinity;
  }

  #lookSoon(): void {
    if (this.#busy || this.#soon) return;
    this.#soon = true;
    this.#clock.soon(() => {
      this.#soon = false;
      this.#look();
    });
  }

  #look(): void {
    if (this.#busy) return;
    const now = this.#clock.monotonic();
    if (now + 0.5 < this.#notBefore) {
      this.#arm(this.#notBefore);
      return;
    }
    // Timers may fire a fraction of a millisecond early.
    if (this.#dueAt <= now + 0.5) {
      this.#due();
      return;
    }
    if (this.#messagesAt <= now + 0.5) {
      this.#messagesAt = this.#messagesDueAt();
      if (this.#messagesAt <= now + 0.5) {
        this.#due();
        return;
      }
    }
    if (this.#sendersWait) {
      const wait = this.#patience.waitMs(now);
      if (wait === 0) this.#due();
      else this.#arm(Math.min(now + wait, this.#dueAt, this.#messagesAt));
      return;
    }
    this.#arm(Math.min(this.#dueAt, this.#messagesAt));
  }
}
