import { float, integer, ValueError, type Value } from './value.ts';
import { setField } from './field.ts';

/*
 * A reader of JSON (RFC 8259) that keeps what JSON.parse loses: all digits of an integer, and that 20.0 is a float.
 */

/** Longest number that is read, in characters. */
const NUMBER_MAX = 1024;

const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?/y;
const SPACE = /[ \t\n\r]*/y;
/** A whole string with its quotes; what is inside an escape is left to JSON.parse. */
// oxlint-disable-next-line no-control-regex
const STRING = /"(?:[^"\\\u0000-\u001f]|\\.)*"/y;

/** The value of a text. Throws ValueError when it is no JSON, nested deeper than `depthMax`, or has a number that no type can hold. */
export function parseExact(text: string, depthMax: number): Value {
  const reader = new Reader(text, depthMax);
  const value = reader.value(0);
  reader.end();
  return value;
}

class Reader {
  readonly #text: string;
  readonly #depthMax: number;
  #at = 0;

  constructor(text: string, depthMax: number) {
    this.#text = text;
    this.#depthMax = depthMax;
  }

  value(depth: number): Value {
    this.#space();
    switch (this.#text[this.#at]) {
      case '{':
        return this.#record(depth + 1);
      case '[':
        return this.#array(depth + 1);
      case '"':
        return this.#string();
      case 't':
        return this.#word('true', true);
      case 'f':
        return this.#word('false', false);
      case 'n':
        return this.#word('null', null);
      default:
        return this.#number();
    }
  }

  end(): void {
    this.#space();
    if (this.#at < this.#text.length) this.#wrong();
  }

  #record(depth: number): Value {
    this.#enter(depth);
    const record: Record<string, Value> = {};
    if (this.#takes('}')) return record;
    do {
      this.#space();
      const name = this.#string();
      if (!this.#takes(':')) this.#wrong();
      setField(record, name, this.value(depth));
    } while (this.#takes(','));
    if (!this.#takes('}')) this.#wrong();
    return record;
  }

  #array(depth: number): Value {
    this.#enter(depth);
    const array: Value[] = [];
    if (this.#takes(']')) return array;
    do array.push(this.value(depth));
    while (this.#takes(','));
    if (!this.#takes(']')) this.#wrong();
    return array;
  }

  #enter(depth: number): void {
    if (depth > this.#depthMax) throw new ValueError(`nested deeper than ${this.#depthMax} levels`);
    this.#at++;
  }

  #string(): string {
    STRING.lastIndex = this.#at;
    const found = STRING.exec(this.#text)?.[0];
    if (found === undefined) return this.#wrong();
    let value: string;
    if (found.includes('\\')) {
      try {
        value = JSON.parse(found) as string;
      } catch {
        return this.#wrong();
      }
    } else {
      value = found.slice(1, -1);
    }
    this.#at += found.length;
    return value;
  }

  #number(): Value {
    NUMBER.lastIndex = this.#at;
    const found = NUMBER.exec(this.#text);
    if (found === null) return this.#wrong();
    const [text, fraction, exponent] = found;
    if (text.length > NUMBER_MAX) throw new ValueError(`a number of more than ${NUMBER_MAX} characters`);
    this.#at += text.length;
    if (fraction !== undefined || exponent !== undefined) return float(Number(text));
    return integer(BigInt(text));
  }

  #word<T extends Value>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) return this.#wrong();
    this.#at += word.length;
    return value;
  }

  #space(): void {
    SPACE.lastIndex = this.#at;
    SPACE.test(this.#text);
    this.#at = SPACE.lastIndex;
  }

  #takes(sign: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== sign) return false;
    this.#at++;
    return true;
  }

  #wrong(): never {
    const what =
      this.#at < this.#text.length ? `unexpected ${JSON.stringify(this.#text[this.#at])}` : 'it ends too soon';
    throw new ValueError(`no JSON: ${what} at position ${this.#at}`);
  }
}
