import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodeState, encodeState } from '../src/query/state.ts';
import type { DateTime } from '../src/query/value.ts';
import { Account } from '../src/rules/account.ts';
import type { Row } from '../src/rules/row.ts';
import { Timeline, type Policies } from '../src/rules/timeline.ts';
import { at, engineFor, give, iso, MIDNIGHT, replay, secsOf } from './parts/replay.ts';

const S = 1_000_000;
const POLICIES: Policies = { outOfOrder: 4 * S, late: 20 * S, early: 300 * S, idle: 5 * S, drop: false };

/** A timeline and what it passed on: times of rows, and how far it said that time had come. */
function timeline(policies: Partial<Policies> = {}, timestamped = true) {
  const account = new Account();
  const rows: { readonly secs: number; readonly name: unknown }[] = [];
  const reader = {
    row: (row: Row) => void rows.push({ secs: row.time / S - MIDNIGHT, name: row.sources[0]!['name'] }),
    advance: () => undefined,
  };
  const line = new Timeline({ ...POLICIES, ...policies }, timestamped ? ({ t }) => t ?? null : null, reader, account);
  const feed = (secs: number, arrival: number, name = '', arrivalKnown = true) =>
    line.feed({ fields: { t: iso(secs), name }, arrival: at(arrival), arrivalKnown });
  const watermark = () => line.watermark / S - MIDNIGHT;
  return { line, account, rows, feed, watermark };
}

/** The example of the reference: late 20 s, out of order 4 s. Time of the event, its arrival, and the watermark after it. */
const EXAMPLE = [
  [100, 130, 106],
  [112, 131, 108],
  [120, 133, 116],
  [118, 134, 116],
  [115, 134, 116],
  [440, 135, 116],
] as const;

describe("the reference's example of late, unordered and early events", () => {
  test('adjust: late by 30 s becomes 110, below the watermark becomes the watermark, 305 s early is dropped', () => {
    const { line, account, rows, feed, watermark } = timeline();
    for (const [secs, arrival, after] of EXAMPLE) {
      feed(secs, arrival, String(secs));
      assert.equal(watermark(), after, `the watermark after ${secs}`);
    }
    line.end();
    assert.deepEqual(
      rows.map(({ secs, name }) => [name, secs]),
      [
        ['100', 110],
        ['112', 112],
        ['115', 116],
        ['118', 118],
        ['120', 120],
      ],
    );
    const { late, early, unordered } = account.counters;
    assert.deepEqual({ late, early, unordered }, { late: 1, early: 1, unordered: 1 });
  });

  test('drop: what was moved there is lost', () => {
    const { line, account, rows, feed } = timeline({ drop: true });
    for (const [secs, arrival] of EXAMPLE) feed(secs, arrival);
    line.end();
    assert.deepEqual(
      rows.map(({ secs }) => secs),
      [112, 118, 120],
    );
    assert.equal(account.counters.late + account.counters.unordered + account.counters.early, 3);
  });
});

describe('the timeline of a source', () => {
  test('with no tolerance a row goes on at once, and several of one moment as they came', () => {
    const { rows, feed } = timeline({ outOfOrder: 0 });
    feed(10, 10, 'a');
    feed(10, 10, 'b');
    assert.deepEqual(
      rows.map(({ name }) => name),
      ['a', 'b'],
    );
  });

  test('within the tolerance rows wait and are put in order; equal times stay as they came', () => {
    const { rows, feed } = timeline();
    for (const [secs, name] of [
      [10, 'a'],
      [12, 'b'],
      [11, 'c'],
      [12, 'd'],
      [16, 'e'],
    ] as const) {
      feed(secs, 16, name);
    }
    assert.deepEqual(rows.map(({ name }) => name).join(''), 'acbd');
  });

  test('an input that is silent for the idle time is the present minus the tolerance for late events', () => {
    const { line, feed, watermark } = timeline();
    feed(100, 100);
    line.tick(at(104.9));
    assert.equal(watermark(), 96);
    line.tick(at(117));
    assert.equal(watermark(), 97);
    line.tick(at(130));
    assert.equal(watermark(), 110);
  });

  test('with any lateness allowed silence says nothing', () => {
    const { line, feed, watermark } = timeline({ late: Infinity });
    feed(100, 100);
    line.tick(at(1000));
    assert.equal(watermark(), 96);
    feed(97, 2000);
    assert.equal(watermark(), 96);
  });

  test('while nobody knows the time no event is late or early, and silence goes by how far events were ahead', () => {
    const { line, account, feed, watermark } = timeline();
    feed(5000, 100, '', false);
    assert.equal(watermark(), 4996);
    line.tick(at(140));
    // 40 s later it would be 5040, and what comes may be 20 s old.
    assert.equal(watermark(), 5020);
    assert.equal(account.counters.early, 0);
  });

  test('without TIMESTAMP BY the time is that of the arrival, and is reached by the clock alone', () => {
    const { line, rows, feed, watermark } = timeline({}, false);
    feed(1, 50);
    line.tick(at(51));
    assert.deepEqual([rows[0]!.secs, watermark()], [50, 51]);
  });

  test('an event without a timestamp is dropped, and the first of them is explained', () => {
    const { line, account } = timeline();
    line.feed({ fields: {}, arrival: at(1), arrivalKnown: true });
    line.feed({ fields: { t: 'soon' }, arrival: at(1), arrivalKnown: true });
    line.feed({ fields: { t: 5 }, arrival: at(1), arrivalKnown: true });
    // In microseconds it would no longer be exact.
    line.feed({ fields: { t: '9999-12-31T00:00:00Z' }, arrival: at(1), arrivalKnown: false });
    assert.equal(account.counters.dropped, 4);
    assert.equal(line.watermark, -Infinity);
    assert.match(account.firstFault!, /no timestamp: what TIMESTAMP BY names is missing/);
  });
});

const SUM = 'SELECT Sum(v) AS s FROM input TIMESTAMP BY t GROUP BY TumblingWindow(second, 10)';

describe('when results come', () => {
  test('a window stays open for events of its last moment, and closes when time has passed that', () => {
    const engine = engineFor(SUM);
    assert.equal(give(engine, { secs: 10, fields: { v: 1 } }).length, 0);
    assert.equal(give(engine, { secs: 10, fields: { v: 2 } }).length, 0);
    const [event] = give(engine, { secs: 10.001, fields: { v: 4 } });
    assert.deepEqual([secsOf(event!), event!.body], [10, { s: 3 }]);
  });

  test('an input that falls silent does not hold its window open: the next tick says when it closes', () => {
    const engine = engineFor(SUM);
    give(engine, { secs: 3, fields: { v: 1 } });
    // 10 s must have passed for sure: 5 s of lateness after it, and a microsecond.
    const next = engine.nextTick()!;
    assert.equal(next, at(15) + 1);
    assert.deepEqual(engine.tick(next - 1), []);
    assert.equal(engine.tick(next).length, 1);
    assert.equal(engine.nextTick(), null);
  });

  test('a window over arrivals closes by the clock, without an event', () => {
    const engine = engineFor('SELECT Count(*) AS n FROM input GROUP BY TumblingWindow(second, 10)');
    give(engine, { secs: 3 });
    assert.equal(engine.nextTick(), at(10) + 1);
    assert.deepEqual(
      engine.tick(at(10) + 1).map(({ body }) => body),
      [{ n: 1 }],
    );
  });

  test('time that went back is as if it had stood still', () => {
    const engine = engineFor('SELECT Count(*) AS n FROM input GROUP BY TumblingWindow(second, 10)');
    give(engine, { secs: 15 });
    give(engine, { secs: 5, arrival: 5 });
    assert.deepEqual(engine.tick(at(3)), []);
    assert.deepEqual(
      engine.end().map((event) => [secsOf(event), event.body]),
      [[20, { n: 2 }]],
    );
  });

  test('a source that never says a word holds a union back no longer than the idle time', () => {
    const engine = engineFor(
      'WITH u AS (SELECT t FROM a TIMESTAMP BY t UNION SELECT t FROM b TIMESTAMP BY t) SELECT Count(*) AS n FROM u GROUP BY TumblingWindow(second, 10)',
    );
    give(engine, { secs: 3, input: 'a' });
    give(engine, { secs: 14, input: 'a' });
    assert.deepEqual(engine.tick(at(14.5)), []);
    assert.equal(engine.tick(at(15.1)).length, 1);
  });

  test('System.Timestamp() is the time by the policies, and the field stays as it was', () => {
    const script = 'SELECT t, System.Timestamp() AS at FROM input TIMESTAMP BY t';
    assert.deepEqual(
      replay(script, [{ secs: 1, arrival: 10 }])
        .flat()
        .slice(0, 1),
      [5],
    );
    const [event] = give(engineFor(script), { secs: 1, arrival: 10 });
    assert.equal(event!.body['t'], iso(1));
    assert.equal((event!.body['at'] as DateTime).toString(), '2031-05-06T00:00:05.0000000Z');
  });

  test('TIMESTAMP BY .. OVER gives each key a time of its own', () => {
    const script = 'SELECT k, Count(*) AS n FROM input TIMESTAMP BY t OVER k GROUP BY k, TumblingWindow(second, 10)';
    const engine = engineFor(script);
    give(engine, { secs: 35, fields: { k: 'ahead' }, arrival: 35 });
    // 30 s behind the other, and not late by its own arrival.
    const late = give(engine, { secs: 33, fields: { k: 'behind' }, arrival: 36 });
    assert.deepEqual(late, []);
    assert.equal(engine.counters.unordered, 0);
    assert.equal(give(engine, { secs: 41, fields: { k: 'behind' }, arrival: 41 }).length, 1);
    give(engine, { secs: 42, fields: { k: null }, arrival: 42 });
    assert.equal(engine.counters.dropped, 1);
    assert.deepEqual(
      engine.end().map((event) => [secsOf(event), event.body]),
      [
        [40, { k: 'ahead', n: 1 }],
        [50, { k: 'behind', n: 1 }],
      ],
    );
  });

  test('with TIMESTAMP BY .. OVER no two results of a moment have one number, and each has the same after a restart', () => {
    const script = `SELECT k, Count(*) AS n INTO o FROM input TIMESTAMP BY t OVER k GROUP BY k, TumblingWindow(second, 10)
      SELECT k, s, Count(*) AS n INTO o FROM input TIMESTAMP BY t OVER k GROUP BY k, s, TumblingWindow(second, 10)`;
    const [engine, again] = [engineFor(script), engineFor(script)];
    const feed = (secs: number, k: string, s: number) => (to: typeof engine) => give(to, { secs, fields: { k, s } });
    for (const fed of [feed(1, 'a', 1), feed(2, 'b', 1), feed(3, 'b', 2)]) fed(engine);
    again.load(decodeState(encodeState(engine.save())));
    const [out, ofAgain] = [engine, again].map((one) => {
      feed(4, 'c', 1)(one);
      return one.end().map(({ window, n, body }) => ({ window, n, body }));
    });
    assert.equal(out!.length, 7);
    assert.equal(new Set(out!.map(({ window, n }) => `${window}/${n}`)).size, 7);
    assert.deepEqual(ofAgain, out);
  });
});

describe('a query that took an impossible time while nobody knew better', () => {
  const scripts = [
    SUM,
    'SELECT k, Count(*) AS n FROM input TIMESTAMP BY t GROUP BY k, HoppingWindow(second, 10, 5)',
    'SELECT k, Count(*) AS n FROM input TIMESTAMP BY t GROUP BY k, SlidingWindow(second, 10)',
    'SELECT k, Count(*) AS n FROM input TIMESTAMP BY t GROUP BY k, SessionWindow(second, 5, 20)',
    'SELECT k, Count(*) AS n FROM input TIMESTAMP BY t OVER k GROUP BY k, TumblingWindow(second, 10)',
    'SELECT Count(*) AS n FROM input TIMESTAMP BY t PARTITION BY k GROUP BY TumblingWindow(second, 10)',
    'SELECT k, Lag(v) OVER (PARTITION BY k LIMIT DURATION(minute, 1)) AS before FROM input TIMESTAMP BY t',
    'SELECT a.v FROM input a TIMESTAMP BY t LEFT JOIN other b TIMESTAMP BY t ON a.k = b.k AND DATEDIFF(second, a, b) BETWEEN 0 AND 5',
    'WITH u AS (SELECT k, t FROM input TIMESTAMP BY t UNION SELECT k, t FROM other TIMESTAMP BY t) SELECT k, Count(*) AS n FROM u GROUP BY k, TumblingWindow(second, 10)',
  ];
  const fields = { k: 1, v: 2 };

  for (const script of scripts) {
    test(`goes on as one that has just begun, and holds no more: ${script}`, () => {
      const told = engineFor(script);
      const untold = engineFor(script);
      const fresh = engineFor(script);
      for (const engine of [told, untold]) {
        for (const secs of [1, 5e9, 2]) give(engine, { secs, fields, input: 'input', arrival: 1, arrivalKnown: false });
        assert.equal(engine.ahead(at(3000)), at(5e9) - at(3000));
      }
      told.learn(at(3000));
      assert.deepEqual([told.held, told.ahead(at(3000)), told.counters.early], [fresh.held, 0, 1]);
      const after = [3000, 3001, 3001, 3007, 3022, 3060];
      const out = [told, untold, fresh].map((engine) => {
        const given = after.flatMap((secs) => give(engine, { secs, fields, input: 'input' }));
        return [...given, ...engine.end()].filter(({ time }) => time.ms < at(4000) / 1000);
      });
      assert.ok(out[2]!.length > 1);
      assert.deepEqual(out[0], out[2]);
      // Nobody says it to a journal's replay: the first event whose arrival is known does.
      const since = out[1]!.filter((event) => secsOf(event) >= 3000);
      assert.deepEqual(since, out[2]);
      assert.deepEqual([told.held, untold.held], [fresh.held, fresh.held]);
    });
  }
});
