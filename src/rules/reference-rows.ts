import { parseBody } from '../query/body-json.ts';
import { setField } from '../query/field.ts';
import { isArray, isRecord, type Fields, type Value } from '../query/value.ts';
import { csvRecords } from './reference-csv.ts';

/** Most rows of a table. */
export const TABLE_ROWS_MAX = 100_000;

/** Something in a table's file that is wrong, and on which line. */
export class TableProblem extends Error {
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.name = 'TableProblem';
    this.line = line;
  }
}

/**
 * The rows of a reference table: CSV when the file's name ends in `.csv` (first line: names; every value is text, and NULL where there
 * is nothing between the commas), otherwise a JSON array of objects, or JSON Lines with an object each. Throws {@link TableProblem}.
 */
export function readTable(text: string, fileName: string): readonly Fields[] {
  const plain = text.startsWith('\uFEFF') ? text.slice(1) : text;
  const rows = /\.csv$/i.test(fileName) ? csvRows(plain) : /^\s*\[/.test(plain) ? arrayRows(plain) : lineRows(plain);
  if (rows.length > TABLE_ROWS_MAX) throw new TableProblem(1, `${rows.length} rows, at most ${TABLE_ROWS_MAX}`);
  return rows;
}

function arrayRows(text: string): Fields[] {
  const value = parseJson(text, 1);
  if (!isArray(value)) throw new TableProblem(1, 'is no array of objects');
  return value.map((row, index) => rowOf(row, 1, `element ${index + 1}`));
}

function lineRows(text: string): Fields[] {
  const rows: Fields[] = [];
  text.split('\n').forEach((line, index) => {
    if (line.trim() !== '') rows.push(rowOf(parseJson(line, index + 1), index + 1, 'the line'));
  });
  return rows;
}

function parseJson(text: string, line: number): Value {
  try {
    return parseBody(Buffer.from(text));
  } catch (error) {
    throw new TableProblem(line, error instanceof Error ? error.message : String(error));
  }
}

function rowOf(value: Value, line: number, what: string): Fields {
  if (!isRecord(value)) throw new TableProblem(line, `${what} is no object`);
  return value;
}

function csvRows(text: string): Fields[] {
  const [header, ...records] = csvRecords(text);
  if (header === undefined) throw new TableProblem(1, 'is empty: the first line has the names of the columns');
  const names = header.cells.map((cell) => cell ?? '');
  const seen = new Set<string>();
  for (const name of names) {
    if (name === '') throw new TableProblem(header.line, 'a column has no name');
    if (seen.has(name)) throw new TableProblem(header.line, `two columns are called ${name}`);
    seen.add(name);
  }
  return records.map(({ cells, line, unclosed }) => {
    if (unclosed) throw new TableProblem(line, 'a quote is never closed');
    if (cells.length !== names.length) {
      throw new TableProblem(line, `${cells.length} values for ${names.length} columns`);
    }
    const row: Record<string, Value> = {};
    names.forEach((name, index) => setField(row, name, cells[index] ?? null));
    return row;
  });
}
