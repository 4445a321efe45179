import { type Decoded, jsonObject, type LineDecoder, NOT_UTF8, numberOrText, utf8Text } from './decoder.ts';

/**
 * Each line is one record of separated values (RFC 4180, except that a quoted field cannot go on in the next line). The
 * body is a JSON object with the columns' names; numeric text becomes a number, a quoted field stays text.
 */
export class CsvLineDecoder implements LineDecoder {
  readonly #columns: readonly string[];
  readonly #separator: string;

  constructor(options: { readonly columns: readonly string[]; readonly separator: string }) {
    if (options.columns.length === 0) throw new RangeError('csv needs at least one column');
    if (options.separator === '' || options.separator === '"')
      throw new RangeError('csv needs a separator that is not a quote');
    this.#columns = options.columns;
    this.#separator = options.separator;
  }

  decode(line: Buffer): Decoded {
    const text = utf8Text(line);
    if (text === undefined) return NOT_UTF8;
    const values = record(text, this.#separator);
    if (typeof values === 'string') return { malformed: values };
    if (values.length !== this.#columns.length) {
      return { malformed: `${values.length} columns instead of ${this.#columns.length}` };
    }
    return { body: jsonObject(this.#columns.map((name, i) => [name, values[i]] as const)) };
  }
}

/** The fields of one record, or why it is none (RFC 4180 section 2). */
function record(text: string, separator: string): (number | string)[] | string {
  const values: (number | string)[] = [];
  let at = 0;
  for (;;) {
    let end: number;
    if (text[at] === '"') {
      const close = closingQuote(text, at);
      if (close < 0) return 'a quoted field does not end';
      values.push(text.slice(at + 1, close).replaceAll('""', '"'));
      end = close + 1;
      if (end < text.length && !text.startsWith(separator, end)) return 'text after a closing quote';
    } else {
      const next = text.indexOf(separator, at);
      end = next < 0 ? text.length : next;
      const field = text.slice(at, end);
      if (field.includes('"')) return 'a quote inside an unquoted field';
      values.push(numberOrText(field));
    }
    if (end >= text.length) return values;
    at = end + separator.length;
  }
}

/** Index of the quote that ends the field whose first quote is at `open`, or -1; doubled quotes are part of the field. */
function closingQuote(text: string, open: number): number {
  let at = text.indexOf('"', open + 1);
  while (at >= 0 && text[at + 1] === '"') at = text.indexOf('"', at + 2);
  return at;
}
