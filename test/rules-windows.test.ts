import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { replay, type Given } from './parts/replay.ts';

/** Events at these seconds, each with a value. */
function values(...pairs: readonly (readonly [secs: number, v: number, k?: string])[]) {
  return pairs.map(([secs, v, k]) => ({ secs, fields: k === undefined ? { v } : { v, k } }));
}

function ticks(...secs: readonly number[]) {
  return secs.map((sec) => ({ secs: sec }));
}

/** `[secs, value]` of a query with one column. */
function results(select: string, window: string, given: readonly Given[]): unknown[] {
  const out = replay(`SELECT ${select} AS r FROM input TIMESTAMP BY t GROUP BY ${window}`, given) as [
    number,
    { r: unknown },
  ][];
  return out.map(([secs, { r }]) => [secs, r]);
}

type Row = readonly [name: string, select: string, window: string, given: readonly Given[], expected: unknown[]];

const TABLE: readonly Row[] = [
  [
    'tumbling: an event on the boundary belongs to the window that ends there (the example of the reference)',
    'Sum(v)',
    'TumblingWindow(second, 10)',
    values([3, 4], [10, 6], [11, 5], [27, 9]),
    [
      [10, 10],
      [20, 5],
      [30, 9],
    ],
  ],
  [
    'tumbling: an offset shifts both ends',
    'Sum(v)',
    'TumblingWindow(second, 10, 2)',
    values([3, 4], [10, 6], [11, 5], [27, 9]),
    [
      [12, 15],
      [32, 9],
    ],
  ],
  [
    'tumbling: Duration() and Offset() of another unit; a negative offset makes the start inclusive',
    'Sum(v)',
    'Tumbling(Duration(second, 10), Offset(millisecond, -1))',
    values([3, 4], [10, 6], [11, 5]),
    [
      [9.999, 4],
      [19.999, 11],
    ],
  ],
  [
    'hopping: an event lies in every window that covers it (the example of the reference)',
    'Sum(v)',
    'HoppingWindow(second, 10, 5)',
    values([3, 4], [7, 6], [15, 1]),
    [
      [5, 4],
      [10, 10],
      [15, 7],
      [20, 1],
    ],
  ],
  [
    'hopping: a hop of the size is tumbling',
    'Sum(v)',
    'HoppingWindow(second, 10, 10)',
    values([3, 4], [10, 6], [11, 5]),
    [
      [10, 10],
      [20, 5],
    ],
  ],
  [
    'hopping: a hop longer than the size leaves gaps in which events belong to no window',
    'Sum(v)',
    'HoppingWindow(second, 4, 10)',
    values([3, 4], [6, 8], [7, 1], [10, 2], [11, 3]),
    [[10, 3]],
  ],
  [
    'hopping: Duration(), Hop() and Offset()',
    'Count(*)',
    'Hopping(Duration(second, 10), Hop(second, 5), Offset(second, 1))',
    ticks(3, 7),
    [
      [6, 1],
      [11, 2],
      [16, 1],
    ],
  ],
  [
    'sliding: a result for each entry and each exit, none when it has become empty (the example of the reference)',
    'Count(*)',
    'SlidingWindow(second, 10)',
    ticks(3, 7, 9),
    [
      [3, 1],
      [7, 2],
      [9, 3],
      [13, 2],
      [17, 1],
    ],
  ],
  [
    'sliding: HAVING is tested at exits too',
    'Count(*)',
    'SlidingWindow(Duration(second, 10)) HAVING COUNT(*) >= 2',
    ticks(3, 7, 9),
    [
      [7, 2],
      [9, 3],
      [13, 2],
    ],
  ],
  [
    'sliding: one that enters as another leaves makes one result',
    'Count(*)',
    'SlidingWindow(second, 10)',
    ticks(3, 13),
    [
      [3, 1],
      [13, 1],
    ],
  ],
  [
    'session: a gap of the very timeout still holds; over after the last event plus the timeout (the example of the reference)',
    'Count(*)',
    'SessionWindow(second, 5, 20)',
    ticks(1, 4, 9, 15),
    [
      [14, 3],
      [20, 1],
    ],
  ],
  [
    'session: open for 17 s at the first check it goes on, and ends at the next (the example of the reference)',
    'Count(*)',
    'SessionWindow(Timeout(second, 5), MaxDuration(second, 20))',
    ticks(...Array.from({ length: 20 }, (_, index) => 3 + 2 * index)),
    // 3, 5, .. 39 by the check at 40; then 41 alone.
    [
      [40, 19],
      [46, 1],
    ],
  ],
  [
    'session: an event at the check belongs to the session that ends there',
    'Count(*)',
    'SessionWindow(second, 30, 20)',
    ticks(0, 10, 20, 21),
    [
      [20, 3],
      [51, 1],
    ],
  ],
  [
    'snapshot: what has equal time (the example of the reference)',
    'Count(*)',
    'System.Timestamp()',
    ticks(5, 5, 6),
    [
      [5, 2],
      [6, 1],
    ],
  ],
  [
    'of seven seconds: windows are counted from 1970',
    'Count(*)',
    'TumblingWindow(second, 7)',
    ticks(0),
    // 2031-05-06T00:00Z is 1,935,792,000 s after 1970: 276,541,714 windows of 7 s and 2 s more.
    [[5, 1]],
  ],
  [
    'of a day: an event of midnight belongs to the day before',
    'Count(*)',
    'TumblingWindow(day, 1)',
    ticks(0, 1),
    [
      [0, 1],
      [86_400, 1],
    ],
  ],
  [
    'in microseconds',
    'Count(*)',
    'TumblingWindow(microsecond, 500000)',
    ticks(1, 1.001),
    [
      [1, 1],
      [1.5, 1],
    ],
  ],
];

describe('windows', () => {
  for (const [name, select, window, given, expected] of TABLE) {
    test(name, () => assert.deepEqual(results(select, window, given), expected));
  }

  test('several: the union of their results with their ids, in the order of time and then as written', () => {
    const script = `SELECT System.Window().Id AS id, Count(*) AS n FROM input TIMESTAMP BY t
      GROUP BY Windows(Window('S', TumblingWindow(second, 5)), Window('L', TumblingWindow(second, 10)))`;
    assert.deepEqual(replay(script, ticks(3, 7)), [
      [5, { id: 'S', n: 1 }],
      [10, { id: 'S', n: 1 }],
      [10, { id: 'L', n: 2 }],
    ]);
  });

  test('several without ids, a snapshot among them: the id is NULL', () => {
    const script = `SELECT System.Window().Id AS id, Count(*) AS n FROM input TIMESTAMP BY t
      GROUP BY Windows(TumblingWindow(second, 5), System.Timestamp())`;
    assert.deepEqual(replay(script, ticks(3, 3)), [
      [3, { id: null, n: 2 }],
      [5, { id: null, n: 2 }],
    ]);
  });

  test('a session over everything spans all keys; one by key ends for each key', () => {
    const given = values([1, 0, 'a'], [4, 0, 'b'], [8, 0, 'a']);
    const select = 'SELECT k, Count(*) AS n FROM input TIMESTAMP BY t GROUP BY k, SessionWindow(second, 5, 60)';
    assert.deepEqual(replay(select, given), [
      [13, { k: 'a', n: 2 }],
      [13, { k: 'b', n: 1 }],
    ]);
    assert.deepEqual(replay(`${select} OVER (PARTITION BY k)`, given), [
      [6, { k: 'a', n: 1 }],
      [9, { k: 'b', n: 1 }],
      [13, { k: 'a', n: 1 }],
    ]);
  });

  test('sliding: each key has its own entries and exits', () => {
    const script = 'SELECT k, Count(*) AS n FROM input TIMESTAMP BY t GROUP BY k, SlidingWindow(second, 10)';
    assert.deepEqual(replay(script, values([1, 0, 'a'], [2, 0, 'b'], [2, 0, 'a'])), [
      [1, { k: 'a', n: 1 }],
      [2, { k: 'a', n: 2 }],
      [2, { k: 'b', n: 1 }],
      [11, { k: 'a', n: 1 }],
    ]);
  });

  test('sliding: floats that leave take nothing with them and leave nothing behind', () => {
    const script = 'SELECT Sum(v) AS s FROM input TIMESTAMP BY t GROUP BY SlidingWindow(second, 10)';
    assert.deepEqual(replay(script, values([1, 1e16], [2, 0.1], [3, 0.2])).at(-2), [11, { s: 0.30000000000000004 }]);
  });

  test('the published cool-down query: the average passes 30 in the first window only', () => {
    const script = `SELECT 'reset' AS command, Max(timeCreated) as maxEventTime INTO output FROM input TIMESTAMP BY timeCreated
      GROUP BY TumblingWindow(second, 10) HAVING Avg(machine.temperature) > 30`;
    const given = [
      [1, 29],
      [6, 33],
      [10, 34],
      [12, 20],
    ].map(([secs, temperature]) => ({
      secs: secs!,
      fields: {
        timeCreated: `2031-05-06T00:00:${String(secs).padStart(2, '0')}Z`,
        machine: { temperature: temperature! },
      },
    }));
    const [first, ...others] = replay(script, given) as [number, Record<string, unknown>][];
    const [secs, body] = first!;
    assert.deepEqual(
      [secs, body['command'], String(body['maxEventTime'])],
      [10, 'reset', '2031-05-06T00:00:10.0000000Z'],
    );
    assert.deepEqual(others, []);
  });
});

describe('groups', () => {
  const GROUPED =
    'SELECT k, Count(*) AS n, Sum(v) AS s FROM input TIMESTAMP BY t GROUP BY k, TumblingWindow(second, 10)';

  test('NULL and a missing key are one group; a number and its text are two; 1 and 1.0 are one', () => {
    const given = [null, undefined, '1', 1].map((k, index) => ({
      secs: 1 + index,
      fields: { v: 1, ...(k !== undefined && { k }) },
    }));
    assert.deepEqual(replay(GROUPED, given), [
      [10, { k: null, n: 2, s: 2 }],
      [10, { k: '1', n: 1, s: 1 }],
      [10, { k: 1, n: 1, s: 1 }],
    ]);
  });

  test('records and arrays are keys by what is in them, and nothing is taken for anything else', () => {
    const keys = [{ a: 1 }, { a: 1 }, [1], '\u0000j[1]', true, 'true'];
    const given = keys.map((k, index) => ({ secs: 1 + index, fields: { v: 1, k } }));
    assert.deepEqual(
      replay(GROUPED, given).map((row) => (row as [number, { n: number }])[1].n),
      [2, 1, 1, 1, 1],
    );
  });

  test('two keys do not run into each other', () => {
    const script = 'SELECT a, b FROM input TIMESTAMP BY t GROUP BY a, b, TumblingWindow(second, 10)';
    const given = [
      { a: 'x', b: 'yz' },
      { a: 'xy', b: 'z' },
      { a: 'x', b: 'yz' },
    ].map((fields) => ({ secs: 1, fields }));
    assert.equal(replay(script, given).length, 2);
  });

  test('a key may be an expression, and stand so in the list and in HAVING', () => {
    const script = `SELECT UPPER(k) AS key, UPPER(input.k) AS again, Count(*) AS n FROM input TIMESTAMP BY t
      GROUP BY Upper(K), TumblingWindow(second, 10) HAVING upper(k) <> 'C'`;
    const given = values([1, 0, 'a'], [2, 0, 'A'], [3, 0, 'b'], [4, 0, 'c']);
    assert.deepEqual(replay(script, given), [
      [10, { key: 'A', again: 'A', n: 2 }],
      [10, { key: 'B', again: 'B', n: 1 }],
    ]);
  });

  test('System.Timestamp() beside a window is that of the result', () => {
    const script =
      'SELECT System.Timestamp() AS at, Count(*) AS n FROM input TIMESTAMP BY t GROUP BY TumblingWindow(second, 10)';
    const [[, body]] = replay(script, ticks(1, 2)) as [[number, { at: unknown; n: number }]];
    assert.deepEqual([String(body.at), body.n], ['2031-05-06T00:00:10.0000000Z', 2]);
  });

  test('Collect() gives the events themselves', () => {
    const script = 'SELECT Collect() AS all FROM input TIMESTAMP BY t GROUP BY TumblingWindow(second, 10)';
    assert.deepEqual(replay(script, [{ secs: 1, fields: { v: 1 } }]), [
      [10, { all: [{ t: '2031-05-06T00:00:01.000Z', v: 1 }] }],
    ]);
  });
});
