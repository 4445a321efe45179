import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { QueryProblem } from '../src/query/problem.ts';
import { Float, type Fields } from '../src/query/value.ts';
import { decodeState, encodeState } from '../src/query/state.ts';
import type { OutputEvent } from '../src/rules/engine.ts';
import { at, engineFor, give, replay } from './parts/replay.ts';

const MEAN = 'SELECT k, Avg(v) AS mean FROM input TIMESTAMP BY t GROUP BY k, TumblingWindow(second, 10)';

describe('selects and steps', () => {
  test('SELECT * gives the very event', () => {
    const fields = { a: 1, b: { c: [2] } };
    const engine = engineFor('SELECT * FROM input');
    const [event] = engine.feed('input', { fields, arrival: at(1), arrivalKnown: true });
    assert.equal(event!.body, fields);
    assert.equal(event!.output, 'output');
  });

  test('* beside columns, and a record opened by one level: of equal names the leftmost stays', () => {
    const fields = { a: 1, r: { a: 2, b: 3 } };
    const body = (list: string) =>
      (replay(`SELECT ${list} FROM input`, [{ secs: 1, fields }]) as [number, object][])[0]![1];
    const { t: _, ...all } = body('*, 9 AS a') as Record<string, unknown>;
    assert.deepEqual(all, fields);
    assert.deepEqual(body('9 AS a, r.*'), { a: 9, b: 3 });
    assert.deepEqual(body('r.*'), { a: 2, b: 3 });
    assert.deepEqual(body('x.r.a, missing'), { a: null, missing: null });
  });

  test('names are equal in whatever case, also behind and before a *; those of one event are its own', () => {
    const fields = { x: 1, y: 2, r: { X: 3, z: 4 } };
    const body = (list: string, given: Fields = fields) =>
      (replay(`SELECT ${list} FROM input`, [{ secs: 1, fields: { ...given, t: null } }]) as [number, object][])[0]![1];
    assert.deepEqual(body('*, y AS X'), { ...fields, t: null });
    assert.deepEqual(body('y AS X, *'), { X: 2, y: 2, r: fields.r, t: null });
    assert.deepEqual(body('*, r.*'), { ...fields, t: null, z: 4 });
    assert.deepEqual(body('*, 1 AS x', { x: 1, X: 2 }), { x: 1, X: 2, t: null });
  });

  test('equal numbers are one group and one value, also beyond 2^53', () => {
    const large = 2n ** 60n;
    const given = [large, new Float(Number(large)), large + 1n].map((k) => ({ secs: 1, fields: { k, s: 'a' } }));
    const counts = (list: string, keys: string) =>
      replay(`SELECT ${list} FROM input TIMESTAMP BY t GROUP BY ${keys}TumblingWindow(second, 10)`, given);
    const n = [2, 1].map((count) => [10, { n: count }]);
    assert.deepEqual(counts('Count(*) AS n', 'k, '), n);
    assert.deepEqual(counts('Count(*) AS n', 'k, s, '), n);
    assert.deepEqual(counts('Count(DISTINCT k) AS n', ''), [[10, { n: 2 }]]);
  });

  test('a column may be called __proto__ and is a column like any other', () => {
    const engine = engineFor('SELECT a AS [__proto__], a AS constructor FROM input');
    const [event] = give(engine, { secs: 1, fields: { a: { evil: true } } });
    assert.deepEqual(Object.keys(event!.body), ['__proto__', 'constructor']);
    assert.equal(Object.getPrototypeOf(event!.body), Object.prototype);
  });

  test('WHERE and HAVING without groups both filter', () => {
    const script = 'SELECT v FROM input WHERE v > 1 HAVING v < 4';
    const given = [1, 2, 3, 4].map((v) => ({ secs: v, fields: { v } }));
    assert.deepEqual(replay(script, given), [
      [2, { v: 2 }],
      [3, { v: 3 }],
    ]);
  });

  test('a column without a name takes that of its place', () => {
    const script = "SELECT *, v + 1, -v, 'x', CASE WHEN v > 1 THEN 1 END, v AS last FROM input";
    const [event] = give(engineFor(script), { secs: 1, fields: { v: 2 } });
    const { t: _, ...body } = event!.body;
    assert.deepEqual(body, { v: 2, column2: 3, column3: -2, column4: 'x', column5: 1, last: 2 });
  });

  test('HAVING knows the columns of a grouped select by their names, where no key has that name', () => {
    const script = (condition: string) =>
      `SELECT k, Count(*) AS n, Sum(v) AS V, Max(v) AS k2 FROM input TIMESTAMP BY t
       GROUP BY k, k2, TumblingWindow(second, 10) HAVING ${condition}`;
    const given = [1, 2, 3].map((v) => ({ secs: v, fields: { k: v > 1 ? 'b' : 'a', v, k2: v > 1 ? 'y' : 'x' } }));
    const keys = (condition: string) =>
      (replay(script(condition), given) as [number, { k: string }][]).map(([, { k }]) => k);
    assert.deepEqual(keys('N = 2'), ['b']);
    assert.deepEqual(keys('n * 2 < 4'), ['a']);
    assert.deepEqual(keys('v = 5'), ['b'], 'a name alone is the column');
    assert.deepEqual(keys('Max(v) = 3'), ['b'], 'within an aggregate it is the field');
    assert.deepEqual(keys("k2 = 'x'"), ['a'], 'a key is the key');
  });

  test('several selects run on the same events; at one moment they give in the order of the script', () => {
    const script = 'SELECT 1 AS x INTO b FROM input SELECT 2 AS x INTO a FROM input SELECT 3 AS x INTO B FROM input';
    assert.deepEqual(replay(script, [{ secs: 1 }]), [
      [1, 'b', { x: 1 }],
      [1, 'a', { x: 2 }],
      [1, 'b', { x: 3 }],
    ]);
  });

  test('a column that HAVING names often is made once', () => {
    const numbers = Array.from({ length: 8000 }, (_, number) => number).join(',');
    const script = `SELECT Max(v) IN (${numbers}) AS n FROM input TIMESTAMP BY t GROUP BY TumblingWindow(second, 10)
      HAVING n IN (${Array<string>(8000).fill('n').join(',')})`;
    // Of the processor: the machine may stand still.
    const before = process.cpuUsage();
    assert.deepEqual(replay(script, [{ secs: 1, fields: { v: 0 } }]), [[10, { n: true }]]);
    // 64 million parts take minutes, if memory lasts.
    assert.ok(process.cpuUsage(before).user < 5_000_000);
  });

  test('what only passes events on need not repeat the TIMESTAMP BY of another select, which may come later', () => {
    const script = `SELECT v INTO raw FROM Input WHERE v > 0
      SELECT Count(*) AS n INTO counts FROM input i TIMESTAMP BY i.t GROUP BY TumblingWindow(second, 10)`;
    const given = [1, 12].map((secs) => ({ secs, fields: { v: secs } }));
    assert.deepEqual(replay(script, given), [
      [1, 'raw', { v: 1 }],
      [10, 'counts', { n: 1 }],
      [12, 'raw', { v: 12 }],
      [20, 'counts', { n: 1 }],
    ]);
  });

  test('a step feeds several selects; names are found in any case', () => {
    const script = `WITH Hot AS (SELECT V AS value FROM Input WHERE v > 10)
      SELECT value INTO a FROM hot SELECT value + 1 AS value INTO b FROM HOT`;
    assert.deepEqual(replay(script, [{ secs: 1, fields: { v: 11 }, input: 'INPUT' }]), [
      [1, 'a', { value: 11 }],
      [1, 'b', { value: 12 }],
    ]);
  });

  test('UNION keeps what is equal, and at one moment goes by the order of its selects', () => {
    const script = `WITH u AS (SELECT v FROM a TIMESTAMP BY t UNION SELECT v FROM b TIMESTAMP BY t)
      SELECT Collect(v) AS all FROM u GROUP BY TumblingWindow(second, 10)`;
    const given = [
      { secs: 2, input: 'b', fields: { v: 'b2' } },
      { secs: 2, input: 'a', fields: { v: 'a2' } },
      { secs: 2, input: 'a', fields: { v: 'a2' } },
      { secs: 1, input: 'b', fields: { v: 'b1' } },
    ];
    const late = { onLate: 'adjust', outOfOrderMs: 5000 } as const;
    assert.deepEqual(replay(script, given, late), [[10, { all: ['b1', 'a2', 'a2', 'b2'] }]]);
  });

  test('selects of one input do not wait for each other: at one moment each event, and then the window', () => {
    const script = `WITH u AS (SELECT Sum(v) AS v FROM a TIMESTAMP BY t GROUP BY TumblingWindow(second, 5)
        UNION SELECT v FROM a TIMESTAMP BY t UNION SELECT v + 0.5 AS v FROM a TIMESTAMP BY t)
      SELECT Collect(v) AS all FROM u GROUP BY System.Timestamp()`;
    const given = [5, 5, 6].map((secs, v) => ({ secs, input: 'a', fields: { v } }));
    assert.deepEqual(replay(script, given)[0], [5, { all: [0, 0.5, 1, 1.5, 1] }]);
  });

  test('a window of windows: the inner ones end at the boundary of the outer one', () => {
    const script = `WITH w AS (SELECT Sum(v) AS s FROM input TIMESTAMP BY t GROUP BY TumblingWindow(second, 5))
      SELECT Max(s) AS most FROM w GROUP BY TumblingWindow(second, 10)`;
    const given = [1, 4, 7, 12].map((secs) => ({ secs, fields: { v: secs } }));
    assert.deepEqual(replay(script, given), [
      [10, { most: 7 }],
      [20, { most: 12 }],
    ]);
  });
});

describe('what an output event says of itself', () => {
  const numbers = (events: readonly OutputEvent[]) => events.map(({ window, n }) => [window.slice(11), n]);

  test('n counts within an output and a moment, over calls, and starts again with the next moment', () => {
    const engine = engineFor('SELECT v FROM input TIMESTAMP BY t');
    const out = [1, 1, 1, 2].flatMap((secs) => give(engine, { secs }));
    assert.deepEqual(numbers(out), [
      ['00:00:01.000Z', 0],
      ['00:00:01.000Z', 1],
      ['00:00:01.000Z', 2],
      ['00:00:02.000Z', 0],
    ]);
  });

  test('selects that share an output never use the same number', () => {
    const engine = engineFor(
      'SELECT 1 AS x INTO o FROM input TIMESTAMP BY t SELECT 2 AS x INTO o FROM input TIMESTAMP BY t',
    );
    const out = [1, 1].flatMap((secs) => give(engine, { secs }));
    assert.deepEqual(
      out.map(({ n, body }) => [body['x'], n]),
      [
        [1, 0],
        [2, 1],
        [1, 2],
        [2, 3],
      ],
    );
  });

  test('the time has milliseconds, and more digits only where they are needed', () => {
    const engine = engineFor('SELECT 1 AS x FROM input');
    const window = (secs: number) => give(engine, { secs, arrival: secs })[0]!.window.slice(17);
    assert.equal(window(1), '01.000Z');
    assert.equal(window(2.5), '02.500Z');
    assert.equal(window(3.000_001), '03.000001Z');
  });
});

describe('what goes wrong with an event', () => {
  test('a failed CAST drops that event, is counted, and its first is explained; what it would have done is not done', () => {
    const engine = engineFor(
      'SELECT Sum(CAST(v AS bigint)) AS s, Count(*) AS n INTO sums FROM input TIMESTAMP BY t GROUP BY TumblingWindow(second, 10) SELECT v INTO all FROM input TIMESTAMP BY t',
    );
    const out = [
      give(engine, { secs: 1, fields: { v: '7' } }),
      give(engine, { secs: 2, fields: { v: 'seven' } }),
    ].flat();
    assert.equal(out.length, 2, 'the other select has nothing to do with it');
    assert.equal(engine.counters.dropped, 1);
    assert.match(engine.firstFault!, /seven/);
    assert.deepEqual(engine.end()[0]!.body, { s: 7, n: 1 });
  });

  test('an aggregate that cannot take a value drops the event from all aggregates beside it', () => {
    const script = 'SELECT Count(*) AS n, Sum(v) AS s FROM input TIMESTAMP BY t GROUP BY TumblingWindow(second, 10)';
    const given = [1, 'x', 2].map((v, index) => ({ secs: 1 + index, fields: { v } }));
    assert.deepEqual(replay(script, given), [[10, { n: 2, s: 3 }]]);
  });

  test('a result that cannot be worked out is dropped, and the next comes', () => {
    const script = 'SELECT Sum(v) / Sum(d) AS q FROM input TIMESTAMP BY t GROUP BY TumblingWindow(second, 10)';
    const given = [
      { secs: 1, fields: { v: 1, d: 0 } },
      { secs: 11, fields: { v: 6, d: 2 } },
    ];
    assert.deepEqual(replay(script, given), [[20, { q: 3 }]]);
  });

  test('what does not fit CREATE TABLE is dropped; a float may be whole, a datetime ISO text', () => {
    const engine = engineFor(
      'CREATE TABLE input (a bigint, f float, d datetime, s nvarchar(max)); SELECT a FROM input',
    );
    const fits = (fields: Parameters<typeof give>[1]['fields']) =>
      give(engine, { secs: 1, fields: fields! }).length === 1;
    assert.ok(fits({ a: 1, f: 2, d: '2031-01-01T00:00:00Z', s: '', more: true }));
    assert.ok(fits({ a: null }));
    for (const misfit of [{ a: 1.5 }, { a: '1' }, { f: 'x' }, { d: 'soon' }, { s: 5 }]) assert.ok(!fits(misfit));
    assert.match(engine.firstFault!, /a of input is float, not bigint/);
    assert.equal(engine.counters.dropped, 5);
  });

  test("an input that the query does not have is our own mistake, not the event's", () => {
    assert.throws(() => give(engineFor(MEAN), { secs: 1, input: 'other' }), /no input other/);
  });
});

describe('what is wrong with a query is said when it is made, with its place', () => {
  const CASES: readonly (readonly [script: string, word: string, message: RegExp])[] = [
    ['SELECT nosuch(v) AS x FROM input', 'nosuch', /no function nosuch/],
    ['SELECT v FROM input WHERE LEN() > 1', 'LEN', /LEN takes 1 argument/],
    ['SELECT Sum(v) AS s FROM input', 'Sum', /SUM|GROUP BY|aggregate/i],
    [
      'SELECT Count(*) AS n FROM input GROUP BY HoppingWindow(microsecond, 2000000, 1)',
      '1)',
      /more than 10000 windows/,
    ],
    [
      'WITH s AS (SELECT v FROM a TIMESTAMP BY t OVER k) SELECT v FROM b TIMESTAMP BY t',
      'b TIMESTAMP',
      /b has no timeline for each key, and a has/,
    ],
    [
      'WITH s AS (SELECT k, v FROM a TIMESTAMP BY t OVER k) SELECT Count(*) AS n FROM s GROUP BY TumblingWindow(second, 5)',
      'SELECT Count',
      /GROUP BY lacks the key/,
    ],
    [
      'SELECT a.v FROM a TIMESTAMP BY t OVER k JOIN b TIMESTAMP BY t OVER k ON DATEDIFF(second, a, b) BETWEEN 0 AND 5',
      'DATEDIFF',
      /JOIN does not compare the key/,
    ],
    ['SELECT v FROM input TIMESTAMP BY System.Timestamp()', 'System', /System\.Timestamp|no time yet/],
  ];
  for (const [script, word, message] of CASES) {
    test(script, () => {
      assert.throws(
        () => engineFor(script),
        (error) => {
          assert.ok(error instanceof QueryProblem);
          assert.match(error.message, message);
          assert.equal(error.at, script.indexOf(word));
          return true;
        },
      );
    });
  }
});

describe('bounds', () => {
  test('with all groups taken new ones are refused and counted, and those that are open go on', () => {
    const engine = engineFor(MEAN, { limits: { groups: 2 } });
    for (const [index, k] of ['a', 'b', 'c', 'a', 'd'].entries()) give(engine, { secs: 1, fields: { k, v: index } });
    assert.equal(engine.counters.bounded, 2);
    assert.equal(engine.held.groups, 2);
    assert.deepEqual(
      engine.end().map(({ body }) => body),
      [
        { k: 'a', mean: 1.5 },
        { k: 'b', mean: new Float(1) },
      ],
    );
    assert.deepEqual(engine.held, { windows: 0, groups: 0, bytes: 0 });
  });

  test('when a window has closed there is room again', () => {
    const engine = engineFor(MEAN, { limits: { groups: 1 } });
    const given = [
      [1, 'a'],
      [11, 'b'],
    ] as const;
    for (const [secs, k] of given) give(engine, { secs, fields: { k, v: 1 } });
    assert.equal(engine.counters.bounded, 0);
  });

  for (const [name, limits, window] of [
    ['windows', { windows: 3 }, 'HoppingWindow(second, 10, 1)'],
    ['windows of sessions', { windows: 3 }, 'SessionWindow(second, 10, 60) OVER (PARTITION BY k)'],
    ['bytes', { bytes: 2000 }, 'SlidingWindow(second, 10)'],
    ['bytes of what is collected', { bytes: 2000 }, 'TumblingWindow(second, 10)'],
  ] as const) {
    test(`of ${name}: never more than allowed, and what is refused is counted`, () => {
      const engine = engineFor(`SELECT k, Collect() AS all FROM input TIMESTAMP BY t GROUP BY k, ${window}`, {
        limits,
      });
      let out = 0;
      for (let secs = 0; secs < 20; secs++) {
        out += give(engine, { secs: secs / 10, fields: { k: String(secs % 7), text: 'x'.repeat(50) } }).length;
        const { windows, bytes } = engine.held;
        assert.ok(windows <= engine.limits.windows && bytes <= engine.limits.bytes);
      }
      assert.ok(engine.counters.bounded > 0);
      assert.ok(out + engine.end().length > 0);
      assert.deepEqual(engine.held, { windows: 0, groups: 0, bytes: 0 });
    });
  }

  test('events that wait for their order are bounded too', () => {
    const engine = engineFor('SELECT t FROM input TIMESTAMP BY t', { outOfOrderMs: 60_000, limits: { bytes: 1000 } });
    for (let secs = 0; secs < 10; secs++) give(engine, { secs });
    assert.ok(engine.counters.bounded > 0 && engine.held.bytes <= 1000);
  });

  test('keys of TIMESTAMP BY .. OVER that have long been quiet make room for new ones', () => {
    const script = 'SELECT k, Count(*) AS n FROM input TIMESTAMP BY t OVER k GROUP BY k, TumblingWindow(second, 1)';
    const engine = engineFor(script, { limits: { groups: 4 } });
    const feed = (k: number, secs: number) => give(engine, { secs, fields: { k } });
    feed(1, 0);
    feed(2, 0);
    feed(3, 0);
    assert.equal(engine.counters.bounded, 1, 'a key and its group each: there is room for two');
    engine.tick(at(30));
    feed(3, 30);
    feed(4, 30);
    assert.equal(engine.counters.bounded, 1);
    const numbers = (secs: number) => engine.tick(at(secs)).map(({ body, n }) => [body['k'], n]);
    // The third, which had found room beside the first two, and the first number that was free again.
    assert.deepEqual(numbers(45), [
      [3, 5],
      [4, 0],
    ]);
  });
});

describe('state', () => {
  test('of another query, or of another form, it is not loaded', () => {
    const saved = engineFor(MEAN).save();
    assert.throws(() => engineFor(MEAN.replace('10', '20')).load(saved), /another query/);
    assert.throws(() => engineFor(MEAN).load([99, 'x', null, null, null]), /another form/);
    assert.throws(() => engineFor(MEAN).load(null), /another form/);
  });

  test('a query that remembers nothing has next to nothing to save', () => {
    const engine = engineFor('SELECT v FROM input TIMESTAMP BY t');
    give(engine, { secs: 1, fields: { v: 1 } });
    assert.ok(encodeState(engine.save()).length < 300);
  });

  test('keys and values of every type come back as they were', () => {
    const script = `SELECT k, Collect(v) AS all, Max(v) AS most FROM input TIMESTAMP BY t GROUP BY k, TumblingWindow(second, 10)`;
    const keys = [null, true, 1, 1.5, 2n ** 60n, 'a', { r: [1] }];
    const feed = (engine: ReturnType<typeof engineFor>) =>
      keys.forEach((k) => give(engine, { secs: 1, fields: { k, v: 2 ** 53 } }));
    const [first, second] = [engineFor(script), engineFor(script)];
    feed(first);
    second.load(decodeState(encodeState(first.save())));
    feed(first);
    feed(second);
    assert.deepEqual(
      second.end().map(({ body }) => body),
      first.end().map(({ body }) => body),
    );
  });
});
