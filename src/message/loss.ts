/** Why an accepted message was let go. The order is part of the spool's format: new ones go to the end. */
export const DROP_REASONS = ['expired', 'evicted', 'thinned', 'no-route', 'loop', 'quarantined', 'discarded'] as const;
export type DropReason = (typeof DROP_REASONS)[number];
/** Why a message was not taken on in the first place; its sender knows. */
export const REFUSAL_REASONS = ['rejected', 'too-large', 'malformed'] as const;
export type RefusalReason = (typeof REFUSAL_REASONS)[number];

/**
 * What was dropped, as it is reported upstream. The range may enclose messages that survive; `count` is exact unless
 * `exact` is false.
 */
export interface Loss {
  readonly epoch: number;
  readonly lane: number;
  /** Whose messages they were, when they were all of one child. */
  readonly child?: string;
  /** Besides the drops: `dead-letter`, kept apart by the gateway and still in its account. */
  readonly reason: DropReason | 'unclean-stop' | 'dead-letter';
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly count: number;
  /** ms since 1970, or null when it is not known. */
  readonly firstEventTime: number | null;
  readonly lastEventTime: number | null;
  readonly exact: boolean;
}

/** A row of folded losses, as it is kept and sent. */
export interface LossRow extends Loss {
  /** Names the row for good (a ULID): one that comes twice was sent twice. */
  readonly id: string;
  /** It may have been sent, so it stays as it is until it is acknowledged: a receiver that adds up would count twice. */
  readonly sent?: true;
}
