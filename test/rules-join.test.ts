import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodeState, encodeState } from '../src/query/state.ts';
import { QueryProblem } from '../src/query/problem.ts';
import { Float, type Fields, type Value } from '../src/query/value.ts';
import { fc } from './parts/properties.ts';
import { type Result, SelectRig } from './parts/select-rig.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const SEEDS = [1, 20_261_126, ...(LONG ? [2, 3, 4] : [])];
const RUNS = LONG ? 2_000 : 200;

type Event = readonly [input: string, second: number, fields: Fields];

function run(query: string, ...events: readonly Event[]): readonly Result[] {
  const rig = new SelectRig(query);
  for (const [input, second, fields] of events) rig.feed(input, second, fields);
  return rig.end();
}

/** Events of one input at these seconds, each with its second as `n`. */
function at(input: string, ...seconds: readonly number[]): Event[] {
  return seconds.map((second) => [input, second, { n: second }]);
}

function pairs(query: string, ...events: readonly Event[]): string {
  return run(query, ...events)
    .map(([time, { l, r }]) => `${time}:${named(l)},${named(r)}`)
    .join(' ');
}

function named(value: Value | undefined): string {
  return value === null ? 'null' : `${value as string | number}`;
}

const SELECT = 'SELECT L.n AS l, R.n AS r FROM L';

describe('a join of two streams', () => {
  test('LEFT JOIN of the reference: a pair at the later time, a lonely left row when nothing can follow any more', () => {
    assert.deepEqual(
      run(`${SELECT} LEFT JOIN R ON DATEDIFF(second, L, R) BETWEEN 0 AND 5`, ...at('R', 9, 12), ...at('L', 10, 20)),
      [
        [12, { l: 10, r: 12 }],
        [25, { l: 20, r: null }],
      ],
    );
  });

  test('both bounds are inside', () => {
    const query = `${SELECT} JOIN R ON DATEDIFF(second, L, R) BETWEEN 0 AND 5`;
    assert.equal(pairs(query, ...at('L', 10), ...at('R', 9.999999, 10, 15, 15.000001)), '10:10,10 15:10,15');
  });

  test('time between is an exact length, not the boundaries that were crossed', () => {
    const query = `${SELECT} JOIN R ON DATEDIFF(minute, L, R) BETWEEN 0 AND 1`;
    assert.equal(pairs(query, ...at('L', 59), ...at('R', 119, 119.5)), '119:59,119');
    assert.equal(pairs(query, ...at('L', 59), ...at('R', 121)), '');
  });

  const bounded: [string, string][] = [
    ['DATEDIFF(second, L, R) BETWEEN -2 AND 2', '10:10,8 10:10,10 12:10,12'],
    ['DATEDIFF(second, R, L) BETWEEN 0 AND 2', '10:10,8 10:10,10'],
    ['DATEDIFF(second, R, L) BETWEEN -2 AND 0', '10:10,10 12:10,12'],
    ['DATEDIFF(second, l, r) >= 0 AND DATEDIFF(second, L, R) < 2', '10:10,10'],
    ['DATEDIFF(second, L, R) > 0 AND DATEDIFF(second, L, R) <= 2', '12:10,12'],
    ['0 <= DATEDIFF(second, L, R) AND 2 > DATEDIFF(second, L, R)', '10:10,10'],
    ['DATEDIFF(second, L, R) > -1 AND DATEDIFF(second, R, L) > -3', '10:10,10 12:10,12'],
    ['DATEDIFF(second, L, R) BETWEEN 0 AND 0', '10:10,10'],
    ['DATEDIFF(second, L, R) = 2', '12:10,12'],
    ['DATEDIFF(second, L, R) BETWEEN 1 AND 7 AND DATEDIFF(second, L, R) <= 1.5 + 1', '12:10,12'],
    ['DATEDIFF(millisecond, L, R) BETWEEN 0 AND 2000', '10:10,10 12:10,12'],
    ['DATEDIFF(mcs, L, R) BETWEEN 0 AND 1999999', '10:10,10'],
    ['DATEDIFF(hour, L, R) BETWEEN 0 AND 0.001', '10:10,10 12:10,12'],
    ['DATEDIFF(day, L, R) BETWEEN 0 AND 7', '10:10,10 12:10,12 17:10,17'],
    ['DATEDIFF(week, L, R) BETWEEN 0 AND 1', '10:10,10 12:10,12 17:10,17'],
  ];
  for (const [on, expected] of bounded) {
    test(`ON ${on}`, () =>
      assert.equal(pairs(`${SELECT} JOIN R ON ${on}`, ...at('R', 8, 10, 12, 17), ...at('L', 10)), expected));
  }

  test('a limit with a fraction is that time to the microsecond, whatever its product with the unit is rounded to', () => {
    const events: Event[] = [...at('L', 10), ...at('R', 14.1, 14.100001)];
    for (const on of ['BETWEEN 4.1 AND 4.1', '= 4.1', '<= 4.1 AND DATEDIFF(second, L, R) > 4']) {
      assert.equal(pairs(`${SELECT} JOIN R ON DATEDIFF(second, L, R) ${on}`, ...events), '14.1:10,14.1', on);
    }
    assert.equal(
      pairs(`${SELECT} JOIN R ON DATEDIFF(second, R, L) < -4.1 AND DATEDIFF(second, R, L) > -5`, ...events),
      '14.100001:10,14.100001',
    );
  });

  test('a bound that looks back only: the lonely row comes at its own time', () => {
    const query = `${SELECT} LEFT JOIN R ON DATEDIFF(second, L, R) BETWEEN -10 AND -5`;
    assert.equal(pairs(query, ...at('R', 2), ...at('L', 9, 13)), '9:9,2 13:13,null');
  });

  test('equal values of equal types match: 20 and 20.0 do, 1 and text do not, NULL matches nothing', () => {
    const query =
      'SELECT L.n AS l, R.n AS r FROM L LEFT JOIN R ON L.id = R.id AND DATEDIFF(second, L, R) BETWEEN 0 AND 9';
    const events = (left: Value, right: Value): Event[] => [
      ['L', 1, { n: 1, id: left }],
      ['R', 2, { n: 2, id: right }],
    ];
    for (const [left, right] of [
      [20, new Float(20)],
      ['a', 'a'],
      [2n ** 60n, new Float(2 ** 60)],
      [true, true],
      [0.5, 0.5],
    ] as const) {
      assert.equal(pairs(query, ...events(left, right)), '2:1,2', typeof left);
    }
    for (const [left, right] of [
      [1, '1'],
      [null, null],
      ['a', 'A'],
      [1, true],
      [2n ** 60n, new Float(2 ** 60 + 256)],
      [[1], [1]],
    ] as const) {
      assert.equal(pairs(query, ...events(left, right)), '10:1,null', typeof left);
    }
    assert.equal(pairs(query, ['L', 1, { n: 1 }], ['R', 2, { n: 2 }]), '10:1,null');
  });

  test('several equalities count together, and either side of = may be the left one', () => {
    const query = `SELECT L.n AS l, R.n AS r FROM L JOIN R ON R.a = L.a AND L.b = R.b AND DATEDIFF(second, L, R) BETWEEN 0 AND 9`;
    const events: Event[] = [
      ['L', 1, { n: 1, a: 'x', b: 'yz' }],
      ['R', 2, { n: 2, a: 'xy', b: 'z' }],
      ['R', 3, { n: 3, a: 'x', b: 'yz' }],
    ];
    assert.equal(pairs(query, ...events), '3:1,3');
  });

  test('what else ON says is tested on the pair; in a LEFT JOIN it makes the left row lonely', () => {
    const on = 'DATEDIFF(second, L, R) BETWEEN 0 AND 5 AND (R.n > L.n + 2 OR R.n IS NULL)';
    assert.equal(pairs(`${SELECT} JOIN R ON ${on}`, ...at('L', 1, 3), ...at('R', 2, 4)), '4:1,4');
    assert.equal(pairs(`${SELECT} LEFT JOIN R ON ${on}`, ...at('L', 1, 3), ...at('R', 2, 4)), '4:1,4 8:3,null');
  });

  test('WHERE r IS NULL after a LEFT JOIN finds what has no follower', () => {
    const query = `${SELECT} LEFT JOIN R ON DATEDIFF(second, L, R) BETWEEN 0 AND 5 WHERE R.n IS NULL`;
    assert.equal(pairs(query, ...at('L', 1, 11), ...at('R', 2)), '16:11,null');
  });

  test('an input joined with itself: an event meets itself when 0 is within the bound', () => {
    const self = (low: number): string =>
      `SELECT L.n AS l, R.n AS r FROM i AS L JOIN i AS R ON DATEDIFF(second, L, R) BETWEEN ${low} AND 3`;
    assert.equal(pairs(self(0), ...at('i', 1, 3)), '1:1,1 3:1,3 3:3,3');
    assert.equal(pairs(self(1), ...at('i', 1, 3)), '3:1,3');
  });

  test('pairs of one moment: the left rows of that moment with what was before, then the right rows with all', () => {
    const query = `${SELECT} JOIN R ON DATEDIFF(second, L, R) BETWEEN -5 AND 5`;
    const events: Event[] = [
      ['R', 1, { n: 'r1' }],
      ['L', 1, { n: 'l1' }],
      ['R', 2, { n: 'r2' }],
      ['R', 2, { n: 'r3' }],
      ['L', 2, { n: 'l2' }],
    ];
    const expected = '1:l1,r1 2:l2,r1 2:l1,r2 2:l2,r2 2:l1,r3 2:l2,r3';
    assert.equal(pairs(query, ...events), expected);
    assert.equal(
      pairs(
        query,
        ...events
          .toReversed()
          .toSorted((a, b) => a[1] - b[1] || (a[2]['n'] as string).localeCompare(b[2]['n'] as string)),
      ),
      expected,
    );
  });

  test('nothing is given out before both sides are known', () => {
    const rig = new SelectRig(`${SELECT} JOIN R ON DATEDIFF(second, L, R) BETWEEN 0 AND 5`);
    rig.feed('L', 1, { n: 1 });
    rig.feed('R', 3, { n: 3 });
    rig.advance('R', 9);
    assert.deepEqual(rig.results, []);
    assert.equal(rig.due, 1);
    rig.advance('L', 2.999999);
    assert.deepEqual(rig.results, []);
    assert.equal(rig.due, 3);
    rig.advance('L', 3);
    assert.deepEqual(rig.results, [[3, { l: 1, r: 3 }]]);
    assert.equal(rig.advanced, 3);
    assert.equal(rig.due, Infinity);
  });

  test('a lonely row is due when its bound has passed on both sides', () => {
    const rig = new SelectRig(`${SELECT} LEFT JOIN R ON DATEDIFF(second, L, R) BETWEEN 0 AND 5`);
    rig.feed('L', 1, { n: 1 });
    rig.advance('L', 100);
    rig.advance('R', 5.999999);
    assert.deepEqual(rig.results, []);
    assert.equal(rig.due, 6);
    rig.advance('R', 6);
    assert.deepEqual(rig.results, [[6, { l: 1, r: null }]]);
  });
});

describe('several joins', () => {
  const THREE = 'SELECT A.n AS a, B.n AS b, C.n AS c FROM A';
  const triples = (query: string, ...events: readonly Event[]): string =>
    run(query, ...events)
      .map(([time, { a, b, c }]) => `${time}:${named(a)},${named(b)},${named(c)}`)
      .join(' ');

  test('the second is bound to the first source, however late the pair was', () => {
    const query = `${THREE} JOIN B ON DATEDIFF(second, A, B) BETWEEN 0 AND 10 JOIN C ON DATEDIFF(second, A, C) BETWEEN 0 AND 5`;
    assert.equal(triples(query, ...at('A', 10), ...at('B', 18), ...at('C', 9, 12, 16)), '18:10,18,12');
  });

  test('the second is bound to the source in the middle', () => {
    const query = `${THREE} JOIN B ON DATEDIFF(second, A, B) BETWEEN -10 AND 0 JOIN C ON DATEDIFF(second, C, B) BETWEEN 0 AND 5`;
    assert.equal(triples(query, ...at('A', 20), ...at('B', 12), ...at('C', 6, 7, 12, 13)), '20:20,12,7 20:20,12,12');
  });

  test('bounds with each source count together, and one of them may be open', () => {
    const query = `${THREE} JOIN B ON DATEDIFF(second, A, B) BETWEEN 0 AND 10
      JOIN C ON DATEDIFF(second, A, C) BETWEEN 0 AND 12 AND DATEDIFF(second, B, C) > 0 AND A.n = B.n - 5`;
    assert.equal(
      triples(query, ...at('A', 10), ...at('B', 15, 16), ...at('C', 15, 16, 22, 23)),
      '16:10,15,16 22:10,15,22',
    );
  });

  test('a source that an outer join did not find bounds nothing, so nothing is found for it', () => {
    const query = `${THREE} LEFT JOIN B ON DATEDIFF(second, A, B) BETWEEN 0 AND 5 LEFT JOIN C ON DATEDIFF(second, B, C) BETWEEN 0 AND 5`;
    assert.equal(triples(query, ...at('A', 1, 20), ...at('B', 2), ...at('C', 4, 24)), '4:1,2,4 25:20,null,null');
  });

  test('lonely rows come in the order of their ends, not in that of their pairs', () => {
    const query = `${THREE} JOIN B ON DATEDIFF(second, A, B) BETWEEN 0 AND 5 LEFT JOIN C ON DATEDIFF(second, A, C) BETWEEN 0 AND 5`;
    const expected = '5:0,1,null 5:0,2,null 6:1,1,null 6:1,2,null';
    assert.equal(triples(query, ...at('A', 0, 1), ...at('B', 1, 2)), expected);
  });

  test('two LEFT JOINs: the row comes when the last bound has passed', () => {
    const query = `${THREE} LEFT JOIN B ON DATEDIFF(second, A, B) BETWEEN 0 AND 5 LEFT JOIN C ON DATEDIFF(second, A, C) BETWEEN 0 AND 9`;
    assert.equal(triples(query, ...at('A', 1), ...at('C', 3)), '6:1,null,3');
    assert.equal(triples(query, ...at('A', 1), ...at('B', 3)), '10:1,3,null');
  });
});

describe('what a join remembers', () => {
  test('goes as soon as its bound has passed', () => {
    const rig = new SelectRig(`${SELECT} JOIN R ON DATEDIFF(second, L, R) BETWEEN -4 AND 5`);
    rig.feed('L', 1, { n: 'x'.repeat(1000) });
    rig.feed('R', 1, { n: 'y'.repeat(1000) });
    const both = rig.held.bytes;
    assert.ok(both > 2000, String(both));
    rig.advance('L', 5);
    rig.advance('R', 5);
    const left = rig.held.bytes;
    assert.ok(left > 1000 && left < both - 1000, `${left} of ${both}`);
    rig.advance('L', 6);
    rig.advance('R', 6);
    assert.deepEqual(rig.held, { windows: 0, groups: 0, bytes: 0 });
    assert.deepEqual(rig.account.held, rig.held);
  });

  test('what no later row can match is not kept at all', () => {
    const rig = new SelectRig(`${SELECT} JOIN R ON L.id = R.id AND DATEDIFF(second, L, R) BETWEEN 0 AND 5`);
    rig.feed('R', 1, { id: 1 });
    rig.feed('L', 1, { id: null });
    rig.advance('L', 1);
    rig.advance('R', 1);
    assert.equal(rig.held.bytes, 0);
    assert.equal(rig.account.held.bytes, 0);
  });

  test('is bounded: an event without room is left out and counted, and there is room again later', () => {
    const rig = new SelectRig(`${SELECT} LEFT JOIN R ON DATEDIFF(second, L, R) BETWEEN 0 AND 5`, {
      limits: { bytes: 6000 },
    });
    for (let n = 0; n < 10; n++) rig.feed('L', 1, { n, text: 'x'.repeat(700) });
    assert.equal(rig.account.counters.bounded, 7);
    rig.advance('L', 6);
    rig.advance('R', 6);
    rig.feed('L', 7, { n: 11 });
    rig.end();
    assert.deepEqual(
      rig.results.map(([, { l }]) => l),
      [0, 1, 2, 11],
    );
    assert.equal(rig.account.held.bytes, 0);
  });

  test('an event whose key or condition cannot be worked out is dropped and counted, and the others are joined', () => {
    const query = `${SELECT} LEFT JOIN R ON CAST(L.id AS bigint) = R.id AND DATEDIFF(second, L, R) BETWEEN 0 AND 5 AND R.n / R.d > 0`;
    const rig = new SelectRig(query);
    rig.feed('L', 1, { n: 1, id: 'none' });
    rig.feed('L', 2, { n: 2, id: '7' });
    rig.feed('R', 3, { n: 3, id: 7, d: 0 });
    rig.feed('R', 4, { n: 4, id: 7, d: 1 });
    assert.deepEqual(rig.end(), [[4, { l: 2, r: 4 }]]);
    assert.equal(rig.account.counters.dropped, 2);
  });
});

describe('an ON that cannot be', () => {
  const refused: [string, RegExp, string][] = [
    ['L.id = R.id', /needs a bound in time/, 'L.id'],
    ['DATEDIFF(second, L.t, R.t) BETWEEN 0 AND 5', /does not bound the join in time/, 'DATEDIFF'],
    ['DATEDIFF(second, L, R) >= 0', /only one bound/, 'DATEDIFF(second, L, R) >= 0'],
    ['DATEDIFF(day, L, R) BETWEEN 0 AND 8', /at most 7 days/, 'DATEDIFF(day'],
    ['DATEDIFF(second, R, L) BETWEEN -604801 AND 0', /at most 7 days/, 'DATEDIFF(second, R'],
    ['DATEDIFF(second, L, R) BETWEEN 0 AND 5 OR L.id = 1', /does not bound the time between/, 'DATEDIFF'],
    ['NOT DATEDIFF(second, L, R) BETWEEN 0 AND 5', /does not bound the time between/, 'DATEDIFF'],
    ['DATEDIFF(second, L, R) NOT BETWEEN 0 AND 5', /does not bound the time between/, 'DATEDIFF'],
    ['DATEDIFF(second, L, R) <> 5', /<> does not bound/, 'DATEDIFF(second, L, R) <> 5'],
    ['DATEDIFF(second, L, R) + 1 < 5', /does not bound the time between/, 'DATEDIFF'],
    ['DATEDIFF(second, L, R) BETWEEN 0 AND R.n', /is a constant number/, 'R.n'],
    ["DATEDIFF(second, L, R) BETWEEN 0 AND '5'", /is a constant number/, "'5'"],
    ['DATEDIFF(second, L, R) BETWEEN 5 AND 0', /no time can meet/, 'DATEDIFF'],
    [
      'DATEDIFF(second, L, R) < 0 AND DATEDIFF(second, L, R) > 3',
      /together with the bounds before/,
      'DATEDIFF(second, L, R) > 3',
    ],
    ['DATEDIFF(month, L, R) BETWEEN 0 AND 1', /not counted in this unit/, 'month'],
    ['DATEDIFF(second, L, R.t) BETWEEN 0 AND 5', /is between two sources/, 'R.t'],
    ['DATEDIFF(second, L, L) BETWEEN 0 AND 5', /not between the two sides/, 'DATEDIFF'],
    ['DATEDIFF(second, L, R) BETWEEN 0 AND 5 AND Q.id = 1', /joined sources/, 'Q.id'],
  ];
  for (const [on, message, place] of refused) {
    test(`is refused where it stands: ${on}`, () => {
      const query = `${SELECT} JOIN R ON ${on}`;
      assert.throws(
        () => new SelectRig(query),
        (error) => {
          assert.ok(error instanceof QueryProblem, String(error));
          assert.match(error.message, message);
          assert.ok(query.slice(error.at).startsWith(place), `${error.message} at ${query.slice(error.at)}`);
          assert.notEqual(error.hint, '');
          return true;
        },
      );
    });
  }
});

interface Feed {
  readonly kind: 'inner' | 'left';
  readonly low: number;
  readonly high: number;
  readonly keyed: boolean;
  readonly events: readonly { readonly input: 'L' | 'R'; readonly second: number; readonly id: Value }[];
  /** Which input goes on next, and whether the state is saved and taken up by another just then. */
  readonly steps: readonly { readonly right: boolean; readonly restart: boolean; readonly ahead: boolean }[];
}

const second = fc.integer({ min: 0, max: 20 });
const id = fc.constantFrom<Value>(1, 2, 'a', '1', null, new Float(1));
const feeds: fc.Arbitrary<Feed> = fc
  .record({
    kind: fc.constantFrom('inner' as const, 'left' as const),
    ends: fc.tuple(fc.integer({ min: -6, max: 6 }), fc.integer({ min: -6, max: 6 })),
    keyed: fc.boolean(),
    events: fc.array(fc.record({ input: fc.constantFrom('L' as const, 'R' as const), second, id }), { maxLength: 25 }),
    steps: fc.array(fc.record({ right: fc.boolean(), restart: fc.boolean(), ahead: fc.boolean() }), {
      minLength: 60,
      maxLength: 60,
    }),
  })
  .map(({ ends: [a, b], ...rest }) => ({ ...rest, low: Math.min(a, b), high: Math.max(a, b) }));

interface Timed {
  readonly second: number;
  readonly fields: Fields;
}

function sorted(events: Feed['events'], input: 'L' | 'R'): Timed[] {
  return events
    .filter((event) => event.input === input)
    .map((event) => ({ second: event.second, id: event.id }))
    .sort((a, b) => a.second - b.second)
    .map((event, n) => ({ second: event.second, fields: { n, id: event.id } }));
}

/** Every pair, looked for in all of them; and in which order they come. */
function naive({ kind, low, high, keyed, events }: Feed): Result[] {
  const rights = sorted(events, 'R');
  const found: { readonly order: readonly number[]; readonly result: Result }[] = [];
  for (const [l, left] of sorted(events, 'L').entries()) {
    let matched = false;
    for (const [r, right] of rights.entries()) {
      const apart = right.second - left.second;
      if (apart < low || apart > high || (keyed && !equal(left.fields['id'] as Value, right.fields['id'] as Value)))
        continue;
      matched = true;
      const body = { l, r };
      found.push(
        apart < 0
          ? { order: [left.second, 0, l, r], result: [left.second, body] }
          : { order: [right.second, 1, r, l], result: [right.second, body] },
      );
    }
    if (matched || kind === 'inner') continue;
    const due = Math.max(left.second, left.second + high);
    found.push({ order: [due, high < 0 ? 0 : 2, l, 0], result: [due, { l, r: null }] });
  }
  found.sort((a, b) => a.order.map((part, index) => part - (b.order[index] ?? 0)).find((part) => part !== 0) ?? 0);
  return found.map(({ result }) => result);
}

function equal(left: Value, right: Value): boolean {
  const plain = (value: Value): Value => (value instanceof Float ? value.value : value);
  return left !== null && plain(left) === plain(right);
}

function incremental(feed: Feed): readonly Result[] {
  const { kind, low, high, keyed, events, steps } = feed;
  const on = `DATEDIFF(second, L, R) BETWEEN ${low} AND ${high}${keyed ? ' AND L.id = R.id' : ''}`;
  const make = (): SelectRig => new SelectRig(`${SELECT} ${kind} JOIN R ON ${on}`);
  let rig = make();
  const waiting = { L: sorted(events, 'L'), R: sorted(events, 'R') };
  const results: Result[] = [];
  for (const { right, restart, ahead } of steps) {
    const input = right ? 'R' : 'L';
    const event = waiting[input].shift();
    if (event !== undefined) rig.feed(input, event.second, event.fields);
    // Also what is only known to have passed.
    if (ahead) rig.advance(input, (waiting[input][0]?.second ?? 30) - 0.000001);
    if (!restart) continue;
    const other = make();
    other.load(decodeState(encodeState(rig.save())));
    assert.deepEqual(other.held, rig.held);
    assert.deepEqual(other.account.held, rig.account.held);
    results.push(...rig.results);
    rig = other;
  }
  for (const input of ['L', 'R'] as const) {
    for (const event of waiting[input]) rig.feed(input, event.second, event.fields);
  }
  results.push(...rig.end());
  assert.equal(rig.account.held.bytes, 0);
  return results;
}

for (const seed of SEEDS) {
  test(`a join finds what a nested loop finds, in its order, however the sides come and wherever it is cut (seed ${seed})`, () => {
    fc.assert(
      fc.property(feeds, (feed) => assert.deepEqual(incremental(feed), naive(feed))),
      { seed, numRuns: RUNS },
    );
  });
}

type Bound = readonly [low: number, high: number];

interface Chain {
  readonly kinds: readonly ['inner' | 'left', 'inner' | 'left'];
  readonly first: Bound;
  /** With A, with B, or with both. */
  readonly second: readonly [Bound | null, Bound | null];
  readonly events: readonly { readonly input: 'A' | 'B' | 'C'; readonly second: number }[];
  readonly steps: readonly ('A' | 'B' | 'C')[];
}

const bound: fc.Arbitrary<Bound> = fc
  .tuple(fc.integer({ min: -5, max: 5 }), fc.integer({ min: -5, max: 5 }))
  .map(([a, b]) => [Math.min(a, b), Math.max(a, b)]);
const letter = fc.constantFrom('A' as const, 'B' as const, 'C' as const);
const kind = fc.constantFrom('inner' as const, 'left' as const);
const chains: fc.Arbitrary<Chain> = fc.record({
  kinds: fc.tuple(kind, kind),
  first: bound,
  second: fc.tuple(fc.option(bound), fc.option(bound)).filter(([a, b]) => a !== null || b !== null),
  events: fc.array(fc.record({ input: letter, second }), { maxLength: 25 }),
  steps: fc.array(letter, { maxLength: 40 }),
});

/** A row with the times of its sources and its own; null where nothing was found. */
interface Chained {
  readonly own: number;
  readonly times: readonly (number | null)[];
}

function joinAll(
  lefts: readonly Chained[],
  rights: readonly number[],
  outer: boolean,
  bounds: readonly (Bound | null)[],
): Chained[] {
  return lefts.flatMap(({ own, times }) => {
    const limits = bounds.flatMap((limit, source) => (limit === null ? [] : [{ limit, from: times[source] ?? null }]));
    const found = rights.filter((right) =>
      limits.every(({ limit: [low, high], from }) => from !== null && right - from >= low && right - from <= high),
    );
    if (found.length > 0) return found.map((right) => ({ own: Math.max(own, right), times: [...times, right] }));
    const ends = limits.map(({ limit, from }) => (from === null ? -Infinity : from + limit[1]));
    return outer ? [{ own: Math.max(own, Math.min(...ends)), times: [...times, null] }] : [];
  });
}

function naiveChain({ kinds, first, second: [withA, withB], events }: Chain): Chained[] {
  const seconds = (input: string): number[] =>
    events.filter((event) => event.input === input).map((event) => event.second);
  const pairsFound = joinAll(
    seconds('A').map((own) => ({ own, times: [own] })),
    seconds('B'),
    kinds[0] === 'left',
    [first],
  );
  return joinAll(pairsFound, seconds('C'), kinds[1] === 'left', [withA, withB]);
}

function chained({ kinds, first, second: [withA, withB], events, steps }: Chain): Chained[] {
  const on = (from: string, to: string, [low, high]: Bound): string =>
    `DATEDIFF(second, ${from}, ${to}) BETWEEN ${low} AND ${high}`;
  const bounds = [withA && on('A', 'C', withA), withB && on('B', 'C', withB)].filter((text) => text !== null);
  const query = `SELECT A.t AS a, B.t AS b, C.t AS c FROM A
    ${kinds[0]} JOIN B ON ${on('A', 'B', first)} ${kinds[1]} JOIN C ON ${bounds.join(' AND ')}`;
  const rig = new SelectRig(query);
  const waiting = new Map(
    ['A' as const, 'B' as const, 'C' as const].map((name) => [
      name,
      events.filter(({ input }) => input === name).sort((a, b) => a.second - b.second),
    ]),
  );
  const feed = (input: string): boolean => {
    const event = waiting.get(input as 'A')?.shift();
    if (event !== undefined) rig.feed(input, event.second, { t: event.second });
    return event !== undefined;
  };
  for (const input of steps) feed(input);
  for (const input of ['A', 'B', 'C']) while (feed(input)) continue;
  const results = rig.end().map(([own, { a, b, c }]) => ({ own, times: [a, b, c] as (number | null)[] }));
  assert.equal(rig.account.held.bytes, 0);
  return results;
}

for (const seed of SEEDS) {
  test(`two joins find what nested loops find (seed ${seed})`, () => {
    const text = (rows: readonly Chained[]): string[] => rows.map((row) => JSON.stringify(row)).sort();
    fc.assert(
      fc.property(chains, (chain) => assert.deepEqual(text(chained(chain)), text(naiveChain(chain)))),
      { seed, numRuns: RUNS },
    );
  });
}
