import type { SpoolSettings } from '../src/spool/opening.ts';

/** What a bench may want otherwise than the defaults. */
export interface SpoolWishes {
  readonly quotaBytes?: number;
  readonly durability?: 'strict' | 'relaxed';
}

/** The settings of a gateway that says nothing of storage (src/config/storage.ts), on a disk that may be rather full. */
export function spoolSettings(dataDir: string, wishes: SpoolWishes = {}): SpoolSettings {
  const { quotaBytes = 512 * 2 ** 20, durability = 'strict' } = wishes;
  return {
    dataDir,
    quota: { bytes: quotaBytes },
    keepFree: { percent: 1 },
    whenFull: 'drop-oldest',
    durability,
    commitEveryMs: 250,
    timeToLiveSecs: 7200,
  };
}
