import { type Decoded, jsonObject, type LineDecoder, NOT_UTF8, utf8Text, valueOf, type ValueType } from './decoder.ts';

/** A column: its name, or its name and what is in it. */
export type CsvColumn = string | { readonly name: string; readonly type?: ValueType | undefined };

interface Cell {
  readonly text: string;
  readonly quoted: boolean;
}

/**
 * Each line is one record of separated values (RFC 4180, except that a quoted field cannot go on in the next line). The
 * body is a JSON object with the columns' names; where a column does not say what it is, a plain number becomes one and a
 * quoted field stays text. A row of the columns' names is a header, and passed over.
 */
export class CsvLineDecoder implements LineDecoder {
  readonly #columns: readonly Exclude<CsvColumn, string>[];
  readonly #separator: string;

  constructor(options: { readonly columns: readonly CsvColumn[]; readonly separator: string }) {
    if (options.columns.length === 0) throw new RangeError('csv needs at least one column');
    if (options.separator === '' || options.separator === '"')
      throw new RangeError('csv needs a separator that is not a quote');
    this.#columns = options.columns.map((column) => (typeof column === 'string' ? { name: column } : column));
    this.#separator = options.separator;
  }

  decode(line: Buffer): Decoded {
    const text = utf8Text(line);
    if (text === undefined) return NOT_UTF8;
    const cells = record(text, this.#separator);
    if (typeof cells === 'string') return { malformed: cells };
    if (cells.length !== this.#columns.length) {
      return { malformed: `${cells.length} columns instead of ${this.#columns.length}` };
    }
    if (this.#isHeader(cells)) return { skipped: true };
    return { body: jsonObject(this.#columns.map((column, i) => [column.name, cellValue(cells[i]!, column.type)])) };
  }

  /** One word alone may be what the sensor has to say. */
  #isHeader(cells: readonly Cell[]): boolean {
    return cells.length > 1 && this.#columns.every(({ name }, i) => name === cells[i]!.text);
  }
}

function cellValue({ text, quoted }: Cell, type: ValueType | undefined): number | string | null {
  return valueOf(text, quoted ? (type ?? 'text') : type);
}

/** The fields of one record, or why it is none (RFC 4180 section 2). */
function record(text: string, separator: string): Cell[] | string {
  const cells: Cell[] = [];
  let at = 0;
  for (;;) {
    let end: number;
    if (text[at] === '"') {
      const close = closingQuote(text, at);
      if (close < 0) return 'a quoted field does not end';
      cells.push({ text: text.slice(at + 1, close).replaceAll('""', '"'), quoted: true });
      end = close + 1;
      if (end < text.length && !text.startsWith(separator, end)) return 'text after a closing quote';
    } else {
      const next = text.indexOf(separator, at);
      end = next < 0 ? text.length : next;
      const field = text.slice(at, end);
      if (field.includes('"')) return 'a quote inside an unquoted field';
      cells.push({ text: field, quoted: false });
    }
    if (end >= text.length) return cells;
    at = end + separator.length;
  }
}

/** Index of the quote that ends the field whose first quote is at `open`, or -1; doubled quotes are part of the field. */
function closingQuote(text: string, open: number): number {
  let at = text.indexOf('"', open + 1);
  while (at >= 0 && text[at + 1] === '"') at = text.indexOf('"', at + 2);
  return at;
}
