import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Expression, Over } from '../src/query/ast.ts';
import { queriesOf } from '../src/query/inputs.ts';
import { parseExpression } from '../src/query/parser-expressions.ts';
import { parseScript } from '../src/query/parser.ts';
import { partsOf } from '../src/query/parts.ts';
import { printExpression } from '../src/query/printer.ts';
import { Float } from '../src/query/value.ts';
import { VALID } from './fixtures/valid-queries.ts';
import { fc } from './parts/properties.ts';
import { withoutPlaces } from './parts/query-parts.ts';

/** Any expression that a text can say. */
const expression = fc.letrec<{ any: Expression; over: Over | null }>((tie) => {
  const any = tie('any');
  const at = fc.constant(0);
  const name = fc.oneof(
    fc.constantFrom(
      'a',
      'b_1',
      'Größe',
      'from',
      'END',
      'true',
      'system',
      'timestamp',
      'a b',
      ']',
      "'",
      'x.y',
      '1',
      'all',
      'limit',
      '\n',
      '__proto__',
    ),
    fc.string({ minLength: 1, maxLength: 5 }),
  );
  const field = fc.record({
    kind: fc.constant('field' as const),
    path: fc.array(name, { minLength: 1, maxLength: 3 }),
    at,
  });
  const literal = fc.record({
    kind: fc.constant('literal' as const),
    value: fc.oneof(
      fc.constant(null),
      fc.string({ maxLength: 8 }),
      fc.maxSafeInteger().map((n) => n + 0),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => (Number.isInteger(n) ? new Float(n) : n)),
      fc
        .bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
        .map((n) => (BigInt(Number(n)) === n && Number.isSafeInteger(Number(n)) ? Number(n) : n)),
    ),
    at,
  });
  const operator = fc.constantFrom(
    '+',
    '-',
    '*',
    '/',
    '%',
    '&',
    '|',
    '^',
    '=',
    '<>',
    '<',
    '<=',
    '>',
    '>=',
    'and',
    'or',
  );
  const many = (minLength: number): fc.Arbitrary<Expression[]> => fc.array(any, { minLength, maxLength: 3 });
  const duration = fc.record({ micros: fc.integer({ min: 1, max: 1e9 }), at });
  const over = fc.record({
    partitionBy: many(0),
    orderBy: fc.array(fc.record({ expression: any, descending: fc.boolean() }), { maxLength: 2 }),
    limit: fc.option(duration),
    when: fc.option(any),
    at,
  });
  const call = (
    names: fc.Arbitrary<string>,
    rest: Partial<Record<'args' | 'star' | 'distinct', fc.Arbitrary<unknown>>>,
  ): fc.Arbitrary<Expression> =>
    fc.record({
      kind: fc.constant('call' as const),
      name: names,
      args: many(1),
      star: fc.constant(false),
      distinct: fc.constant(false),
      over: fc.option(tie('over') as fc.Arbitrary<Over>),
      at,
      ...rest,
    }) as fc.Arbitrary<Expression>;
  const unit = fc.constantFrom('second', 'day').map((value): Expression => ({ kind: 'literal', value, at: 0 }));
  const branch = fc.tuple(any, any).map(([when, result]) =>
    // oxlint-disable-next-line unicorn/no-thenable -- as in the tree that is made
    ({ when, then: result }),
  );
  const negated = fc.boolean();
  return {
    over,
    any: fc.oneof(
      { maxDepth: 4, depthSize: 'small', withCrossShrink: true },
      field,
      literal,
      fc.record({
        kind: fc.constant('unary' as const),
        operator: fc.constantFrom('-', '+', '~', 'not'),
        operand: any,
        at,
      }),
      fc.record({ kind: fc.constant('binary' as const), operator, left: any, right: any, at }),
      fc.record({ kind: fc.constant('like' as const), operand: any, pattern: any, negated, at }),
      fc.record({ kind: fc.constant('between' as const), operand: any, low: any, high: any, negated, at }),
      fc.record({ kind: fc.constant('in' as const), operand: any, list: many(1), negated, at }),
      fc.record({ kind: fc.constant('is null' as const), operand: any, negated, at }),
      fc.record({
        kind: fc.constant('case' as const),
        operand: fc.option(any),
        branches: fc.array(branch, { minLength: 1, maxLength: 2 }),
        otherwise: fc.option(any),
        at,
      }),
      fc.record({
        kind: fc.constant('cast' as const),
        operand: any,
        type: fc.constantFrom('bigint', 'nvarchar(max)', 'datetime'),
        safe: fc.boolean(),
        at,
      }),
      call(fc.constantFrom('len', 'left', 'right', 'concat', 'sum', 'count', 'lag', 'replace', 'some_thing'), {}),
      call(fc.constantFrom('lag', 'count', 'last'), { star: fc.constant(true), args: many(0) }),
      call(fc.constant('count'), { distinct: fc.constant(true) }),
      call(fc.constantFrom('collect', 'topone'), { args: fc.constant([]) }),
      call(fc.constantFrom('dateadd', 'datediff', 'datepart'), {
        args: fc.tuple(unit, many(0)).map(([part, more]) => [part, ...more]),
      }),
      fc.constant({ kind: 'window id' as const, at: 0 }),
      fc.constant({
        kind: 'call' as const,
        name: 'system.timestamp',
        args: [],
        star: false,
        distinct: false,
        over: null,
        at: 0,
      }),
    ),
  };
}).any;

test('an expression that is printed and read again is the same', () => {
  fc.assert(
    fc.property(expression, (one) => {
      const text = printExpression(one);
      assert.deepEqual(withoutPlaces(parseExpression(text)), withoutPlaces(one), text);
    }),
    { seed: 4_190_008, numRuns: 5000 },
  );
});
test('a text that was printed is printed alike again', () => {
  for (const text of [
    'a + b * -c',
    "NOT (a = 1 OR b LIKE 'x''%')",
    'LAG(*, 2) OVER (PARTITION BY [a b] LIMIT DURATION(second, 90) WHEN x > 1.0)',
    '-(-a)',
    '-(5)',
  ]) {
    assert.equal(printExpression(parseExpression(text)), text);
  }
});
test('every expression of the valid queries has parts that begin inside it', () => {
  for (const query of VALID.flatMap((text) => queriesOf(parseScript(text)))) {
    for (const item of query.selects.flatMap(({ items }) => items)) {
      if (item.kind !== 'value') continue;
      const walk = (part: Expression): void => {
        for (const inner of partsOf(part)) {
          assert.ok(inner.at >= part.at);
          walk(inner);
        }
      };
      walk(item.expression);
    }
  }
});
