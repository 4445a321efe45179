import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { aggregateOf, type Aggregate } from '../src/query/aggregates.ts';
import { parseText, printBody } from '../src/query/body-json.ts';
import { compile } from '../src/query/compile.ts';
import { parseExpression } from '../src/query/parser-expressions.ts';
import { QueryProblem, placeOf } from '../src/query/problem.ts';
import { decodeState, encodeState } from '../src/query/state.ts';
import { Float, type Fields, type Value } from '../src/query/value.ts';
import { fieldsOnly } from './parts/expression.ts';
import { fc } from './parts/properties.ts';

function aggregate(text: string): Aggregate {
  const call = parseExpression(text);
  assert.ok(call.kind === 'call');
  const found = aggregateOf(call);
  assert.ok(found !== null, text);
  return found;
}

/** What an aggregate takes of an event. */
function valuesOf(made: Aggregate, event: Fields): Value[] {
  const values = made.inputs.map((input) => compile(input, fieldsOnly)(event));
  return made.whole ? [event, ...values] : values;
}

/** The result over these events as JSON. */
function over(text: string, events: readonly Fields[], removable = false): string {
  const made = aggregate(text);
  const accumulator = made.create(removable);
  for (const event of events) {
    const values = valuesOf(made, event);
    made.check(values);
    accumulator.add(values);
  }
  return printBody(accumulator.result());
}

/** Events with these values of x, one to each. */
function xs(json: string): Fields[] {
  return (parseText(json) as readonly Value[]).map((x) => ({ x }));
}

/** What it shows, the aggregate, values of x, and the result as JSON. */
const rows: readonly (readonly [string, string, string, string])[] = [
  ['COUNT(*) counts events', 'COUNT(*)', '[1, null, "a"]', '3'],
  ['COUNT() is COUNT(*)', 'COUNT()', '[1, null]', '2'],
  ['COUNT of none is 0', 'COUNT(x)', '[]', '0'],
  ['COUNT(x) leaves out NULL', 'COUNT(x)', '[1, null, "a"]', '2'],
  ['COUNT(DISTINCT x) takes 1 and 1.0 for the same', 'COUNT(DISTINCT x)', '[1, 1.0, 2, null, "1", 2]', '3'],
  ['COUNT(DISTINCT x) of records and arrays', 'COUNT(DISTINCT x)', '[{"a":1}, {"a":1}, [1], [1], [2]]', '3'],
  ['SUM of bigints is a bigint', 'SUM(x)', '[1, 2, 3]', '6'],
  ['SUM with a float is a float', 'SUM(x)', '[1, 2.0]', '3.0'],
  ['SUM leaves out NULL', 'SUM(x)', '[1, null, 2]', '3'],
  ['SUM of nothing is NULL', 'SUM(x)', '[null]', 'null'],
  ['SUM beyond 2^53 is exact', 'SUM(x)', '[9007199254740991, 1, 1]', '9007199254740993'],
  ['SUM beyond 64 bits in between', 'SUM(x)', '[9223372036854775807, 5, -10]', '9223372036854775802'],
  ['SUM of floats is rounded once', 'SUM(x)', '[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1e16, -1e16]', '4.5'],
  ['SUM loses nothing beside something large', 'SUM(x)', '[1e100, 1, -1e100]', '1.0'],
  ['AVG of bigints is a float', 'AVG(x)', '[1, 2]', '1.5'],
  ['AVG that is whole stays a float', 'AVG(x)', '[29, 33, 34]', '32.0'],
  ['AVG leaves out NULL', 'AVG(x)', '[10, null, 20]', '15.0'],
  ['AVG of nothing is NULL', 'AVG(x)', '[]', 'null'],
  ['MIN and its type', 'MIN(x)', '[3, 1.0, 2]', '1.0'],
  ['MAX of bigints and floats', 'MAX(x)', '[3, 1.5, null]', '3'],
  ['MAX of bits', 'MAX(x)', '[false, true]', 'true'],
  ['MAX of nothing is NULL', 'MAX(x)', '[null]', 'null'],
  [
    'MAX of texts that all are ISO is a datetime',
    'MAX(x)',
    '["2031-05-06T07:00:00Z", "2031-05-06T08:00:00+02:00", null]',
    '"2031-05-06T07:00:00.0000000Z"',
  ],
  [
    'MIN of such texts, by the moments',
    'MIN(x)',
    '["2031-05-06T07:00:00Z", "2031-05-06T08:00:00+02:00"]',
    '"2031-05-06T06:00:00.0000000Z"',
  ],
  [
    'MIN of texts of which one is not ISO is text',
    'MIN(x)',
    '["b", "2031-05-06T07:00:00Z", "c"]',
    '"2031-05-06T07:00:00Z"',
  ],
  [
    'MAX of texts cast to text is text',
    'MAX(CAST(x AS nvarchar(max)))',
    '["2031-05-06", "2030-01-01"]',
    '"2031-05-06"',
  ],
  ['MAX of datetimes and ISO texts', 'MAX(x)', '["2031-05-06"]', '"2031-05-06T00:00:00.0000000Z"'],
  ['VARP: mean 5, squares 9+1+1+1+0+0+4+16 over 8', 'VARP(x)', '[2, 4, 4, 4, 5, 5, 7, 9]', '4.0'],
  ['STDEVP is its root', 'STDEVP(x)', '[2, 4, 4, 4, 5, 5, 7, 9]', '2.0'],
  ['VAR divides by n - 1: 2 / 1', 'VAR(x)', '[4, 6]', '2.0'],
  ['STDEV: root of (1 + 0 + 1) / 2', 'STDEV(x)', '[1, 2, 3]', '1.0'],
  ['VAR of one value is NULL', 'VAR(x)', '[5]', 'null'],
  ['VARP of one value is 0', 'VARP(x)', '[5, null]', '0.0'],
  [
    'VAR far from 0 is not lost by cancelling',
    'VAR(x)',
    '[1000000000000004, 1000000000000007, 1000000000000013, 1000000000000016]',
    '30.0',
  ],
  ['STDEVP of equals is 0', 'STDEVP(x)', '[0.1, 0.1, 0.1]', '0.0'],
  ['PERCENTILE_CONT, from the reference', 'PERCENTILE_CONT(0.5) OVER (ORDER BY x)', '[10, 1, 4, 2]', '3.0'],
  ['PERCENTILE_DISC, from the reference', 'PERCENTILE_DISC(0.5) OVER (ORDER BY x)', '[10, 1, 4, 2]', '2'],
  [
    'PERCENTILE_CONT from the top: rank 0.75 of 10, 4',
    'PERCENTILE_CONT(0.25) OVER (ORDER BY x DESC)',
    '[10, 1, 4, 2]',
    '5.5',
  ],
  ['PERCENTILE_DISC 0 is the least', 'PERCENTILE_DISC(0) OVER (ORDER BY x)', '[10, 1, 4]', '1'],
  ['PERCENTILE_DISC 1 is the largest', 'PERCENTILE_DISC(1) OVER (ORDER BY x)', '[10, 1, 4]', '10'],
  [
    'PERCENTILE_DISC of 0.1 of 30 is the third',
    'PERCENTILE_DISC(0.1) OVER (ORDER BY x)',
    `[${Array.from({ length: 30 }, (_, n) => n + 1).join()}]`,
    '3',
  ],
  ['PERCENTILE_CONT leaves out NULL', 'PERCENTILE_CONT(1.0) OVER (ORDER BY x)', '[null, 3, 1]', '3.0'],
  ['PERCENTILE_CONT of nothing is NULL', 'PERCENTILE_CONT(0.5) OVER (ORDER BY x)', '[]', 'null'],
  ['Collect(x) keeps NULL and order', 'Collect(x)', '[3, null, "a"]', '[3,null,"a"]'],
  ['Collect() takes whole events', 'Collect()', '[3, 1]', '[{"x":3},{"x":1}]'],
  ['Collect of nothing is an empty array', 'Collect(x)', '[]', '[]'],
  ['TopOne is the first by the order', 'TopOne() OVER (ORDER BY x)', '[3, 1, 2]', '{"x":1}'],
  ['TopOne DESC is the last', 'TopOne() OVER (ORDER BY x DESC)', '[3, 1, 2]', '{"x":3}'],
  ['TopOne of an expression', 'TopOne(x * 10) OVER (ORDER BY x DESC)', '[3, 1, 2]', '30'],
  ['TopOne: NULL is smallest', 'TopOne() OVER (ORDER BY x)', '[3, null, 2]', '{"x":null}'],
  ['TopOne of nothing is NULL', 'TopOne() OVER (ORDER BY x)', '[]', 'null'],
  [
    'CollectTop ranks from 1',
    'CollectTop(2) OVER (ORDER BY x DESC)',
    '[3, 1, 5]',
    '[{"rank":1,"value":{"x":5}},{"rank":2,"value":{"x":3}}]',
  ],
  [
    'CollectTop of an expression, fewer than asked',
    'CollectTop(5, x + 1) OVER (ORDER BY x)',
    '[3, 1]',
    '[{"rank":1,"value":2},{"rank":2,"value":4}]',
  ],
  [
    'CollectTop by moments',
    'CollectTop(1, x) OVER (ORDER BY x)',
    '["2031-05-06T07:00:00Z", "2031-05-06T08:00:00+02:00"]',
    '[{"rank":1,"value":"2031-05-06T08:00:00+02:00"}]',
  ],
];

for (const [shows, text, values, expected] of rows) {
  test(shows, () => {
    assert.equal(over(text, xs(values)), expected);
    assert.equal(over(text, xs(values), true), expected, 'when rows could be taken back');
  });
}

test('of equal ones TopOne takes the first, and further keys decide before', () => {
  const events = [
    { k: 1, t: 2, n: 'a' },
    { k: 1, t: 1, n: 'b' },
    { k: 1, t: 1, n: 'c' },
  ];
  assert.equal(over('TopOne(n) OVER (ORDER BY k)', events), '"a"');
  assert.equal(over('TopOne(n) OVER (ORDER BY k, t)', events), '"b"');
  assert.equal(over('TopOne(n) OVER (ORDER BY k DESC, t DESC)', events), '"a"');
  assert.equal(over('CollectTop(2, n) OVER (ORDER BY t)', events), '[{"rank":1,"value":"b"},{"rank":2,"value":"c"}]');
});

test('what an aggregate cannot take drops the event, before it has changed anything', () => {
  const refused: [string, Value, RegExp][] = [
    ['SUM(x)', '5', /^SUM takes bigint and float, and this is nvarchar\(max\)$/],
    ['AVG(x)', true, /^AVG takes bigint and float, and this is bit$/],
    ['VAR(x)', {}, /^VAR takes/],
    ['SUM(x)', new Float(1e301), /^SUM takes no float beyond 1e\+300$/],
    ['STDEV(x)', new Float(1e146), /^STDEV takes no float beyond 1e\+145$/],
    ['MAX(x)', [1], /^MAX takes no array$/],
    ['PERCENTILE_CONT(0.5) OVER (ORDER BY x)', '2031-05-06', /^PERCENTILE_CONT takes/],
    ['PERCENTILE_DISC(0.5) OVER (ORDER BY x)', 'a', /^ORDER BY takes/],
    ['TopOne() OVER (ORDER BY x)', 'a', /^ORDER BY takes/],
    ['CollectTop(2) OVER (ORDER BY x)', true, /^ORDER BY takes/],
  ];
  for (const [text, x, message] of refused) {
    const made = aggregate(text);
    assert.throws(() => made.check(valuesOf(made, { x })), { name: 'ValueError', message }, text);
  }
});

test('a group that has no such result loses that result', () => {
  assert.throws(() => over('SUM(x)', xs('[9223372036854775807, 1]')), /beyond bigint/);
  assert.throws(() => over('MAX(x)', xs('[1, "a"]')), /MIN and MAX of numbers and of texts/);
  assert.throws(() => over('MAX(x)', xs('[1, "2031-05-06"]')), /MIN and MAX of numbers and of texts or datetimes/);
  const mixed = [{ x: 'a' }, { x: (xs('["2031-05-06"]')[0] as Fields).x! }];
  const made = aggregate("MAX(CASE WHEN x = 'a' THEN x ELSE CAST(x AS datetime) END)");
  const accumulator = made.create();
  for (const event of mixed) accumulator.add(valuesOf(made, event));
  assert.throws(() => accumulator.result(), /of datetimes and of texts that are none/);
});

test('a call that cannot be is refused, with its place', () => {
  const refused: [text: string, column: number, message: RegExp][] = [
    ['SUM()', 1, /^SUM takes 1 argument, and here are 0$/],
    ['AVG(a, b)', 1, /^AVG takes 1 argument/],
    ['COUNT(a, b)', 1, /^COUNT takes 0 to 1 arguments/],
    ['COUNT(DISTINCT a, b)', 1, /^COUNT takes 0 to 1/],
    ['MIN(a) OVER (PARTITION BY b)', 8, /^MIN OVER needs a LIMIT DURATION$/],
    ['SUM(a) OVER (ORDER BY b)', 8, /^SUM takes no ORDER BY$/],
    ['PERCENTILE_CONT(0.5)', 1, /needs OVER \(ORDER BY/],
    ['PERCENTILE_CONT(1.5) OVER (ORDER BY a)', 17, /a number from 0 to 1$/],
    ['PERCENTILE_CONT(p) OVER (ORDER BY a)', 17, /a number from 0 to 1$/],
    ['PERCENTILE_DISC(0.5) OVER (ORDER BY a, b)', 1, /one expression in ORDER BY$/],
    ['TopOne(a)', 1, /^TOPONE needs OVER/],
    ['TopOne(a, b) OVER (ORDER BY a)', 1, /^TOPONE takes 0 to 1 arguments/],
    ['CollectTop() OVER (ORDER BY a)', 1, /^COLLECTTOP takes 1 to 2 arguments/],
    ['CollectTop(n) OVER (ORDER BY a)', 12, /a whole number from 1 to 10000$/],
    ['CollectTop(0) OVER (ORDER BY a)', 12, /a whole number/],
    ['CollectTop(2.5) OVER (ORDER BY a)', 12, /a whole number/],
  ];
  for (const [text, column, message] of refused) {
    assert.throws(
      () => aggregate(text),
      (error) => {
        assert.ok(error instanceof QueryProblem, `${text}: ${String(error)}`);
        assert.match(error.message, message, text);
        assert.equal(placeOf(text, error.at).column, column, text);
        return true;
      },
    );
  }
});

const NUMERIC = [
  'SUM(x)',
  'AVG(x)',
  'VAR(x)',
  'VARP(x)',
  'STDEV(x)',
  'STDEVP(x)',
  'PERCENTILE_CONT(0.3) OVER (ORDER BY x)',
];
const ANY = [
  'COUNT(*)',
  'COUNT(x)',
  'COUNT(DISTINCT x)',
  'MIN(x)',
  'MAX(x)',
  'Collect(x)',
  'Collect()',
  'TopOne() OVER (ORDER BY x)',
  'CollectTop(3, x) OVER (ORDER BY x DESC)',
  'PERCENTILE_DISC(0.7) OVER (ORDER BY x)',
];

const whole = fc.oneof(
  fc.integer({ min: -5, max: 5 }),
  fc.maxSafeInteger().map((x) => x + 0),
  fc.bigInt(2n ** 53n, 2n ** 60n),
);
const fraction = fc
  .oneof(
    fc.double({ min: -1e140, max: 1e140, noNaN: true }),
    fc.integer({ min: -1000, max: 1000 }).map((x) => x / 10),
  )
  .map((x): Value => (Number.isInteger(x) ? new Float(x + 0) : x));
const number: fc.Arbitrary<Value> = fc.oneof(whole, fraction, fc.constant(null));
const iso = fc.date({ min: new Date(0), max: new Date(1e13), noInvalidDate: true }).map((date) => date.toISOString());
/** Of one sort within a run, so that there is a result. */
const valuesOfASort = fc.oneof(
  fc.array(number, { maxLength: 30 }),
  fc.array(fc.oneof(iso, fc.constant(null)), { maxLength: 30 }),
);

describe('what was taken back, saved and loaded leaves no trace', () => {
  const check = (text: string, values: readonly Value[], from: number, until: number, pause: number): void => {
    const made = aggregate(text);
    const sliding = { now: made.create(true) };
    const taken = values.map((x) => valuesOf(made, { x }));
    taken.slice(0, until).forEach((each, index) => {
      sliding.now.add(each);
      if (index === pause) {
        const saved = decodeState(encodeState(sliding.now.save()));
        sliding.now = made.create(true);
        sliding.now.load(saved);
      }
    });
    for (const each of taken.slice(0, Math.min(from, until))) sliding.now.remove(each);
    const plain = { now: made.create() };
    taken.slice(from, until).forEach((each, index) => {
      plain.now.add(each);
      if (index === pause) {
        const saved = decodeState(encodeState(plain.now.save()));
        plain.now = made.create();
        plain.now.load(saved);
      }
    });
    const outcome = (accumulator: { result(): Value }): string => {
      try {
        return encodeState(accumulator.result());
      } catch (error) {
        return (error as Error).message;
      }
    };
    assert.equal(outcome(sliding.now), outcome(plain.now), text);
    if (from >= until) assert.equal(sliding.now.bytes, made.create(true).bytes, text);
  };
  for (const text of [...NUMERIC, ...ANY]) {
    test(text, () => {
      const values = NUMERIC.includes(text) ? fc.array(number, { maxLength: 30 }) : valuesOfASort;
      fc.assert(
        fc.property(values, fc.nat(30), fc.nat(30), fc.nat(30), (sequence, from, until, pause) =>
          check(text, sequence, from, until, pause),
        ),
        { numRuns: 500, seed: 47 },
      );
    });
  }
});

test('a sum of floats is the exact one, rounded once', () => {
  /** A double as a multiple of 2^-1074. */
  const scaled = (x: number): bigint => {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, Math.abs(x));
    const bits = view.getBigUint64(0);
    const exponent = bits >> 52n;
    const digits = bits & (2n ** 52n - 1n);
    const size = exponent === 0n ? digits : (digits | (2n ** 52n)) << (exponent - 1n);
    return x < 0 ? -size : size;
  };
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: -1e300, max: 1e300, noNaN: true }), { minLength: 1, maxLength: 20 }),
      (numbers) => {
        const made = aggregate('SUM(x)');
        const accumulator = made.create();
        for (const x of numbers) accumulator.add([Number.isInteger(x) ? new Float(x) : x]);
        const result = accumulator.result();
        const sum = result instanceof Float ? result.value : (result as number);
        const exact = numbers.reduce((total, x) => total + scaled(x), 0n);
        const distance = (x: number): bigint => {
          const apart = scaled(x) - exact;
          return apart < 0n ? -apart : apart;
        };
        const view = new DataView(new ArrayBuffer(8));
        view.setFloat64(0, sum);
        // No neighbour of the result is nearer to the exact sum.
        for (const step of [1n, -1n]) {
          view.setBigInt64(0, view.getBigInt64(0) + step);
          const neighbour = view.getFloat64(0);
          view.setBigInt64(0, view.getBigInt64(0) - step);
          if (Number.isFinite(neighbour))
            assert.ok(distance(sum) <= distance(neighbour), `${numbers.join(' + ')} is not ${sum}`);
        }
      },
    ),
    { numRuns: 3000, seed: 48 },
  );
});

test('the order in which rows come makes no difference to sums, averages and variances', () => {
  fc.assert(
    fc.property(fc.array(fraction, { maxLength: 20 }), (values) => {
      const events = values.map((x) => ({ x }));
      for (const text of ['SUM(x)', 'AVG(x)', 'VAR(x)', 'STDEVP(x)'])
        assert.equal(over(text, events), over(text, events.toReversed()), text);
    }),
    { numRuns: 500, seed: 49 },
  );
});

test('bytes grow with what is collected, and stay where only numbers are kept', () => {
  const held = (text: string, count: number): number => {
    const made = aggregate(text);
    const accumulator = made.create();
    for (let index = 0; index < count; index++) accumulator.add(valuesOf(made, { x: index }));
    return accumulator.bytes;
  };
  for (const text of ['COUNT(*)', 'SUM(x)', 'AVG(x)', 'STDEV(x)', 'MAX(x)', 'TopOne() OVER (ORDER BY x)'])
    assert.ok(held(text, 1000) < 300, text);
  for (const text of ['Collect()', 'COUNT(DISTINCT x)', 'PERCENTILE_CONT(0.5) OVER (ORDER BY x)'])
    assert.ok(held(text, 1000) > 5000, text);
});

test('a result for each of many events does not put all of them in order again', () => {
  const order = 'OVER (ORDER BY x)';
  for (const text of [`TopOne() ${order}`, `CollectTop(3, x) ${order}`, `PERCENTILE_CONT(0.9) ${order}`]) {
    const made = aggregate(text);
    const window = made.create(true);
    const events = Array.from({ length: 22_000 }, (_, n) => valuesOf(made, { x: (n * 7919) % 10_007 }));
    // The processor's time: what others take of it is not ours.
    const began = process.cpuUsage();
    for (const [n, values] of events.entries()) {
      window.add(values);
      if (n < 20_000) continue;
      window.remove(events[n - 20_000]!);
      window.result();
    }
    const ms = process.cpuUsage(began).user / 1000;
    assert.ok(ms < 5000, `${text}: ${Math.round(ms)} ms`);
  }
});
