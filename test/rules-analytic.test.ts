import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { QueryProblem } from '../src/query/problem.ts';
import { decodeState, encodeState } from '../src/query/state.ts';
import { Float, type Fields, type Value } from '../src/query/value.ts';
import { fc } from './parts/properties.ts';
import { type RigOptions, SelectRig } from './parts/select-rig.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const SEEDS = [1, 20_261_126, ...(LONG ? [2, 3, 4] : [])];
const RUNS = LONG ? 2_000 : 150;

type Event = readonly [second: number, fields: Fields];

function rigOf(expression: string, options?: RigOptions): SelectRig {
  return new SelectRig(`SELECT ${expression} AS x FROM i`, options);
}

/** What `expression` is for each of these events. */
function values(expression: string, ...events: readonly Event[]): Value[] {
  const rig = rigOf(expression);
  for (const [second, fields] of events) rig.feed('i', second, fields);
  return rig.end().map(([, { x }]) => x as Value);
}

/** Events with these values of v at these seconds. */
function readings(...pairs: readonly (readonly [number, Value])[]): Event[] {
  return pairs.map(([second, v]) => [second, { v }]);
}

const HOUR = 'OVER (LIMIT DURATION(hour, 1))';

describe('LAG', () => {
  test('example of the reference: only events that met WHEN count, and not for longer than the duration', () => {
    const lag = 'LAG(v) OVER (PARTITION BY id LIMIT DURATION(second, 10) WHEN v > 2)';
    const events = (
      [
        [1, 5],
        [4, 1],
        [8, 3],
        [20, 4],
      ] as const
    ).map(([second, v]): Event => [second, { id: 'a', v }]);
    assert.deepEqual(values(lag, ...events), [null, 5, 5, null]);
  });

  test('an event that is exactly as old as the duration still counts', () => {
    const lag = 'LAG(v) OVER (LIMIT DURATION(second, 10))';
    assert.deepEqual(values(lag, ...readings([1, 5], [11, 6], [21.000001, 7])), [null, 5, null]);
  });

  test('an offset counts events back, and finds none beyond the duration', () => {
    const lag = 'LAG(v, 2) OVER (LIMIT DURATION(second, 10))';
    assert.deepEqual(values(lag, ...readings([1, 1], [2, 2], [3, 3], [12, 4], [13, 5], [30, 6])), [
      null,
      null,
      1,
      2,
      3,
      null,
    ]);
  });

  test('the default stands where no event is found, and NULL where the event that was found has NULL', () => {
    const lag = 'LAG(v, 1, -1) OVER (LIMIT DURATION(second, 10))';
    assert.deepEqual(values(lag, ...readings([1, 1], [2, null], [3, 3], [14, 4])), [-1, 1, null, -1]);
  });

  test('a default may be of the event itself', () => {
    assert.deepEqual(values(`LAG(v, 1, v * 10) ${HOUR}`, ...readings([1, 1], [2, 2])), [10, 1]);
  });

  test('partitions know nothing of each other; NULL is one, and 1 and 1.0 are the same', () => {
    const lag = 'LAG(v) OVER (PARTITION BY id LIMIT DURATION(hour, 1))';
    const ids: Value[] = [1, '1', null, new Float(1), '1', null, { a: 1 }, { a: 1 }];
    const events = ids.map((id, v): Event => [v, { id, v }]);
    assert.deepEqual(values(lag, ...events), [null, null, null, 0, 1, 2, null, 6]);
  });

  test('two keys are one partition together', () => {
    const lag = 'LAG(v) OVER (PARTITION BY a, b LIMIT DURATION(hour, 1))';
    const keys = [
      ['x', 'y'],
      ['xy', ''],
      ['', 'xy'],
      ['x', 'y'],
    ] as const;
    assert.deepEqual(values(lag, ...keys.map(([a, b], v): Event => [v, { a, b, v }])), [null, null, null, 0]);
  });

  test('LAG(*) is the event before, whole', () => {
    assert.deepEqual(values(`LAG(*) ${HOUR}`, [1, { a: 1, b: 'x' }], [2, {}]), [null, { a: 1, b: 'x' }]);
    assert.deepEqual(values(`LAG(*, 2) ${HOUR}`, [1, { a: 1 }], [2, { a: 2 }], [3, {}]), [null, null, { a: 1 }]);
  });

  test('events of one moment come in the order of their arrival', () => {
    assert.deepEqual(values(`LAG(v) ${HOUR}`, ...readings([1, 'a'], [1, 'b'], [1, 'c'])), [null, 'a', 'b']);
  });

  test('it is part of an expression, and there may be several', () => {
    const rig = new SelectRig(`SELECT v - LAG(v) ${HOUR} AS step, v - LAG(v, 2) ${HOUR} AS two FROM i`);
    for (const [second, fields] of readings([1, 1], [2, 5], [3, 7])) rig.feed('i', second, fields);
    assert.deepEqual(
      rig.end().map(([, body]) => body),
      [
        { step: null, two: null },
        { step: 4, two: null },
        { step: 2, two: 6 },
      ],
    );
  });

  test('it is worked out before WHERE: what WHERE leaves out is seen', () => {
    const rig = new SelectRig(`SELECT v, LAG(v) ${HOUR} AS x FROM i WHERE v > 2 AND LAG(v) ${HOUR} < v`);
    for (const [second, fields] of readings([1, 3], [2, 1], [3, 4], [4, 3])) rig.feed('i', second, fields);
    assert.deepEqual(rig.end(), [[3, { v: 4, x: 1 }]]);
  });
});

describe('LAST', () => {
  test('is the latest event that met WHEN, this one included', () => {
    const last = 'LAST(v) OVER (LIMIT DURATION(second, 10) WHEN v > 2)';
    assert.deepEqual(values(last, ...readings([1, 1], [2, 5], [3, 2], [12, 1], [12.5, 1], [13, 4])), [
      null,
      5,
      5,
      5,
      null,
      4,
    ]);
  });

  test('the default stands where there is none, and NULL where it has NULL', () => {
    const last = "LAST(v, 'none') OVER (LIMIT DURATION(second, 10) WHEN good = 1)";
    const events: Event[] = [
      [1, { good: 0, v: 1 }],
      [2, { good: 1, v: null }],
      [3, { good: 0, v: 3 }],
    ];
    assert.deepEqual(values(last, ...events), ['none', null, null]);
  });
});

describe('ISFIRST', () => {
  test('is 1 for the first event of each interval, whose start is outside and whose end is inside', () => {
    assert.deepEqual(
      values('ISFIRST(second, 10)', ...readings([1, 0], [9, 0], [10, 0], [10.000001, 0], [35, 0], [40, 0])),
      [1, 0, 0, 1, 1, 0],
    );
  });

  test('counts only events that meet WHEN, by partition; others are never first', () => {
    const first = 'ISFIRST(second, 10) OVER (PARTITION BY id WHEN v > 2)';
    const events: Event[] = [
      [1, { id: 'a', v: 1 }],
      [2, { id: 'a', v: 3 }],
      [3, { id: 'b', v: 3 }],
      [4, { id: 'a', v: 4 }],
      [11, { id: 'b', v: 5 }],
    ];
    assert.deepEqual(values(first, ...events), [0, 1, 1, 0, 1]);
  });

  test('a WHERE with it keeps one event of each interval', () => {
    const rig = new SelectRig('SELECT v FROM i WHERE ISFIRST(minute, 1) = 1');
    for (const [second, fields] of readings([1, 1], [59, 2], [61, 3])) rig.feed('i', second, fields);
    assert.deepEqual(
      rig.end().map(([, { v }]) => v),
      [1, 3],
    );
  });
});

describe('an aggregate over the last events', () => {
  const over = 'OVER (LIMIT DURATION(second, 10))';

  test('counts an event that is exactly as old as the duration, and none that is older', () => {
    assert.deepEqual(
      values(`SUM(v) ${over}`, ...readings([1, 1], [5, 2], [11, 4], [11.5, 8], [30, 16])),
      [1, 3, 7, 14, 16],
    );
  });

  test('AVG, MIN, MAX and COUNT of the same events; NULL is left out, but by COUNT(*)', () => {
    const events = readings([1, 4], [2, null], [3, 1], [12, 7]);
    assert.deepEqual(values(`AVG(v) ${over}`, ...events), [new Float(4), new Float(4), 2.5, new Float(4)]);
    assert.deepEqual(values(`MIN(v) ${over}`, ...events), [4, 4, 1, 1]);
    assert.deepEqual(values(`MAX(v) ${over}`, ...events), [4, 4, 4, 7]);
    assert.deepEqual(values(`COUNT(v) ${over}`, ...events), [1, 1, 2, 2]);
    assert.deepEqual(values(`COUNT(*) ${over}`, ...events), [1, 2, 3, 3]);
  });

  test('floats that left are taken back without a trace', () => {
    assert.deepEqual(values(`SUM(v) ${over}`, ...readings([1, 1e16], [2, 0.1], [12, 0.2])).at(-1), 0.1 + 0.2);
  });

  test('Collect, CollectTop and TopOne, of values or of whole events', () => {
    const events = readings([1, 2], [2, 9], [3, 4]);
    assert.deepEqual(values(`Collect(v) ${over}`, ...events).at(-1), [2, 9, 4]);
    assert.deepEqual(values(`Collect() ${over}`, ...events).at(-1), [{ v: 2 }, { v: 9 }, { v: 4 }]);
    assert.deepEqual(values('TopOne(v) OVER (ORDER BY v DESC LIMIT DURATION(second, 10))', ...events), [2, 9, 9]);
    assert.deepEqual(values('TopOne() OVER (ORDER BY v DESC LIMIT DURATION(second, 10))', ...events).at(-1), { v: 9 });
    assert.deepEqual(values('CollectTop(2, v) OVER (ORDER BY v ASC LIMIT DURATION(second, 10))', ...events).at(-1), [
      { rank: 1, value: 2 },
      { rank: 2, value: 4 },
    ]);
  });

  test('WHEN says which events count; one that does not still gets the value of those that do', () => {
    const sum = 'SUM(v) OVER (PARTITION BY id LIMIT DURATION(second, 10) WHEN v > 2)';
    const events: Event[] = [
      [1, { id: 'a', v: 1 }],
      [2, { id: 'a', v: 3 }],
      [3, { id: 'b', v: 5 }],
      [4, { id: 'a', v: 2 }],
      [13, { id: 'a', v: 1 }],
    ];
    assert.deepEqual(values(sum, ...events), [null, 3, 5, 3, null]);
    assert.deepEqual(values(sum.replace('SUM(v)', 'COUNT(*)'), ...events), [0, 1, 1, 1, 0]);
  });

  test('an event that it cannot take is dropped and counted, and leaves no trace in any function', () => {
    const rig = new SelectRig(`SELECT COUNT(*) ${over} AS n, SUM(v) ${over} AS s, LAG(v) ${over} AS l FROM i`);
    for (const [second, fields] of readings([1, 1], [2, 'text'], [3, 3])) rig.feed('i', second, fields);
    assert.deepEqual(rig.end(), [
      [1, { n: 1, s: 1, l: null }],
      [3, { n: 2, s: 4, l: 1 }],
    ]);
    assert.equal(rig.account.counters.dropped, 1);
  });
});

test('an event whose value cannot be told is dropped and counted, but is one of the last events of those after it', () => {
  const rig = rigOf('SUM(v) OVER (LIMIT DURATION(second, 10))');
  for (const [second, fields] of readings([1, 2n ** 62n], [2, 2n ** 62n], [12, -1])) rig.feed('i', second, fields);
  assert.deepEqual(rig.end(), [
    [1, { x: 2n ** 62n }],
    [12, { x: 2n ** 62n - 1n }],
  ]);
  assert.equal(rig.account.counters.dropped, 1);
});

describe('analytic functions and joins', () => {
  test('each looks at its own source alone, before it is joined', () => {
    const query = `SELECT L.v AS l, LAG(L.v) ${HOUR} AS lagL, R.v AS r, LAG(R.v) ${HOUR} AS lagR
      FROM L LEFT JOIN R ON L.id = R.id AND DATEDIFF(second, L, R) BETWEEN 0 AND 5`;
    const rig = new SelectRig(query);
    rig.feed('L', 1, { id: 0, v: 'l1' });
    rig.feed('L', 2, { id: 1, v: 'l2' });
    rig.feed('R', 2, { id: 9, v: 'r2' });
    rig.feed('R', 3, { id: 1, v: 'r3' });
    assert.deepEqual(rig.end(), [
      [3, { l: 'l2', lagL: 'l1', r: 'r3', lagR: 'r2' }],
      [6, { l: 'l1', lagL: null, r: null, lagR: null }],
    ]);
  });

  test('before APPLY: the event before, not the element before', () => {
    const query = `SELECT a.ArrayValue AS v, LAG(e.n) ${HOUR} AS x FROM i AS e CROSS APPLY GetArrayElements(e.list) AS a`;
    const rig = new SelectRig(query);
    rig.feed('i', 1, { n: 1, list: [1, 2] });
    rig.feed('i', 2, { n: 2, list: [3] });
    assert.deepEqual(
      rig.end().map(([, { x }]) => x),
      [null, null, 1],
    );
  });

  const joined = 'FROM L JOIN R ON DATEDIFF(second, L, R) BETWEEN 0 AND 5';
  const refused: [string, RegExp, string][] = [
    [
      `SELECT LAG(L.v) OVER (PARTITION BY R.id LIMIT DURATION(hour, 1)) AS x ${joined}`,
      /sees one source alone/,
      'R.id',
    ],
    [`SELECT COUNT(*) ${HOUR} AS x ${joined}`, /may be over any of the joined sources/, 'COUNT'],
    [
      `SELECT LAG(a.ArrayValue) ${HOUR} AS x FROM i AS e CROSS APPLY GetArrayElements(e.list) AS a`,
      /before APPLY/,
      'a.ArrayValue',
    ],
    [`SELECT LAG(v, 0) ${HOUR} AS x FROM i`, /whole number from 1 to 10000/, '0)'],
    [`SELECT LAG(v, n) ${HOUR} AS x FROM i`, /whole number from 1 to 10000/, 'n)'],
    [`SELECT LAG(v, 10001) ${HOUR} AS x FROM i`, /whole number from 1 to 10000/, '10001'],
    [`SELECT LAG() ${HOUR} AS x FROM i`, /needs an argument/, 'LAG'],
    [`SELECT LAG(v, 1, 0, 0) ${HOUR} AS x FROM i`, /takes at most 3/, 'LAG'],
    [`SELECT LAST(*, 1, 2) ${HOUR} AS x FROM i`, /takes at most/, 'LAST'],
    ['SELECT LAG(v) AS x FROM i', /how far back/, 'LAG'],
    ['SELECT ISFIRST(day, 8) AS x FROM i', /at most 7 days/, 'ISFIRST'],
    [`SELECT LAG(LAG(v) ${HOUR}) ${HOUR} AS x FROM i`, /cannot stand in LAG/, 'LAG(v)'],
  ];
  for (const [query, message, place] of refused) {
    test(`is refused where it stands: ${query}`, () => {
      assert.throws(
        () => new SelectRig(query),
        (error) => {
          assert.ok(error instanceof QueryProblem, String(error));
          assert.match(error.message, message);
          assert.ok(query.slice(error.at).startsWith(place), query.slice(error.at));
          return true;
        },
      );
    });
  }
});

describe('what analytic functions remember', () => {
  test('goes when the duration has passed, partition by partition', () => {
    const rig = rigOf('LAG(v) OVER (PARTITION BY id LIMIT DURATION(second, 10))');
    rig.feed('i', 1, { id: 'a', v: 1 });
    rig.feed('i', 2, { id: 'b', v: 1 });
    rig.feed('i', 5, { id: 'a', v: 1 });
    assert.equal(rig.held.groups, 2);
    rig.advance('i', 11.999999);
    assert.equal(rig.held.groups, 2);
    rig.advance('i', 12);
    assert.equal(rig.held.groups, 1);
    rig.advance('i', 15);
    assert.deepEqual(rig.held, { windows: 0, groups: 0, bytes: 0 });
    assert.deepEqual(rig.account.held, rig.held);
  });

  test('LAG remembers no more events than its offset', () => {
    const rig = rigOf('LAG(v, 3) OVER (LIMIT DURATION(hour, 1))');
    for (let second = 1; second <= 3; second++) rig.feed('i', second, { v: 1 });
    const three = rig.held.bytes;
    for (let second = 4; second <= 100; second++) rig.feed('i', second, { v: 1 });
    assert.equal(rig.held.bytes, three);
    assert.deepEqual(rig.account.held, rig.held);
  });

  test('is bounded: an event that would open one group too many is left out and counted, what is open goes on', () => {
    const rig = rigOf('COUNT(*) OVER (PARTITION BY id LIMIT DURATION(second, 10))', { limits: { groups: 2 } });
    for (const [second, id] of [
      [1, 'a'],
      [2, 'b'],
      [3, 'c'],
      [4, 'a'],
      [13, 'c'],
    ] as const)
      rig.feed('i', second, { id });
    assert.deepEqual(
      rig.end().map(([second, { x }]) => [second, x]),
      [
        [1, 1],
        [2, 1],
        [4, 2],
        [13, 1],
      ],
    );
    assert.equal(rig.account.counters.bounded, 1);
    assert.equal(rig.account.held.groups, 0);
  });

  test('is bounded in bytes too', () => {
    const rig = rigOf('Collect(v) OVER (LIMIT DURATION(second, 10))', { limits: { bytes: 10_000 } });
    for (let second = 0; second < 10; second++) rig.feed('i', second, { v: 'x'.repeat(1_000) });
    assert.equal(rig.results.length, 4);
    assert.equal(rig.account.counters.bounded, 6);
  });
});

interface Case {
  readonly functions: readonly Fn[];
  readonly events: readonly { readonly second: number; readonly id: Value; readonly v: Value }[];
  /** After how many events the state is saved and taken up by another. */
  readonly cuts: readonly number[];
}

interface Fn {
  readonly name: 'LAG' | 'LAST' | 'ISFIRST' | 'SUM' | 'AVG' | 'MIN' | 'COUNT' | 'Collect' | 'TopOne';
  readonly offset: number;
  readonly duration: number;
  readonly when: boolean;
  readonly partitioned: boolean;
}

const fns: fc.Arbitrary<Fn> = fc.record({
  name: fc.constantFrom('LAG', 'LAST', 'ISFIRST', 'SUM', 'AVG', 'MIN', 'COUNT', 'Collect', 'TopOne'),
  offset: fc.integer({ min: 1, max: 4 }),
  duration: fc.integer({ min: 1, max: 12 }),
  when: fc.boolean(),
  partitioned: fc.boolean(),
});
const cases: fc.Arbitrary<Case> = fc.record({
  functions: fc.array(fns, { minLength: 1, maxLength: 4 }),
  events: fc
    .array(
      fc.record({
        second: fc.integer({ min: 0, max: 40 }),
        id: fc.constantFrom<Value>('a', 'b', null, 1),
        v: fc.constantFrom<Value>(null, 0, 1, 2, 3, 0.1, new Float(2), 2n ** 57n),
      }),
      { maxLength: 40 },
    )
    .map((events) => events.toSorted((a, b) => a.second - b.second)),
  cuts: fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 4 }),
});

function textOf({ name, offset, duration, when, partitioned }: Fn): string {
  const call = {
    LAG: `LAG(v, ${offset}, -1)`,
    LAST: 'LAST(v, -1)',
    ISFIRST: `ISFIRST(second, ${duration})`,
    COUNT: 'COUNT(*)',
  };
  const order = name === 'TopOne' ? ' ORDER BY v DESC' : '';
  const limit = name === 'ISFIRST' ? '' : ` LIMIT DURATION(second, ${duration})`;
  const own = name in call ? call[name as keyof typeof call] : `${name}(v)`;
  return `${own} OVER (${partitioned ? 'PARTITION BY id' : ''}${order}${limit}${when ? ' WHEN v >= 1' : ''})`;
}

function plain(value: Value): number {
  return Number(value instanceof Float ? value.value : value);
}

/** The value for event `index`, from all events before it. */
function naive(fn: Fn, events: Case['events'], index: number): Value {
  const here = events[index] as Case['events'][number];
  const counts = ({ v, id }: { v: Value; id: Value }): boolean =>
    (!fn.when || (v !== null && plain(v) >= 1)) && (!fn.partitioned || id === here.id);
  const meets = events.slice(0, index + 1).filter(counts);
  const before = events.slice(0, index).filter(counts);
  const young = (event: { second: number }): boolean => here.second - event.second <= fn.duration;
  const inside = meets.filter(young).map(({ v }) => v);
  const numbers = inside.filter((v) => v !== null);
  const interval = (second: number): number => Math.ceil(second / fn.duration);
  switch (fn.name) {
    case 'LAG': {
      const found = before.at(-fn.offset);
      return found !== undefined && young(found) ? found.v : -1;
    }
    case 'LAST': {
      const found = meets.at(-1);
      return found !== undefined && young(found) ? found.v : -1;
    }
    case 'ISFIRST':
      return counts(here) && !before.some(({ second }) => interval(second) === interval(here.second)) ? 1 : 0;
    case 'COUNT':
      return inside.length;
    case 'Collect':
      return inside;
    case 'MIN':
      return numbers.reduce<Value>((least, v) => (least === null || plain(v) < plain(least) ? v : least), null);
    case 'TopOne':
      // NULL is smallest, so last of all.
      return inside.reduce<Value>(
        (most, v) => (v !== null && (most === null || plain(v) > plain(most)) ? v : most),
        null,
      );
    case 'SUM':
    case 'AVG':
      return sumOf(fn.name, numbers);
  }
}

/** In tenths, as integers: without any rounding before the end. */
function sumOf(name: 'SUM' | 'AVG', numbers: readonly Value[]): Value {
  if (numbers.length === 0) return null;
  const isFloat = (v: Value): boolean => v instanceof Float || (typeof v === 'number' && !Number.isInteger(v));
  const whole = numbers.reduce<bigint>((sum, v) => sum + (isFloat(v) && plain(v) === 0.1 ? 0n : BigInt(plain(v))), 0n);
  const tenths = numbers.filter((v) => v === 0.1).length;
  if (name === 'SUM' && !numbers.some(isFloat)) return whole > BigInt(Number.MAX_SAFE_INTEGER) ? whole : Number(whole);
  // 0.1 is a little more than a tenth: its exact value times 2^55 is a whole number.
  const scaled = whole * 2n ** 55n + BigInt(tenths) * 3_602_879_701_896_397n;
  const sum = roundedQuotient(scaled, 2n ** 55n);
  const result = name === 'SUM' ? sum : sum / numbers.length;
  return Number.isInteger(result) ? new Float(result) : result;
}

/** a / b rounded once to the nearest double, for b a power of two: the conversion of a is what rounds. */
function roundedQuotient(a: bigint, b: bigint): number {
  return Number(a) / Number(b);
}

function incremental({ functions, events, cuts }: Case): Value[][] {
  const query = `SELECT ${functions.map((fn, n) => `${textOf(fn)} AS x${n}`).join(', ')} FROM i`;
  let rig = new SelectRig(query);
  const rows: Value[][] = [];
  const take = (): void => {
    for (const [, body] of rig.results) rows.push(functions.map((_, n) => body[`x${n}`] as Value));
  };
  events.forEach(({ second, id, v }, index) => {
    if (cuts.includes(index)) {
      const other = new SelectRig(query);
      other.load(decodeState(encodeState(rig.save())));
      assert.deepEqual(other.held, rig.held);
      assert.deepEqual(other.account.held, rig.account.held);
      take();
      rig = other;
    }
    rig.feed('i', second, { id, v });
    assert.deepEqual(rig.account.held, rig.held);
  });
  rig.end();
  take();
  assert.deepEqual(rig.held, { windows: 0, groups: 0, bytes: 0 });
  return rows;
}

for (const seed of SEEDS) {
  test(`each value is what all events before it say, wherever it is cut (seed ${seed})`, () => {
    fc.assert(
      fc.property(cases, (one) => {
        const expected = one.events.map((_, index) => one.functions.map((fn) => naive(fn, one.events, index)));
        assert.deepEqual(incremental(one), expected);
      }),
      { seed, numRuns: RUNS },
    );
  });
}
