/** One file of the project, as text. `path` is relative to the project's root, with `/`. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** An import, a re-export or a dynamic import, types included. */
export interface Import {
  readonly specifier: string;
  readonly line: number;
}

/** Words after which a `/` begins a regular expression; after any other word it divides. */
const BEFORE_REGEX = /(?:^|[^\w$.])(?:return|typeof|case|in|of|do|else|void|delete|throw|new|await|yield)$/;
const AFTER_VALUE = /[\w$)\]}]$/;

/**
 * `text` with comments, or comments and the insides of strings, templates and regular expressions, made blank. Lines and
 * columns stay where they are. Good enough for formatted TypeScript; no JSX.
 */
export function blank(text: string, what: 'comments' | 'comments and strings'): string {
  const out = text.split('');
  const erase = (from: number, to: number): void => {
    for (let i = from; i < to; i++) if (out[i] !== '\n') out[i] = ' ';
  };
  const eraseString = (from: number, to: number): void => {
    if (what === 'comments and strings') erase(from, to);
  };
  /** For each `${` that we are inside of, how many braces are open in it. */
  const templates: number[] = [];
  let i = 0;
  const template = (): void => {
    const from = i;
    while (i < text.length && text[i] !== '`' && !text.startsWith('${', i)) i += text[i] === '\\' ? 2 : 1;
    eraseString(from, i);
    if (text[i] === '`') i += 1;
    else {
      templates.push(0);
      i += 2;
    }
  };
  while (i < text.length) {
    const c = text[i];
    const from = i;
    const open = templates.at(-1);
    if (text.startsWith('//', i)) {
      const end = text.indexOf('\n', i);
      i = end < 0 ? text.length : end;
      erase(from, i);
    } else if (text.startsWith('/*', i)) {
      const end = text.indexOf('*/', i + 2);
      i = end < 0 ? text.length : end + 2;
      erase(from, i);
    } else if (c === "'" || c === '"') {
      i = endOf(text, i, c);
      eraseString(from + 1, i - 1);
    } else if (
      c === '/' &&
      startsRegex(
        out
          .slice(Math.max(0, i - 200), i)
          .join('')
          .trimEnd(),
      )
    ) {
      i = endOf(text, i, '/');
      eraseString(from + 1, i - 1);
    } else if (c === '`') {
      i += 1;
      template();
    } else if (c === '}' && open === 0) {
      templates.pop();
      i += 1;
      template();
    } else {
      if (open !== undefined && c === '{') templates[templates.length - 1] = open + 1;
      if (open !== undefined && c === '}') templates[templates.length - 1] = open - 1;
      i += 1;
    }
  }
  return out.join('');
}

function startsRegex(before: string): boolean {
  return !AFTER_VALUE.test(before) || BEFORE_REGEX.test(before);
}

/** Index after the closing `quote` of what opens at `start`; a `/` inside a character class closes nothing. */
function endOf(text: string, start: number, quote: string): number {
  let inClass = false;
  let i = start + 1;
  for (; i < text.length && text[i] !== '\n'; i++) {
    if (text[i] === '\\') i += 1;
    else if (quote === '/' && text[i] === '[') inClass = true;
    else if (quote === '/' && text[i] === ']') inClass = false;
    else if (text[i] === quote && !inClass) return i + 1;
  }
  return i;
}

/** All that `text` imports, in order. */
export function importsOf(text: string): Import[] {
  const code = blank(text, 'comments');
  const bare = blank(text, 'comments and strings');
  return [...bare.matchAll(/(?<![\w$.])(?:from|import)\s*\(?\s*(['"])/g)].map((match) => {
    const start = match.index + match[0].length;
    const quote = match[1] ?? '';
    return { specifier: code.slice(start, code.indexOf(quote, start)), line: lineAt(text, match.index) };
  });
}

export function lineAt(text: string, index: number): number {
  return text.slice(0, index).split('\n').length;
}
