import type { Apply, Expression, Item, Join, Select, Source } from './ast.ts';
import { tokenText } from './lexer.ts';
import { readExpression } from './parser-expressions.ts';
import { readGrouping } from './parser-windows.ts';
import { QueryProblem } from './problem.ts';
import type { Tokens } from './tokens.ts';
import { mayBeAlias } from './words.ts';

/** A select, and what stood behind its INTO. */
export interface ReadSelect {
  readonly select: Select;
  readonly into: { readonly name: string; readonly at: number } | null;
}

/** One select, from SELECT to before what no select has. */
export function readSelect(tokens: Tokens): ReadSelect {
  const { at } = tokens;
  tokens.needWord('select');
  refuseQuantity(tokens);
  let columns = 0;
  const items = tokens.list(() => readItem(tokens, ++columns));
  let into: ReadSelect['into'] = null;
  if (tokens.takeWord('into')) {
    const place = tokens.at;
    into = { name: tokens.needName('the name of an output after INTO'), at: place };
  }
  if (!tokens.takeWord('from')) {
    throw tokens.unexpectedClause(into === null ? 'FROM, INTO or a comma' : 'FROM', ['from', 'into', 'as']);
  }
  const from = readSource(tokens);
  if (tokens.isMark(','))
    throw new QueryProblem(
      tokens.at,
      'sources are not joined by commas',
      'use JOIN .. ON, or UNION for the rows of both',
    );
  const joins: Join[] = [];
  for (let join = readJoin(tokens); join !== null; join = readJoin(tokens)) joins.push(join);
  const applies: Apply[] = [];
  for (let apply = readApply(tokens); apply !== null; apply = readApply(tokens)) applies.push(apply);
  if (beginsJoin(tokens))
    throw new QueryProblem(tokens.at, 'a JOIN cannot follow an APPLY', 'put the JOIN first, or use a step of WITH');
  const where = tokens.takeWord('where') ? readExpression(tokens) : null;
  const grouping = takeBy(tokens, 'group') ? readGrouping(tokens) : null;
  const having = tokens.takeWord('having') ? readExpression(tokens) : null;
  refuseOrder(tokens, having !== null, grouping !== null);
  const groupBy = grouping?.columns ?? null;
  const select = { items, from, joins, applies, where, groupBy, windows: grouping?.windows ?? [], having, at };
  return { select, into };
}

/** Takes this word, which here must be followed by BY. */
function takeBy(tokens: Tokens, word: string): boolean {
  if (!tokens.takeWord(word)) return false;
  tokens.needWord('by');
  return true;
}

/** Clauses that are of the language, but in another order. */
function refuseOrder(tokens: Tokens, hadHaving: boolean, hadGroup: boolean): void {
  const order = 'the order is SELECT, INTO, FROM, JOIN, APPLY, WHERE, GROUP BY, HAVING';
  const token = tokens.peek();
  if (token.kind !== 'word') return;
  const late =
    ['where', 'into', 'having', 'from', 'join'].includes(token.lower) ||
    (token.lower === 'group' && tokens.isWord('by', 1)) ||
    ((token.lower === 'timestamp' || token.lower === 'partition') && tokens.isWord('by', 1));
  if (!late) return;
  const behind = hadHaving ? 'HAVING' : hadGroup ? 'GROUP BY' : 'what it follows';
  throw new QueryProblem(token.at, `${token.text.toUpperCase()} cannot stand here, behind ${behind}`, order);
}

/** DISTINCT and TOP. */
function refuseQuantity(tokens: Tokens): void {
  const { at } = tokens;
  if (tokens.isWord('distinct')) {
    throw new QueryProblem(
      at,
      'SELECT DISTINCT is not in the language',
      'GROUP BY the columns in a window, or COUNT(DISTINCT x)',
    );
  }
  const behind = tokens.peek(1);
  if (tokens.isWord('top') && (behind.kind === 'number' || tokens.isMark('(', 1))) {
    throw new QueryProblem(
      at,
      'TOP is not in the language',
      'use TopOne() or CollectTop(n) OVER (ORDER BY ..) in a window',
    );
  }
  if (tokens.isWord('all') && (behind.kind === 'word' || tokens.isMark('*', 1))) {
    if (!tokens.isWord('from', 1) && !tokens.isWord('as', 1)) {
      throw new QueryProblem(at, 'SELECT ALL is not in the language', 'leave ALL out: no row is removed');
    }
  }
}

/** `column` is its place in the list, from 1. */
function readItem(tokens: Tokens, column: number): Item {
  const token = tokens.peek();
  const { at } = token;
  if (tokens.takeMark('*')) return { kind: 'all', path: [], at };
  if (tokens.isMark('=', 1) && token.kind !== 'mark' && token.kind !== 'number') {
    const name = readColumnName(tokens);
    tokens.next();
    return { kind: 'value', name, expression: readExpression(tokens), at };
  }
  const expression = readExpression(tokens);
  if (tokens.isMark('.') && tokens.isMark('*', 1)) {
    if (expression.kind !== 'field')
      throw new QueryProblem(tokens.at, '.* follows only a name', 'give the record a name in a step of WITH');
    tokens.next();
    tokens.next();
    if (tokens.isWord('as')) throw new QueryProblem(tokens.at, '.* gives many columns: it has no name');
    return { kind: 'all', path: expression.path, at };
  }
  if (tokens.takeWord('as')) return { kind: 'value', name: readColumnName(tokens), expression, at };
  const alias = tokens.peek();
  if (alias.kind === 'bracketed' || alias.kind === 'quoted' || (alias.kind === 'word' && mayBeAlias(alias.lower))) {
    const name = tokens.takeBareAlias();
    return { kind: 'value', name: alias.kind === 'word' ? name : alias.text, expression, at };
  }
  return { kind: 'value', name: nameOf(expression, column), expression, at };
}

/** A column's name: also a text. */
function readColumnName(tokens: Tokens): string {
  const token = tokens.peek();
  if (token.kind !== 'text') return tokens.needName('a name for the column');
  if (token.text === '') throw new QueryProblem(token.at, 'a name is empty');
  tokens.next();
  return token.text;
}

/** The name of a column that was given none: the last part of a path, the function's, or that of its place. */
function nameOf(expression: Expression, column: number): string {
  if (expression.kind === 'field') return expression.path.at(-1)!;
  if (expression.kind === 'call') return expression.name.replace('system.', '');
  if (expression.kind === 'cast') return expression.safe ? 'try_cast' : 'cast';
  if (expression.kind === 'window id') return 'id';
  return `column${column}`;
}

function readSource(tokens: Tokens): Source {
  const { at } = tokens;
  if (tokens.isMark('(')) {
    throw new QueryProblem(
      at,
      'a SELECT inside FROM is not in the language',
      'make it a step: WITH name AS (SELECT ..) SELECT .. FROM name',
    );
  }
  const name = tokens.needName('the name of an input or a step');
  if (tokens.isMark('(')) {
    throw new QueryProblem(
      at,
      'FROM takes an input or a step, no function',
      'CROSS APPLY GetArrayElements(x) AS a opens an array',
    );
  }
  if (tokens.isMark('.'))
    throw new QueryProblem(tokens.at, 'the name of an input has no dots', 'write [a.b] if the dot is part of it');
  const alias = readAlias(tokens) ?? name;
  let timestampBy: Expression | null = null;
  let over: readonly Expression[] = [];
  let partitionBy: Expression | null = null;
  for (;;) {
    const place = tokens.at;
    if (takeBy(tokens, 'timestamp')) {
      if (timestampBy !== null) throw new QueryProblem(place, 'TIMESTAMP BY stands twice');
      timestampBy = readExpression(tokens);
      if (tokens.takeWord('over')) over = tokens.list(() => readExpression(tokens));
    } else if (takeBy(tokens, 'partition')) {
      if (partitionBy !== null) throw new QueryProblem(place, 'PARTITION BY stands twice');
      partitionBy = readExpression(tokens);
      if (tokens.isMark(','))
        throw new QueryProblem(tokens.at, 'PARTITION BY takes one key', 'CONCAT(a, b) makes one of two');
      // How many shards the cloud is asked for: nothing here.
      if (tokens.isWord('into') && tokens.peek(1).kind === 'number') {
        tokens.next();
        tokens.next();
      }
    } else {
      break;
    }
  }
  if (tokens.isWord('as'))
    throw new QueryProblem(
      tokens.at,
      'the alias comes right behind the name of the source',
      'write FROM input AS a TIMESTAMP BY ..',
    );
  return { name, alias, timestampBy, over, partitionBy, at };
}

/** `[AS] alias`, or null. */
function readAlias(tokens: Tokens): string | null {
  if (tokens.takeWord('as')) return tokens.needName('an alias after AS');
  const token = tokens.peek();
  if (token.kind === 'bracketed' || token.kind === 'quoted') {
    tokens.next();
    return token.text;
  }
  return token.kind === 'word' && mayBeAlias(token.lower) ? tokens.takeBareAlias() : null;
}

function beginsJoin(tokens: Tokens): boolean {
  return tokens.isWord('join') || (tokens.isWord('inner') && tokens.isWord('join', 1)) || tokens.isWord('left');
}

function readJoin(tokens: Tokens): Join | null {
  const { at } = tokens;
  if (tokens.isWord('cross') && tokens.isWord('join', 1)) {
    throw new QueryProblem(at, 'CROSS JOIN is not in the language', 'use JOIN .. ON with a condition');
  }
  if (tokens.isWord('outer') && tokens.isWord('join', 1))
    throw new QueryProblem(at, 'OUTER JOIN needs its side', 'write LEFT JOIN');
  let kind: Join['kind'] = 'inner';
  if (tokens.takeWord('left')) {
    kind = 'left';
    tokens.takeWord('outer');
    tokens.needWord('join');
  } else if (tokens.takeWord('inner')) {
    tokens.needWord('join');
  } else if (!tokens.takeWord('join')) {
    return null;
  }
  const source = readSource(tokens);
  if (!tokens.takeWord('on')) {
    throw tokens.unexpected(
      'ON and the condition of this JOIN',
      ['on'],
      'write JOIN source AS b ON DATEDIFF(second, a, b) BETWEEN 0 AND 10',
    );
  }
  return { kind, source, on: readExpression(tokens), at };
}

function readApply(tokens: Tokens): Apply | null {
  const { at } = tokens;
  const kind = (['cross', 'outer'] as const).find((word) => tokens.takeWords(word, 'apply'));
  if (kind === undefined) return null;
  const name = tokens.peek();
  const lower = name.kind === 'word' ? name.lower : '';
  if (lower !== 'getarrayelements' && lower !== 'getrecordproperties') {
    throw new QueryProblem(
      name.at,
      `APPLY takes no ${tokenText(name)}`,
      'write GetArrayElements(x) AS a or GetRecordProperties(x) AS a',
    );
  }
  tokens.next();
  tokens.needMark('(', `after ${tokenText(name)}`);
  const argument = readExpression(tokens);
  tokens.needMark(')', 'after the one argument');
  const alias = readAlias(tokens);
  if (alias === null)
    throw tokens.unexpected('AS and an alias', ['as'], 'its columns are read through it: AS a, a.ArrayValue');
  return { kind, function: lower, argument, alias, at };
}
