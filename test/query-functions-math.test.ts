import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shown, valueOf } from './parts/expression.ts';

/** What it shows, the expression, and its value as JSON: 3.0 is a float, 3 a bigint. */
const rows: readonly (readonly [string, string, string])[] = [
  ['ABS of a bigint is a bigint', 'ABS(-7)', '7'],
  ['ABS of a float is a float', 'ABS(-7.5)', '7.5'],
  ['ABS of a whole float stays a float', 'ABS(-7.0)', '7.0'],
  ['ABS of a bigint beyond a double is exact', 'ABS(-9007199254740993)', '9007199254740993'],
  ['CEILING goes up', 'CEILING(2.1)', '3.0'],
  ['CEILING of a negative goes toward zero', 'CEILING(-2.1)', '-2.0'],
  ['CEILING leaves a bigint', 'CEILING(5)', '5'],
  ['FLOOR goes down', 'FLOOR(2.9)', '2.0'],
  ['FLOOR of a negative goes away from zero', 'FLOOR(-2.1)', '-3.0'],
  ['SIGN of a negative bigint', 'SIGN(-12)', '-1'],
  ['SIGN of zero', 'SIGN(0)', '0'],
  ['SIGN of a float is a float', 'SIGN(0.5)', '1.0'],
  ['EXP of 0 is 1, a float', 'EXP(0)', '1.0'],
  ['EXP of 1 is e', 'EXP(1)', '2.718281828459045'],
  ['SQRT of a bigint is a float', 'SQRT(16)', '4.0'],
  ['SQUARE of a bigint is a float', 'SQUARE(5)', '25.0'],
  ['SQUARE of a float', 'SQUARE(1.5)', '2.25'],
  ['POWER of a bigint is a bigint', 'POWER(2, 10)', '1024'],
  ['POWER of a bigint is exact beyond a double', 'POWER(3, 39)', '4052555153018976267'],
  ['POWER of a bigint to a negative is the whole part of a fraction', 'POWER(2, -1)', '0'],
  ['POWER of 1 to anything is 1', 'POWER(1, 1000000000000)', '1'],
  ['POWER of -1 to an odd number', 'POWER(-1, 1000000000001)', '-1'],
  ['POWER of a bigint to a fraction is cut off', 'POWER(2, 0.5)', '1'],
  ['POWER of a float', 'POWER(2.0, -1)', '0.5'],
  ['POWER of a float to a fraction', 'POWER(2.25, 0.5)', '1.5'],
  ['ROUND, a half goes away from zero', 'ROUND(2.5, 0)', '3.0'],
  ['ROUND, a negative half goes away from zero', 'ROUND(-2.5, 0)', '-3.0'],
  ['ROUND left of the point, from the reference', 'ROUND(748.58, -2)', '700.0'],
  ['ROUND to more than the number has', 'ROUND(748.58, -4)', '0.0'],
  ['ROUND by the digits that are written, not by the double behind them', 'ROUND(1.005, 2)', '1.01'],
  ['ROUND of a small number with an exponent', 'ROUND(0.00000016, 7)', '2e-7'],
  ['ROUND to more places than there are', 'ROUND(1.25, 20)', '1.25'],
  ['ROUND leaves a bigint', 'ROUND(748, 2)', '748'],
  ['ROUND of a bigint left of its end', 'ROUND(750, -2)', '800'],
  ['ROUND of a negative bigint', 'ROUND(-748, -1)', '-750'],
  ['ROUND of a bigint beyond a double', 'ROUND(9007199254740995, -1)', '9007199254741000'],
  ['ROUND to a length that is float cuts it off', 'ROUND(1.26, 1.9)', '1.3'],
];

for (const [shows, expression, expected] of rows) test(shows, () => assert.equal(shown(expression), expected));

test('NULL for any argument gives NULL', () => {
  for (const name of ['ABS', 'CEILING', 'FLOOR', 'SIGN', 'EXP', 'SQRT', 'SQUARE']) {
    assert.equal(valueOf(`${name}(x)`), null, name);
  }
  for (const call of ['POWER(x, 2)', 'POWER(2, x)', 'ROUND(x, 1)', 'ROUND(1.5, x)'])
    assert.equal(valueOf(call), null, call);
});

test('what has no result drops the event', () => {
  const refused: [string, RegExp][] = [
    ['SQRT(x)', /SQRT of a negative number/],
    ['POWER(x, 0.5)', /negative number needs a whole exponent/],
    ['POWER(x + 1, -1)', /division by zero/],
    ['POWER(x - 9, 64)', /beyond bigint/],
    ['EXP(x * -1000)', /beyond float/],
    ['ROUND(9223372036854775807 + x + 1, -1)', /beyond bigint/],
    ['ABS(y)', /argument 1 of ABS\(x\) is nvarchar\(max\), and must be bigint or float/],
    ['ROUND(1.5, y)', /argument 2 of ROUND\(x, length\) is nvarchar/],
  ];
  for (const [expression, message] of refused) {
    assert.throws(() => valueOf(expression, { x: -1, y: '12' }), { name: 'ValueError', message }, expression);
  }
});

test('the smallest bigint has no positive counterpart', () => {
  const row = { least: -(2n ** 63n) };
  assert.throws(() => valueOf('ABS(least)', row), /beyond bigint/);
  assert.throws(() => valueOf('-least', row), /beyond bigint/);
  assert.equal(shown('ABS(least + 1)', row), '9223372036854775807');
});
