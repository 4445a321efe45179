import type { Duration, Expression, Over } from './ast.ts';
import { tokenText, type Token } from './lexer.ts';
import { nearest } from './nearest.ts';
import { partsOf } from './parts.ts';
import { QueryProblem, type Offset } from './problem.ts';
import { refusedFunction } from './refusals.ts';
import type { Tokens } from './tokens.ts';
import { datePart, datePartHint, unitMicros, type DatePart } from './units.ts';

/** How an expression is read; passed in, since calls and expressions contain each other. */
export type ReadExpression = (tokens: Tokens) => Expression;

/** Functions whose first argument is a part of a date. */
const DATE_FUNCTIONS: ReadonlySet<string> = new Set(['dateadd', 'datediff', 'datepart', 'datename']);
/** Functions that take `*` for the whole event. */
const STARRED: ReadonlySet<string> = new Set(['count', 'lag', 'last']);
/** Words that begin what stands in OVER (...). */
const OVER_WORDS = ['partition', 'order', 'limit', 'when'];
const WINDOW_NAME = /^(?:tumbling|hopping|sliding|session)(?:window)?$|^windows?$/;

/** A unit of time where a length of time is written. */
export function readUnit(tokens: Tokens): { part: DatePart; micros: number } {
  const token = tokens.peek();
  const part = readPart(tokens);
  const micros = unitMicros(part);
  if (micros === undefined) {
    throw new QueryProblem(
      token.at,
      `${part} is no unit for a length of time`,
      'use day, hour, minute, second, millisecond or microsecond',
    );
  }
  return { part, micros };
}

/** A part of a date in any of its spellings. */
function readPart(tokens: Tokens): DatePart {
  const token = tokens.peek();
  if (token.kind !== 'word') {
    const hint = token.kind === 'text' && datePart(token.text) !== undefined ? 'leave the quotes out' : null;
    throw tokens.unexpected('a part of a date, such as second', [], hint);
  }
  const part = datePart(token.text);
  if (part === undefined) {
    throw new QueryProblem(token.at, `${tokenText(token)} is no part of a date`, datePartHint(token.text.slice(0, 20)));
  }
  tokens.next();
  return part;
}

/** A whole number, with a minus where `signed`; lengths of time are constants. */
export function readCount(tokens: Tokens, what: string, signed = false): number {
  const { at } = tokens;
  const negative = signed && tokens.takeMark('-');
  const token = tokens.peek();
  if (token.kind !== 'number') {
    throw tokens.unexpected(`${what}, a whole number`, [], 'it is a constant: write the number itself');
  }
  if (typeof token.value === 'object' || !Number.isInteger(Number(token.value))) {
    throw new QueryProblem(
      token.at,
      `${what} is a whole number`,
      'use a smaller unit: millisecond, 1500 for 1.5 seconds',
    );
  }
  tokens.next();
  if (Number(token.value) === 0 && !signed) throw new QueryProblem(at, `${what} must be more than 0`);
  // Far below what a number holds exactly, whatever the unit; check.ts says what is too long.
  if (token.value > 1e12) throw new QueryProblem(at, `${what} is too large`);
  const count = Number(token.value);
  return negative && count !== 0 ? -count : count;
}

/** `DURATION(unit, n)`, after its name and up to the closing bracket. */
function readDuration(tokens: Tokens, at: Offset): Duration {
  tokens.needMark('(', 'after DURATION');
  const { micros } = readUnit(tokens);
  tokens.needMark(',', 'between the unit and the number');
  const count = readCount(tokens, 'the duration');
  tokens.needMark(')', 'after the duration');
  return { micros: micros * count, at };
}

function readOrder(tokens: Tokens, read: ReadExpression): Over['orderBy'] {
  return tokens.list(() => {
    const expression = read(tokens);
    const descending = tokens.takeWord('desc');
    if (!descending) tokens.takeWord('asc');
    return { expression, descending };
  });
}

/** `OVER (...)`, from OVER on. */
function readOver(tokens: Tokens, read: ReadExpression): Over {
  const { at } = tokens;
  tokens.needWord('over');
  tokens.needMark('(', 'after OVER');
  let partitionBy: readonly Expression[] | null = null;
  let orderBy: Over['orderBy'] | null = null;
  let limit: Duration | null = null;
  let when: Expression | null = null;
  while (!tokens.takeMark(')')) {
    const place = tokens.at;
    const twice = (before: unknown, what: string): void => {
      if (before !== null) throw new QueryProblem(place, `${what} stands twice in one OVER`);
    };
    if (tokens.takeWords('partition', 'by')) {
      twice(partitionBy, 'PARTITION BY');
      partitionBy = tokens.list(() => read(tokens));
    } else if (tokens.takeWords('order', 'by')) {
      twice(orderBy, 'ORDER BY');
      orderBy = readOrder(tokens, read);
    } else if (tokens.takeWord('limit')) {
      twice(limit, 'LIMIT DURATION');
      const durationAt = tokens.at;
      tokens.needWord('duration');
      limit = readDuration(tokens, durationAt);
    } else if (tokens.takeWord('when')) {
      twice(when, 'WHEN');
      when = read(tokens);
    } else {
      const word = tokens.peek();
      if (word.kind === 'word' && (word.lower === 'rows' || word.lower === 'range')) {
        throw new QueryProblem(
          place,
          `${word.text.toUpperCase()} frames are not in the language`,
          'use LIMIT DURATION(unit, n)',
        );
      }
      throw tokens.unexpected('PARTITION BY, ORDER BY, LIMIT DURATION, WHEN or ")"', OVER_WORDS);
    }
  }
  return { partitionBy: partitionBy ?? [], orderBy: orderBy ?? [], limit, when, at };
}

/** Whether a word before it is no field but ALL. */
function beginsOperand(token: Token): boolean {
  if (token.kind === 'mark') return token.text === '(';
  if (token.kind === 'word') return !['like', 'in', 'between', 'is', 'not', 'and', 'or'].includes(token.lower);
  return token.kind !== 'end';
}

function readArguments(
  tokens: Tokens,
  name: string,
  read: ReadExpression,
): { args: Expression[]; star: boolean; distinct: boolean } {
  const args: Expression[] = [];
  let star = false;
  let distinct = false;
  if (DATE_FUNCTIONS.has(name) || name === 'isfirst') {
    const { at } = tokens;
    const part = name === 'isfirst' ? readUnit(tokens).part : readPart(tokens);
    args.push({ kind: 'literal', value: part, at });
    if (name === 'isfirst') {
      tokens.needMark(',', 'between the unit and the number');
      const place = tokens.at;
      args.push({ kind: 'literal', value: readCount(tokens, 'the length of the interval'), at: place });
    }
  } else if (tokens.isMark(')')) {
    // COUNT() is COUNT(*).
    star = name === 'count';
  } else if (tokens.isMark('*')) {
    const { at } = tokens;
    tokens.next();
    if (!STARRED.has(name)) {
      const whole = name === 'collect' || name === 'topone';
      throw new QueryProblem(
        at,
        `${name.toUpperCase()}(*) is not in the language`,
        whole ? `${name.toUpperCase()}() takes whole events` : 'only COUNT, LAG and LAST take *',
      );
    }
    star = true;
  } else {
    const { at } = tokens;
    distinct = tokens.takeWord('distinct');
    if (distinct && name !== 'count') {
      throw new QueryProblem(
        at,
        `DISTINCT is not supported in ${name.toUpperCase()}`,
        'only COUNT(DISTINCT x) takes it',
      );
    }
    if (name === 'count' && !distinct && beginsOperand(tokens.peek(1))) tokens.takeWord('all');
    args.push(read(tokens));
  }
  while (tokens.takeMark(',')) args.push(read(tokens));
  tokens.needMark(')', `after the arguments of ${name.toUpperCase()}`);
  return { args, star, distinct };
}

/** A call whose name (a bare word) has been taken; the opening bracket is next. */
export function readCall(tokens: Tokens, word: Token & { kind: 'word' }, read: ReadExpression): Expression {
  const name = word.lower;
  const instead = refusedFunction(name);
  if (instead !== undefined) throw new QueryProblem(word.at, `${word.text} is not supported here`, instead);
  if (WINDOW_NAME.test(name)) {
    throw new QueryProblem(
      word.at,
      `a window stands only in GROUP BY, as an item of its own`,
      `write GROUP BY ${word.text}(..)`,
    );
  }
  return tokens.nested(() => {
    tokens.needMark('(', `after ${word.text}`);
    const { args, star, distinct } = readArguments(tokens, name, read);
    if (tokens.isWord('within')) {
      throw new QueryProblem(
        tokens.at,
        'WITHIN GROUP is not in the language',
        `write ${word.text}(..) OVER (ORDER BY ..)`,
      );
    }
    const over = tokens.isWord('over') && tokens.isMark('(', 1) ? readOver(tokens, read) : null;
    const call: Expression = { kind: 'call', name, args, star, distinct, over, at: word.at };
    return tokens.grown(call, partsOf(call));
  });
}

const SYSTEM = ['Timestamp', 'Window'];

/** `System.Timestamp()`, also without its brackets, and `System.Window().Id`; `System` has been taken, the dot is next. */
export function readSystem(tokens: Tokens, at: Offset): Expression {
  tokens.needMark('.', 'after System, which is reserved');
  const place = tokens.at;
  const token = tokens.next();
  const name = token.kind === 'word' ? token.lower : '';
  if (name === 'timestamp') {
    if (tokens.takeMark('(')) tokens.needMark(')', 'after System.Timestamp(');
    return { kind: 'call', name: 'system.timestamp', args: [], star: false, distinct: false, over: null, at };
  }
  if (name === 'window') {
    tokens.needMark('(', 'after System.Window');
    tokens.needMark(')', 'after System.Window(');
    tokens.needMark('.', 'after System.Window()');
    tokens.needWord('id');
    return { kind: 'window id', at };
  }
  const meant = nearest(name, SYSTEM);
  throw new QueryProblem(
    place,
    `System has no ${tokenText(token)}`,
    meant === undefined ? 'there are System.Timestamp() and System.Window().Id' : `did you mean System.${meant}?`,
  );
}
