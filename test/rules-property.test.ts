import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { printBody } from '../src/query/body-json.ts';
import { decodeState, encodeState } from '../src/query/state.ts';
import { Engine, type OutputEvent } from '../src/rules/engine.ts';
import { naive, timed, type NaiveArrival, type NaivePolicies, type NaiveWindow } from './parts/naive-windows.ts';
import { fc } from './parts/properties.ts';
import { at } from './parts/replay.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const RUNS = LONG ? 600 : 40;
const SEEDS = [1, 20_261_126, ...(LONG ? [2, 3, 4] : [])];
const S = 1_000_000;

/** What happens: an event, or nothing but a tick, or a restart from what was saved. */
type Step =
  | { readonly kind: 'event'; readonly event: NaiveArrival; readonly input: string }
  | { readonly kind: 'tick'; readonly now: number }
  | { readonly kind: 'restart' };

/** Tenths of a second between two arrivals: mostly few, so that windows have something in them; now and then a gap. */
const gap = fc.oneof({ weight: 8, arbitrary: fc.nat(12) }, { weight: 1, arbitrary: fc.nat(400) }, fc.constant(0));
/** Tenths of a second that an event is old when it comes. */
const age = fc.oneof({ weight: 3, arbitrary: fc.nat(5) }, { weight: 2, arbitrary: fc.nat(60) }, fc.nat(300));

const steps = fc
  .array(
    fc.record({
      gap,
      age,
      key: fc.constantFrom('a', 'b', 'c'),
      v: fc.integer({ min: -50, max: 50 }),
      input: fc.constantFrom('input', 'other'),
      tick: fc.boolean(),
      restart: fc.nat(9).map((number) => number === 0),
    }),
    { minLength: 1, maxLength: 80 },
  )
  .map((made): Step[] => {
    let tenths = 0;
    return made.flatMap(({ gap: after, age: old, key, v, input, tick, restart }): Step[] => {
      tenths += after;
      const arrival = at(tenths / 10);
      return [
        ...(tick ? [{ kind: 'tick', now: arrival - Math.floor((after * S) / 20) } as const] : []),
        ...(restart ? [{ kind: 'restart' } as const] : []),
        { kind: 'event', event: { time: at((tenths - old) / 10), arrival, key, v }, input },
      ];
    });
  });

const policies: fc.Arbitrary<NaivePolicies> = fc.record({
  outOfOrder: fc.constantFrom(0, 2 * S, 5 * S),
  late: fc.constantFrom(S, 5 * S, 20 * S),
  drop: fc.boolean(),
});

const WINDOWS: readonly (readonly [text: string, window: NaiveWindow])[] = [
  ['TumblingWindow(second, 3)', { kind: 'hopping', size: 3 * S, hop: 3 * S, offset: 0 }],
  ['TumblingWindow(second, 7, 2)', { kind: 'hopping', size: 7 * S, hop: 7 * S, offset: 2 * S }],
  ['HoppingWindow(second, 10, 4, -1)', { kind: 'hopping', size: 10 * S, hop: 4 * S, offset: -S }],
  ['HoppingWindow(millisecond, 900, 2000)', { kind: 'hopping', size: 0.9 * S, hop: 2 * S, offset: 0 }],
  ['SlidingWindow(second, 5)', { kind: 'sliding', size: 5 * S }],
  ['SessionWindow(second, 2, 9)', { kind: 'session', timeout: 2 * S, max: 9 * S, byKey: false }],
  ['SessionWindow(second, 3, 8) OVER (PARTITION BY k)', { kind: 'session', timeout: 3 * S, max: 8 * S, byKey: true }],
  ['System.Timestamp()', { kind: 'snapshot' }],
];

const COLUMNS = 'k, Count(*) AS n, Sum(v) AS s, Min(v) AS low, Max(v) AS high';

function engineOf(script: string, { outOfOrder, late, drop }: NaivePolicies): Engine {
  const onLate = drop ? 'drop' : 'adjust';
  return Engine.compile({ script, outOfOrderMs: outOfOrder / 1000, lateArrivalMs: late / 1000, onLate });
}

/** All that comes out. `disturbed`: with the ticks and the restarts. */
function run(script: string, all: readonly Step[], given: NaivePolicies, disturbed: boolean): OutputEvent[] {
  let engine = engineOf(script, given);
  const out: OutputEvent[] = [];
  for (const step of all) {
    if (step.kind === 'event') {
      const { time, key, v, arrival } = step.event;
      const fields = { t: new Date(time / 1000).toISOString(), k: key, v };
      const input = engine.inputs.includes(step.input) ? step.input : engine.inputs[0]!;
      out.push(...engine.feed(input, { fields, arrival, arrivalKnown: true }));
    } else if (disturbed && step.kind === 'tick') {
      out.push(...engine.tick(step.now));
    } else if (disturbed && step.kind === 'restart') {
      const held = engine.held;
      const saved = encodeState(engine.save());
      engine = engineOf(script, given);
      engine.load(decodeState(saved));
      assert.deepEqual(engine.held, held, 'what is held is counted anew and is the same');
      assert.equal(encodeState(engine.save()), saved, 'what was loaded is what was saved');
    }
  }
  out.push(...engine.end());
  assert.deepEqual(engine.held, { windows: 0, groups: 0, bytes: 0 }, 'at the end nothing is held');
  return out;
}

function micros({ time }: OutputEvent): number {
  return time.ms * 1000 + time.ticks / 10;
}

function check(property: (all: readonly Step[], given: NaivePolicies) => void, seed: number): void {
  fc.assert(fc.property(steps, policies, property), { seed, numRuns: RUNS, includeErrorInReport: true });
}

describe('incremental windows are what the definition says of all events together', () => {
  for (const [text, window] of WINDOWS) {
    for (const seed of SEEDS) {
      test(`${text} (seed ${seed})`, () => {
        const script = `SELECT ${COLUMNS} FROM input TIMESTAMP BY t GROUP BY k, ${text}`;
        check((all, given) => {
          const arrivals = all.flatMap((step) => (step.kind === 'event' ? [step.event] : []));
          const events = timed(arrivals, given);
          const out = run(script, all, given, true);
          const found = out.map((event) => {
            const { k, n, s, low, high } = event.body;
            return [micros(event), k as string, ...[n, s, low, high].map(Number)].join('|');
          });
          assert.deepEqual([...found].sort(), (events.length === 0 ? [] : naive(events, window)).sort());
          const times = out.map(micros);
          assert.deepEqual(
            times,
            times.toSorted((a, b) => a - b),
            'results come in the order of time',
          );
        }, seed);
      });
    }
  }
});

const SCRIPTS: readonly (readonly [name: string, script: string])[] = [
  ...WINDOWS.map(
    ([text]) => [text, `SELECT ${COLUMNS}, Collect(v) AS all FROM input TIMESTAMP BY t GROUP BY k, ${text}`] as const,
  ),
  [
    'Windows()',
    `SELECT System.Window().Id AS id, ${COLUMNS} FROM input TIMESTAMP BY t
     GROUP BY k, Windows(Window('s', SlidingWindow(second, 2)), Window('h', HoppingWindow(second, 6, 2)), Window('e', SessionWindow(second, 2, 8)))`,
  ],
  [
    'events as they are, to two outputs',
    'SELECT * INTO a FROM input TIMESTAMP BY t SELECT v INTO b FROM input TIMESTAMP BY t WHERE v > 0',
  ],
  [
    'a window over a union of two inputs',
    `WITH u AS (SELECT k, v FROM input TIMESTAMP BY t UNION SELECT k, v FROM other TIMESTAMP BY t)
     SELECT ${COLUMNS}, Collect(v) AS all FROM u GROUP BY k, TumblingWindow(second, 4)`,
  ],
  [
    'a window over a union of a window and of events',
    `WITH w AS (SELECT k, Sum(v) AS v FROM input TIMESTAMP BY t GROUP BY k, SlidingWindow(second, 2)),
          u AS (SELECT k, v FROM w UNION SELECT k, v FROM input TIMESTAMP BY t WHERE v > 0)
     SELECT ${COLUMNS}, Collect(v) AS all FROM u GROUP BY k, HoppingWindow(second, 4, 2)`,
  ],
  [
    'windows over windows, down to a snapshot',
    `WITH w AS (SELECT k, Sum(v) AS v FROM input TIMESTAMP BY t GROUP BY k, TumblingWindow(second, 2))
     SELECT Collect(k) AS keys, Sum(v) AS s INTO a FROM w GROUP BY System.Timestamp()
     SELECT k, Sum(v) AS s INTO b FROM w GROUP BY k, TumblingWindow(second, 10)`,
  ],
  [
    'a join of two inputs, and what found nothing',
    `SELECT a.k, a.v AS v, b.v AS w INTO pairs FROM input AS a TIMESTAMP BY t JOIN other AS b TIMESTAMP BY t
       ON a.k = b.k AND DATEDIFF(second, a, b) BETWEEN -1 AND 2
     SELECT a.k, a.v INTO alone FROM input AS a TIMESTAMP BY t LEFT JOIN other AS b TIMESTAMP BY t
       ON a.k = b.k AND DATEDIFF(second, a, b) BETWEEN 0 AND 3 WHERE b.k IS NULL`,
  ],
  [
    'looking back, and a window over that',
    `WITH d AS (SELECT k, v - LAG(v) OVER (PARTITION BY k LIMIT DURATION(second, 5)) AS step, ISFIRST(second, 3) AS first FROM input TIMESTAMP BY t)
     SELECT k, Collect(step) AS steps, Sum(first) AS firsts FROM d GROUP BY k, TumblingWindow(second, 4)`,
  ],
  [
    'a timeline for each key',
    `SELECT ${COLUMNS} FROM input TIMESTAMP BY t OVER k GROUP BY k, TumblingWindow(second, 3)`,
  ],
];

describe('ticks and restarts change neither the results nor their order within an output', () => {
  for (const [name, script] of SCRIPTS) {
    for (const seed of SEEDS) {
      test(`${name} (seed ${seed})`, () => {
        // Each key of OVER has a time of its own, so only its own order is promised.
        const keyed = script.includes('OVER k GROUP');
        check((all, given) => {
          const [still, disturbed] = [false, true].map((disturb) => {
            const lines = new Map<string, string[]>();
            for (const event of run(script, all, given, disturb)) {
              const line = keyed ? `${event.output} ${event.body['k'] as string}` : event.output;
              const text = `${event.window} ${event.n} ${printBody(event.body)}`;
              lines.set(line, [...(lines.get(line) ?? []), text]);
            }
            return [...lines].sort(([a], [b]) => (a < b ? -1 : 1));
          });
          assert.deepEqual(disturbed, still);
        }, seed);
      });
    }
  }
});
