import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgeClock, type AgeMark } from '../src/clock/age.ts';
import { SystemClock } from '../src/clock/system-clock.ts';
import { eventProperties, eventTopic, parseEvent, propertyLevel, rfc3339 } from '../src/dialects/holdfast.ts';
import type { AcceptedAt, Reading } from '../src/message/message.ts';
import { upstreamRouter } from './parts/upstream-router.ts';
import { BootTable } from '../src/spool/boot-table.ts';
import type { Boot } from '../src/spool/books.ts';
import { ManualClock } from './manual-clock.ts';
import { SpoolRig } from './parts/spool-rig.ts';

const SECOND = 1000;
const MINUTE = 60_000;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const YEAR = 365.25 * DAY;
const NOW = Date.UTC(2026, 0, 1);
/** What a board without a real-time clock believes when it boots. */
const PAST = Date.UTC(1970, 0, 1, 0, 0, 10);
/** From power to our start. */
const BOOT_MS = 20 * SECOND;

/**
 * A board through its boots, with the tables as they come back from the medium, and the truth beside them: `real` is what a
 * good clock on the wall would show.
 */
class Board {
  real = NOW;
  boots: Boot[] = [];
  mark: AgeMark | null = null;
  builtAt: number | null = null;
  clock!: ManualClock;
  table!: BootTable;
  #age!: AgeClock;
  #count = 0;

  /** Switched on; the clock shows `wall`. */
  boot(wall: number, known = false): void {
    this.clock = new ManualClock({ wall, known, monotonic: 0, bootId: `boot-${++this.#count}` });
    this.pass(BOOT_MS);
    this.restart();
  }

  /** A process begins. */
  restart(): void {
    const passed = Math.max(this.mark?.wall ?? -Infinity, this.builtAt ?? -Infinity);
    this.boots = JSON.parse(JSON.stringify(this.boots)) as Boot[];
    this.table = new BootTable(this.boots, this.clock, passed === -Infinity ? null : passed);
    this.#age = new AgeClock(this.clock, this.mark);
    this.commit();
  }

  pass(ms: number): void {
    this.clock.advance(ms);
    this.real += ms;
  }

  /** Time passes, with commits. */
  run(ms: number): void {
    for (let passed = 0; passed < ms; passed += MINUTE) {
      this.pass(Math.min(MINUTE, ms - passed));
      this.commit();
    }
  }

  commit(): void {
    this.table.learn();
    this.mark = JSON.parse(JSON.stringify(this.#age.mark())) as AgeMark;
  }

  off(ms: number): void {
    this.real += ms;
  }

  synchronise(): void {
    this.clock.setWall(this.real);
    this.clock.setKnown(true);
    this.commit();
  }

  /** A stamp as the spool gives it, and when it really was. */
  stamp(): { accepted: AcceptedAt; real: number } {
    const { clock } = this;
    const accepted: AcceptedAt = {
      wall: clock.wall(),
      monotonic: clock.monotonic(),
      boot: this.table.number,
      clock: clock.known() ? 'synced' : 'unknown',
      age: this.#age.now(),
    };
    return { accepted, real: this.real };
  }

  /** A stamp's time must be within its bounds, and these around the truth and no wider than `slack` on either side. */
  bounded({ accepted, real }: { accepted: AcceptedAt; real: number }, before: number, after: number): void {
    const { at, clock, tMin, tMax } = this.table.timeOf(accepted);
    assert.equal(clock, 'unknown');
    assert.ok(tMin !== undefined && tMax !== undefined, 'no bounds');
    assert.ok(tMin <= real && real <= tMax, `${rfc3339(real)} is not from ${rfc3339(tMin)} to ${rfc3339(tMax)}`);
    assert.ok(tMin <= at && at <= tMax, `${rfc3339(at)} is not within its own bounds`);
    assert.ok(real - tMin <= before, `the lower bound is ${real - tMin} ms too early`);
    assert.ok(tMax - real <= after, `the upper bound is ${tMax - real} ms too late`);
  }
}

test('a clock that is known from the start: stamps stay as they are', () => {
  const board = new Board();
  board.boot(NOW, true);
  const { accepted } = board.stamp();
  board.clock.setWall(PAST);
  assert.deepEqual(board.table.timeOf(accepted), { at: NOW + BOOT_MS, clock: 'synced' });
});

for (const [name, wrong] of [
  ['5 seconds', 5 * SECOND],
  ['6 hours', 6 * HOUR],
  ['50 years', 50 * YEAR],
] as const) {
  for (const sign of [1, -1]) {
    test(`a clock that is wrong by ${sign > 0 ? '' : 'minus '}${name} for 5 minutes: stamps are exact once it is right`, () => {
      const board = new Board();
      board.boot(NOW + sign * wrong);
      const early = board.stamp();
      board.run(5 * MINUTE);
      // Whatever it shows in between.
      board.clock.setWall(board.clock.wall() - sign * wrong * 2);
      const late = board.stamp();
      assert.equal(board.table.timeOf(early.accepted).clock, 'unknown');
      board.synchronise();
      board.clock.setWall(PAST);
      for (const { accepted, real } of [early, late]) {
        assert.deepEqual(board.table.timeOf(accepted), { at: real, clock: 'restored' });
      }
      // A boot later as well.
      board.off(HOUR);
      board.boot(PAST);
      assert.deepEqual(board.table.timeOf(early.accepted), { at: early.real, clock: 'restored' });
      assert.equal(board.table.timeOf(board.stamp().accepted).clock, 'unknown');
    });

    test(`a boot that never knew the time, its clock wrong by ${sign > 0 ? '' : 'minus '}${name}: bounds, from when it was last known to when it was known next`, () => {
      const board = new Board();
      board.boot(NOW, true);
      board.run(HOUR);
      board.off(2 * HOUR);
      board.boot(board.real + sign * wrong);
      board.run(10 * MINUTE);
      const early = board.stamp();
      board.run(3 * HOUR);
      const late = board.stamp();
      board.run(30 * SECOND);
      const before = board.table.timeOf(late.accepted);
      assert.equal(before.tMax, undefined, 'nobody knows yet');
      assert.ok(before.tMin !== undefined && before.tMin <= late.real);
      board.off(HOUR);
      board.boot(PAST);
      board.run(7 * MINUTE);
      assert.equal(board.table.timeOf(late.accepted).tMax, undefined);
      board.synchronise();
      // 2 hours off before it, an hour after it; the rest is what was not noted of the last minute.
      for (const stamp of [early, late]) board.bounded(stamp, 2 * HOUR + MINUTE + BOOT_MS, HOUR + MINUTE);
    });
  }
}

test('two boots in a row that never knew the time are bounded by each other as well', () => {
  const board = new Board();
  board.boot(NOW, true);
  board.run(HOUR);
  board.off(10 * MINUTE);
  board.boot(PAST);
  board.run(5 * HOUR);
  const first = board.stamp();
  board.run(HOUR);
  board.off(20 * MINUTE);
  board.boot(PAST);
  board.run(3 * HOUR);
  const second = board.stamp();
  board.run(2 * HOUR);
  board.off(40 * MINUTE);
  board.boot(PAST);
  board.run(MINUTE);
  board.synchronise();
  const slack = 2 * (MINUTE + BOOT_MS);
  board.bounded(first, 10 * MINUTE + slack, HOUR + slack);
  board.bounded(second, 30 * MINUTE + slack, 40 * MINUTE + slack);
});

test('a board that has never known the time: not before its program was built, also when a newer one reads it', () => {
  const board = new Board();
  board.builtAt = NOW - 3 * DAY;
  board.boot(PAST);
  board.run(HOUR);
  const stamp = board.stamp();
  assert.deepEqual(board.table.timeOf(stamp.accepted), {
    at: NOW - 3 * DAY + HOUR,
    clock: 'unknown',
    tMin: NOW - 3 * DAY + HOUR,
  });
  board.off(30 * DAY);
  board.builtAt = board.real - DAY;
  board.boot(PAST);
  board.synchronise();
  board.bounded(stamp, 3 * DAY + MINUTE, 30 * DAY + MINUTE);
});

test('a new program in the same boot raises the lower bound of what that boot took on', () => {
  const board = new Board();
  board.builtAt = NOW - 300 * DAY;
  board.boot(PAST);
  board.run(2 * DAY);
  const stamp = board.stamp();
  board.builtAt = board.real - HOUR;
  board.restart();
  assert.equal(stamp.real - board.table.timeOf(stamp.accepted).tMin!, HOUR);
});

test('time that is lost again in operation: what comes then is dated by when it was known', () => {
  const board = new Board();
  board.boot(PAST);
  board.synchronise();
  board.run(HOUR);
  board.clock.setKnown(false);
  board.clock.setWall(PAST);
  board.run(HOUR);
  const { accepted, real } = board.stamp();
  assert.deepEqual(board.table.timeOf(accepted), { at: real, clock: 'restored' });
});

test('a clock that was called synchronised and lied: the later word counts', () => {
  const board = new Board();
  board.boot(NOW + 50 * YEAR, true);
  board.run(HOUR);
  board.boot(PAST);
  board.run(HOUR);
  const { accepted, real } = board.stamp();
  board.off(HOUR);
  board.boot(PAST);
  board.synchronise();
  const { at, tMin, tMax } = board.table.timeOf(accepted);
  assert.equal(tMin, undefined);
  assert.ok(tMax! >= real && tMax! <= real + HOUR + MINUTE);
  assert.ok(at <= tMax!);
});

test('the table stays small, and a boot that it has forgotten was before those in it', () => {
  const board = new Board();
  board.boot(PAST);
  board.run(HOUR);
  const { accepted, real } = board.stamp();
  for (let n = 0; n < 100; n++) {
    board.off(HOUR);
    board.boot(PAST);
    board.run(HOUR);
  }
  assert.equal(board.boots.length, 64);
  board.synchronise();
  const { tMin, tMax, clock } = board.table.timeOf(accepted);
  assert.deepEqual([clock, tMin], ['unknown', undefined]);
  assert.ok(tMax! >= real);
});

test('boots of the first release, which only know their offset, are read', () => {
  const clock = new ManualClock({ known: false, bootId: 'new', wall: PAST });
  const boots: Boot[] = [
    { number: 1, id: 'a', offset: NOW },
    { number: 2, id: 'b', offset: null },
  ];
  const table = new BootTable(boots, clock, null);
  const accepted = (boot: number): AcceptedAt => ({ wall: PAST, monotonic: 5, boot, clock: 'unknown', age: 0 });
  assert.deepEqual(table.timeOf(accepted(1)), { at: NOW + 5, clock: 'restored' });
  assert.deepEqual(table.timeOf(accepted(2)), { at: PAST, clock: 'unknown' });
  assert.equal(table.number, 3);
});

/** What is sent beside an event, by name. */
function sent(rig: SpoolRig): Record<string, string>[] {
  return rig.take().map((stored) => {
    const pairs = eventProperties(stored, rig.spool.acceptedTime(stored.message.acceptedAt));
    const named: Record<string, string> = {};
    for (let i = 0; i < pairs.length; i += 2) named[pairs[i]!] = pairs[i + 1]!;
    return named;
  });
}

test('what a driver dates by our clock is corrected with it, what a sensor dates by its own is not', async () => {
  const clock = new ManualClock({ wall: PAST, known: false, monotonic: BOOT_MS });
  let rig = await SpoolRig.open({ clock });
  const take = (reading: Partial<Reading>) =>
    upstreamRouter(rig.spool).reading('child', { body: Buffer.from('x'), ...reading }, true);
  const readings = async () => {
    const taken = [take({ measuredAt: clock.monotonic() - 1500 }), take({ eventTime: Date.UTC(2020, 0, 1) }), take({})];
    await rig.spool.flush();
    await Promise.all(taken);
  };
  await readings();
  clock.advance(5 * MINUTE);
  clock.setWall(NOW + 5 * MINUTE);
  clock.setKnown(true);
  await readings();
  const expected = [
    { t: '2025-12-31T23:59:58.500Z', at: '2026-01-01T00:00:00.000Z', clock: 'restored' },
    { t: '2020-01-01T00:00:00.000Z', at: '2026-01-01T00:00:00.000Z', clock: 'restored' },
    { t: undefined, at: '2026-01-01T00:00:00.000Z', clock: 'restored' },
    { t: '2026-01-01T00:04:58.500Z', at: '2026-01-01T00:05:00.000Z', clock: 'synced' },
    { t: '2020-01-01T00:00:00.000Z', at: '2026-01-01T00:05:00.000Z', clock: 'synced' },
    { t: undefined, at: '2026-01-01T00:05:00.000Z', clock: 'synced' },
  ];
  assert.deepEqual(
    sent(rig).map(({ t, at, clock: worth }) => ({ t, at, clock: worth })),
    expected,
  );
  // From the medium, in another boot that does not know the time.
  rig = await rig.restart({ clock: new ManualClock({ wall: PAST, known: false, bootId: 'next' }) });
  assert.deepEqual(
    sent(rig).map(({ t, at, clock: worth }) => ({ t, at, clock: worth })),
    expected,
  );
  await rig.close();
});

test('what a boot took on that never knew the time leaves with bounds', async () => {
  let clock = new ManualClock({ wall: NOW, known: true, monotonic: HOUR, bootId: 'one' });
  // Longer than the day between the boots.
  let rig = await SpoolRig.open({ clock, timeToLiveSecs: 10 * 86_400 });
  void rig.accept('known');
  await rig.spool.flush();
  clock = new ManualClock({ wall: PAST, known: false, monotonic: 0, bootId: 'two' });
  rig = await rig.restart({ clock });
  clock.advance(MINUTE);
  void rig.accept('unknown');
  await rig.spool.flush();
  clock = new ManualClock({ wall: NOW + DAY, known: true, monotonic: 0, bootId: 'three' });
  rig = await rig.restart({ clock });
  const [known, unknown] = sent(rig);
  assert.deepEqual([known!['clock'], known!['tMin'], known!['tMax']], ['synced', undefined, undefined]);
  assert.deepEqual(
    [unknown!['clock'], unknown!['tMin'], unknown!['at'], unknown!['tMax']],
    ['unknown', '2026-01-01T00:01:00.000Z', '2026-01-01T00:01:00.000Z', '2026-01-02T00:00:00.000Z'],
  );
  await rig.close();
});

test('bounds come through either version of MQTT', () => {
  const message = {
    id: Buffer.alloc(16),
    source: { child: 'press' },
    body: Buffer.from('x'),
    acceptedAt: { wall: PAST, monotonic: 0, boot: 1, clock: 'unknown', age: 0 },
    priority: 10,
    hops: 0,
  } as const;
  const known = { at: NOW, clock: 'unknown', tMin: NOW - HOUR, tMax: NOW + HOUR } as const;
  const pairs = eventProperties({ lane: 10, epoch: 1, seq: 7, message }, known);
  const topic = eventTopic('line-4', message.source);
  const named: Record<string, string> = {};
  for (let i = 0; i < pairs.length; i += 2) named[pairs[i]!] = pairs[i + 1]!;
  for (const event of [
    parseEvent(topic, undefined, named),
    parseEvent(`${topic}/${propertyLevel(undefined, pairs)}`, undefined, undefined),
  ]) {
    assert.deepEqual(
      [event?.clock, event?.tMin, event?.acceptedAt, event?.tMax],
      ['unknown', rfc3339(NOW - HOUR), rfc3339(NOW), rfc3339(NOW + HOUR)],
    );
  }
});

test('a clock that shows a time before this program was built is not known, whatever the kernel says', () => {
  const known = (builtAt?: number) => new SystemClock(() => true, builtAt).known();
  assert.deepEqual(
    [known(), known(Date.now() - DAY), known(Date.now() + HOUR), known(Date.now() + 2 * DAY)],
    [true, true, true, false],
  );
  assert.equal(new SystemClock(() => false, 0).known(), false);
});
