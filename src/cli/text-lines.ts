import type { Readable } from 'node:stream';

/** Longest line that is kept, bytes: the largest body, each byte as a JSON escape, and some room. */
const LINE_BYTES_MAX = 2 * 2 ** 20;
const NEWLINE = 10;

export interface TextLine {
  /** From 1. */
  readonly number: number;
  /** Null when it is too long to be kept, or not UTF-8. */
  readonly text: string | null;
}

/** The lines of a stream, with at most one of them in memory. */
export async function* textLines(input: Readable): AsyncGenerator<TextLine, void, void> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let parts: Buffer[] = [];
  let bytes = 0;
  let number = 0;
  const line = (): TextLine => {
    number++;
    const whole = Buffer.concat(parts);
    const tooLong = bytes > LINE_BYTES_MAX;
    parts = [];
    bytes = 0;
    try {
      return { number, text: tooLong ? null : decoder.decode(whole) };
    } catch {
      return { number, text: null };
    }
  };
  const keep = (part: Buffer) => {
    bytes += part.length;
    if (bytes <= LINE_BYTES_MAX) parts.push(part);
    else parts = [];
  };
  for await (const chunk of input as AsyncIterable<Buffer>) {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, from)) {
      keep(chunk.subarray(from, end));
      from = end + 1;
      yield line();
    }
    if (from < chunk.length) keep(chunk.subarray(from));
  }
  if (bytes > 0) yield line();
}
