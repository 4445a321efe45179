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

const NUMBER = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/;

/**
 * Decimal text, with or without spaces around it, as a number; anything else as it is. Text whose number JSON could not
 * carry unharmed (an integer past 2^53, which may be a serial number, or 1e999) stays text.
 */
export function numberOrText(text: string): number | string {
  const trimmed = text.trim();
  if (!NUMBER.test(trimmed)) return text;
  const value = Number(trimmed);
  const exact = Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value));
  return exact ? value : text;
}

/** A JSON object of these fields. It has no prototype, so that a column named `__proto__` is a column. */
export function jsonObject(fields: Iterable<readonly [string, unknown]>): Buffer {
  const object = Object.create(null) as Record<string, unknown>;
  for (const [name, value] of fields) object[name] = value;
  return Buffer.from(JSON.stringify(object), 'utf8');
}
