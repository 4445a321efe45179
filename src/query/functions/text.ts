import { textOf } from '../cast.ts';
import { like } from '../like.ts';
import { pattern } from '../pattern.ts';
import { typeName, ValueError, type Value } from '../value.ts';
import { boundedLength, boundedText, scalar, variadic } from './signature.ts';

/*
 * Positions and lengths count UTF-16 units, from 1, as in T-SQL. Text is compared exactly, with its case; only REGEXMATCH takes capital
 * and small letters for the same.
 */

function notNegative(length: number, usage: string): number {
  if (length < 0) throw new ValueError(`the length of ${usage} is negative`);
  return length;
}

function charIndex(find: string, text: string, start = 1): Value {
  return find === '' ? 0 : text.indexOf(find, Math.max(start, 1) - 1) + 1;
}

function substring(text: string, start: number, length: number): Value {
  const end = start - 1 + notNegative(length, 'SUBSTRING');
  return text.slice(Math.max(start - 1, 0), Math.max(end, 0));
}

function stuff(text: string, start: number, length: number, insert: string): Value {
  notNegative(length, 'STUFF');
  if (start > text.length) return '';
  const from = Math.max(start - 1, 0);
  return boundedText(text.slice(0, from) + insert + text.slice(from + length));
}

function replace(text: string, find: string, by: string): Value {
  if (find === '') return text;
  const parts = text.split(find);
  boundedLength(text.length + (parts.length - 1) * (by.length - find.length));
  return parts.join(by);
}

function replicate(text: string, count: number): Value {
  if (count < 0) return null;
  boundedLength(text.length * count);
  return text.repeat(count);
}

function translate(text: string, from: string, to: string): Value {
  if (from.length !== to.length) throw new ValueError('the second and third argument of TRANSLATE differ in length');
  const by = new Map<string, string>();
  for (let index = 0; index < from.length; index++) {
    // Of a character that is named twice the first counts.
    if (!by.has(from[index]!)) by.set(from[index]!, to[index]!);
  }
  let result = '';
  for (let index = 0; index < text.length; index++) result += by.get(text[index]!) ?? text[index]!;
  return result;
}

function asText(value: Exclude<Value, null>, usage: string): string {
  const text = textOf(value);
  if (text === null) throw new ValueError(`${usage} takes no ${typeName(value)}`);
  return text;
}

function join(parts: readonly string[], separator: string): string {
  let length = 0;
  for (const part of parts) length += part.length + separator.length;
  boundedLength(length);
  return parts.join(separator);
}

function concat(...values: readonly Value[]): Value {
  return join(
    values.map((value) => (value === null ? '' : asText(value, 'CONCAT'))),
    '',
  );
}

function concatWithSeparator(separator: Value, ...values: readonly Value[]): Value {
  const parts = values.filter((value) => value !== null).map((value) => asText(value, 'CONCAT_WS'));
  return join(parts, separator === null ? '' : asText(separator, 'CONCAT_WS'));
}

const BIGGEST_CODE_POINT = 0x10ffff;

/** Patterns that are kept ready: nearly always they are constants, and few. */
const READY_MAX = 64;

function remembered<T>(make: (source: string) => T): (source: string) => T {
  const ready = new Map<string, T>();
  return (source) => {
    let made = ready.get(source);
    if (made === undefined) {
      if (ready.size >= READY_MAX) ready.clear();
      made = make(source);
      ready.set(source, made);
    }
    return made;
  };
}
const likeOf = remembered(like);
/** A pattern that is none is found nowhere: so the reference has it. (As a constant it is refused when the query is loaded.) */
const patternOf = remembered((source) => {
  try {
    return pattern(source);
  } catch (error) {
    if (error instanceof ValueError) return () => 0;
    throw error;
  }
});

export const TEXT = {
  charindex: scalar('CHARINDEX(find, in [, start])', ['text', 'text', 'whole'], charIndex, 2),
  concat: variadic('CONCAT(a, b, ...)', 2, concat),
  concat_ws: variadic('CONCAT_WS(separator, a, b, ...)', 3, concatWithSeparator),
  left: scalar('LEFT(text, n)', ['text', 'whole'], (text, n) => text.slice(0, notNegative(n, 'LEFT'))),
  right: scalar('RIGHT(text, n)', ['text', 'whole'], (text, n) =>
    text.slice(Math.max(text.length - notNegative(n, 'RIGHT'), 0)),
  ),
  // Blanks at the end do not count, as the reference says and T-SQL has it.
  len: scalar('LEN(text)', ['text'], (text) => {
    let length = text.length;
    while (length > 0 && text.charCodeAt(length - 1) === 32) length--;
    return length;
  }),
  lower: scalar('LOWER(text)', ['text'], (text) => text.toLowerCase()),
  upper: scalar('UPPER(text)', ['text'], (text) => boundedText(text.toUpperCase())),
  // By code points: a pair of UTF-16 units the other way round would be no character at all.
  reverse: scalar('REVERSE(text)', ['text'], (text) => Array.from(text).reverse().join('')),
  ltrim: scalar('LTRIM(text)', ['text'], (text) => text.trimStart()),
  rtrim: scalar('RTRIM(text)', ['text'], (text) => text.trimEnd()),
  trim: scalar('TRIM(text)', ['text'], (text) => text.trim()),
  nchar: scalar('NCHAR(code)', ['whole'], (code) =>
    code < 0 || code > BIGGEST_CODE_POINT ? null : String.fromCodePoint(code),
  ),
  unicode: scalar('UNICODE(text)', ['text'], (text) => text.codePointAt(0) ?? null),
  patindex: {
    ...scalar('PATINDEX(pattern, text)', ['text', 'text'], (source, text) => likeOf(source).position(text)),
    pattern: { position: 0, check: like },
  },
  regexmatch: {
    ...scalar('REGEXMATCH(text, pattern)', ['text', 'text'], (text, source) => patternOf(source)(text)),
    pattern: { position: 1, check: pattern },
  },
  replace: scalar('REPLACE(text, find, with)', ['text', 'text', 'text'], replace),
  replicate: scalar('REPLICATE(text, n)', ['text', 'whole'], replicate),
  space: scalar('SPACE(n)', ['whole'], (n) => replicate(' ', n)),
  stuff: scalar('STUFF(text, start, length, insert)', ['text', 'whole', 'whole', 'text'], stuff),
  substring: scalar('SUBSTRING(text, start, length)', ['text', 'whole', 'whole'], substring),
  translate: scalar('TRANSLATE(text, from, to)', ['text', 'text', 'text'], translate),
};
