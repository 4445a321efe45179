import { styleText } from 'node:util';

export type Style = Parameters<typeof styleText>[0];
/** Text in one style; plain text stands for itself. */
export type Span = string | readonly [style: Style, text: string];
export type Line = readonly Span[];

const BLOCKS = '▁▂▃▄▅▆▇█';
const CHARACTERS = '_.:-=+*#';

/** Puts lines on a terminal of one kind: with or without colours, with or without characters beyond ASCII. */
export class Painter {
  readonly #colours: boolean;
  readonly #ascii: boolean;

  /** `ascii` for the Linux console, whose fonts lack most of what we draw with. */
  constructor(colours: boolean, ascii: boolean) {
    this.#colours = colours;
    this.#ascii = ascii;
  }

  /** A line as text with escape codes, cut to `width` characters. */
  paint(line: Line, width: number): string {
    let left = width;
    let text = '';
    for (const span of line) {
      const [style, plain] = typeof span === 'string' ? [null, span] : span;
      // What others wrote (a broker's reason, say) must not write over the screen.
      const clean = plain.replaceAll(/\p{Cc}/gu, ' ');
      const part = (this.#ascii ? asciiOf(clean) : clean).slice(0, left);
      left -= part.length;
      // Whether there are colours has been decided: `styleText` itself would ask standard output, and Node 20 before 20.18 not.
      text += this.#colours && style !== null ? styleText(style, part, { validateStream: false }) : part;
    }
    return text;
  }

  /** The last `width` values as a row of bars, the lowest for `from` or below, the highest for `to` or above. */
  sparkline(values: readonly number[], width: number, from: number, to: number): string {
    const bars = this.#ascii ? CHARACTERS : BLOCKS;
    const step = (to - from) / (bars.length - 1);
    return values
      .slice(-width)
      .map((value) => bars[Math.max(0, Math.min(bars.length - 1, Math.ceil((value - from) / step)))] ?? '')
      .join('');
  }
}

const ASCII: Readonly<Record<string, string>> = {
  '─': '-',
  '▶': '>',
  '◀': '<',
  '└': '+',
  '┘': '+',
  '✗': 'x',
  '●': '*',
  '○': 'o',
  '°': ' ',
  '…': '.',
};

function asciiOf(text: string): string {
  return Array.from(text, (character) => ASCII[character] ?? character).join('');
}

/** Breaks text at blanks into lines of at most `width` characters. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
