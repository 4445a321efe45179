import type { Message } from '../message/message.ts';
import type { WriteMode } from './books.ts';
import type { WhenFull } from './evictor.ts';
import type { Amount } from './quota.ts';

/** `storeAndForward` and where it applies. */
export interface SpoolSettings {
  readonly dataDir: string;
  readonly quota: Amount;
  readonly keepFree: Amount;
  readonly whenFull: WhenFull;
  /** What differs for one lane, by its number. */
  readonly lanes?: Readonly<Record<string, { readonly whenFull?: WhenFull | undefined } | undefined>>;
  readonly durability: 'strict' | 'relaxed';
  readonly write: WriteMode;
  readonly commitEveryMs: number;
  readonly timeToLiveSecs: number;
  /** Bytes a day. */
  readonly wearBudget?: number | undefined;
  /** The file is filled up to the quota in the background. */
  readonly prefill: boolean;
  /** When this program was built, ms since 1970: a time that has certainly passed. */
  readonly builtAt?: number | undefined;
}

export function whenFullOf(settings: SpoolSettings, lane: number): WhenFull {
  return settings.lanes?.[lane]?.whenFull ?? settings.whenFull;
}

/** How long a message may live, ms of age. */
export function lifeMsOf(settings: SpoolSettings, message: Message): number {
  return (message.expiresAfterSecs ?? settings.timeToLiveSecs) * 1000;
}
