import type { Expression, Over } from './ast.ts';
import { valueText } from './lexer.ts';
import { DURATION_UNITS } from './units.ts';
import { nameText } from './words.ts';

/** How tight each operator binds; what binds less tightly than its place asks for stands in brackets. */
const OR = 1;
const AND = 2;
const NOT = 3;
const PREDICATE = 4;
const SUM = 5;
const PRODUCT = 6;
const SIGN = 7;
const PRIMARY = 8;

const BINARY: Readonly<Record<string, number>> = {
  or: OR,
  and: AND,
  ...Object.fromEntries(['=', '<>', '<', '<=', '>', '>='].map((operator) => [operator, PREDICATE])),
  ...Object.fromEntries(['+', '-', '&', '^', '|'].map((operator) => [operator, SUM])),
  ...Object.fromEntries(['*', '/', '%'].map((operator) => [operator, PRODUCT])),
};

/** Functions whose first argument is a unit and no text. */
const WITH_UNIT: ReadonlySet<string> = new Set(['dateadd', 'datediff', 'datepart', 'datename', 'isfirst']);

/**
 * An expression as it could stand in a query: keywords and functions in capitals, no more brackets than are needed. Parsed again
 * it is the same.
 */
export function printExpression(expression: Expression): string {
  return print(expression, 0);
}

function print(expression: Expression, least: number): string {
  const [text, level] = printed(expression);
  return level < least ? `(${text})` : text;
}

function list(expressions: readonly Expression[]): string {
  return expressions.map(printExpression).join(', ');
}

function printed(expression: Expression): readonly [text: string, level: number] {
  switch (expression.kind) {
    case 'literal': {
      const text = valueText(expression.value);
      return [text, text.startsWith('-') ? SIGN : PRIMARY];
    }
    case 'field':
      return [expression.path.map(nameText).join('.'), PRIMARY];
    case 'unary': {
      if (expression.operator === 'not') return [`NOT ${print(expression.operand, NOT)}`, NOT];
      const operand = print(expression.operand, SIGN);
      // A minus before a digit would become part of the number, two of them a comment.
      const apart = expression.operator === '-' && /^[-\d.]/.test(operand);
      return [`${expression.operator}${apart ? `(${operand})` : operand}`, SIGN];
    }
    case 'binary': {
      const { operator, left, right } = expression;
      const level = BINARY[operator]!;
      const leftLevel = level === PREDICATE ? SUM : level;
      return [`${print(left, leftLevel)} ${operator.toUpperCase()} ${print(right, level + 1)}`, level];
    }
    case 'like':
      return [`${subject(expression)} LIKE ${print(expression.pattern, SUM)}`, PREDICATE];
    case 'between':
      return [
        `${subject(expression)} BETWEEN ${print(expression.low, SUM)} AND ${print(expression.high, SUM)}`,
        PREDICATE,
      ];
    case 'in':
      return [`${subject(expression)} IN (${list(expression.list)})`, PREDICATE];
    case 'is null':
      return [`${print(expression.operand, SUM)} IS ${expression.negated ? 'NOT ' : ''}NULL`, PREDICATE];
    case 'case': {
      const { operand, branches, otherwise } = expression;
      const whens = branches.map(({ when, then }) => ` WHEN ${printExpression(when)} THEN ${printExpression(then)}`);
      const first = operand === null ? '' : ` ${printExpression(operand)}`;
      const last = otherwise === null ? '' : ` ELSE ${printExpression(otherwise)}`;
      return [`CASE${first}${whens.join('')}${last} END`, PRIMARY];
    }
    case 'cast':
      return [
        `${expression.safe ? 'TRY_CAST' : 'CAST'}(${printExpression(expression.operand)} AS ${expression.type})`,
        PRIMARY,
      ];
    case 'call':
      return [call(expression), PRIMARY];
    case 'window id':
      return ['System.Window().Id', PRIMARY];
  }
}

function subject(expression: { readonly operand: Expression; readonly negated: boolean }): string {
  return `${print(expression.operand, SUM)}${expression.negated ? ' NOT' : ''}`;
}

function call(expression: Expression & { kind: 'call' }): string {
  const { name, args, star, distinct, over } = expression;
  if (name === 'system.timestamp') return 'System.Timestamp()';
  const texts = args.map((argument, index) =>
    index === 0 && WITH_UNIT.has(name) && argument.kind === 'literal' && typeof argument.value === 'string'
      ? argument.value
      : printExpression(argument),
  );
  if (star) texts.unshift('*');
  return `${name.toUpperCase()}(${distinct ? 'DISTINCT ' : ''}${texts.join(', ')})${over === null ? '' : ` OVER (${overText(over)})`}`;
}

function overText(over: Over): string {
  const clauses: string[] = [];
  if (over.partitionBy.length > 0) clauses.push(`PARTITION BY ${list(over.partitionBy)}`);
  if (over.orderBy.length > 0) {
    const keys = over.orderBy.map(
      ({ expression, descending }) => printExpression(expression) + (descending ? ' DESC' : ''),
    );
    clauses.push(`ORDER BY ${keys.join(', ')}`);
  }
  if (over.limit !== null) clauses.push(`LIMIT DURATION(${durationText(over.limit.micros)})`);
  if (over.when !== null) clauses.push(`WHEN ${printExpression(over.when)}`);
  return clauses.join(' ');
}

/** A length of time (in whole microseconds) as a query writes it: `second, 10`, in the largest unit that divides it. */
export function durationText(micros: number): string {
  const [unit, length] = DURATION_UNITS.find(([, each]) => micros % each === 0)!;
  return `${unit}, ${micros / length}`;
}
