/** A line of a CSV file, which may be several in the text; a cell is null when there is nothing in it, not even quotes. */
export interface CsvRecord {
  readonly cells: readonly (string | null)[];
  /** Where it begins, from 1. */
  readonly line: number;
  /** It ends with a quote that is never closed: the file was cut short, or is being written. */
  readonly unclosed: boolean;
}

/**
 * Comma-separated values as RFC 4180 has them: quotes around what holds commas, quotes or line breaks, a quote inside doubled. Lines end
 * in LF or CRLF; empty ones are left out. A quote that is never closed reaches to the end, and the record says so.
 */
export function csvRecords(text: string): CsvRecord[] {
  const records: CsvRecord[] = [];
  let cells: (string | null)[] = [];
  let line = 1;
  let begun = 1;
  let at = 0;
  while (at < text.length || cells.length > 0) {
    const isQuoted = text[at] === '"';
    const cell = isQuoted ? quoted(text, at) : bare(text, at);
    cells.push(cell.value);
    if (isQuoted) line += text.slice(at, cell.end).split('\n').length - 1;
    at = cell.end;
    if (text[at] === ',') {
      at++;
      continue;
    }
    if (cells.length > 1 || cells[0] !== null) records.push({ cells, line: begun, unclosed: cell.unclosed === true });
    cells = [];
    if (at >= text.length) break;
    at++;
    line++;
    begun = line;
  }
  return records;
}

interface Cell {
  readonly value: string | null;
  /** Where the comma or the line's end is. */
  readonly end: number;
  readonly unclosed?: true;
}

function bare(text: string, from: number): Cell {
  let end = from;
  while (end < text.length && text[end] !== ',' && text[end] !== '\n') end++;
  const value = text.slice(from, text[end] === '\n' && text[end - 1] === '\r' ? end - 1 : end);
  return { value: value === '' ? null : value, end };
}

function quoted(text: string, from: number): Cell {
  let value = '';
  let at = from + 1;
  for (;;) {
    const close = text.indexOf('"', at);
    if (close === -1) return { value: value + text.slice(at), end: text.length, unclosed: true };
    value += text.slice(at, close);
    if (text[close + 1] !== '"') {
      // What stands between the closing quote and the comma belongs to the value, as spreadsheets read it.
      const { value: rest, end } = bare(text, close + 1);
      return { value: value + (rest ?? ''), end };
    }
    value += '"';
    at = close + 2;
  }
}
