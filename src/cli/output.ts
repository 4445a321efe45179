/** Exit codes of every command. */
export const FINE = 0;
export const FOUND_A_PROBLEM = 1;
export const USED_WRONGLY = 2;

/** An error whose message is all that the user needs; the command ends with `code`. */
export class CliError extends Error {
  readonly code: number;

  constructor(message: string, code: number = FOUND_A_PROBLEM) {
    super(message);
    this.code = code;
  }
}

/** Data goes to standard output, talk to standard error: what is piped on is only what was asked for. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

/** Columns as wide as their widest cell, two spaces apart. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
