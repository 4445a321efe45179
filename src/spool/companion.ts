/**
 * Somebody who keeps records in the spool that must change in the same transaction as the messages: the rules, with what they
 * have made of the messages that were taken on.
 */
export interface Companion {
  /** Bytes that {@link cut} would give now, about; 0 when there is nothing that would have to be written. */
  readonly bytes: number;
  /**
   * The records as they are to be with all that has been taken on by now, as far as they have changed since the last cut. The
   * spool keeps them until they are on the medium, and no commit carries a message of before the cut without them, or one of
   * after it with them alone. Never called within {@link Spool.accept}. The buffers must not change any more.
   */
  cut(): readonly CompanionRecord[];
}

export interface CompanionRecord {
  /** u8 */
  readonly kind: number;
  /** u48 */
  readonly number: number;
  /** Null: it goes. */
  readonly value: Buffer | null;
}

/** One that is on the medium. */
export interface KeptRecord extends CompanionRecord {
  readonly value: Buffer;
}

/** Several as one; no two have records of one kind. */
export function together(companions: readonly Companion[]): Companion {
  return {
    get bytes() {
      return companions.reduce((sum, { bytes }) => sum + bytes, 0);
    },
    cut: () => companions.flatMap((companion) => companion.cut()),
  };
}
