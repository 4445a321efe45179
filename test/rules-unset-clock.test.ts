import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { pino } from 'pino';
import { ModulesSchema } from '../src/config/modules.ts';
import { namedRoutes, RoutesSchema } from '../src/config/routes.ts';
import { eventProperties } from '../src/dialects/holdfast.ts';
import { Router } from '../src/router/router.ts';
import { Modules, type ModuleShown } from '../src/rules/modules.ts';
import { ManualClock } from './manual-clock.ts';
import { SpoolRig } from './parts/spool-rig.ts';

const PAST = Date.UTC(1973, 0, 12, 23, 50, 41);
const NOW = Date.UTC(2026, 0, 1);
const SECOND = 1000;
const HOUR = 3600 * SECOND;
const DAY = 24 * HOUR;
const COUNT = 'SELECT COUNT(*) AS c INTO out FROM input GROUP BY TumblingWindow(second, 5)';

interface Stage {
  readonly rig: SpoolRig;
  readonly clock: ManualClock;
  /** A reading comes, and is fed to the module. */
  readonly read: (fields?: object) => void;
  /** The same for an input that no route leads to. */
  readonly feed: (input: string, fields: object) => void;
  readonly restart: (clock?: ManualClock) => Promise<Stage>;
  /** What the module has put out, as it goes upstream: the body's count or time, `t`, `at` and `clock`. */
  readonly sent: () => (readonly [unknown, ...(string | null)[]])[];
  readonly module: () => ModuleShown;
  /** What this run has warned of. */
  readonly warned: readonly string[];
}

async function stage(rig: SpoolRig, clock: ManualClock, query: string, policies: object = {}): Promise<Stage> {
  const warned: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line) => void warned.push((JSON.parse(line) as { msg: string }).msg) });
  const router: Router = new Router({
    gateway: 'line-4',
    routes: namedRoutes(
      RoutesSchema.parse({
        in: 'FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId) INTO BrokeredEndpoint("/modules/m/inputs/input")',
        out: 'FROM /messages/modules/* INTO $upstream',
      }),
    ),
    destinations: {
      upstream: rig.spool,
      modules: (message, inputs) => modules.feed(message, inputs),
      child: () => assert.fail('no route leads to a child'),
      kept: () => Promise.resolve(),
    },
  });
  const modules: Modules = new Modules({
    modules: ModulesSchema.parse([{ id: 'm', query, ...policies }]),
    clock,
    log,
    quotaBytes: () => rig.spool.snapshot().quotaBytes,
    put: (out) => void router.moduleOutput(out, false).catch(assert.fail),
    order: () => assert.fail('no output gives orders'),
    touch: () => rig.spool.touch(false),
  });
  const records = rig.spool.companionRecords();
  rig.spool.accompany(modules);
  await modules.start(records);
  return {
    rig,
    clock,
    warned,
    module: () => modules.status()[0]!,
    read: (fields = {}) =>
      void router.reading('press', { body: Buffer.from(JSON.stringify(fields)) }, false).catch(assert.fail),
    feed: (input, fields) => {
      modules.feed(rig.message(JSON.stringify(fields), 10), [{ module: 'm', input }]);
    },
    restart: async (next = clock) => {
      await modules.stop();
      return stage(await rig.restart({ clock: next }), next, query, policies);
    },
    sent: () => {
      const taken = rig.take().map((stored) => {
        const pairs = eventProperties(stored, rig.spool.acceptedTime(stored.message.acceptedAt));
        const value = (name: string) => (pairs.includes(name) ? pairs[pairs.indexOf(name) + 1]! : null);
        const [first] = Object.values(JSON.parse(stored.message.body.toString()) as object);
        return [first, value('t'), value('at'), value('clock')] as const;
      });
      rig.spool.rewind();
      return taken;
    },
  };
}

/** A board that has just been switched on; its clock says `wall`, and nobody knows better. */
async function unset(query: string, wall = PAST, policies = {}): Promise<Stage> {
  const clock = new ManualClock({ wall, known: false, monotonic: 20 * SECOND });
  return stage(await SpoolRig.open({ clock }), clock, query, policies);
}

async function learns({ clock, rig }: Stage, wall = NOW): Promise<void> {
  clock.setWall(wall);
  clock.setKnown(true);
  // The rules ask once a second.
  await clock.flow(SECOND);
  await rig.spool.flush();
}

async function flows({ clock, rig }: Stage, ms: number): Promise<void> {
  await clock.flow(ms);
  await rig.spool.flush();
}

describe('what rules put out while nobody had set the clock', () => {
  test('a window has the time at which it ended, once that is known', async () => {
    const at = await unset(COUNT);
    at.read();
    // It ends 4 s later, by a clock that says 23:50:45.
    await flows(at, 10 * SECOND);
    assert.deepEqual(
      at.sent().map(([count, t, , clock]) => [count, t, clock]),
      [[1, '1973-01-12T23:50:45.000Z', 'unknown']],
    );
    await learns(at);
    assert.deepEqual(
      at.sent().map(([count, t, , clock]) => [count, t, clock]),
      [[1, '2025-12-31T23:59:54.000Z', 'restored']],
    );
    await at.rig.close();
  });

  test('also what comes of one message', async () => {
    const at = await unset('SELECT n INTO out FROM input');
    at.read({ n: 7 });
    await flows(at, SECOND);
    await learns(at);
    assert.deepEqual(at.sent(), [[7, '2025-12-31T23:59:59.000Z', '2025-12-31T23:59:59.000Z', 'restored']]);
    await at.rig.close();
  });

  test('times that events say themselves are theirs', async () => {
    const at = await unset(
      'SELECT COUNT(*) AS c INTO out FROM input TIMESTAMP BY t GROUP BY TumblingWindow(second, 5)',
    );
    at.read({ t: '2020-01-01T00:00:01Z' });
    at.read({ t: '2020-01-01T00:00:06Z' });
    await flows(at, 0);
    await learns(at);
    assert.deepEqual(at.sent().map(([, t, , clock]) => [t, clock])[0], ['2020-01-01T00:00:05.000Z', 'restored']);
    await at.rig.close();
  });

  test("also where the rules' timeline is ahead of the clock, since it goes on where the last run was", async () => {
    const known = new ManualClock({ wall: NOW - HOUR + SECOND, monotonic: HOUR, bootId: 'before' });
    let at = await stage(await SpoolRig.open({ clock: known }), known, COUNT);
    at.read();
    await flows(at, 10 * SECOND);
    at.read();
    await flows(at, 6 * SECOND);
    assert.deepEqual(
      at.sent().map(([count, t]) => [count, t]),
      [
        [1, '2025-12-31T23:00:05.000Z'],
        [1, '2025-12-31T23:00:15.000Z'],
      ],
    );
    for (const stored of at.rig.take()) at.rig.spool.delivered(stored, true);
    at = await at.restart(new ManualClock({ wall: PAST, known: false, monotonic: 20 * SECOND }));
    at.read();
    await flows(at, 10 * SECOND);
    const [end] = at.sent();
    await learns(at);
    const [restored] = at.sent();
    assert.deepEqual([end![3], restored![3]], ['unknown', 'restored']);
    const age = NOW - Date.parse(restored![1]!);
    assert.ok(age >= 5 * SECOND && age <= 10 * SECOND, `${restored![1]}`);
    const before = Date.parse(end![2]!) - Date.parse(end![1]!);
    assert.ok(before >= 0 && before <= 5 * SECOND, `its two times are by two clocks: ${end!.join()}`);
    await at.rig.close();
  });
});

describe('a window that is open when the clock is set', () => {
  test('forwards: it ends when it would have, by the clock that is right', async () => {
    const at = await unset(COUNT);
    at.read();
    await flows(at, SECOND);
    await learns(at);
    await flows(at, 10 * SECOND);
    assert.deepEqual(
      at.sent().map(([count, t, , clock]) => [count, t, clock]),
      [[1, '2026-01-01T00:00:03.000Z', 'synced']],
    );
    await at.rig.close();
  });

  test('forwards, and something comes before that: it ends then', async () => {
    const at = await unset(COUNT);
    at.read();
    await flows(at, SECOND);
    await learns(at);
    at.read();
    await flows(at, 0);
    assert.deepEqual(at.sent(), [[1, '2026-01-01T00:00:01.000Z', '2026-01-01T00:00:01.000Z', 'synced']]);
    await flows(at, 10 * SECOND);
    assert.deepEqual(at.sent()[1]!.slice(0, 2), [1, '2026-01-01T00:00:05.000Z']);
    await at.rig.close();
  });

  test('forwards by less than it is long: it goes on, and ends by the clock that is right', async () => {
    const at = await unset(COUNT.replace('5', '60'), NOW + 2 * SECOND);
    at.read();
    await flows(at, 3 * SECOND);
    await learns(at, NOW + 15 * SECOND);
    at.read();
    await flows(at, 60 * SECOND);
    assert.deepEqual(at.sent(), [[2, '2026-01-01T00:01:00.000Z', at.sent()[0]![2], 'synced']]);
    await at.rig.close();
  });

  test('back: it ends then', async () => {
    const at = await unset(COUNT, NOW + 365 * DAY + SECOND);
    at.read();
    await flows(at, SECOND);
    await learns(at);
    assert.deepEqual(at.sent(), [[1, '2026-01-01T00:00:01.000Z', '2026-01-01T00:00:01.000Z', 'synced']]);
    at.read();
    await flows(at, 10 * SECOND);
    assert.deepEqual(at.sent()[1]!.slice(0, 2), [1, '2026-01-01T00:00:05.000Z']);
    await at.rig.close();
  });

  test('back, while the gateway was stopped: it ends at the start', async () => {
    let at = await unset(COUNT, NOW + 365 * DAY + SECOND);
    at.read();
    await flows(at, SECOND);
    at = await at.restart(new ManualClock({ wall: NOW, monotonic: 60 * SECOND }));
    await flows(at, SECOND);
    assert.deepEqual(at.sent(), [[1, '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z', 'synced']]);
    await at.rig.close();
  });
});

/** A count of what is in each window, and when the window ended by the events' own times. */
const OWN =
  'SELECT COUNT(*) AS c, System.Timestamp() AS ends INTO out FROM input TIMESTAMP BY t GROUP BY TumblingWindow(second, 20)';
const FUTURE = '2200-01-01T00:00:05Z';
const iso = (ms: number) => new Date(ms).toISOString();

describe("events' own times, taken while nobody knew better", () => {
  /** Two readings of now, and one with an impossible time between them. */
  function misled(at: Stage, now = NOW): void {
    at.read({ t: iso(now - 70 * SECOND) });
    at.read({ t: FUTURE });
    at.read({ t: iso(now - 69 * SECOND) });
  }

  /** How many of two readings of now are in the window of now, by its own time. */
  async function countsAgain(at: Stage): Promise<void> {
    const t = iso(at.clock.wall());
    at.read({ t });
    at.read({ t });
    const end = Math.ceil(at.clock.wall() / (20 * SECOND)) * 20 * SECOND;
    await flows(at, 30 * SECOND);
    assert.deepEqual(at.sent().at(-1)!.slice(0, 2), [2, iso(end)]);
  }

  test('an impossible one holds a rule up no longer than until the time is known', async () => {
    const at = await unset(OWN);
    misled(at);
    await learns(at);
    // What its window held is given out: the reading that was moved there is not lost.
    assert.deepEqual(
      at.sent().map(([count, t]) => [count, t]),
      [
        [1, iso(NOW - 60 * SECOND)],
        [2, '2200-01-01T00:00:20.000Z'],
      ],
    );
    await countsAgain(at);
    const { early, unordered, held, in: taken } = at.module();
    assert.deepEqual(
      { early, unordered, taken, windows: held.windows },
      { early: 1, unordered: 1, taken: 5, windows: 0 },
    );
    assert.deepEqual(at.warned, [
      'while nobody knew the time the module took an event whose own time is 63552 d ahead: what it led ahead closes with what it has, and begins anew',
    ]);
    await at.rig.close();
  });

  test('nor at the next start, when the time is known by then', async () => {
    let at = await unset(OWN);
    misled(at);
    await flows(at, SECOND);
    at = await at.restart(new ManualClock({ wall: NOW, monotonic: 60 * SECOND }));
    assert.equal(at.warned.length, 1);
    await countsAgain(at);
    at = await at.restart(new ManualClock({ wall: NOW + HOUR, monotonic: HOUR }));
    assert.deepEqual(at.warned, []);
    await countsAgain(at);
    await at.rig.close();
  });

  test('one that waits for others that came out of order is dropped as an early one is', async () => {
    const at = await unset(OWN, PAST, { outOfOrder: '1h' });
    at.read({ t: iso(NOW - 70 * SECOND) });
    at.read({ t: iso(NOW + 10 * 60 * SECOND) });
    await learns(at);
    assert.deepEqual(
      at.sent().map(([count, t]) => [count, t]),
      [[1, iso(NOW - 60 * SECOND)]],
    );
    assert.equal(at.module().early, 1);
    await at.rig.close();
  });

  test('a key of TIMESTAMP BY .. OVER begins anew alone', async () => {
    const at = await unset(OWN.replace('BY t', 'BY t OVER k').replace('BY T', 'BY k, T'));
    at.read({ k: 1, t: FUTURE });
    at.read({ k: 2, t: iso(NOW - SECOND) });
    await learns(at);
    assert.deepEqual(
      at.sent().map(([count, t]) => [count, t]),
      [[1, '2200-01-01T00:00:20.000Z']],
    );
    assert.deepEqual([at.module().held.groups, at.module().early], [2, 1]);
    await flows(at, 30 * SECOND);
    assert.deepEqual(at.sent()[1]!.slice(0, 2), [1, iso(NOW)]);
    await at.rig.close();
  });

  test('right ones stay right, however far the clock of the gateway was behind them', async () => {
    const at = await unset(OWN);
    at.read({ t: iso(NOW - 2 * SECOND) });
    await flows(at, SECOND);
    await learns(at);
    await countsAgain(at);
    assert.deepEqual([at.module().early, at.module().unordered, at.warned], [0, 0, []]);
    await at.rig.close();
  });

  test('nor is an input that had said nothing by then put ahead as far', async () => {
    const at = await unset(
      'WITH u AS (SELECT t FROM input TIMESTAMP BY t UNION SELECT t FROM other TIMESTAMP BY t) SELECT COUNT(*) AS c INTO out FROM u GROUP BY TumblingWindow(second, 20)',
    );
    at.read({ t: iso(NOW - 2 * SECOND) });
    await flows(at, 10 * SECOND);
    await learns(at);
    at.feed('other', { t: iso(NOW + SECOND) });
    assert.equal(at.module().unordered, 0);
    await flows(at, 30 * SECOND);
    assert.deepEqual(at.sent().at(-1)!.slice(0, 2), [1, iso(NOW + 20 * SECOND)]);
    await at.rig.close();
  });
});
