import type { Site } from './site.ts';

/** One thing that happens to a board, and what must become of it. */
export interface Scenario {
  readonly name: string;
  readonly done: string;
  readonly expected: string;
  /** `fresh`: no machine has run from the card yet. `ready`: {@link Site.ready} comes before it. */
  readonly on: 'fresh' | 'ready';
  /** Answers what was seen; throws when that is not what was expected, or {@link NotHere}. */
  readonly run: (site: Site) => Promise<string>;
}

/** A scenario that cannot be had with this image or on this machine: the reason. */
export class NotHere extends Error {}

export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

/** For a state that must last, and for what must not happen; what happens is waited for. */
export function pass(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
