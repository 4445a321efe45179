/*
 * Whether JSON.parse would get a text wrong: make a whole number of one that is not, or not the same number, or nest too deeply. Looked for
 * in one pass that leaps over strings, since it comes before every body that is read.
 */

const QUOTE = 34;
const MINUS = 45;
const DOT = 46;
const ZERO = 48;
const NINE = 57;
const BACKSLASH = 92;
/** `{` and `[`, `}` and `]` differ in this bit only, and so do `E` and `e`. */
const CASE_BIT = 32;
const OPEN = 123;
const CLOSE = 125;
const LETTER_E = 101;

/** Digits before the point from which on no double has all of a fraction's digits, or the integer itself may be rounded. */
const LONG = 16;
/** With fewer digits before the point, a fraction that rounds to a whole number begins with this many 0s or 9s. */
const TELLING = 4;
const SHORT = 11;

/**
 * Also true for some texts that are harmless: those are only read more slowly. It need not be JSON; what JSON.parse refuses, the other
 * reader refuses too.
 */
export function isDelicate(json: string, depthMax: number): boolean {
  let depth = 0;
  for (let at = 0; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(json, at);
      if (at < 0) return false;
    } else if (code >= ZERO && code <= NINE) {
      at = endOfNumber(json, at);
      if (at < 0) return true;
      at--;
    } else if ((code | CASE_BIT) === OPEN) {
      if (++depth > depthMax) return true;
    } else if ((code | CASE_BIT) === CLOSE) {
      depth--;
    }
  }
  return false;
}

/** Where a string that begins here has its closing quote; -1 when it has none. */
function endOfString(json: string, from: number): number {
  let at = from;
  for (;;) {
    at = json.indexOf('"', at + 1);
    if (at < 0 || json.charCodeAt(at - 1) !== BACKSLASH) return at;
    let backslashes = 1;
    while (json.charCodeAt(at - 1 - backslashes) === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return at;
  }
}

/** Where a number that begins here (behind its sign) ends; -1 when it is delicate. */
function endOfNumber(json: string, from: number): number {
  let at = from;
  let code = json.charCodeAt(at);
  while (code >= ZERO && code <= NINE) code = json.charCodeAt(++at);
  const digits = at - from;
  if (digits >= LONG || (code | CASE_BIT) === LETTER_E) return -1;
  if (code !== DOT) {
    // -0 is bigint 0.
    const isMinusZero = digits === 1 && json.charCodeAt(from) === ZERO && json.charCodeAt(from - 1) === MINUS;
    return isMinusZero ? -1 : at;
  }
  const first = json.charCodeAt(++at);
  code = first;
  let same = 0;
  while (code === first && (code === ZERO || code === NINE)) {
    same++;
    code = json.charCodeAt(++at);
  }
  // All of the fraction is 0, or nearly; or 9 as far as it goes.
  if (same > 0 && (digits >= SHORT || same > TELLING || (first === ZERO && !(code > ZERO && code <= NINE)))) return -1;
  while (code >= ZERO && code <= NINE) code = json.charCodeAt(++at);
  return (code | CASE_BIT) === LETTER_E ? -1 : at;
}
