import type { KnownTime } from '../dialects/holdfast.ts';
import type { LossRow } from '../message/loss.ts';
import type { AcceptedAt, Stored } from '../message/message.ts';

/** What the drain needs of the spool. */
export interface Outbox {
  /** The next message in order, each once until {@link rewind}; null when there is none now. */
  next(): Stored | null;
  /** The oldest message in flight of its lane has been taken by the upstream. */
  delivered(stored: Stored, matched: boolean): void;
  /** The oldest message in flight of its lane will never be taken. */
  deadLetter(stored: Stored, reason: string): void;
  /** Start again at the first message that is not settled. */
  rewind(): void;
  /** Settled messages that a crash would make us send again. */
  readonly unmarked: number;
  /** Losses to report before the next message; each comes again, as it is, until it is reported. */
  lossesToReport(): readonly LossRow[];
  /** Whether those handed out last may be sent yet: they are on the medium. */
  readonly lossesDurable: boolean;
  /** Whether there are losses besides those handed out last. */
  readonly lossesUnreported: boolean;
  /** These of those handed out last have been taken by the upstream. */
  lossesReported(rows: readonly LossRow[]): void;
  /** When a message was accepted, as well as it is known by now. */
  acceptedTime(accepted: AcceptedAt): KnownTime;
  /** Calls back when there may be more to send. */
  onCommit(listener: () => void): void;
}
