import type { WhenFull } from '../../src/spool/evictor.ts';
import type { SpoolSettings } from '../../src/spool/settings.ts';

export type ModelSettings = Pick<SpoolSettings, 'write' | 'whenFull' | 'timeToLiveSecs'> & {
  readonly quota: { readonly bytes: number };
  readonly lanes?: Readonly<Record<string, { readonly whenFull: WhenFull }>> | undefined;
  /** The quota is never used up: nothing may go for want of room. */
  readonly roomy?: boolean | undefined;
};

/** What has come up in a run: a property that never sees a thing proves nothing about it. */
export interface Tally {
  crashes: number;
  epochs: number;
  expired: number;
  evicted: number;
  thinned: number;
  merged: number;
  refused: number;
  shed: number;
  unwritten: number;
  revived: number;
}

export const emptyTally = (): Tally => ({
  crashes: 0,
  epochs: 0,
  expired: 0,
  evicted: 0,
  thinned: 0,
  merged: 0,
  refused: 0,
  shed: 0,
  unwritten: 0,
  revived: 0,
});

export interface Away {
  readonly ms: number;
  /** The machine was switched off. */
  readonly reboot: boolean;
}
