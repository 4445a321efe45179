/** A place in a text: an offset in UTF-16 units. Line and column are worked out when somebody is told. */
export type Offset = number;

/** Something in a query or a route that is wrong or not supported: where, what, and what would be right. */
export class QueryProblem extends Error {
  readonly at: Offset;
  /** What to write instead; null when there is nothing to say. */
  readonly hint: string | null;

  constructor(at: Offset, message: string, hint: string | null = null) {
    super(message);
    this.name = 'QueryProblem';
    this.at = at;
    this.hint = hint;
  }
}

/** Line and column of an offset, both from 1; a tab is one column. */
export function placeOf(text: string, at: Offset): { readonly line: number; readonly column: number } {
  const before = text.slice(0, at);
  const start = before.lastIndexOf('\n') + 1;
  return { line: before.split('\n').length, column: at - start + 1 };
}

/** Widest excerpt of a line that is shown. */
const EXCERPT_MAX = 100;

/**
 * The problem as a person reads it: `name:line:column: message`, the line with a caret under the place, and the hint. `first` is
 * where the text begins in the file that it stands in, both from 1; `indent` is what each of its further lines has lost in front.
 */
export function problemText(
  text: string,
  problem: Pick<QueryProblem, 'at' | 'message' | 'hint'>,
  name: string,
  first: { readonly line: number; readonly column: number; readonly indent?: number } = { line: 1, column: 1 },
): string {
  const { line, column } = placeOf(text, problem.at);
  const lineText = (text.split('\n')[line - 1] ?? '').replaceAll('\t', ' ').replaceAll('\r', '');
  const from = Math.max(0, Math.min(column - EXCERPT_MAX / 2, lineText.length - EXCERPT_MAX));
  const excerpt = lineText.slice(from, from + EXCERPT_MAX);
  const caret = `${' '.repeat(Math.max(0, column - 1 - from))}^`;
  const place = `${name}:${first.line + line - 1}:${line === 1 ? first.column + column - 1 : column + (first.indent ?? 0)}`;
  const hint = problem.hint === null ? '' : `\n  -> ${problem.hint}`;
  return `${place}: ${problem.message}\n  ${excerpt}\n  ${caret}${hint}`;
}
