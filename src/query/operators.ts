import type { BinaryOperator } from './ast.ts';
import { add, bitwise, divide, modulo, multiply, subtract, type Arithmetic } from './arithmetic.ts';
import { compare, equal } from './compare.ts';
import { like } from './like.ts';
import { located, type Evaluate, type Operand } from './operand.ts';
import { QueryProblem } from './problem.ts';
import { Float, typeName, ValueError, type Value } from './value.ts';

/*
 * Operators over parts that are ready. Constants are looked at once, here: most conditions compare a field with one. Logic is
 * three-valued: NULL stands for "unknown".
 */

export type Comparison = '=' | '<>' | '<' | '<=' | '>' | '>=';

/** By what {@link compare} gave. */
const TESTS: Record<Comparison, (order: number) => boolean> = {
  '=': (order) => order === 0,
  '<>': (order) => order !== 0,
  '<': (order) => order < 0,
  '<=': (order) => order <= 0,
  '>': (order) => order > 0,
  '>=': (order) => order >= 0,
};
/** The comparison with its sides changed. */
const TURNED: Record<Comparison, Comparison> = { '=': '=', '<>': '<>', '<': '>', '<=': '>=', '>': '<', '>=': '<=' };

export function isComparison(operator: BinaryOperator): operator is Comparison {
  return Object.hasOwn(TESTS, operator);
}

export function comparison<R>(operator: Comparison, left: Operand<R>, right: Operand<R>): Evaluate<R> {
  if (typeof right.constant === 'number') return withNumber(operator, left.evaluate, right.constant);
  if (typeof left.constant === 'number') return withNumber(TURNED[operator], right.evaluate, left.constant);
  if (typeof right.constant === 'string') return withText(operator, left.evaluate, right.constant);
  if (typeof left.constant === 'string') return withText(TURNED[operator], right.evaluate, left.constant);
  const test = TESTS[operator];
  const { evaluate: first } = left;
  const { evaluate: second } = right;
  return (row) => {
    const a = first(row);
    const b = second(row);
    return a === null || b === null ? null : test(compare(a, b));
  };
}

/** Each operator by itself: a number is compared in place. */
function withNumber<R>(operator: Comparison, read: Evaluate<R>, constant: number): Evaluate<R> {
  const test = TESTS[operator];
  const other = (value: Value): Value => (value === null ? null : test(compare(value, constant)));
  const cases: Record<Comparison, Evaluate<R>> = {
    '=': (row) => {
      const value = read(row);
      return typeof value === 'number' ? value === constant : other(value);
    },
    '<>': (row) => {
      const value = read(row);
      return typeof value === 'number' ? value !== constant : other(value);
    },
    '<': (row) => {
      const value = read(row);
      return typeof value === 'number' ? value < constant : other(value);
    },
    '<=': (row) => {
      const value = read(row);
      return typeof value === 'number' ? value <= constant : other(value);
    },
    '>': (row) => {
      const value = read(row);
      return typeof value === 'number' ? value > constant : other(value);
    },
    '>=': (row) => {
      const value = read(row);
      return typeof value === 'number' ? value >= constant : other(value);
    },
  };
  return cases[operator];
}

function withText<R>(operator: Comparison, read: Evaluate<R>, constant: string): Evaluate<R> {
  const test = TESTS[operator];
  const other = (value: Value): Value => (value === null ? null : test(compare(value, constant)));
  if (operator === '=') {
    return (row) => {
      const value = read(row);
      return typeof value === 'string' ? value === constant : other(value);
    };
  }
  return (row) => other(read(row));
}

const ARITHMETIC: Partial<Record<BinaryOperator, Arithmetic>> = {
  '+': add,
  '-': subtract,
  '*': multiply,
  '/': divide,
  '%': modulo,
  '&': (a, b) => bitwise('&', a, b),
  '|': (a, b) => bitwise('|', a, b),
  '^': (a, b) => bitwise('^', a, b),
};

/** `+ - * / % & | ^`. A constant that no value of the other side could go with is refused. */
export function arithmetic<R>(operator: BinaryOperator, left: Operand<R>, right: Operand<R>): Evaluate<R> {
  const calculate = ARITHMETIC[operator]!;
  if (left.constant !== undefined) {
    const { constant } = left;
    located(left.at, () => calculate(constant, neutral(constant, '*/%'.includes(operator) ? 1 : 0)));
  }
  if (right.constant !== undefined) {
    const { constant } = right;
    located(right.at, () => calculate(neutral(constant, 0), constant));
  }
  const { evaluate: first } = left;
  const { evaluate: second } = right;
  return (row) => calculate(first(row), second(row));
}

/** A value that goes with the constant if anything does: what is to be found is a wrong type, or a division by zero. */
function neutral(constant: Value, number: number): Value {
  return typeof constant === 'string' || typeof constant === 'boolean' ? constant : number;
}

/** A condition's value; throws when it is none. */
export function bitOf(value: Value): boolean | null {
  if (value === null || typeof value === 'boolean') return value;
  throw new ValueError(`a condition is needed, and this is ${typeName(value)}`);
}

export function and<R>(left: Evaluate<R>, right: Evaluate<R>): Evaluate<R> {
  return (row) => {
    const a = bitOf(left(row));
    if (a === false) return false;
    const b = bitOf(right(row));
    return a === null && b !== false ? null : b;
  };
}

export function or<R>(left: Evaluate<R>, right: Evaluate<R>): Evaluate<R> {
  return (row) => {
    const a = bitOf(left(row));
    if (a === true) return true;
    const b = bitOf(right(row));
    return a === null && b !== true ? null : b;
  };
}

export function negation<R>(operand: Evaluate<R>): Evaluate<R> {
  return (row) => {
    const value = bitOf(operand(row));
    return value === null ? null : !value;
  };
}

export function between<R>(operand: Operand<R>, low: Operand<R>, high: Operand<R>): Evaluate<R> {
  return (row) => {
    const value = operand.evaluate(row);
    const from = low.evaluate(row);
    const to = high.evaluate(row);
    if (value === null) return null;
    const above = from === null ? null : compare(value, from) >= 0;
    if (above === false) return false;
    const below = to === null ? null : compare(value, to) <= 0;
    return above === null && below !== false ? null : below;
  };
}

export function inList<R>(operand: Operand<R>, list: readonly Operand<R>[]): Evaluate<R> {
  const { evaluate } = operand;
  const members = list.map((member) => member.evaluate);
  const search: Evaluate<R> = (row) => among(evaluate(row), members, row);
  const constants = list.map((member) => member.constant);
  if (!constants.every((constant) => typeof constant === 'string' || typeof constant === 'number')) return search;
  const known = new Set<Value>(constants);
  const type = typeof constants[0];
  if (!constants.every((constant) => typeof constant === type)) return search;
  return (row) => {
    const value = evaluate(row);
    return typeof value === type ? known.has(value) : among(value, members, row);
  };
}

function among<R>(value: Value, members: readonly Evaluate<R>[], row: R): boolean | null {
  if (value === null) return null;
  let result: boolean | null = false;
  for (const member of members) {
    const same = equal(value, member(row));
    if (same === true) return true;
    if (same === null) result = null;
  }
  return result;
}

export function likeOperator<R>(operand: Operand<R>, patternOperand: Operand<R>): Evaluate<R> {
  const { evaluate } = operand;
  const { constant, at } = patternOperand;
  if (constant === null) return () => null;
  if (constant !== undefined) {
    if (typeof constant !== 'string')
      throw new QueryProblem(at, `a pattern of LIKE is text, and this is ${typeName(constant)}`);
    const ready = located(at, () => like(constant));
    return (row) => {
      const value = evaluate(row);
      return value === null ? null : ready.matches(textOperand(value));
    };
  }
  return (row) => {
    const value = evaluate(row);
    const source = patternOperand.evaluate(row);
    return value === null || source === null ? null : like(textOperand(source)).matches(textOperand(value));
  };
}

function textOperand(value: Value): string {
  if (typeof value === 'string') return value;
  throw new ValueError(`LIKE takes nvarchar(max), and this is ${typeName(value)}`);
}

/** The results of CASE and COALESCE have one type: where one of them is known to be float, a bigint becomes one. */
export function widened<R>(results: readonly Operand<R>[], evaluate: Evaluate<R>): Evaluate<R> {
  if (!results.some(({ constant }) => constant !== undefined && typeName(constant) === 'float')) return evaluate;
  return (row) => {
    const value = evaluate(row);
    if (typeof value === 'bigint') return new Float(Number(value));
    return typeof value === 'number' && Number.isInteger(value) ? new Float(value) : value;
  };
}
