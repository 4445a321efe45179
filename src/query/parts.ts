import type { Expression } from './ast.ts';

/** The expressions that an expression is made of, in the order of the text. */
export function partsOf(expression: Expression): readonly Expression[] {
  switch (expression.kind) {
    case 'literal':
    case 'field':
    case 'window id':
      return [];
    case 'unary':
    case 'cast':
    case 'is null':
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
        expression.operand,
        ...expression.branches.flatMap(({ when, then }) => [when, then]),
        expression.otherwise,
      ].filter((part) => part !== null);
    case 'call': {
      const { args, over } = expression;
      if (over === null) return args;
      const keys = [...over.partitionBy, ...over.orderBy.map((order) => order.expression)];
      return [...args, ...keys, ...(over.when === null ? [] : [over.when])];
    }
  }
}

/** `found` for the expression and for all that is in it, from the outside in; what `found` says true to is not entered. */
export function visit(expression: Expression, found: (part: Expression) => boolean | void): void {
  if (found(expression) === true) return;
  for (const part of partsOf(expression)) visit(part, found);
}
