import type { BinaryOperator, Expression, TypeName } from './ast.ts';
import { tokenText } from './lexer.ts';
import { nearest } from './nearest.ts';
import { readCall, readSystem } from './parser-calls.ts';
import { partsOf } from './parts.ts';
import { QueryProblem, type Offset } from './problem.ts';
import { refusedFunction, typeInstead } from './refusals.ts';
import { Tokens } from './tokens.ts';
import { Float } from './value.ts';
import { isReserved } from './words.ts';

/*
 * Expressions, by the precedence of T-SQL (QUERY "Statement forms"), from loose to tight: OR; AND; NOT; predicates (comparison, LIKE,
 * IN, BETWEEN, IS), of which one does not take another's result; + - & ^ |; * / %; signs and ~.
 */

const TYPES: ReadonlyMap<string, TypeName> = new Map([
  ['bigint', 'bigint'],
  ['float', 'float'],
  ['datetime', 'datetime'],
  ['bit', 'bit'],
  ['record', 'record'],
  ['array', 'array'],
]);

const COMPARISONS = new Set(['=', '<>', '<', '<=', '>', '>='] as const);
const SUMS = new Set(['+', '-', '&', '^', '|'] as const);
const PRODUCTS = new Set(['*', '/', '%'] as const);
const SIGNS = new Set(['-', '+', '~'] as const);
/** Words that make a predicate of what is before them. */
const PREDICATES: ReadonlySet<string> = new Set(['is', 'not', 'like', 'between', 'in']);

export function readExpression(tokens: Tokens): Expression {
  let left = readConjunction(tokens);
  while (tokens.takeWord('or')) left = binary(tokens, 'or', left, readConjunction(tokens));
  return left;
}

function readConjunction(tokens: Tokens): Expression {
  let left = readNegation(tokens);
  while (tokens.takeWord('and')) left = binary(tokens, 'and', left, readNegation(tokens));
  return left;
}

function readNegation(tokens: Tokens): Expression {
  const { at } = tokens;
  if (!tokens.takeWord('not')) return readPredicate(tokens);
  const operand = tokens.nested(() => readNegation(tokens));
  return tokens.grown({ kind: 'unary', operator: 'not', operand, at }, [operand]);
}

function binary(tokens: Tokens, operator: BinaryOperator, left: Expression, right: Expression): Expression {
  return tokens.grown({ kind: 'binary', operator, left, right, at: left.at }, [left, right]);
}

function readPredicate(tokens: Tokens): Expression {
  const operand = readSum(tokens);
  if (!beginsPredicate(tokens)) return operand;
  const predicate = readRest(tokens, operand);
  if (beginsPredicate(tokens)) {
    throw new QueryProblem(
      tokens.at,
      'one comparison cannot follow another',
      'join them with AND, or put brackets around one',
    );
  }
  return predicate;
}

function beginsPredicate(tokens: Tokens): boolean {
  const token = tokens.peek();
  if (token.kind === 'mark') return (COMPARISONS as ReadonlySet<string>).has(token.text);
  return token.kind === 'word' && PREDICATES.has(token.lower);
}

/** What makes a predicate of an operand. */
function readRest(tokens: Tokens, operand: Expression): Expression {
  const { at } = operand;
  const comparison = tokens.takeOperator(COMPARISONS);
  if (comparison !== null) return binary(tokens, comparison, operand, readSum(tokens));
  if (tokens.takeWord('is')) {
    const negated = tokens.takeWord('not');
    tokens.needWord('null');
    return tokens.grown({ kind: 'is null', operand, negated, at }, [operand]);
  }
  const negated = tokens.takeWord('not');
  if (tokens.takeWord('like')) {
    const pattern = readSum(tokens);
    if (tokens.isWord('escape')) {
      throw new QueryProblem(tokens.at, 'ESCAPE is not in the language', 'a set holds a special character: [%], [_]');
    }
    return tokens.grown({ kind: 'like', operand, pattern, negated, at }, [operand, pattern]);
  }
  if (tokens.takeWord('between')) {
    const low = readSum(tokens);
    tokens.needWord('and');
    const high = readSum(tokens);
    return tokens.grown({ kind: 'between', operand, low, high, negated, at }, [operand, low, high]);
  }
  if (tokens.takeWord('in')) {
    tokens.needMark('(', 'after IN');
    refuseSelect(tokens);
    const list = tokens.nested(() => tokens.list(() => readExpression(tokens)));
    tokens.needMark(')', 'after the list of IN');
    const grown: Expression = { kind: 'in', operand, list, negated, at };
    return tokens.grown(grown, partsOf(grown));
  }
  throw tokens.unexpected('LIKE, BETWEEN or IN after NOT', ['like', 'between', 'in']);
}

function readSum(tokens: Tokens): Expression {
  let left = readProduct(tokens);
  for (;;) {
    const operator = tokens.takeOperator(SUMS);
    if (operator === null) return left;
    left = binary(tokens, operator, left, readProduct(tokens));
  }
}

function readProduct(tokens: Tokens): Expression {
  let left = readSigned(tokens);
  for (;;) {
    const operator = tokens.takeOperator(PRODUCTS);
    if (operator === null) return left;
    left = binary(tokens, operator, left, readSigned(tokens));
  }
}

const BIGINT_LIMIT = 2n ** 63n;

function readSigned(tokens: Tokens): Expression {
  const { at } = tokens;
  const operator = tokens.takeOperator(SIGNS);
  if (operator === null) return readPrimary(tokens);
  const token = tokens.peek();
  // A minus before a literal is part of it, so that a constant is one and -2^63 can be written.
  if (operator === '-' && token.kind === 'number') {
    tokens.next();
    return { kind: 'literal', value: negated(token.value), at };
  }
  const operand = tokens.nested(() => readSigned(tokens));
  return tokens.grown({ kind: 'unary', operator, operand, at }, [operand]);
}

function negated(value: number | bigint | Float): number | bigint | Float {
  if (value instanceof Float) return new Float(-value.value);
  return value === 0 ? 0 : -value;
}

function refuseSelect(tokens: Tokens): void {
  if (!tokens.isWord('select')) return;
  throw new QueryProblem(
    tokens.at,
    'a SELECT inside an expression is not in the language',
    'make it a step of WITH, and JOIN it',
  );
}

function readPrimary(tokens: Tokens): Expression {
  const token = tokens.peek();
  const { at } = token;
  switch (token.kind) {
    case 'number':
      tokens.next();
      if (token.value === BIGINT_LIMIT)
        throw new QueryProblem(at, 'this number is beyond 64 bits', 'write it with a point for a float');
      return { kind: 'literal', value: token.value, at };
    case 'text':
      tokens.next();
      return { kind: 'literal', value: token.text, at };
    case 'bracketed':
      tokens.next();
      return readPath(tokens, token.text, at);
    case 'quoted':
      throw new QueryProblem(
        at,
        `"${tokenText(token)}" may be a text or a name`,
        "write 'single quotes' around a text, [brackets] around a name",
      );
    case 'mark':
      if (token.text !== '(') throw tokens.unexpected('a value');
      tokens.next();
      refuseSelect(tokens);
      return tokens.nested(() => {
        const inner = readExpression(tokens);
        tokens.needMark(')', 'after the expression in brackets');
        return inner;
      });
    case 'end':
      throw tokens.unexpected('a value');
    case 'word':
      return readWord(tokens, token);
  }
}

function readWord(tokens: Tokens, token: ReturnType<Tokens['peek']> & { kind: 'word' }): Expression {
  const { at, lower } = token;
  const call = tokens.isMark('(', 1);
  switch (lower) {
    case 'null':
      tokens.next();
      return { kind: 'literal', value: null, at };
    case 'case':
      return readCase(tokens);
    case 'cast':
    case 'try_cast':
      if (call) return readCast(tokens, lower === 'try_cast');
      break;
    case 'system':
      tokens.next();
      return readSystem(tokens, at);
    case 'udf':
    case 'uda':
      throw new QueryProblem(
        at,
        'functions of your own are not supported here',
        `write [${token.text}] if that is a name`,
      );
    case 'true':
    case 'false':
      tokens.next();
      return { kind: 'literal', value: lower === 'true', at };
    case 'exists':
      if (call) throw new QueryProblem(at, 'EXISTS is not in the language', 'use a LEFT JOIN and IS NOT NULL');
      break;
    case 'current_timestamp':
      throw new QueryProblem(at, `${token.text} is not supported here`, refusedFunction(lower) ?? null);
    default:
  }
  if (call && (!isReserved(lower) || lower === 'left')) {
    tokens.next();
    const read = readCall(tokens, token, readExpression);
    if (!tokens.isMark('.') || tokens.isMark('*', 1)) return read;
    throw new QueryProblem(
      tokens.at,
      'a dot cannot follow a function',
      "use GetRecordPropertyValue(record, 'name'), or give it a name in a step of WITH",
    );
  }
  if (isReserved(lower)) {
    throw tokens.unexpected('a value', [], `write [${token.text}] if that is a name`);
  }
  tokens.next();
  return readPath(tokens, token.text, at);
}

/** A path of names, of which the first has been taken. */
function readPath(tokens: Tokens, first: string, at: Offset): Expression {
  const path = [first];
  while (tokens.isMark('.') && !tokens.isMark('*', 1)) {
    const dot = tokens.next();
    const token = tokens.peek();
    // Behind a dot every word is a name, unless it is one that goes on after a forgotten name.
    const goesOn = token.kind === 'word' && isReserved(token.lower) && token.at > dot.end;
    if (goesOn) throw tokens.unexpected('a name after the dot');
    if (token.kind !== 'word' && token.kind !== 'bracketed' && token.kind !== 'quoted') {
      throw tokens.unexpected('a name after the dot');
    }
    tokens.next();
    path.push(token.text);
  }
  if (tokens.isMark('(')) {
    throw new QueryProblem(
      at,
      'a function has no prefix and no brackets around its name',
      'write the name alone: LEN(x)',
    );
  }
  const behind = tokens.peek();
  if (behind.kind === 'bracketed' && /^\s*-?\d+\s*$/.test(behind.text)) {
    throw new QueryProblem(
      behind.at,
      'an element of an array is not reached by [..]',
      `use GetArrayElement(x, ${behind.text.trim()})`,
    );
  }
  return { kind: 'field', path, at };
}

function readCase(tokens: Tokens): Expression {
  const { at } = tokens;
  tokens.needWord('case');
  return tokens.nested(() => {
    const operand = tokens.isWord('when') ? null : readExpression(tokens);
    const branches: { when: Expression; then: Expression }[] = [];
    do {
      tokens.needWord('when');
      const when = readExpression(tokens);
      tokens.needWord('then');
      // oxlint-disable-next-line unicorn/no-thenable -- a branch is no promise and is awaited nowhere
      branches.push({ when, then: readExpression(tokens) });
    } while (tokens.isWord('when'));
    const otherwise = tokens.takeWord('else') ? readExpression(tokens) : null;
    if (!tokens.takeWord('end')) throw tokens.unexpected('WHEN, ELSE or END of this CASE', ['when', 'else', 'end']);
    const expression: Expression = { kind: 'case', operand, branches, otherwise, at };
    return tokens.grown(expression, partsOf(expression));
  });
}

function readCast(tokens: Tokens, safe: boolean): Expression {
  const { at } = tokens.next();
  tokens.next();
  return tokens.nested(() => {
    const operand = readExpression(tokens);
    tokens.needWord('as');
    const type = readType(tokens);
    tokens.needMark(')', 'after the type');
    return tokens.grown({ kind: 'cast', operand, type, safe, at }, [operand]);
  });
}

/** The name of a type. */
export function readType(tokens: Tokens): TypeName {
  const token = tokens.peek();
  if (token.kind !== 'word') throw tokens.unexpected('a type');
  const { lower, at } = token;
  if (lower === 'nvarchar' && tokens.isMark('(', 1)) {
    tokens.next();
    tokens.next();
    if (!tokens.takeWord('max')) throw new QueryProblem(at, 'texts have no greatest length', 'write nvarchar(max)');
    tokens.needMark(')', 'after nvarchar(max');
    return 'nvarchar(max)';
  }
  const type = TYPES.get(lower);
  if (type === undefined) {
    const meant = typeInstead(lower) ?? nearest(lower, [...TYPES.keys(), 'nvarchar(max)']);
    const all = 'types are bigint, float, nvarchar(max), datetime, bit, record, array';
    throw new QueryProblem(at, `${tokenText(token)} is no type here`, meant === undefined ? all : `use ${meant}`);
  }
  tokens.next();
  return type;
}

/** One expression that is the whole text. Throws a {@link QueryProblem}. */
export function parseExpression(text: string): Expression {
  const tokens = new Tokens(text);
  const expression = readExpression(tokens);
  if (tokens.peek().kind !== 'end') throw tokens.unexpected('the end of the expression');
  return expression;
}
