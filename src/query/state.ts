import { printBody, quote } from './body-json.ts';
import { DateTime, Float, type Value } from './value.ts';

/*
 * Values as compact text, for what a rule remembers through a restart. JSON, in which an object with the one field "" stands for what
 * JSON has no form of:
 *
 *   {"":"f20"}             float that is whole
 *   {"":"b9007199254740993"}   bigint beyond 2^53
 *   {"":"d1000.42"}        datetime: milliseconds since 1970, and ticks
 *   {"":{...}}             record that has a field "" itself
 */

/** The value as text of which {@link decodeState} makes the very same value. */
export function encodeState(value: Value): string {
  switch (typeof value) {
    case 'string':
      return quote(value);
    case 'bigint':
      return `{"":"b${value}"}`;
    case 'number':
      // There is no bigint -0; String makes it 0.
      return String(value);
    case 'boolean':
      return String(value);
    default:
  }
  if (value === null) return 'null';
  if (Array.isArray(value)) return `[${(value as readonly Value[]).map(encodeState).join(',')}]`;
  if (value instanceof Float) return `{"":"f${Object.is(value.value, -0) ? '-0' : value.value}"}`;
  if (value instanceof DateTime) return `{"":"d${value.ms}.${value.ticks}"}`;
  const fields = value as { readonly [name: string]: Value };
  let text = '';
  for (const name of Object.keys(fields)) {
    text += `${text === '' ? '{' : ','}${quote(name)}:${encodeState(fields[name]!)}`;
  }
  text = text === '' ? '{}' : `${text}}`;
  return Object.hasOwn(fields, '') ? `{"":${text}}` : text;
}

/** Throws SyntaxError when the text is none of {@link encodeState}'s. */
export function decodeState(text: string): Value {
  return decode(JSON.parse(text) as Encoded);
}

type Encoded = null | boolean | number | string | Encoded[] | { [name: string]: Encoded };

/** Decodes in place: a field `__proto__` that JSON.parse made is an own one, and stays it. */
function decode(encoded: Encoded): Value {
  if (typeof encoded !== 'object' || encoded === null) return encoded;
  if (Array.isArray(encoded)) {
    for (let index = 0; index < encoded.length; index++) encoded[index] = decode(encoded[index]!) as Encoded;
    return encoded;
  }
  const special = encoded[''];
  if (special === undefined) return decodeFields(encoded);
  if (typeof special === 'object' && special !== null && !Array.isArray(special)) return decodeFields(special);
  if (typeof special !== 'string') throw new SyntaxError(`unknown state ${printBody(special)}`);
  const rest = special.slice(1);
  switch (special[0]) {
    case 'f':
      return new Float(Number(rest));
    case 'b':
      return BigInt(rest);
    case 'd': {
      const dot = rest.indexOf('.');
      return new DateTime(Number(rest.slice(0, dot)), Number(rest.slice(dot + 1)));
    }
    default:
      throw new SyntaxError(`unknown state ${printBody(special)}`);
  }
}

function decodeFields(fields: { [name: string]: Encoded }): Value {
  for (const name of Object.keys(fields)) fields[name] = decode(fields[name]!) as Encoded;
  return fields;
}
