import { QueryProblem, type Offset } from '../query/problem.ts';

/** Longest text of a route, UTF-16 units. */
export const ROUTE_LENGTH_MAX = 65_536;

/** What a route's text is made of. Names and keywords are told apart by the parser: it depends on where they stand. */
export interface Token {
  readonly kind: 'name' | 'system' | 'braced' | 'number' | 'text' | 'sign' | 'end';
  /** As it stands there; of a braced reference what is within the braces. */
  readonly text: string;
  /** Of a number and of text. */
  readonly value: number | string;
  readonly at: Offset;
  readonly end: Offset;
}

export interface Comment {
  readonly at: Offset;
  readonly end: Offset;
}

/** All but white space and `( ) < > @ , ; : \ " / [ ] ? = { }`: so `a-b`, `a+b` and `a!` are each one name. */
const NAME = /[^\s()<>@,;:\\"/[\]?={}]+/y;
const NUMBER = /-?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/y;
const SPACE = /\s+/y;
const SIGN = /\?\?|\|\||!=|<>|<=|>=|[()<>,/[\]=+\-*%]/y;
const TEXT = { "'": /'(?:[^'\\]|\\[\s\S])*'/y, '"': /"(?:[^"\\]|\\[\s\S])*"/y };

/**
 * A route's text as tokens, the last of which is `end`. Of the forms that could begin at a place the longest is taken, as in the published
 * grammar, and of equally long ones number and text before name. Throws a {@link QueryProblem}.
 */
export function routeTokens(text: string): {
  readonly tokens: readonly Token[];
  readonly comments: readonly Comment[];
} {
  if (text.length > ROUTE_LENGTH_MAX) {
    throw new QueryProblem(0, `a route of ${text.length} characters; it has at most ${ROUTE_LENGTH_MAX}`);
  }
  const tokens: Token[] = [];
  const comments: Comment[] = [];
  // Looked for once: a text full of `/*` that never end must not be searched to its end for each of them.
  const lastCommentEnd = text.lastIndexOf('*/');
  let at = 0;
  const add = (kind: Token['kind'], end: number, value: number | string = '', shown = text.slice(at, end)): void => {
    tokens.push({ kind, text: shown, value, at, end });
    at = end;
  };
  while (at < text.length) {
    const space = endOf(SPACE, text, at);
    if (space !== null) {
      at = space;
      continue;
    }
    const char = text[at]!;
    if (text.startsWith('/*', at) && lastCommentEnd >= at + 2) {
      const end = text.indexOf('*/', at + 2) + 2;
      comments.push({ at, end });
      at = end;
      continue;
    }
    if (char === '$') {
      add('system', systemEnd(text, at));
      continue;
    }
    if (char === '{') {
      const end = bracedEnd(text, at);
      add('braced', end, '', text.slice(at + 1, end - 1).trim());
      continue;
    }
    const name = endOf(NAME, text, at) ?? at;
    if (char === "'" || char === '"') {
      const end = endOf(TEXT[char], text, at);
      if (end !== null && end >= name) {
        add('text', end, unescaped(text, at, end));
        continue;
      }
      if (end === null && !text.slice(at + 1, name).includes("'")) {
        throw new QueryProblem(at, `the text that begins here does not end`, `close it with ${char}`);
      }
    }
    const number = endOf(NUMBER, text, at);
    if (number !== null && number >= name) {
      const digits = text.slice(at, number);
      // JavaScript's Number takes no sign before 0x.
      add('number', number, digits.startsWith('-') ? -Number(digits.slice(1)) : Number(digits));
      continue;
    }
    const sign = endOf(SIGN, text, at);
    if (sign !== null && sign >= name) add('sign', sign);
    else if (name > at) add('name', name);
    else throw strayCharacter(text, at);
  }
  add('end', text.length);
  return { tokens, comments };
}

function endOf(pattern: RegExp, text: string, at: Offset): Offset | null {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : null;
}

/** `$name`, and the brackets of a `$body` path with whatever is in them: the parser says what is wrong with that. */
function systemEnd(text: string, at: Offset): Offset {
  let end = at;
  for (;;) {
    end = endOf(NAME, text, end) ?? end;
    if (text[end] !== '[') return end;
    end++;
    while (end < text.length && !/[\s[\]()]/.test(text[end]!)) end++;
    if (text[end] === ']') end++;
  }
}

function bracedEnd(text: string, at: Offset): Offset {
  const begin = endOf(SPACE, text, at + 1) ?? at + 1;
  const name = text[begin] === '$' ? systemEnd(text, begin) : begin;
  const end = endOf(SPACE, text, name) ?? name;
  if (name > begin && text[end] === '}') return end + 1;
  throw new QueryProblem(at, 'braces hold one reference that begins with $', 'write for example {$connectionDeviceId}');
}

const ESCAPES: Readonly<Record<string, string>> = { '"': '"', "'": "'", '\\': '\\' };

/** What a quoted text means. */
function unescaped(text: string, at: Offset, end: Offset): string {
  let meant = '';
  let from = at + 1;
  for (;;) {
    const slash = text.indexOf('\\', from);
    if (slash === -1 || slash >= end - 1) return meant + text.slice(from, end - 1);
    const next = text[slash + 1]!;
    const code = next === 'u' ? /^[0-9a-fA-F]{4}/.exec(text.slice(slash + 2, slash + 6)) : null;
    const char = code === null ? ESCAPES[next] : String.fromCharCode(Number.parseInt(code[0], 16));
    if (char === undefined) {
      const hint = String.raw`there are \", \', \\ and \u with four hexadecimal digits; write \\ for a backslash`;
      throw new QueryProblem(slash, `a backslash before ${JSON.stringify(next)} means nothing in a text`, hint);
    }
    meant += text.slice(from, slash) + char;
    from = slash + 2 + (code === null ? 0 : 4);
  }
}

function strayCharacter(text: string, at: Offset): QueryProblem {
  const char = String.fromCodePoint(text.codePointAt(at)!);
  const hints: Readonly<Record<string, string>> = {
    ';': 'a route ends without one',
    '?': 'the operator is ??',
    '\\': 'a backslash stands only within a text',
    '}': 'it closes a reference such as {$connectionDeviceId}',
  };
  return new QueryProblem(at, `${JSON.stringify(char)} has no meaning here`, hints[char] ?? null);
}
