import type { Clock } from '../../clock/clock.ts';
import { checksum } from '../checksum.ts';
import { type Decoded, jsonObject, type LineDecoder, numberOrText } from './decoder.ts';
import { SENTENCES } from './nmea-fields.ts';

/** Kinds of sentences whose last time is remembered, for `minIntervalMs`. */
const KINDS_MAX = 256;

export interface NmeaOptions {
  /** `GGA`, or with the talker `GPGGA`; left out: all. */
  readonly sentences?: readonly string[] | undefined;
  /** Of one kind of sentence from one talker, what comes sooner is passed over; 0 for none. */
  readonly minIntervalMs: number;
  /** Whether a sentence without a checksum is malformed. */
  readonly checksumRequired: boolean;
}

/** Start, address, fields, checksum ("NMEA 0183" V4, section 5.3). */
const SENTENCE = /^[$!](?<address>[A-Z0-9]{3,10}),(?<fields>[^*$!]*)(?:\*(?<sum>[0-9A-Fa-f]{2}))?$/;

/**
 * Each line is a sentence of NMEA 0183. The body is a JSON object with `talker`, `sentence` and what the sentence says; of
 * one that is not known by name the fields as they came. A valid RMC with its date says when it was measured.
 */
export class NmeaLineDecoder implements LineDecoder {
  readonly #options: NmeaOptions;
  readonly #clock: Clock;
  readonly #wanted: ReadonlySet<string> | undefined;
  /** Kind to when it was last passed on, monotonic ms. */
  readonly #passed = new Map<string, number>();

  constructor(options: NmeaOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    this.#wanted = options.sentences === undefined ? undefined : new Set(options.sentences);
  }

  decode(line: Buffer): Decoded {
    // What stands before is noise, or a tag block (NMEA 0183 V4, section 7.9.3).
    const text = line.toString('latin1').trimEnd();
    const start = Math.max(text.lastIndexOf('$'), text.lastIndexOf('!'));
    const match = start < 0 ? null : SENTENCE.exec(text.slice(start));
    const { address, fields, sum } = match?.groups ?? {};
    if (address === undefined || fields === undefined) return { malformed: 'not a sentence of NMEA 0183' };
    if (sum === undefined && this.#options.checksumRequired) return { malformed: 'a sentence without checksum' };
    if (sum !== undefined) {
      const counted = checksum('xor8', Buffer.from(`${address},${fields}`, 'latin1'));
      if (Number.parseInt(sum, 16) !== counted) return { malformed: 'wrong checksum' };
    }
    // A maker's own sentences begin with P and the maker's three letters.
    const talker = address.startsWith('P') ? 'P' : address.slice(0, 2);
    const sentence = address.slice(talker.length);
    const values = fields.split(',');
    if (this.#isPassedOver(address, sentence, values)) return { skipped: true };
    const named = Object.hasOwn(SENTENCES, sentence) && talker !== 'P' ? SENTENCES[sentence]!(values) : undefined;
    const raw = { fields: values.map((value) => (value === '' ? null : fieldOf(value))) };
    const body = jsonObject(Object.entries({ talker, sentence, ...(named ?? raw) }));
    const time = named !== undefined && sentence === 'RMC' && named['valid'] === true ? named['time'] : null;
    return typeof time === 'string' ? { body, eventTime: Date.parse(time) } : { body };
  }

  #isPassedOver(address: string, sentence: string, values: readonly string[]): boolean {
    if (this.#wanted !== undefined && !this.#wanted.has(sentence) && !this.#wanted.has(address)) return true;
    const { minIntervalMs } = this.#options;
    if (minIntervalMs === 0) return false;
    // What is said in several sentences belongs together.
    const kind = sentence === 'GSV' ? `${address} ${values[1]}` : address;
    const now = this.#clock.monotonic();
    if (now - (this.#passed.get(kind) ?? -Infinity) < minIntervalMs) return true;
    if (this.#passed.size >= KINDS_MAX) this.#passed.clear();
    this.#passed.set(kind, now);
    return false;
  }
}

/** Times of day and angles have leading zeros, also before a fraction. */
function fieldOf(text: string): number | string {
  return /^[+-]?0\d/.test(text) ? text : numberOrText(text);
}
