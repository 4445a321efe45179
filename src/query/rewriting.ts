import type { Expression, Over } from './ast.ts';

/*
 * Expressions taken apart and put together again: so that what is worked out elsewhere (a group's key, an aggregate, an analytic
 * function) becomes a field of what the rest is worked out from, and that a source's key of PARTITION BY comes to where it has an effect.
 */

/** First name of a path that no query can write: what follows says what was put there. */
const MARK = '\u0000';

/** A field that stands for something else, by its number. */
export function placeholder(kind: string, number: number, at: number): Expression {
  return { kind: 'field', path: [MARK, kind, String(number)], at };
}

/** What a path stands for, when it is a {@link placeholder}. */
export function placeheld(path: readonly string[]): { readonly kind: string; readonly number: number } | null {
  return path[0] === MARK ? { kind: path[1]!, number: Number(path[2]) } : null;
}

/** The expression with each part that `replace` gives something for put in its place, outermost first. */
export function rewrite(expression: Expression, replace: (part: Expression) => Expression | null): Expression {
  const replaced = replace(expression);
  if (replaced !== null) return replaced;
  const go = (part: Expression): Expression => rewrite(part, replace);
  switch (expression.kind) {
    case 'literal':
    case 'field':
    case 'window id':
      return expression;
    case 'unary':
    case 'cast':
    case 'is null':
      return { ...expression, operand: go(expression.operand) };
    case 'binary':
      return { ...expression, left: go(expression.left), right: go(expression.right) };
    case 'like':
      return { ...expression, operand: go(expression.operand), pattern: go(expression.pattern) };
    case 'between':
      return { ...expression, operand: go(expression.operand), low: go(expression.low), high: go(expression.high) };
    case 'in':
      return { ...expression, operand: go(expression.operand), list: expression.list.map(go) };
    case 'case':
      return {
        ...expression,
        operand: expression.operand && go(expression.operand),
        // oxlint-disable-next-line unicorn/no-thenable -- a branch is no promise and is awaited nowhere
        branches: expression.branches.map(({ when, then }) => ({ when: go(when), then: go(then) })),
        otherwise: expression.otherwise && go(expression.otherwise),
      };
    case 'call':
      return {
        ...expression,
        args: expression.args.map(go),
        over: expression.over && rewriteOver(expression.over, go),
      };
  }
}

function rewriteOver(over: Over, go: (part: Expression) => Expression): Over {
  return {
    ...over,
    partitionBy: over.partitionBy.map(go),
    orderBy: over.orderBy.map((order) => ({ ...order, expression: go(order.expression) })),
    when: over.when && go(over.when),
  };
}
