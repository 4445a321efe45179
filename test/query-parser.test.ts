import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import type { Expression, Query, Select, Window } from '../src/query/ast.ts';
import { inputsOf } from '../src/query/inputs.ts';
import { parseExpression } from '../src/query/parser-expressions.ts';
import { parseScript } from '../src/query/parser.ts';
import { partsOf } from '../src/query/parts.ts';
import { durationText, printExpression } from '../src/query/printer.ts';
import { Float } from '../src/query/value.ts';
import { RESERVED } from '../src/query/words.ts';
import { withoutPlaces } from './parts/query-parts.ts';

/** The only query of a text. */
function queryOf(text: string): Query {
  const { selects } = parseScript(text);
  assert.equal(selects.length, 1);
  return selects[0]!;
}

function selectOf(text: string): Select {
  const { selects } = queryOf(text);
  assert.equal(selects.length, 1);
  return selects[0]!;
}

/** An expression with each operator and its operands in brackets. */
function shape(expression: Expression): string {
  if (expression.kind === 'field') return expression.path.join('.');
  if (expression.kind === 'literal') return printExpression(expression);
  const parts = partsOf(expression).map(shape).join(' ');
  if (expression.kind === 'unary' || expression.kind === 'binary') return `(${expression.operator} ${parts})`;
  if ('negated' in expression) return `(${expression.negated ? 'not ' : ''}${expression.kind} ${parts})`;
  return `(${expression.kind === 'call' ? expression.name : expression.kind} ${parts})`;
}

function windowsOf(text: string): unknown {
  return withoutPlaces(selectOf(`SELECT COUNT(*) FROM input GROUP BY ${text}`).windows);
}

const SECOND = 1_000_000;
const length = (seconds: number): unknown => ({ micros: seconds * SECOND });

test('the published example: what it selects, from where, by which time, in which window and when', () => {
  const query = queryOf(
    "SELECT 'reset' AS command, Max(timeCreated) as maxEventTime INTO output FROM input TIMESTAMP BY timeCreated " +
      'GROUP BY TumblingWindow(second, 10) HAVING Avg(machine.temperature) > 30',
  );
  assert.equal(query.into, 'output');
  const [select] = query.selects;
  assert.deepEqual(
    select!.items.map((item) => item.kind === 'value' && [item.name, printExpression(item.expression)]),
    [
      ['command', "'reset'"],
      ['maxEventTime', 'MAX(timeCreated)'],
    ],
  );
  assert.equal(select!.from.name, 'input');
  assert.equal(printExpression(select!.from.timestampBy!), 'timeCreated');
  assert.deepEqual(withoutPlaces(select!.windows), [{ kind: 'tumbling', id: null, size: length(10), offset: null }]);
  assert.deepEqual(select!.groupBy, []);
  assert.equal(printExpression(select!.having!), 'AVG(machine.temperature) > 30');
});

describe('operators bind as in T-SQL', () => {
  const cases: [text: string, shape: string][] = [
    ['a + b * c', '(+ a (* b c))'],
    ['a - b - c', '(- (- a b) c)'],
    ['a * b / c % d', '(% (/ (* a b) c) d)'],
    ['a & b + c | d', '(| (+ (& a b) c) d)'],
    ['-a * b', '(* (- a) b)'],
    ['~a & b', '(& (~ a) b)'],
    ['- -a', '(- (- a))'],
    ['-5', '-5'],
    ['a -5', '(- a 5)'],
    ['NOT a = 1', '(not (= a 1))'],
    ['NOT a = 1 AND b = 2', '(and (not (= a 1)) (= b 2))'],
    ['NOT NOT a = 1', '(not (not (= a 1)))'],
    ['a = 1 OR b = 2 AND c = 3', '(or (= a 1) (and (= b 2) (= c 3)))'],
    ['(a = 1 OR b = 2) AND c = 3', '(and (or (= a 1) (= b 2)) (= c 3))'],
    ['a + 1 > b * 2', '(> (+ a 1) (* b 2))'],
    ['a BETWEEN 1 AND 2 AND b', '(and (between a 1 2) b)'],
    ['a NOT BETWEEN b - 1 AND b + 1', '(not between a (- b 1) (+ b 1))'],
    ["a LIKE 'x%' OR a NOT LIKE 'y' + b", "(or (like a 'x%') (not like a (+ 'y' b)))"],
    ['a + 1 IN (1, b OR c)', '(in (+ a 1) 1 (or b c))'],
    ['a NOT IN (1)', '(not in a 1)'],
    ['a IS NULL AND b IS NOT NULL', '(and (is null a) (not is null b))'],
    ['a != 1', '(<> a 1)'],
    ['a !< 1', '(>= a 1)'],
    ['a !> 1', '(<= a 1)'],
    ['CASE a WHEN 1 THEN b ELSE c END + 1', '(+ (case a 1 b c) 1)'],
    ["CASE WHEN a > 1 THEN 'x' WHEN b THEN 'y' END", "(case (> a 1) 'x' b 'y')"],
    ['CASE WHEN CASE WHEN a THEN b END THEN c END', '(case (case a b) c)'],
  ];
  for (const [text, expected] of cases) test(text, () => assert.equal(shape(parseExpression(text)), expected));
});

describe('expressions', () => {
  const parsed = (text: string): unknown => withoutPlaces(parseExpression(text));

  test('a path has names, in brackets where they need them; behind a dot any word is one', () => {
    assert.deepEqual(parsed('a.[b c].end."d"'), { kind: 'field', path: ['a', 'b c', 'end', 'd'] });
  });
  test('a minus before a number is part of it, to the least of 64 bits', () => {
    assert.deepEqual(parsed('-9223372036854775808'), { kind: 'literal', value: -9223372036854775808n });
    assert.deepEqual(parsed('-2.0'), { kind: 'literal', value: new Float(-2) });
    assert.deepEqual(parsed('-0'), { kind: 'literal', value: 0 });
  });
  test('words that begin clauses are names where no clause can begin', () => {
    for (const name of [
      'timestamp',
      'value',
      'time',
      'date',
      'order',
      'limit',
      'top',
      'input',
      'output',
      'partition',
      'over',
      'window',
      'count',
    ]) {
      assert.deepEqual(parsed(name), { kind: 'field', path: [name] }, name);
    }
  });
  test('names of functions are taken in any case', () => {
    assert.deepEqual(parsed('SubString(a, 1, 2)'), parsed('SUBSTRING(a, 1, 2)'));
    assert.deepEqual(parsed('LEFT(a, 1)'), parsed('left(a, 1)'));
  });
  test('parts of a date become texts with their full name', () => {
    for (const [spelling, part] of [
      ['ss', 'second'],
      ['MI', 'minute'],
      ['n', 'minute'],
      ['mcs', 'microsecond'],
      ['dw', 'weekday'],
      ['hours', 'hour'],
    ]) {
      const call = parseExpression(`DATEDIFF(${spelling}, a, b)`);
      assert.ok(call.kind === 'call');
      assert.deepEqual(withoutPlaces(call.args[0]!), { kind: 'literal', value: part });
    }
  });
  test('CAST and TRY_CAST name a type in any case', () => {
    assert.deepEqual(parsed('TRY_CAST(a AS NVarChar(Max))'), {
      kind: 'cast',
      operand: { kind: 'field', path: ['a'] },
      type: 'nvarchar(max)',
      safe: true,
    });
    for (const type of ['bigint', 'float', 'datetime', 'bit', 'record', 'array']) {
      assert.deepEqual(parsed(`CAST(a AS ${type.toUpperCase()})`), {
        kind: 'cast',
        operand: { kind: 'field', path: ['a'] },
        type,
        safe: false,
      });
    }
  });
  test('COUNT() is COUNT(*), COUNT(ALL x) is COUNT(x), and ALL may be a field', () => {
    assert.deepEqual(parsed('COUNT()'), parsed('COUNT(*)'));
    assert.deepEqual(parsed('COUNT(ALL x)'), parsed('COUNT(x)'));
    assert.equal(printExpression(parseExpression('COUNT(all)')), 'COUNT(all)');
    assert.equal(printExpression(parseExpression('Count(Distinct x)')), 'COUNT(DISTINCT x)');
  });
  test('System.Timestamp is a call with and without its brackets', () => {
    assert.deepEqual(parsed('system.TIMESTAMP'), parsed('System.Timestamp()'));
    assert.equal(printExpression(parseExpression('system.timestamp')), 'System.Timestamp()');
  });
  test('OVER holds keys, an order, how far back, and a condition', () => {
    const call = parseExpression('LAG(a, 2, 0) OVER (PARTITION BY b, c.d LIMIT DURATION(mi, 3) WHEN a > 1)');
    assert.ok(call.kind === 'call' && call.over !== null);
    const { partitionBy, orderBy, limit, when } = call.over;
    assert.deepEqual(partitionBy.map(printExpression), ['b', 'c.d']);
    assert.deepEqual(orderBy, []);
    assert.equal(limit!.micros, 180 * SECOND);
    assert.equal(printExpression(when!), 'a > 1');
    const top = parseExpression('CollectTop(3, a) OVER (ORDER BY b DESC, c ASC, d)');
    assert.ok(top.kind === 'call' && top.over !== null);
    assert.deepEqual(
      top.over.orderBy.map(({ descending }) => descending),
      [true, false, false],
    );
  });
  test('each part knows where it begins', () => {
    const text = '  a.b > 10 AND LEN( c ) = 2';
    const expression = parseExpression(text);
    const begins = (part: Expression): string[] => [text.slice(part.at, part.at + 3), ...partsOf(part).flatMap(begins)];
    assert.deepEqual(begins(expression), ['a.b', 'a.b', 'a.b', '10 ', 'LEN', 'LEN', 'c )', '2']);
  });
});

describe('statements', () => {
  const names = (text: string): unknown[] =>
    selectOf(text).items.map((item) => (item.kind === 'value' ? item.name : item.path));

  test('a column is called by its alias in any form, else by the last part of its path or its function', () => {
    assert.deepEqual(
      names(
        'SELECT a AS x, a y, a AS \'my z\', a AS [w w], a "v", u = a + 1, b.c.d, LEN(a), CAST(a AS bit), System.Timestamp FROM input',
      ),
      ['x', 'y', 'my z', 'w w', 'v', 'u', 'd', 'len', 'cast', 'timestamp'],
    );
    assert.deepEqual(names('SELECT COUNT(*), System.Window().Id FROM input GROUP BY TumblingWindow(second, 1)'), [
      'count',
      'id',
    ]);
  });
  test('stars: all fields, those of a source, those of a record', () => {
    assert.deepEqual(names('SELECT *, i.*, i.a.b.* FROM input i'), [[], ['i'], ['i', 'a', 'b']]);
  });
  test('without INTO results go to output', () => assert.equal(queryOf('SELECT a FROM input').into, 'output'));
  test('several selects stand behind each other, with and without semicolons', () => {
    const { selects } = parseScript(
      ';SELECT a INTO x FROM input SELECT b INTO [y z] FROM input;; SELECT c INTO x FROM other;',
    );
    assert.deepEqual(
      selects.map(({ into }) => into),
      ['x', 'y z', 'x'],
    );
  });
  test('names of sources may need brackets; an alias comes with AS or without', () => {
    const aliases = (text: string): unknown => [selectOf(text).from.name, selectOf(text).from.alias];
    assert.deepEqual(aliases('SELECT a FROM [my-input]'), ['my-input', 'my-input']);
    assert.deepEqual(aliases('SELECT a FROM "in put" AS i'), ['in put', 'i']);
    assert.deepEqual(aliases('SELECT a FROM input i TIMESTAMP BY t'), ['input', 'i']);
  });
  test('TIMESTAMP BY and PARTITION BY stand in either order; a number of shards is passed over', () => {
    for (const text of [
      'SELECT a FROM input TIMESTAMP BY t OVER k, l.m PARTITION BY p WHERE a > 1',
      'SELECT a FROM input PARTITION BY p INTO 4 TIMESTAMP BY t OVER k, l.m WHERE a > 1',
    ]) {
      const { from, where } = selectOf(text);
      assert.equal(printExpression(from.timestampBy!), 't');
      assert.deepEqual(from.over.map(printExpression), ['k', 'l.m']);
      assert.equal(printExpression(from.partitionBy!), 'p');
      assert.equal(printExpression(where!), 'a > 1');
    }
  });
  test('TIMESTAMP BY takes an expression', () => {
    const { from } = selectOf(
      "SELECT a FROM input TIMESTAMP BY DATEADD(millisecond, ms, '1970-01-01T00:00:00Z') OVER k",
    );
    assert.equal(printExpression(from.timestampBy!), "DATEADD(millisecond, ms, '1970-01-01T00:00:00Z')");
  });
  test('steps of WITH come in order and have no output', () => {
    const { steps, selects } = parseScript(
      'WITH hot AS (SELECT * FROM input WHERE t > 30), [two x] AS (SELECT a FROM HOT UNION SELECT a FROM other) ' +
        'SELECT a INTO one FROM [two x] SELECT * INTO two FROM hot',
    );
    assert.deepEqual(
      steps.map(({ name, query }) => [name, query.into, query.selects.length]),
      [
        ['hot', null, 1],
        ['two x', null, 2],
      ],
    );
    assert.equal(selects.length, 2);
  });
  test('whatever is no step is an input, in its first spelling', () => {
    const script = parseScript(
      'WITH s AS (SELECT a.x FROM Alpha a JOIN beta b ON DATEDIFF(second, a, b) = 0) SELECT x INTO o FROM S SELECT x INTO p FROM ALPHA',
    );
    assert.deepEqual(inputsOf(script), ['Alpha', 'beta']);
  });
  test('joins: INNER is the default, LEFT may say OUTER', () => {
    const { joins } = selectOf(
      'SELECT a.x FROM a TIMESTAMP BY t JOIN b TIMESTAMP BY t ON a.k = b.k INNER JOIN c AS d ON 1 = 1 LEFT JOIN e ON 1 = 1 LEFT OUTER JOIN f g ON 1 = 1 WHERE a.x = 1',
    );
    assert.deepEqual(
      joins.map(({ kind, source }) => [kind, source.name, source.alias]),
      [
        ['inner', 'b', 'b'],
        ['inner', 'c', 'd'],
        ['left', 'e', 'e'],
        ['left', 'f', 'g'],
      ],
    );
    assert.equal(printExpression(joins[0]!.on), 'a.k = b.k');
    assert.equal(printExpression(joins[0]!.source.timestampBy!), 't');
  });
  test('APPLY opens arrays and records', () => {
    const { applies } = selectOf(
      'SELECT e.id FROM input e CROSS APPLY GetArrayElements(e.r) AS a OUTER APPLY GetRecordProperties(a.ArrayValue) p',
    );
    assert.deepEqual(withoutPlaces(applies), [
      { kind: 'cross', function: 'getarrayelements', argument: { kind: 'field', path: ['e', 'r'] }, alias: 'a' },
      {
        kind: 'outer',
        function: 'getrecordproperties',
        argument: { kind: 'field', path: ['a', 'ArrayValue'] },
        alias: 'p',
      },
    ]);
  });
  test('CREATE TABLE declares the columns of an input', () => {
    const { tables } = parseScript(
      'CREATE TABLE input (a bigint, [b c] nvarchar(max), d datetime); SELECT a FROM Input',
    );
    assert.deepEqual(withoutPlaces(tables), [
      {
        name: 'input',
        columns: [
          { name: 'a', type: 'bigint' },
          { name: 'b c', type: 'nvarchar(max)' },
          { name: 'd', type: 'datetime' },
        ],
      },
    ]);
  });
  test('one input may be read many times by the same time, whatever the alias', () => {
    parseScript('SELECT a INTO x FROM input TIMESTAMP BY t SELECT b INTO y FROM Input AS i TIMESTAMP BY i.T');
  });
});

describe('windows', () => {
  const tumbling = { kind: 'tumbling', id: null, size: length(10), offset: null };
  const cases: [text: string, windows: Record<string, unknown>[]][] = [
    ['TumblingWindow(second, 10)', [tumbling]],
    ['tumbling(ss, 10)', [tumbling]],
    ['TUMBLINGWINDOW(Duration(seconds, 10))', [tumbling]],
    ['TumblingWindow(second, 10, 2)', [{ ...tumbling, offset: length(2) }]],
    ['TumblingWindow(second, 10, -2)', [{ ...tumbling, offset: length(-2) }]],
    ['TumblingWindow(second, 10, Offset(millisecond, -1))', [{ ...tumbling, offset: length(-0.001) }]],
    ['TumblingWindow(Duration(second, 10), Offset(millisecond, -1))', [{ ...tumbling, offset: length(-0.001) }]],
    ['TumblingWindow(day, 7)', [{ ...tumbling, size: length(7 * 86_400) }]],
    ['TumblingWindow(microsecond, 5)', [{ ...tumbling, size: length(0.000005) }]],
    [
      'HoppingWindow(minute, 10, 5)',
      [{ kind: 'hopping', id: null, size: length(600), hop: length(300), offset: null }],
    ],
    [
      'Hopping(hh, 2, 1, 1)',
      [{ kind: 'hopping', id: null, size: length(7200), hop: length(3600), offset: length(3600) }],
    ],
    [
      'HoppingWindow(Duration(minute, 1), Hop(second, 5), Offset(second, 1))',
      [{ kind: 'hopping', id: null, size: length(60), hop: length(5), offset: length(1) }],
    ],
    ['SlidingWindow(second, 10)', [{ kind: 'sliding', id: null, size: length(10) }]],
    ['Sliding(Duration(mi, 1))', [{ kind: 'sliding', id: null, size: length(60) }]],
    [
      'SessionWindow(second, 5, 20)',
      [{ kind: 'session', id: null, timeout: length(5), max: length(20), partitionBy: [] }],
    ],
    [
      'Session(Timeout(second, 5), MaxDuration(minute, 1)) OVER (PARTITION BY a.b)',
      [
        {
          kind: 'session',
          id: null,
          timeout: length(5),
          max: length(60),
          partitionBy: [{ kind: 'field', path: ['a', 'b'] }],
        },
      ],
    ],
    ['System.Timestamp()', [{ kind: 'snapshot', id: null }]],
    ['System.Timestamp', [{ kind: 'snapshot', id: null }]],
    [
      'Windows(TumblingWindow(second, 10), SlidingWindow(second, 1), System.Timestamp())',
      [tumbling, { kind: 'sliding', id: null, size: length(1) }, { kind: 'snapshot', id: null }],
    ],
    [
      "Windows(Window('S', Tumbling(second, 10)), Window('it''s', System.Timestamp()))",
      [
        { ...tumbling, id: 'S' },
        { kind: 'snapshot', id: "it's" },
      ],
    ],
  ];
  for (const [text, expected] of cases) test(text, () => assert.deepEqual(windowsOf(text), expected));

  const groupingOf = (text: string): unknown => {
    const { groupBy, windows } = selectOf(`SELECT COUNT(*) FROM input GROUP BY ${text}`);
    return [groupBy!.map(printExpression), windows.map(({ kind }: Window) => kind)];
  };
  test('the window stands anywhere among the columns', () => {
    assert.deepEqual(groupingOf('a, TumblingWindow(second, 1), b.c, LEN(d)'), [['a', 'b.c', 'LEN(d)'], ['tumbling']]);
  });
  test('beside a window, System.Timestamp() is a key', () => {
    assert.deepEqual(groupingOf('System.Timestamp(), TumblingWindow(second, 1)'), [
      ['System.Timestamp()'],
      ['tumbling'],
    ]);
  });
  test('a group gives out its keys, in any spelling and with the alias, and what is made of them', () => {
    parseScript(
      "SELECT i.Device, LEN(device) AS l, a + 1 AS b, CONCAT(a + 1, 'x') AS c, COUNT(*) FROM input i GROUP BY device, i.a + 1, TumblingWindow(second, 1) HAVING DEVICE = 'x'",
    );
  });
  test('lengths of time are written in the largest unit that divides them', () => {
    assert.deepEqual([86_400_000_000, 90_000_000, 1500, 600_000_000].map(durationText), [
      'day, 1',
      'second, 90',
      'microsecond, 1500',
      'minute, 10',
    ]);
  });
});

describe('docs/query-language.md', () => {
  const page = readFileSync('docs/query-language.md', 'utf8');
  test('its examples are valid', () => {
    const examples = [...page.matchAll(/```sql\n(.*?)```/gs)].map(([, text]) => text!);
    assert.ok(examples.length >= 3);
    for (const text of examples) parseScript(text);
  });
  test('it names all words that are reserved, and no others', () => {
    const row = /^\| reserved \| `([A-Z_ ]+)`/m.exec(page)![1]!;
    const named = row.toLowerCase().split(' ');
    assert.deepEqual(named.toSorted(), [...RESERVED].toSorted());
  });
});
