import type { Duration, Expression, Window } from './ast.ts';
import { nearest } from './nearest.ts';
import { readCount, readUnit } from './parser-calls.ts';
import { readExpression } from './parser-expressions.ts';
import { QueryProblem, type Offset } from './problem.ts';
import type { Tokens } from './tokens.ts';

type Kind = Exclude<Window['kind'], 'snapshot'>;

const KINDS: ReadonlyMap<string, Kind> = new Map(
  (['tumbling', 'hopping', 'sliding', 'session'] as const).flatMap((kind): [string, Kind][] => [
    [kind, kind],
    [`${kind}window`, kind],
  ]),
);
const SPELLINGS = ['TumblingWindow', 'HoppingWindow', 'SlidingWindow', 'SessionWindow', 'Windows', 'Window'];

/** What GROUP BY groups by: columns, and the windows among them. */
export interface Grouping {
  readonly columns: readonly Expression[];
  readonly windows: readonly Window[];
}

/** The items of GROUP BY, after these words. */
export function readGrouping(tokens: Tokens): Grouping {
  const columns: Expression[] = [];
  const windows: Window[] = [];
  let found: Offset | null = null;
  const stamps: Expression[] = [];
  for (const item of tokens.list(() => readItem(tokens))) {
    if ('windows' in item) {
      if (found !== null) {
        throw new QueryProblem(
          item.at,
          'GROUP BY has two windows',
          'Windows(a, b) gives the results of both; or write two SELECTs',
        );
      }
      found = item.at;
      for (const window of item.windows) windows.push(window);
    } else {
      columns.push(item);
      if (isTimestamp(item)) stamps.push(item);
    }
  }
  // Without a window, the time itself is one; beside a window it is a key like any other.
  const snapshot = found === null ? stamps[0] : undefined;
  if (snapshot === undefined) return { columns, windows };
  return {
    columns: columns.filter((column) => column !== snapshot),
    windows: [{ kind: 'snapshot', id: null, at: snapshot.at }],
  };
}

function isTimestamp(expression: Expression): boolean {
  return expression.kind === 'call' && expression.name === 'system.timestamp';
}

function readItem(tokens: Tokens): Expression | { readonly windows: readonly Window[]; readonly at: Offset } {
  const token = tokens.peek();
  const { at } = token;
  if (token.kind !== 'word' || !tokens.isMark('(', 1)) return readExpression(tokens);
  if (token.lower === 'windows') return { windows: readSeveral(tokens), at };
  if (token.lower === 'window') {
    throw new QueryProblem(at, 'Window(..) gives an id to one of several', "write Windows(Window('id', ..), ..)");
  }
  if (KINDS.has(token.lower)) return { windows: [readWindow(tokens, null)], at };
  if (token.lower === 'snapshot' || token.lower === 'snapshotwindow') {
    throw new QueryProblem(at, `${token.text} is not in the language`, 'write GROUP BY System.Timestamp()');
  }
  const meant = token.lower.endsWith('window') ? nearest(token.lower, SPELLINGS) : undefined;
  if (meant !== undefined) throw new QueryProblem(at, `there is no window ${token.text}`, `did you mean ${meant}?`);
  return readExpression(tokens);
}

/** `Windows(...)`. */
function readSeveral(tokens: Tokens): Window[] {
  tokens.next();
  tokens.needMark('(', 'after Windows');
  const windows = tokens.list(() => readMember(tokens));
  tokens.needMark(')', 'after the windows');
  return windows;
}

function readMember(tokens: Tokens): Window {
  if (!tokens.isWord('window') || !tokens.isMark('(', 1)) return readWindow(tokens, null);
  const { at } = tokens.next();
  tokens.next();
  const id = tokens.peek();
  if (id.kind !== 'text') throw tokens.unexpected("the window's id, a text such as 'minute'");
  tokens.next();
  tokens.needMark(',', "after the window's id");
  const window = readWindow(tokens, id.text);
  tokens.needMark(')', 'after the window');
  return { ...window, at };
}

function readWindow(tokens: Tokens, id: string | null): Window {
  const token = tokens.peek();
  const { at } = token;
  const kind = token.kind === 'word' ? KINDS.get(token.lower) : undefined;
  if (kind === undefined || !tokens.isMark('(', 1)) return readSnapshot(tokens, id);
  tokens.next();
  tokens.next();
  const lengths = readLengths(tokens, kind);
  tokens.needMark(')', 'after the arguments of the window');
  switch (kind) {
    case 'tumbling':
      return { kind, id, at, size: lengths.size!, offset: lengths.offset ?? null };
    case 'hopping':
      return { kind, id, at, size: lengths.size!, hop: lengths.hop!, offset: lengths.offset ?? null };
    case 'sliding':
      return { kind, id, at, size: lengths.size! };
    case 'session':
      return { kind, id, at, timeout: lengths.timeout!, max: lengths.max!, partitionBy: readSessionKeys(tokens) };
  }
}

function readSnapshot(tokens: Tokens, id: string | null): Window {
  const { at } = tokens;
  const token = tokens.peek();
  if (token.kind === 'word' && token.lower === 'windows') {
    throw new QueryProblem(at, 'Windows(..) does not stand in itself', 'put all windows into one list');
  }
  if (tokens.isWord('system')) {
    const expression = readExpression(tokens);
    if (isTimestamp(expression)) return { kind: 'snapshot', id, at };
    throw new QueryProblem(at, 'this is no window', 'write System.Timestamp() alone');
  }
  const meant = token.kind === 'word' ? nearest(token.text, SPELLINGS) : undefined;
  throw tokens.unexpected(
    'a window',
    [],
    meant === undefined ? `windows are ${SPELLINGS.slice(0, 4).join(', ')}` : `did you mean ${meant}?`,
  );
}

/** The lengths of time of each window, in their order, by the name that each has in the long form. */
const LENGTHS: Readonly<Record<Kind, readonly Length[]>> = {
  tumbling: ['size', 'offset'],
  hopping: ['size', 'hop', 'offset'],
  sliding: ['size'],
  session: ['timeout', 'max'],
};
type Length = 'size' | 'hop' | 'offset' | 'timeout' | 'max';
const LONG_NAMES: Readonly<Record<Length, string>> = {
  size: 'Duration',
  hop: 'Hop',
  offset: 'Offset',
  timeout: 'Timeout',
  max: 'MaxDuration',
};
const WHAT: Readonly<Record<Length, string>> = {
  size: "the window's size",
  hop: 'the hop',
  offset: 'the offset',
  timeout: 'the timeout',
  max: 'the longest duration',
};

/** `unit, size ...` or `Duration(unit, size), ...`: all but the offset must be there. */
function readLengths(tokens: Tokens, kind: Kind): Partial<Record<Length, Duration>> {
  const lengths: Partial<Record<Length, Duration>> = {};
  const long = tokens.isMark('(', 1);
  const micros = long ? 0 : readUnit(tokens).micros;
  for (const [index, length] of LENGTHS[kind].entries()) {
    if (length === 'offset' && !tokens.isMark(',')) break;
    if (index > 0 || !long) tokens.needMark(',', `before ${WHAT[length]}`);
    const { at } = tokens;
    const signed = length === 'offset';
    // Offset(..) is taken behind bare numbers too: its unit is its own.
    const named = long || (signed && tokens.isMark('(', 1));
    const value = named ? readLong(tokens, length) : micros * readCount(tokens, WHAT[length], signed);
    lengths[length] = { micros: value, at };
  }
  return lengths;
}

/** `Duration(unit, n)` and its like. */
function readLong(tokens: Tokens, length: Length): number {
  const name = LONG_NAMES[length];
  if (!tokens.isWord(name.toLowerCase())) throw tokens.unexpected(`${name}(unit, number)`, [name]);
  tokens.next();
  tokens.needMark('(', `after ${name}`);
  const { micros } = readUnit(tokens);
  tokens.needMark(',', 'between the unit and the number');
  const count = readCount(tokens, WHAT[length], length === 'offset');
  tokens.needMark(')', `after ${WHAT[length]}`);
  return micros * count;
}

function readSessionKeys(tokens: Tokens): readonly Expression[] {
  if (!tokens.takeWord('over')) return [];
  tokens.needMark('(', 'after OVER');
  tokens.needWord('partition');
  tokens.needWord('by');
  const keys = tokens.list(() => readExpression(tokens));
  tokens.needMark(')', 'after the keys of the session');
  return keys;
}
