import { Script } from 'node:vm';
import { type Decoded, jsonObject, type LineDecoder, NOT_UTF8, utf8Text, valueOf, type ValueType } from './decoder.ts';

/** Longest that one line may keep the event loop in a pattern, ms. */
const MATCH_MS_MAX = 50;
/** After a line that took too long, this many lines are refused unseen; doubles each time, up to the second number. */
const REST_LINES_MIN = 1;
const REST_LINES_MAX = 1_024;

/** `(?<name>`, but not the look-behinds `(?<=` and `(?<!`. */
const NAMED_GROUP = /\(\?<(?![=!])/;

/** Only a script can be given a time limit, and a script only sees globals: the match to run next is left here for it. */
const MATCH = Symbol.for('holdfast.drivers.regex.match');
const globals = globalThis as unknown as Record<symbol, (() => RegExpExecArray | null) | undefined>;
const runMatch = new Script(`globalThis[Symbol.for(${JSON.stringify(MATCH.description)})]()`);

export interface RegexOptions {
  readonly pattern: string;
  /** Group to what it is; of the others plain numbers become numbers. */
  readonly types?: Readonly<Record<string, ValueType>> | undefined;
}

/**
 * Each line is matched against a pattern with named groups; the body is a JSON object of the groups, as `types` says or
 * else plain numbers as numbers, null for a group that took no part.
 *
 * A pattern like `(a+)+b` takes time exponential in the length of a line that does not match, and would stop the whole
 * process. It cannot be told from a good one by looking, so the match runs under V8's own time limit, which costs some
 * 60 us a line: less than a sensor can make of lines on a serial port.
 */
export class RegexLineDecoder implements LineDecoder {
  readonly #pattern: RegExp;
  readonly #types: ReadonlyMap<string, ValueType>;
  /** Lines still to be refused unseen, and how many the next overrun will cost. */
  #resting = 0;
  #nextRest = REST_LINES_MIN;

  /** Throws SyntaxError when `pattern` is no regular expression, RangeError when it has no named group. */
  constructor(options: RegexOptions) {
    this.#pattern = new RegExp(options.pattern);
    this.#types = new Map(Object.entries(options.types ?? {}));
    if (!NAMED_GROUP.test(options.pattern))
      throw new RangeError('the pattern has no named group like (?<temperature>...)');
  }

  decode(line: Buffer): Decoded {
    const text = utf8Text(line);
    if (text === undefined) return NOT_UTF8;
    if (this.#resting > 0) {
      this.#resting--;
      return { malformed: 'not looked at: the pattern took too long on a line before' };
    }
    const match = this.#match(text);
    if (match === 'too-slow') return { malformed: `the pattern took longer than ${MATCH_MS_MAX} ms` };
    if (match === null) return { malformed: 'does not match the pattern' };
    const groups = Object.entries(match.groups ?? {});
    return {
      body: jsonObject(
        groups.map(([name, text]) => [name, text === undefined ? null : valueOf(text, this.#types.get(name))]),
      ),
    };
  }

  #match(text: string): RegExpExecArray | null | 'too-slow' {
    globals[MATCH] = () => this.#pattern.exec(text);
    try {
      const match = runMatch.runInThisContext({ timeout: MATCH_MS_MAX }) as RegExpExecArray | null;
      this.#nextRest = REST_LINES_MIN;
      return match;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
      this.#resting = this.#nextRest;
      this.#nextRest = Math.min(REST_LINES_MAX, this.#nextRest * 2);
      return 'too-slow';
    } finally {
      globals[MATCH] = undefined;
    }
  }
}
