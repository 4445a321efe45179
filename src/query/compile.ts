import type { Expression } from './ast.ts';
import { affirm, complement, negate } from './arithmetic.ts';
import { callOf, isScalar } from './call.ts';
import { cast, tryCast } from './cast.ts';
import { equal } from './compare.ts';
import { constantOperand, located, operandOf, type Evaluate, type Operand } from './operand.ts';
import {
  and,
  arithmetic,
  between,
  bitOf,
  comparison,
  inList,
  isComparison,
  likeOperator,
  negation,
  or,
  widened,
} from './operators.ts';
import { QueryProblem, type Offset } from './problem.ts';
import type { Value } from './value.ts';

/*
 * Expressions become closures over rows of whatever kind: a Scope says what names and functions mean there. Constants are worked out
 * when the query is loaded, and what is wrong with them is said then, with its place.
 */

export type { Evaluate } from './operand.ts';

/** What an expression can see. */
export interface Scope<R> {
  /** A path of names; throws QueryProblem when it leads nowhere by what is known (unknown alias). */
  field(path: readonly string[], at: Offset): Evaluate<R>;
  /** Functions that are not of single values: aggregates, System.Timestamp, System.Window().Id, analytic ones; null for all others. */
  call(expression: Expression & { readonly kind: 'call' | 'window id' }): Evaluate<R> | null;
}

/**
 * The expression, ready to be worked out. Throws QueryProblem: no such function, a wrong number of arguments, a constant of a wrong
 * type. What comes of it throws ValueError for a row that it has no value for.
 */
export function compile<R>(expression: Expression, scope: Scope<R>): Evaluate<R> {
  return operand(expression, scope).evaluate;
}

/** The expression as a condition: true only when it is true, and not when it is NULL. */
export function condition<R>(expression: Expression, scope: Scope<R>): (row: R) => boolean {
  return test(expression, scope);
}

/** Whether the expression has the same value for every row. */
export function isConstant(expression: Expression): boolean {
  if (expression.kind === 'field' || expression.kind === 'window id') return false;
  if (expression.kind === 'call' && !isScalar(expression.name)) return false;
  return partsOf(expression).every(isConstant);
}

function partsOf(expression: Expression): readonly Expression[] {
  switch (expression.kind) {
    case 'literal':
    case 'field':
    case 'window id':
      return [];
    case 'unary':
    case 'is null':
    case 'cast':
      return [expression.operand];
    case 'binary':
      return [expression.left, expression.right];
    case 'like':
      return [expression.operand, expression.pattern];
    case 'between':
      return [expression.operand, expression.low, expression.high];
    case 'in':
      return [expression.operand, ...expression.list];
    case 'case':
      return [
        ...(expression.operand === null ? [] : [expression.operand]),
        ...expression.branches.flatMap((branch) => [branch.when, branch.then]),
        ...(expression.otherwise === null ? [] : [expression.otherwise]),
      ];
    case 'call':
      return expression.args;
    default:
      return expression satisfies never;
  }
}

function operand<R>(expression: Expression, scope: Scope<R>): Operand<R> {
  const { at } = expression;
  switch (expression.kind) {
    case 'literal':
      return constantOperand(at, expression.value);
    case 'field':
      return { at, evaluate: scope.field(expression.path, at), constant: undefined };
    case 'unary':
      return unary(expression, scope);
    case 'binary':
      return binary(expression, scope);
    case 'like': {
      const parts = [operand(expression.operand, scope), operand(expression.pattern, scope)] as const;
      return operandOf(at, parts, perhapsNot(expression.negated, likeOperator(...parts)));
    }
    case 'between': {
      const parts = [
        operand(expression.operand, scope),
        operand(expression.low, scope),
        operand(expression.high, scope),
      ] as const;
      return operandOf(at, parts, perhapsNot(expression.negated, between(...parts)));
    }
    case 'in': {
      const value = operand(expression.operand, scope);
      const list = expression.list.map((member) => operand(member, scope));
      return operandOf(at, [value, ...list], perhapsNot(expression.negated, inList(value, list)));
    }
    case 'is null': {
      const value = operand(expression.operand, scope);
      const { evaluate } = value;
      const { negated } = expression;
      return operandOf(at, [value], (row) => (evaluate(row) === null) !== negated);
    }
    case 'case':
      return caseOf(expression, scope);
    case 'cast': {
      const value = operand(expression.operand, scope);
      const { evaluate } = value;
      const { type } = expression;
      const convert = expression.safe ? tryCast : cast;
      return operandOf(at, [value], (row) => convert(evaluate(row), type));
    }
    case 'call':
      return call(expression, scope);
    case 'window id': {
      const evaluate = scope.call(expression);
      if (evaluate === null) throw new QueryProblem(at, 'System.Window().Id cannot stand here');
      return { at, evaluate, constant: undefined };
    }
    default:
      return expression satisfies never;
  }
}

function perhapsNot<R>(negated: boolean, evaluate: Evaluate<R>): Evaluate<R> {
  return negated ? negation(evaluate) : evaluate;
}

function unary<R>(expression: Expression & { kind: 'unary' }, scope: Scope<R>): Operand<R> {
  const value = operand(expression.operand, scope);
  const { evaluate } = value;
  const { at } = expression;
  switch (expression.operator) {
    case '-':
      return operandOf(at, [value], (row) => negate(evaluate(row)));
    case '+':
      return operandOf(at, [value], (row) => affirm(evaluate(row)));
    case '~':
      return operandOf(at, [value], (row) => complement(evaluate(row)));
    case 'not':
      return operandOf(at, [value], negation(evaluate));
    default:
      return expression.operator satisfies never;
  }
}

function binary<R>(expression: Expression & { kind: 'binary' }, scope: Scope<R>): Operand<R> {
  const { at, operator } = expression;
  const left = operand(expression.left, scope);
  const right = operand(expression.right, scope);
  const parts = [left, right];
  if (operator === 'and' || operator === 'or') {
    for (const { constant, at: place } of parts) if (constant !== undefined) located(place, () => bitOf(constant));
    return operandOf(at, parts, (operator === 'and' ? and : or)(left.evaluate, right.evaluate));
  }
  return operandOf(
    at,
    parts,
    isComparison(operator) ? comparison(operator, left, right) : arithmetic(operator, left, right),
  );
}

function caseOf<R>(expression: Expression & { kind: 'case' }, scope: Scope<R>): Operand<R> {
  const { at } = expression;
  const subject = expression.operand === null ? null : operand(expression.operand, scope);
  const whens = expression.branches.map((branch) => operand(branch.when, scope));
  const thens = expression.branches.map((branch) => operand(branch.then, scope));
  const otherwise = expression.otherwise === null ? constantOperand<R>(at, null) : operand(expression.otherwise, scope);

  const applies: ((row: R, value: Value) => boolean)[] =
    subject === null
      ? expression.branches.map((branch, index) => holds(branch.when, whens[index]!))
      : whens.map(
          ({ evaluate }) =>
            (row, value) =>
              equal(value, evaluate(row)) === true,
        );
  const evaluate: Evaluate<R> = (row) => {
    const value = subject === null ? null : subject.evaluate(row);
    for (let index = 0; index < applies.length; index++) {
      if (applies[index]!(row, value)) return thens[index]!.evaluate(row);
    }
    return otherwise.evaluate(row);
  };
  const results = [...thens, otherwise];
  return operandOf(at, [...(subject === null ? [] : [subject]), ...whens, ...results], widened(results, evaluate));
}

function call<R>(expression: Expression & { kind: 'call' }, scope: Scope<R>): Operand<R> {
  const { at } = expression;
  const given = scope.call(expression);
  if (given !== null) return { at, evaluate: given, constant: undefined };
  // First of all its name: its arguments may be such as only it can have.
  if (!isScalar(expression.name)) return { at, evaluate: callOf(expression, []), constant: undefined };
  const args = expression.args.map((argument) => operand(argument, scope));
  return operandOf(at, args, callOf(expression, args));
}

/** Kinds of expressions that have a bit or NULL, whatever their parts. */
function isCondition(expression: Expression): boolean {
  switch (expression.kind) {
    case 'like':
    case 'between':
    case 'in':
    case 'is null':
      return true;
    case 'unary':
      return expression.operator === 'not';
    case 'binary':
      return expression.operator === 'and' || expression.operator === 'or' || isComparison(expression.operator);
    default:
      return false;
  }
}

function test<R>(expression: Expression, scope: Scope<R>): (row: R) => boolean {
  if (expression.kind === 'binary' && (expression.operator === 'and' || expression.operator === 'or')) {
    const left = test(expression.left, scope);
    const right = test(expression.right, scope);
    return expression.operator === 'and' ? (row) => left(row) && right(row) : (row) => left(row) || right(row);
  }
  return holds(expression, operand(expression, scope));
}

function holds<R>(expression: Expression, { at, evaluate, constant }: Operand<R>): (row: R) => boolean {
  if (isCondition(expression)) return (row) => evaluate(row) === true;
  if (constant !== undefined) located(at, () => bitOf(constant));
  return (row) => bitOf(evaluate(row)) === true;
}
