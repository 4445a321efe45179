/** A connection that has held this long counts as stable, ms. */
export const STABLE_MS = 60_000;

/** Waits before each attempt to connect: exponential with full jitter, ms; endless. `random` gives 0 to 1. */
export function* backoff(minMs: number, maxMs: number, random: () => number): Generator<number, never> {
  for (let step = 0; ; step++) {
    const ceiling = Math.min(maxMs, minMs * 2 ** Math.min(step, 30));
    yield Math.round(random() * ceiling);
  }
}
