import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';

/** Addresses and ids that are remembered for their failures. */
const REMEMBERED_MAX = 1000;
/** Without a failure for so long they are forgotten, ms. */
const FORGOTTEN_MS = 600_000;
/** Failures that cost nothing: people mistype. */
const FREE = 3;
/** How long a refusal is held back after that, ms: doubled with each failure, to the most. */
const HELD_MS = 100;
const HELD_MS_MAX = 2000;
/** Refusals held back at once; beyond it they are given at once. */
const HELD_MAX = 256;
/** Who has failed too often may have a password reckoned this often, ms. */
const GUESS_EVERY_MS = 1000;
const LOG_EVERY_MS = 60_000;
/** Longest piece of what a stranger sends that the log repeats, characters. */
const SHOWN_MAX = 64;

interface Failures {
  count: number;
  last: number;
  nextGuess: number;
}

/**
 * Those who tried to come in and failed. A refusal is held back, longer each time; a right answer never is, so a child with good
 * credentials does not notice who else tries from its address or in its name. Costly guesses (passwords) are rationed. The
 * log hears of the first at once, and then once a minute how many more there were.
 */
export class Attempts {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #byAddress = new Map<string, Failures>();
  readonly #byChild = new Map<string, Failures>();
  #held = 0;
  #silent = false;
  #unsaid = 0;
  /** Since the start. */
  refused = 0;

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Books a failure; resolves when it may be answered. `why` and `child` are for the log. */
  async failed(address: string, child: string | null, why: string): Promise<void> {
    this.refused++;
    this.#say(address, child, why);
    const now = this.#clock.monotonic();
    const counts = [note(this.#byAddress, address, now), child === null ? 0 : note(this.#byChild, child, now)];
    const beyond = Math.max(...counts) - FREE;
    if (beyond <= 0 || this.#held >= HELD_MAX) return;
    this.#held++;
    await new Promise<void>((resolve) =>
      this.#clock.after(Math.min(HELD_MS_MAX, HELD_MS * 2 ** (beyond - 1)), resolve),
    );
    this.#held--;
  }

  succeeded(child: string): void {
    this.#byChild.delete(child);
  }

  /**
   * Whether a password may be reckoned now. An id alone holds nobody up who has not failed from the same address: else
   * anybody could lock a child out by guessing in its name.
   */
  mayGuess(address: string, child: string): boolean {
    const now = this.#clock.monotonic();
    const own = recent(this.#byAddress, address, now);
    if (own === undefined) return true;
    const tired = [own, recent(this.#byChild, child, now)].filter((each) => each !== undefined && each.count >= FREE);
    if (tired.some((each) => each!.nextGuess > now)) return false;
    for (const each of tired) each!.nextGuess = now + GUESS_EVERY_MS;
    return true;
  }

  #say(address: string, child: string | null, why: string): void {
    if (this.#silent) {
      this.#unsaid++;
      return;
    }
    this.#silent = true;
    this.#log.warn({ address, who: child === null ? null : child.slice(0, SHOWN_MAX) }, `not let in: ${why}`);
    this.#clock.after(LOG_EVERY_MS, () => this.#sayRest());
  }

  #sayRest(): void {
    this.#silent = false;
    if (this.#unsaid === 0) return;
    const worst = [...this.#byAddress].sort(([, a], [, b]) => b.count - a.count)[0]?.[0];
    this.#log.warn({ count: this.#unsaid, mostFrom: worst }, `not let in: ${this.#unsaid} more in the last minute`);
    this.#unsaid = 0;
    // The minute after one with failures is counted as well, so that a long attack is one line a minute.
    this.#silent = true;
    this.#clock.after(LOG_EVERY_MS, () => this.#sayRest());
  }
}

function recent(of: Map<string, Failures>, key: string, now: number): Failures | undefined {
  const found = of.get(key);
  if (found === undefined || now - found.last <= FORGOTTEN_MS) return found;
  of.delete(key);
  return undefined;
}

/** How many there have been by now. The one whose last is longest ago goes when there are too many. */
function note(of: Map<string, Failures>, key: string, now: number): number {
  const found = recent(of, key, now) ?? { count: 0, last: now, nextGuess: now };
  of.delete(key);
  of.set(key, { ...found, count: found.count + 1, last: now });
  for (const oldest of of.keys()) {
    if (of.size <= REMEMBERED_MAX) break;
    of.delete(oldest);
  }
  return found.count + 1;
}
