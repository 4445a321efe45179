import { QueryProblem, type Offset } from './problem.ts';
import { Float, type Value } from './value.ts';

/** The longest query, in UTF-16 units. */
export const QUERY_MAX = 256 * 1024;

export type Token = {
  readonly at: Offset;
  /** Where it ends: what begins here stands directly behind it. */
  readonly end: Offset;
} &
  /** A bare word: a keyword or a name. `lower` is how keywords and functions are known. */
  (
    | { readonly kind: 'word'; readonly text: string; readonly lower: string }
    /** A name in brackets. */
    | { readonly kind: 'bracketed'; readonly text: string }
    /** Something in double quotes: a name where only a name can stand, and refused elsewhere. */
    | { readonly kind: 'quoted'; readonly text: string }
    /** Text in single quotes. */
    | { readonly kind: 'text'; readonly text: string }
    | { readonly kind: 'number'; readonly value: number | bigint | Float }
    /** An operator or a mark; `!=`, `!<` and `!>` as what they mean. */
    | { readonly kind: 'mark'; readonly text: string }
    | { readonly kind: 'end' }
  );

const SPACE = /[\s\u{feff}]+/uy;
const WORD = /[\p{L}_][\p{L}\p{M}\p{N}_]*/uy;
const NUMBER = /(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?/y;
const MARK = /<>|!=|<=|>=|!<|!>|[-+*/%&|^~=<>(),.;]/y;
/** Marks that never are part of a longer one. */
const LONE: ReadonlySet<string> = new Set('(),;+*/%^~');
const STUCK = /[\p{L}\p{N}_.]/uy;

/** 2^63 is allowed here, and only the parser knows whether a minus stands before it. */
const BIGINT_MAX = 2n ** 63n;

const MEANS: Readonly<Record<string, string>> = { '!=': '<>', '!<': '>=', '!>': '<=' };

/** Marks of other languages, the longest first. */
const FOREIGN: readonly (readonly [mark: string, hint: string])[] = [
  ['==', 'write =, one sign'],
  ['||', 'write CONCAT(a, b) to join texts, OR to join conditions'],
  ['&&', 'write AND'],
  ['::', 'write CAST(x AS type)'],
  ['->', 'write a.b to reach into a record'],
];

/** Characters that begin nothing here. */
const STRANGE: Readonly<Record<string, string>> = {
  '!': 'write NOT',
  '@': 'there are no variables: write the value itself',
  '#': 'write -- before a comment, [..] around a name with such characters',
  $: 'write [..] around a name with such characters',
  ']': 'brackets stand around a name: [a name]',
  '`': 'write [..] around a name with special characters',
  '{': 'records come from the input: a.b reaches into one',
  '\u2018': "texts stand between straight quotes: 'text'",
  '\u2019': "texts stand between straight quotes: 'text'",
  '\u201c': "texts stand between straight quotes: 'text'",
  '\u201d': "texts stand between straight quotes: 'text'",
};

/** What `pattern` (sticky) finds at `at`. */
function found(pattern: RegExp, text: string, at: Offset): string | null {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? null;
}

/** Up to the closing sign, which is doubled where it is meant; `end` stands behind it. */
function delimited(text: string, at: Offset, close: string, what: string): { inner: string; end: Offset } {
  let inner = '';
  let from = at + 1;
  for (;;) {
    const next = text.indexOf(close, from);
    if (next < 0) throw new QueryProblem(at, `this ${what} is not closed`, `close it with ${close}`);
    inner += text.slice(from, next);
    if (text[next + 1] !== close) return { inner, end: next + 1 };
    inner += close;
    from = next + 2;
  }
}

function numberOf(digits: string, at: Offset): number | bigint | Float {
  if (digits.length <= 15 && /^\d+$/.test(digits)) return Number(digits);
  if (/^\d+$/.test(digits)) {
    // The length is looked at first: BigInt of a very long text takes long.
    const whole = digits.replace(/^0+(?=\d)/, '');
    const value = whole.length <= 19 ? BigInt(whole) : BIGINT_MAX + 1n;
    if (value > BIGINT_MAX) {
      throw new QueryProblem(at, 'this number is beyond 64 bits', 'write it with a point for a float: 1e20, 5.0');
    }
    return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
  }
  const value = Number(digits);
  if (!Number.isFinite(value)) throw new QueryProblem(at, 'this number is beyond the range of a float');
  return Number.isInteger(value) ? new Float(value) : value;
}

function strange(text: string, at: Offset): QueryProblem {
  for (const [mark, hint] of FOREIGN) {
    if (text.startsWith(mark, at)) return new QueryProblem(at, `${mark} is no operator here`, hint);
  }
  const character = String.fromCodePoint(text.codePointAt(at)!);
  const shown = /^[\p{L}\p{N}\p{P}\p{S}]$/u.test(character)
    ? character
    : `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`;
  return new QueryProblem(at, `${shown} has no meaning here`, STRANGE[character] ?? null);
}

/** The end of what means nothing: white space and comments of both kinds, from `from` on. */
function skipped(text: string, from: Offset): Offset {
  let at = from;
  for (;;) {
    const code = text.charCodeAt(at);
    if (code === 0x20) {
      at += 1;
      continue;
    }
    if (code < 0x20 || code > 0x7f) at += found(SPACE, text, at)?.length ?? 0;
    const next = text[at];
    if (next !== '-' && next !== '/') return at;
    if (text.startsWith('--', at)) {
      const end = text.indexOf('\n', at);
      at = end < 0 ? text.length : end + 1;
    } else if (text.startsWith('/*', at)) {
      const end = text.indexOf('*/', at + 2);
      if (end < 0) throw new QueryProblem(at, 'this comment is not closed', 'close it with */');
      at = end + 2;
    } else {
      return at;
    }
  }
}

function tokenAt(text: string, at: Offset): Token {
  const first = text[at]!;
  if (first === "'") {
    const { inner, end } = delimited(text, at, "'", 'text');
    return { kind: 'text', text: inner, at, end };
  }
  if (first === '[' || first === '"') {
    const { inner, end } = delimited(text, at, first === '[' ? ']' : '"', 'name');
    if (inner === '') throw new QueryProblem(at, 'a name is empty');
    return { kind: first === '[' ? 'bracketed' : 'quoted', text: inner, at, end };
  }
  if (LONE.has(first)) return { kind: 'mark', text: first, at, end: at + 1 };
  const digit = first >= '0' && first <= '9';
  const word = digit ? null : found(WORD, text, at);
  if (word !== null) {
    const end = at + word.length;
    if ((word === 'N' || word === 'n') && text[end] === "'") {
      throw new QueryProblem(at, "N'..' is not in the language", "every text is Unicode: write 'text'");
    }
    return { kind: 'word', text: word, lower: word.toLowerCase(), at, end };
  }
  const digits = digit || first === '.' ? found(NUMBER, text, at) : null;
  if (digits !== null) {
    const end = at + digits.length;
    if (found(STUCK, text, end) !== null) {
      throw new QueryProblem(
        at,
        'a number runs into what follows it',
        'write [..] around a name that begins with a digit',
      );
    }
    return { kind: 'number', value: numberOf(digits, at), at, end };
  }
  if (FOREIGN.some(([mark]) => text.startsWith(mark, at))) throw strange(text, at);
  const mark = found(MARK, text, at);
  if (mark === null) throw strange(text, at);
  return { kind: 'mark', text: MEANS[mark] ?? mark, at, end: at + mark.length };
}

/**
 * The tokens of a query, in the order of the text; the last one is the end. Takes time in proportion to the text. Throws a
 * {@link QueryProblem} at the first place that is none.
 */
export function lex(text: string): readonly Token[] {
  if (text.length > QUERY_MAX) {
    throw new QueryProblem(QUERY_MAX, `a query may have ${QUERY_MAX} characters, this one has ${text.length}`);
  }
  const tokens: Token[] = [];
  for (let at = skipped(text, 0); at < text.length; at = skipped(text, at)) {
    const token = tokenAt(text, at);
    tokens.push(token);
    at = token.end;
  }
  // Behind the last token, not behind blank lines: there something is missing.
  const end = tokens.at(-1)?.end ?? 0;
  tokens.push({ kind: 'end', at: end, end });
  return tokens;
}

/** A token as it is named to a person. */
export function tokenText(token: Token): string {
  if (token.kind === 'end') return 'the end of the query';
  if (token.kind === 'number') return `the number ${valueText(token.value)}`;
  if (token.kind === 'text') return `the text ${valueText(excerpt(token.text))}`;
  return token.kind === 'bracketed' ? `[${excerpt(token.text)}]` : excerpt(token.text);
}

function excerpt(text: string): string {
  return text.length <= 40 ? text : `${text.slice(0, 39)}…`;
}

/** A literal as it is written in a query. Values that no literal makes (datetimes, records, arrays) as JSON. */
export function valueText(value: Value): string {
  if (value === null) return 'NULL';
  if (typeof value === 'string') return `'${value.replaceAll("'", "''")}'`;
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  if (!(value instanceof Float)) return JSON.stringify(value);
  const shown = Object.is(value.value, -0) ? '-0' : String(value.value);
  return shown.includes('e') ? shown : `${shown}.0`;
}
