import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import { inAscii } from '../message/ascii.ts';

/** At most one line in the log per this many ms: a sensor at a wrong baud rate makes thousands of bad lines a minute. */
const LOG_EVERY_MS = 10_000;
/** Characters of a sample that are shown. */
const SAMPLE_CHARS_MAX = 80;

/** Counts input that made no sense, and shows samples of it: the first at once, then the latest with "and N more". */
export class MalformedInput {
  readonly #clock: Clock;
  readonly #log: Logger;
  #count = 0;
  #unlogged = 0;
  #latest: { readonly why: string; readonly sample: Buffer | string } | undefined;
  #quiet: Timer | undefined;

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** How many there were. */
  get count(): number {
    return this.#count;
  }

  /** `said`: it is in the log already, and only counted here. */
  add(why: string, sample: Buffer | string, said = false): void {
    this.#count++;
    if (said) return;
    if (this.#quiet === undefined) {
      this.#log.warn({ why, sample: excerpt(sample) }, 'malformed input');
      this.#beQuiet();
      return;
    }
    this.#unlogged++;
    // A sample may be a piece of a buffer that is about to be reused: keep no more than will be shown, and keep it ourselves.
    this.#latest = {
      why,
      sample: typeof sample === 'string' ? sample : Buffer.from(sample.subarray(0, SAMPLE_CHARS_MAX + 1)),
    };
  }

  /** Logs what has not been logged yet. */
  flush(): void {
    this.#quiet?.cancel();
    this.#quiet = undefined;
    if (this.#latest === undefined) return;
    const { why, sample } = this.#latest;
    const more = this.#unlogged - 1;
    this.#log.warn({ why, sample: excerpt(sample), more }, `malformed input${more > 0 ? `, and ${more} more` : ''}`);
    this.#unlogged = 0;
    this.#latest = undefined;
  }

  #beQuiet(): void {
    this.#quiet = this.#clock.after(LOG_EVERY_MS, () => {
      const logged = this.#latest !== undefined;
      this.flush();
      if (logged) this.#beQuiet();
    });
  }
}

/** At most 80 characters of a sample, of printable ASCII: a log cannot be forged or garbled by a sensor. */
function excerpt(sample: Buffer | string): string {
  const bytes = typeof sample === 'string' ? Buffer.from(sample.slice(0, SAMPLE_CHARS_MAX + 1), 'utf8') : sample;
  const text = inAscii(bytes.subarray(0, SAMPLE_CHARS_MAX + 1));
  return text.length > SAMPLE_CHARS_MAX ? `${text.slice(0, SAMPLE_CHARS_MAX - 3)}...` : text;
}
