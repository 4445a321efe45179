import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodeState, encodeState } from '../src/query/state.ts';
import type { Fields, Value } from '../src/query/value.ts';
import type { Engine, OutputEvent } from '../src/rules/engine.ts';
import { fc } from './parts/properties.ts';
import { at, engineFor, give, replay } from './parts/replay.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const RUNS = LONG ? 1_000 : 100;

const SITES: readonly Fields[] = [
  { id: 1, site: 'north' },
  { id: 2, site: 'south' },
];
const references = { sites: { rows: SITES } };

/** All that is remembered by joins and by what looks back, and windows behind a join. */
const QUERY = `
WITH joined AS (
  SELECT L.id, s.site, L.v AS l, R.v AS r, LAG(L.v) OVER (PARTITION BY L.id LIMIT DURATION(second, 8)) AS before,
    SUM(R.v) OVER (PARTITION BY R.id LIMIT DURATION(second, 8)) AS recent
  FROM L TIMESTAMP BY t
  LEFT JOIN R TIMESTAMP BY t ON L.id = R.id AND DATEDIFF(second, L, R) BETWEEN -2 AND 4
  LEFT JOIN sites s ON L.id = s.id
)
SELECT id, site, l, r, before, recent INTO pairs FROM joined
SELECT site, COUNT(*) AS n, SUM(r) AS total INTO sums FROM joined GROUP BY site, TumblingWindow(second, 5)
SELECT A.id, ISFIRST(second, 10) OVER (PARTITION BY A.id) AS first, B.l AS again INTO own
  FROM L A TIMESTAMP BY t JOIN joined B ON A.id = B.id AND DATEDIFF(second, A, B) BETWEEN 1 AND 3`;

describe('joins in a running query', () => {
  test('example of the reference, from events to results', () => {
    const query = `SELECT L.n AS l, R.n AS r FROM L TIMESTAMP BY t
      LEFT JOIN R TIMESTAMP BY t ON DATEDIFF(second, L, R) BETWEEN 0 AND 5`;
    const events = [
      { input: 'R', secs: 9, fields: { n: 9 } },
      { input: 'L', secs: 10, fields: { n: 10 } },
      { input: 'R', secs: 12, fields: { n: 12 } },
      { input: 'L', secs: 20, fields: { n: 20 } },
    ];
    assert.deepEqual(replay(query, events), [
      [12, { l: 10, r: 12 }],
      [25, { l: 20, r: null }],
    ]);
  });

  test('a lonely row comes although both inputs have fallen silent, when a tick says that its time has passed', () => {
    const query = `SELECT L.n FROM L TIMESTAMP BY t LEFT JOIN R TIMESTAMP BY t ON DATEDIFF(second, L, R) BETWEEN 0 AND 5`;
    const engine = engineFor(query);
    assert.deepEqual(give(engine, { input: 'L', secs: 10, fields: { n: 1 } }), []);
    let out: readonly OutputEvent[] = [];
    let ticks = 0;
    for (let due = engine.nextTick(); due !== null && out.length === 0; due = engine.nextTick()) {
      assert.ok(++ticks < 10, 'nothing comes, and ticks are asked for again and again');
      out = engine.tick(due);
      // 10 + 5 for the bound, and 5 s for events of R that may be late.
      if (out.length > 0) assert.ok(due >= at(20) && due < at(20.01), String(due - at(0)));
    }
    assert.deepEqual(
      out.map(({ body }) => body),
      [{ n: 1 }],
    );
    assert.equal(engine.nextTick(), null);
    assert.equal(engine.held.bytes, 0);
  });
});

interface Happening {
  readonly input: 'L' | 'R';
  /** How long after the one before it was accepted, and how long before that it happened. */
  readonly after: number;
  readonly late: number;
  readonly id: Value;
  readonly v: Value;
  /** What else happens just before it. */
  readonly disturbance: 'none' | 'tick' | 'restart';
}

const happenings: fc.Arbitrary<readonly Happening[]> = fc.array(
  fc.record({
    input: fc.constantFrom('L' as const, 'R' as const),
    after: fc.constantFrom(0, 0.5, 1, 2, 7, 15),
    late: fc.constantFrom(0, 0, 1, 3, 8),
    id: fc.constantFrom<Value>(1, 2, 3, null),
    v: fc.constantFrom<Value>(0, 1, 0.5, null, 'text'),
    disturbance: fc.constantFrom('none' as const, 'tick' as const, 'restart' as const),
  }),
  { maxLength: 30 },
);

function run(events: readonly Happening[], disturbed: boolean): string[] {
  let engine: Engine = engineFor(QUERY, { references, outOfOrderMs: 1000 });
  const out: OutputEvent[] = [];
  let arrival = 0;
  for (const { input, after, late, id, v, disturbance } of events) {
    if (disturbed && disturbance === 'tick') out.push(...engine.tick(at(arrival + after / 2)));
    if (disturbed && disturbance === 'restart') {
      const next = engineFor(QUERY, { references, outOfOrderMs: 1000 });
      next.load(decodeState(encodeState(engine.save())));
      assert.deepEqual(next.held, engine.held);
      engine = next;
    }
    arrival += after;
    out.push(...give(engine, { input, secs: arrival - late, arrival, fields: { id, v } }));
  }
  out.push(...engine.end());
  assert.equal(engine.held.bytes, 0);
  return out.map(({ output, window, n, body }) => JSON.stringify([output, window, n, body])).sort();
}

for (const seed of [1, 20_261_126, ...(LONG ? [2, 3] : [])]) {
  test(`ticks and restarts in between change nothing of what comes out (seed ${seed})`, () => {
    fc.assert(
      fc.property(happenings, (events) => assert.deepEqual(run(events, true), run(events, false))),
      { seed, numRuns: RUNS },
    );
  });
}
