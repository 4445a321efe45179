import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import { writePrivate } from '../registry/private-file.ts';

/** So many starts that ended badly within {@link FAILURES_WITHIN_MS} make the next one a start in safe mode. */
const FAILURES_MAX = 5;
const FAILURES_WITHIN_MS = 10 * 60_000;
/** A start that has held for so long was a good one, ms: those before it are forgotten. */
const STABLE_MS = 2 * 60_000;
/** After so long in safe mode an ordinary start is tried, ms. */
const SAFE_MS = 60 * 60_000;
/** Longest text of a failure that is kept, characters. */
const WHY_LENGTH_MAX = 500;

/** Sensors, rules and hub are off; what is stored is sent. */
export interface SafeMode {
  /** Wall time, RFC 3339. */
  readonly since: string;
  readonly why: string;
}

interface Kept {
  readonly version: 1;
  /** Only within one boot of the machine: a site whose power comes and goes has no fault of ours. */
  readonly boot: string;
  /** Which configuration it was; with another one all begins anew. */
  readonly config: string;
  /** Starts that have not come to a good end, ms since boot. */
  readonly starts: readonly number[];
  /** What the last of them died of, as far as it could say. */
  readonly failure: string | null;
  readonly safe: SafeMode | null;
}

/**
 * Breaks a loop of crashes: counts the starts that came to no good end in `dataDir/starts.json`, written before anything that
 * can fail. A start is good when it has held for {@link STABLE_MS}, or was ended from outside. Where the file cannot be
 * written nothing is counted, and every start is an ordinary one.
 */
export class StartRecord {
  readonly #file: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  #kept: Kept;
  #timer: Timer | null = null;

  constructor(dataDir: string, configFile: string, clock: Clock, log: Logger) {
    this.#file = join(dataDir, 'starts.json');
    this.#clock = clock;
    this.#log = log;
    const config = createHash('sha256').update(readFileSync(configFile)).digest('hex');
    const fresh: Kept = { version: 1, boot: clock.bootId, config, starts: [], failure: null, safe: null };
    const last = read(this.#file);
    this.#kept = last?.boot === fresh.boot && last.config === config ? last : fresh;
  }

  /** Counts this start. Gives the safe mode that it has to be in, or null. */
  begin(): SafeMode | null {
    const now = this.#clock.monotonic();
    const { starts, failure, safe } = this.#kept;
    const failed = starts.filter((at) => at > now - FAILURES_WITHIN_MS);
    if (safe === null && failed.length >= FAILURES_MAX) {
      const secs = Math.round((now - failed[0]!) / 1000);
      const last = failure === null ? '' : `; the last one: ${failure}`;
      const why = `${failed.length} starts within ${secs} s came to a bad end${last}`;
      this.#keep({ starts: [], safe: { since: new Date(this.#clock.wall()).toISOString(), why } });
    } else this.#keep({ starts: [...failed, now], failure: null });
    return this.#kept.safe;
  }

  /** It runs. In safe mode `again` is called when an ordinary start is to be tried. */
  runs(again: () => void): void {
    const { safe } = this.#kept;
    this.#timer = this.#clock.after(safe === null ? STABLE_MS : SAFE_MS, () => {
      this.#keep({ starts: [], failure: null, safe: null });
      if (safe !== null) again();
    });
  }

  /** It ended because somebody wanted that. */
  endedWell(): void {
    this.#timer?.cancel();
    this.#keep({ starts: [], failure: null, safe: null });
  }

  /** It ends because of this; the start remains counted. */
  failed(why: unknown): void {
    this.#timer?.cancel();
    const text = why instanceof Error ? why.message : String(why);
    this.#keep({ failure: text.slice(0, WHY_LENGTH_MAX) });
  }

  #keep(change: Partial<Kept>): void {
    this.#kept = { ...this.#kept, ...change };
    try {
      writePrivate(this.#file, JSON.stringify(this.#kept));
    } catch (error) {
      this.#log.debug({ err: error }, 'starts are not counted');
    }
  }
}

/** Null when there is none, or none that can be read: the count begins anew. */
function read(file: string): Kept | null {
  try {
    const kept = JSON.parse(readFileSync(file, 'utf8')) as Kept;
    return kept.version === 1 && Array.isArray(kept.starts) ? kept : null;
  } catch {
    return null;
  }
}
