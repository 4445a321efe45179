import { isUtf8 } from 'node:buffer';

/**
 * What became of a line: a JSON body, with the time of the measurement where the line says it (ms since 1970); or why there
 * is none; or `skipped`, when it is sound and not asked for.
 */
export type Decoded =
  | { readonly body: Buffer; readonly eventTime?: number }
  | { readonly malformed: string }
  | { readonly skipped: true };

/** Turns one line into a JSON body. Keeps no reference to the line's bytes, and never throws. */
export interface LineDecoder {
  decode(line: Buffer): Decoded;
}

/** The line as text, or undefined when its bytes are not UTF-8 (garbage, a wrong baud rate, another encoding). */
export function utf8Text(line: Buffer): string | undefined {
  return isUtf8(line) ? line.toString('utf8') : undefined;
}

export const NOT_UTF8: Decoded = { malformed: 'not UTF-8' };

/** What a piece of a line is said to be; left undefined, it is what it looks like. */
export type ValueType = 'text' | 'number';

/**
 * What looks like a number and nothing else: no zero before another digit where there is no fraction, and no exponent of bare
 * digits, since `004120` and `412E5` are serial numbers, articles or times of day, and would not come back from a number as
 * they were. `+00123.4` is what a scale says.
 */
const PLAIN_NUMBER = /^[+-]?(?:(?:\d+\.\d+|(?:0|[1-9]\d*)\.|\.\d+)(?:[eE][+-]?\d+)?|(?:0|[1-9]\d*)(?:[eE][+-]\d+)?)$/;
/** What may be read as a number where it is known to be one. */
const ANY_NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;

/** A plain decimal number, with or without spaces around it, as a number; anything else as it is. */
export function numberOrText(text: string): number | string {
  const trimmed = text.trim();
  const value = PLAIN_NUMBER.test(trimmed) ? carried(trimmed) : text;
  return typeof value === 'number' ? value : text;
}

/**
 * A piece of a line as what it is said to be. A number that cannot be read as one is null, like a register's or a
 * sentence's; an integer past 2^53 is text, like a register's.
 */
export function valueOf(text: string, type: ValueType | undefined): number | string | null {
  if (type === undefined) return numberOrText(text);
  if (type === 'text') return text;
  const trimmed = text.trim();
  return ANY_NUMBER.test(trimmed) ? carried(trimmed) : null;
}

/** The number that this says as JSON carries it: an integer that would lose digits as text, what is too large as null. */
function carried(text: string): number | string | null {
  const value = Number(text);
  if (!Number.isFinite(value)) return null;
  return Number.isInteger(value) && !Number.isSafeInteger(value) && !/e/i.test(text) ? text : value;
}

/** A JSON object of these fields. It has no prototype, so that a column named `__proto__` is a column. */
export function jsonObject(fields: Iterable<readonly [string, unknown]>): Buffer {
  const object = Object.create(null) as Record<string, unknown>;
  for (const [name, value] of fields) object[name] = value;
  return Buffer.from(JSON.stringify(object), 'utf8');
}
