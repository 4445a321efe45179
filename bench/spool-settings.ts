import type { SpoolSettings } from '../src/spool/settings.ts';

/** What a bench may want otherwise than the defaults. */
export interface SpoolWishes {
  readonly quotaBytes?: number;
  readonly durability?: 'strict' | 'relaxed';
}

/** Smaller than a gateway's, since a spool fills its file up to there; more than any bench stores that does not ask for more. */
const QUOTA_BYTES = 128 * 2 ** 20;

/** Otherwise the settings of a gateway that says nothing of storage (src/config/storage.ts), on a disk that may be rather full. */
export function spoolSettings(dataDir: string, wishes: SpoolWishes = {}): SpoolSettings {
  const { quotaBytes = QUOTA_BYTES, durability = 'strict' } = wishes;
  return {
    dataDir,
    quota: { bytes: quotaBytes },
    keepFree: { percent: 1 },
    whenFull: 'drop-oldest',
    durability,
    commitEveryMs: 250,
    timeToLiveSecs: 7200,
    write: 'always',
    prefill: true,
  };
}
