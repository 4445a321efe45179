import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { AGGREGATES } from '../src/query/aggregates.ts';
import { parseText } from '../src/query/body-json.ts';
import { compile, condition, isConstant, type Scope } from '../src/query/compile.ts';
import { SCALARS } from '../src/query/functions/scalars.ts';
import { parseExpression } from '../src/query/parser-expressions.ts';
import { QueryProblem, placeOf } from '../src/query/problem.ts';
import type { Fields } from '../src/query/value.ts';
import { fieldsOnly, holds, shown, valueOf } from './parts/expression.ts';

const row = parseText(`{
  "one": 1, "two": 2, "half": 0.5, "whole": 2.0, "text": "abc", "yes": true, "no": false, "nil": null, "zero": 0,
  "least": -9223372036854775808, "most": 9223372036854775807, "list": [1], "rec": {"a": {"b": 31}},
  "at": "2031-05-06T07:08:09Z"
}`) as Fields;

/** What it shows, the expression, and its value as JSON. */
const rows: readonly (readonly [string, string, string])[] = [
  ['bigint and bigint is bigint', 'one + two', '3'],
  ['bigint and float is float', 'one + half', '1.5'],
  ['a whole result of floats is float', 'half + half', '1.0'],
  ['a whole float stays one', 'whole * two', '4.0'],
  ['subtraction', 'one - two', '-1'],
  ['the product of zero and a negative is no -0', 'zero * -5', '0'],
  ['bigint division goes toward zero', '7 / two', '3'],
  ['bigint division of a negative goes toward zero', '-7 / two', '-3'],
  ['division with a whole float is float', '7 / whole', '3.5'],
  ['20.0 / 8 is 2.5', '20.0 / 8', '2.5'],
  ['20 / 8 is 2', '20 / 8', '2'],
  ['the remainder has the sign of the first', '-7 % two', '-1'],
  ['the remainder of floats', '5.5 % two', '1.5'],
  ['beyond a double bigint is exact', 'most - one', '9223372036854775806'],
  ['a sum beyond 2^53 is exact', '9007199254740991 + 2', '9007199254740993'],
  ['a product beyond 2^53 is exact', '3037000499 * 3037000499', '9223372030926249001'],
  ['a difference comes back below 2^53', '9007199254740993 - 9007199254740990', '3'],
  ['+ joins texts', "text + '-' + text", '"abc-abc"'],
  ['a text of the most characters', "LEN(REPLICATE(text, 349525) + 'a')", '1048576'],
  ['NULL in arithmetic is NULL', 'one + nil', 'null'],
  ['a missing field in arithmetic is NULL', 'nosuch * 2', 'null'],
  ['NULL by zero is NULL', 'nil / zero', 'null'],
  ['minus', '-two', '-2'],
  ['minus of a float', '-whole', '-2.0'],
  ['minus of NULL', '-nil', 'null'],
  ['plus', '+two', '2'],
  ['not a bit more: ~5 is -6, from the reference', '~5', '-6'],
  ['bitwise and, or, xor', '(12 & 10) * 10000 + (12 | 10) * 100 + (12 ^ 10)', '81406'],
  ['bitwise beyond 32 bits', '4294967296 | 1', '4294967297'],
  ['bitwise of a negative', '-1 & 255', '255'],
  ['bits make a bit', 'yes & no', 'false'],
  ['xor of bits', 'yes ^ no', 'true'],
  ['the other bit', '~yes', 'false'],
  ['a bit with a bigint makes a bigint', 'yes | 2', '3'],
  ['bitwise with NULL is NULL', 'one & nil', 'null'],
  ['a nested field', 'rec.a.b', '31'],
  ['a field of what is no record is NULL', 'one.a', 'null'],
  ['comparison with NULL is NULL', 'one = nil', 'null'],
  ['NOT NULL is NULL', 'NOT (nil = 1)', 'null'],
  ['NULL AND false is false', 'nil = 1 AND one = 2', 'false'],
  ['false AND NULL is false', 'one = 2 AND nil = 1', 'false'],
  ['NULL AND true is NULL', 'nil = 1 AND one = 1', 'null'],
  ['true AND NULL is NULL', 'one = 1 AND nil = 1', 'null'],
  ['NULL OR true is true', 'nil = 1 OR one = 1', 'true'],
  ['true OR NULL is true', 'one = 1 OR nil = 1', 'true'],
  ['NULL OR false is NULL', 'nil = 1 OR one = 2', 'null'],
  ['false OR NULL is NULL', 'one = 2 OR nil = 1', 'null'],
  ['a bit is a condition', 'yes AND NOT no', 'true'],
  ['a bit compares with 1', 'yes = 1', 'true'],
  ['a bit compares with true and false', 'yes = TRUE AND no = false', 'true'],
  ['bigint equals float of the same value', 'two = whole', 'true'],
  ['text equality regards case', "text = 'ABC'", 'false'],
  ['ISO text with a datetime is compared as a moment', "CAST(at AS datetime) = '2031-05-06T09:08:09+02:00'", 'true'],
  ['ISO text with text is compared as text', "at = '2031-05-06T09:08:09+02:00'", 'false'],
  ['a constant on the left', '1 < two', 'true'],
  ['BETWEEN holds both ends', 'two BETWEEN 1 AND 2', 'true'],
  ['BETWEEN below', 'two BETWEEN 3 AND 4', 'false'],
  ['BETWEEN the wrong way round is false', 'two BETWEEN 3 AND 1', 'false'],
  ['BETWEEN with a NULL that does not matter', 'two BETWEEN nil AND 1', 'false'],
  ['BETWEEN with a NULL that does', 'two BETWEEN nil AND 3', 'null'],
  ['NOT BETWEEN', 'two NOT BETWEEN 3 AND 4', 'true'],
  ['BETWEEN of texts', "text BETWEEN 'aa' AND 'ac'", 'true'],
  ['IN', 'two IN (1, 2)', 'true'],
  ['IN a list of texts', "text IN ('x', 'abc')", 'true'],
  ['IN finds a whole float among bigints', 'whole IN (1, 2)', 'true'],
  ['IN is false when it is not among them', 'two IN (1, 3)', 'false'],
  ['IN with a NULL in the list that does not matter', 'two IN (nil, 2)', 'true'],
  ['IN with a NULL in the list that does', 'two IN (nil, 3)', 'null'],
  ['NULL IN anything is NULL', 'nil IN (1, 2)', 'null'],
  ['NOT IN', 'two NOT IN (1, 3)', 'true'],
  ['NOT IN with a NULL in the list is not true', 'two NOT IN (nil, 3)', 'null'],
  ['IN a list of fields', 'one IN (two, one)', 'true'],
  ['LIKE', "text LIKE 'a%'", 'true'],
  ['LIKE regards case', "text LIKE 'A%'", 'false'],
  ['NOT LIKE', "text NOT LIKE 'b%'", 'true'],
  ['LIKE of NULL is NULL', "nil LIKE 'a%'", 'null'],
  ['NOT LIKE of NULL is NULL', "nil NOT LIKE 'a%'", 'null'],
  ['LIKE a pattern from a field', 'text LIKE text', 'true'],
  ['LIKE a NULL pattern is NULL', 'text LIKE nil', 'null'],
  ['IS NULL of a NULL field', 'nil IS NULL', 'true'],
  ['IS NULL of a missing field', 'nosuch IS NULL', 'true'],
  ['IS NOT NULL', 'one IS NOT NULL', 'true'],
  [
    'CASE, searched: the first that is true',
    'CASE WHEN nil = 1 THEN 1 WHEN one = 1 THEN 2 WHEN one = 1 THEN 3 END',
    '2',
  ],
  ['CASE without ELSE is NULL', 'CASE WHEN one = 2 THEN 1 END', 'null'],
  ['CASE, simple', "CASE two WHEN 1 THEN 'one' WHEN 2 THEN 'two' ELSE 'many' END", '"two"'],
  ['CASE, simple, of NULL matches nothing', "CASE nil WHEN nil THEN 'null' ELSE 'else' END", '"else"'],
  ['CASE works out only what it needs', 'CASE WHEN zero = 0 THEN 0 ELSE 1 / zero END', '0'],
  ['CASE with a float branch is float', 'CASE WHEN one = 1 THEN two ELSE 0.5 END', '2.0'],
];

describe('an expression', () => {
  for (const [shows, expression, expected] of rows) test(shows, () => assert.equal(shown(expression, row), expected));
});

test('a condition passes only what is true', () => {
  assert.equal(holds('one = 1', row), true);
  for (const text of ['one = 2', 'nil = 1', 'NOT (nil = 1)', 'nil', 'no', 'nil = 1 OR one = 2', 'yes AND nil']) {
    assert.equal(holds(text, row), false, text);
  }
  for (const text of ['yes', 'yes AND one = 1', 'no OR (yes AND yes)', 'CASE WHEN yes THEN yes ELSE no END']) {
    assert.equal(holds(text, row), true, text);
  }
});

test('every comparison with a constant is the one with a field of that value', () => {
  const operators = ['=', '<>', '<', '<=', '>', '>='];
  const values: Fields = {
    a: 2,
    b: 2.5,
    c: parseText('2.0'),
    d: parseText('9007199254740993'),
    e: 'm',
    f: null,
    g: true,
  };
  for (const operator of operators) {
    for (const name of Object.keys(values)) {
      for (const [constant, field] of [
        ['2', 'a'],
        ['2.5', 'b'],
        ["'m'", 'e'],
      ] as const) {
        const outcome = (text: string): unknown => {
          try {
            return valueOf(text, values);
          } catch (error) {
            // Which of the two the message names first does not matter.
            return (error as Error).name;
          }
        };
        assert.deepEqual(
          outcome(`${name} ${operator} ${constant}`),
          outcome(`${name} ${operator} ${field}`),
          `${name} ${operator} ${constant}`,
        );
        assert.deepEqual(
          outcome(`${constant} ${operator} ${name}`),
          outcome(`${field} ${operator} ${name}`),
          `${constant} ${operator} ${name}`,
        );
      }
    }
  }
});

test('what has no value for an event drops it, and says why', () => {
  const refused: [string, RegExp][] = [
    ['one / zero', /^division by zero$/],
    ['half / zero', /^division by zero$/],
    ['one % zero', /^division by zero$/],
    ['most + one', /beyond bigint, which has 64 bits/],
    ['least - one', /beyond bigint/],
    ['least / -1', /beyond bigint/],
    ['1e308 * (9 + one)', /beyond float/],
    ['text * 2', /^\* takes bigint and float, and here are nvarchar\(max\) and bigint$/],
    ["REPLICATE(text, 349525) + 'ab'", /^the text would have more than 1048576 characters$/],
    ['text + 1', /^\+ takes two numbers or two texts/],
    ['yes + 1', /^\+ takes/],
    ['half & 1', /^& takes bigint and bit, and this is float$/],
    ['~text', /^~ takes/],
    ['-text', /^- takes/],
    ["one = 'a'", /^bigint cannot be compared with nvarchar\(max\)$/],
    ['list = list', /^array cannot be compared with array$/],
    ["CAST(at AS datetime) = 'x'", /^datetime cannot be compared with nvarchar/],
    ['one AND yes', /^a condition is needed, and this is bigint$/],
    ['NOT text', /^a condition is needed/],
    ["one LIKE 'a'", /^LIKE takes nvarchar\(max\), and this is bigint$/],
    ["one IN ('a', 'b')", /cannot be compared/],
  ];
  for (const [expression, message] of refused) {
    assert.throws(() => valueOf(expression, row), { name: 'ValueError', message }, expression);
  }
  assert.throws(() => holds('one', row), { name: 'ValueError', message: /a condition is needed/ });
});

test('what is wrong whatever comes is refused when the query is loaded, with its place and a hint', () => {
  const refused: [text: string, column: number, message: RegExp, hint: RegExp | null][] = [
    ['1 + subtring(text, 1, 2)', 5, /^there is no function subtring$/, /^did you mean SUBSTRING\?$/],
    ['wibble(1)', 1, /^there is no function wibble$/, null],
    ['ROUND(one)', 1, /^ROUND takes 2 arguments, and here is 1$/, /^ROUND\(x, length\)$/],
    ['LEN(text, 1)', 1, /^LEN takes 1 argument, and here are 2$/, /^LEN\(text\)$/],
    ["CHARINDEX('a')", 1, /^CHARINDEX takes 2 to 3 arguments, and here is 1$/, /start/],
    ["CONCAT('a')", 1, /^CONCAT takes 2 or more arguments/, /CONCAT/],
    ['COALESCE(one)', 1, /^COALESCE takes 2 or more arguments/, /COALESCE/],
    ['NULLIF(one, two, 3)', 1, /^NULLIF takes 2 arguments/, /NULLIF/],
    ["ABS('x')", 5, /^argument 1 of ABS\(x\) is nvarchar\(max\)/, null],
    [
      "SUBSTRING(text, 'x', 1)",
      17,
      /^argument 2 of SUBSTRING\(text, start, length\) is nvarchar\(max\), and must be bigint or float$/,
      null,
    ],
    ["DAY('yesterday')", 5, /must be datetime or ISO 8601 text/, null],
    ["one - 'a'", 7, /^- takes bigint, float, and this is nvarchar\(max\)$/, null],
    ["'a' * one", 1, /^\* takes bigint, float/, null],
    ['one & 0.5', 7, /^& takes bigint, bit, and this is float$/, null],
    ['one / 0', 7, /^division by zero$/, null],
    ['one % 0.0', 7, /^division by zero$/, null],
    ['9223372036854775807 + 1', 1, /^the result is beyond bigint/, null],
    ["CAST('x' AS bigint)", 1, /^nvarchar\(max\) 'x' cannot become bigint$/, null],
    ["text LIKE 'a[b'", 11, /not closed/, null],
    ['text LIKE 5', 11, /^a pattern of LIKE is text, and this is bigint$/, null],
    ["PATINDEX('%[a%', text)", 10, /not closed/, null],
    ["GetRecordPropertyValue(rec, 'a[0]')", 29, /^'a\[0\]' is no path of names such as a\.b or \[a\.b\]\.c$/, null],
    ["1 = 'a'", 1, /cannot be compared/, null],
    ['yes AND 1', 9, /^a condition is needed, and this is bigint$/, null],
    ['COUNT(*) > 3', 1, /^COUNT is an aggregate and cannot stand here$/, /GROUP BY/],
    ['LAG(one) OVER (LIMIT DURATION(second, 1))', 1, /^LAG cannot stand here$/, /SELECT and WHERE/],
    ['System.Timestamp()', 1, /^system\.timestamp\(\) cannot stand here$/, null],
    ['System.Window().Id', 1, /cannot stand here$/, null],
    ['GetArrayElements(list)', 1, /makes rows/, /CROSS APPLY/],
    ['ABS(one) OVER (PARTITION BY two)', 1, /^ABS takes no OVER$/, /aggregates/],
  ];
  for (const [text, column, message, hint] of refused) {
    assert.throws(
      () => compile(parseExpression(text), fieldsOnly),
      (error) => {
        assert.ok(error instanceof QueryProblem, `${text}: ${String(error)}`);
        assert.match(error.message, message, text);
        assert.equal(placeOf(text, error.at).column, column, text);
        if (hint === null) assert.equal(error.hint, null, text);
        else assert.match(error.hint ?? '', hint, text);
        return true;
      },
    );
  }
});

test('constants are worked out once', () => {
  for (const text of [
    '1 + 2 * ABS(-3)',
    "CASE WHEN 1 = 1 THEN 'a' ELSE 'b' END",
    "UPPER('a') LIKE 'A'",
    '1 IN (1, 2)',
    'NULL IS NULL',
    "DATEADD(day, 1, '2031-01-01')",
  ]) {
    const expression = parseExpression(text);
    assert.equal(isConstant(expression), true, text);
    const evaluate = compile(expression, fieldsOnly);
    const value = evaluate({});
    // The very same object each time: nothing is made anew.
    assert.ok(Object.is(evaluate({}), value), text);
  }
  for (const text of [
    'one',
    '1 + one',
    'ABS(one)',
    'COUNT(*)',
    'System.Timestamp()',
    'System.Window().Id',
    '1 BETWEEN 0 AND one',
  ]) {
    assert.equal(isConstant(parseExpression(text)), false, text);
  }
});

test('the scope says what names and functions mean', () => {
  type Pair = readonly [number, number];
  const scope: Scope<Pair> = {
    field(path, at) {
      if (path[0] === 'first') return ([first]) => first;
      if (path[0] === 'second') return (pair) => pair[1];
      throw new QueryProblem(at, `there is no source ${path[0]}`);
    },
    call: (expression) => (expression.kind === 'call' && expression.name === 'sum' ? ([a, b]) => a + b : null),
  };
  const passes = condition(parseExpression('SUM(anything.at.all) > first * second'), scope);
  assert.equal(passes([1, 5]), true);
  assert.equal(passes([2, 5]), false);
  assert.throws(() => compile(parseExpression('1 + middle.x'), scope), { message: 'there is no source middle', at: 4 });
});

test('a CASE within a CASE within a CASE is made ready in time that grows as its text does', () => {
  let text = 'one';
  for (let depth = 0; depth < 40; depth++) text = `CASE WHEN (${text}) = 1 THEN 1 ELSE 2 END`;
  assert.equal(valueOf(text, row), 1);
});

test('an expression over a record with fields of any name does no harm', () => {
  const hostile = parseText('{"__proto__": {"admin": true}, "constructor": {"prototype": {"x": 1}}}') as Fields;
  assert.equal(shown('[__proto__].admin', hostile), 'true');
  assert.equal(shown('constructor.prototype.x', hostile), '1');
  assert.equal(valueOf('constructor.prototype', {}), null);
  assert.equal(valueOf('admin', hostile), null);
});

test('the page of the functions has every one of them', () => {
  const page = readFileSync('docs/query/types-and-functions.md', 'utf8');
  for (const [name, { usage }] of SCALARS) assert.ok(page.includes(`\`${usage}\``), `${name}: ${usage}`);
  for (const name of [...AGGREGATES.keys(), 'coalesce', 'nullif']) {
    assert.ok(page.toLowerCase().includes(`\`${name}(`), name);
  }
});
