import { parseExact } from './exact-json.ts';
import { DateTime, Float, ValueError, type Value } from './value.ts';

/*
 * Bodies to values and back. JSON.parse is by far the fastest way, but it makes 20.0 an integer and rounds integers beyond
 * 2^53; texts that have such numbers, and those that may be nested too deeply, are read by our own reader.
 */

/** Deepest nesting of arrays and objects in a body. What is deeper could overflow the stack of whoever walks through it. */
export const DEPTH_MAX = 128;

/**
 * Finds every text that has a number which JSON.parse would make a whole number that it is not, or not the same number:
 * 16 and more digits, .0 at the end, a fraction so near to a whole number that a double may round to it, an exponent, -0. Also
 * finds some that are harmless, in strings for instance: these are only slower.
 */
const DELICATE =
  /(?:^|[[:,\s])(?:-0(?:[\s,}\]]|$)|-?(?:\d{16}|\d{11,15}\.[09]|\d{1,10}\.(?:0{5}|9{5}|0+(?:[\s,}\]]|$))|\d+(?:\.\d+)?[eE]))/;

const OPEN_BRACKET = 0x5b;
const OPEN_BRACE = 0x7b;

/**
 * The value of a body: JSON in UTF-8, with or without a byte order mark. Numbers without fraction and exponent are bigint, all
 * others float. Throws ValueError when it is no JSON, is nested deeper than {@link DEPTH_MAX}, or has an integer beyond 64 bits or a
 * float beyond double.
 */
export function parseBody(body: Buffer): Value {
  return parseText(body.toString('utf8'));
}

/** The same of a text. */
export function parseText(text: string): Value {
  const json = text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
  if (DELICATE.test(json) || mayBeDeep(json)) return parseExact(json, DEPTH_MAX);
  try {
    return JSON.parse(json) as Value;
  } catch (error) {
    throw new ValueError(`no JSON: ${(error as Error).message}`);
  }
}

function mayBeDeep(json: string): boolean {
  // Each level opens and closes.
  if (json.length <= 2 * DEPTH_MAX) return false;
  let opened = 0;
  for (let at = 0; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if ((code === OPEN_BRACKET || code === OPEN_BRACE) && ++opened > DEPTH_MAX) return true;
  }
  return false;
}

/**
 * The value as JSON. A whole float is written with its `.0`, so that it is a float again for whoever reads it; a bigint with all its
 * digits; a datetime as text with 7 digits of a second's fraction.
 */
export function printBody(value: Value): string {
  switch (typeof value) {
    case 'string':
      return quote(value);
    case 'number':
    case 'bigint':
    case 'boolean':
      return `${value}`;
    default:
  }
  if (value === null) return 'null';
  if (Array.isArray(value)) return `[${(value as readonly Value[]).map(printBody).join(',')}]`;
  if (value instanceof Float) return printFloat(value.value);
  if (value instanceof DateTime) return `"${value.toString()}"`;
  let text = '';
  for (const name of Object.keys(value)) {
    text += `${text === '' ? '{' : ','}${quote(name)}:${printBody((value as { [name: string]: Value })[name]!)}`;
  }
  return text === '' ? '{}' : `${text}}`;
}

/** A whole float, with what shows that it is one. */
export function printFloat(value: number): string {
  const text = Object.is(value, -0) ? '-0' : String(value);
  return text.includes('e') ? text : `${text}.0`;
}

/** What JSON must escape; lone surrogates too, which no UTF-8 could hold. */
// oxlint-disable-next-line no-control-regex
const ESCAPED = /[\u0000-\u001f"\\\ud800-\udfff]/;

export function quote(text: string): string {
  return ESCAPED.test(text) ? JSON.stringify(text) : `"${text}"`;
}
