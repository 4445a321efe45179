/** How many times faster than the world's the clock of this process goes: see field-clock.ts. */
const HASTE = Number(process.env['HOLDFAST_FIELD_RATE'] ?? 1);
/** Longest that a test waits for anything, ms; only a failing test gets there. */
export const WAIT_MS_MAX: number = 20_000 * HASTE;
/** How often a condition that nobody announces is looked at, ms. */
const LOOK_EVERY_MS = 10 * HASTE;

/**
 * Resolves with what `check` gives once that is neither false, null nor undefined. For conditions that nothing announces;
 * where something does, use a {@link Bell}. Rejects after `msMax` and names `what` was waited for.
 */
export async function until<T>(
  what: string | (() => string),
  check: () => T | Promise<T>,
  msMax: number = WAIT_MS_MAX,
): Promise<NonNullable<Exclude<T, false>>> {
  const end = performance.now() + msMax;
  for (;;) {
    const found = await check();
    if (found !== false && found !== null && found !== undefined) return found as NonNullable<Exclude<T, false>>;
    if (performance.now() > end) throw new Error(`waited ${msMax} ms for ${typeof what === 'string' ? what : what()}`);
    await new Promise<void>((resolve) => {
      setTimeout(resolve, LOOK_EVERY_MS);
    });
  }
}

/** Rung whenever something happened; those who wait look again then, and not before. */
export class Bell {
  readonly #waiting = new Set<() => void>();

  ring(): void {
    for (const look of this.#waiting) look();
  }

  /** Resolves with what `check` gives once that is neither false, null nor undefined. Rejects after `msMax`. */
  until<T>(
    what: string | (() => string),
    check: () => T,
    msMax: number = WAIT_MS_MAX,
  ): Promise<NonNullable<Exclude<T, false>>> {
    return new Promise((resolve, reject) => {
      const look = () => {
        try {
          const found = check();
          if (found === false || found === null || found === undefined) return;
          resolve(found as NonNullable<Exclude<T, false>>);
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
        clearTimeout(deadline);
        this.#waiting.delete(look);
      };
      const deadline = setTimeout(() => {
        this.#waiting.delete(look);
        reject(new Error(`waited ${msMax} ms for ${typeof what === 'string' ? what : what()}`));
      }, msMax);
      this.#waiting.add(look);
      look();
    });
  }
}
