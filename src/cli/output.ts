import { styleText } from 'node:util';

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

/** One JSON text to a line, for what comes one by one. */
export function printJsonLine(value: unknown): void {
  print(JSON.stringify(value));
}

export type Colour = 'green' | 'yellow' | 'red' | 'gray' | 'cyan';

/** Coloured for a terminal that has colours and whose owner did not set NO_COLOR; anywhere else the text as it is. */
export function coloured(colour: Colour, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  return stream.isTTY && stream.hasColors() ? styleText(colour, text) : text;
}

/** What came from a sensor or a broker, without what could command the terminal. */
export function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (control) => {
    const code = control.codePointAt(0)!;
    return `\\u${code.toString(16).padStart(4, '0')}`;
  });
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

const UNITS = [
  ['d', 86_400],
  ['h', 3600],
  ['min', 60],
] as const;

/** Seconds as people say them: `3 s`, `5 min`, `2 h`, `4 d`. */
export function spanText(secs: number): string {
  for (const [unit, per] of UNITS)
    if (secs >= per * (unit === 'min' ? 1 : 2)) return `${Math.floor(secs / per)} ${unit}`;
  return `${Math.max(0, Math.floor(secs))} s`;
}

/** A time as its distance from now: `3 s ago`; `never` for null. A clock that was set meanwhile may put it in the future. */
export function agoText(time: string | null, now = Date.now()): string {
  if (time === null) return 'never';
  const secs = (now - Date.parse(time)) / 1000;
  return secs < -1 ? `in ${spanText(-secs)}` : `${spanText(secs)} ago`;
}

/** Bytes as people say them: `512 B`, `1.5 MiB`. */
export function bytesText(bytes: number): string {
  let rest = bytes;
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (rest < 1024) return `${unit === 'B' ? rest : rest.toFixed(1)} ${unit}`;
    rest /= 1024;
  }
  return `${rest.toFixed(1)} TiB`;
}
