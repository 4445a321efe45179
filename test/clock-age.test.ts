import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgeClock, type AgeMark } from '../src/clock/age.ts';
import { ManualClock } from './manual-clock.ts';

const SECOND = 1000;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const YEAR = 365.25 * DAY;
const NOW = Date.UTC(2026, 0, 1);
/** What a board without a real-time clock believes when it boots. */
const PAST = Date.UTC(1970, 0, 1, 0, 0, 10);

let boots = 0;
/** A machine that has just booted. */
const boot = (wall: number, known: boolean) => new ManualClock({ wall, known, monotonic: 5000, bootId: `b${++boots}` });

/** As it comes back from the medium. */
const stored = (mark: AgeMark) => JSON.parse(JSON.stringify(mark)) as AgeMark;

/** A mark that says `age`, made an hour into a boot whose clock is right. */
function markAt(wall: number): { mark: AgeMark; clock: ManualClock } {
  const clock = boot(wall - HOUR, true);
  const age = new AgeClock(clock, null);
  clock.advance(HOUR);
  return { mark: stored(age.mark()), clock };
}

for (const [name, jump] of [
  ['5 seconds', 5 * SECOND],
  ['6 hours', 6 * HOUR],
  ['50 years', 50 * YEAR],
] as const) {
  for (const sign of [1, -1]) {
    const way = `${sign > 0 ? 'forward' : 'back'} by ${name}`;

    test(`in operation the wall clock jumps ${way}: age goes on as if it had not`, () => {
      for (const known of [true, false]) {
        const clock = boot(NOW, known);
        const age = new AgeClock(clock, null);
        clock.advance(HOUR);
        clock.setWall(NOW + sign * jump);
        assert.equal(age.now(), HOUR);
        clock.advance(HOUR);
        clock.setKnown(!known);
        assert.equal(age.now(), 2 * HOUR);
      }
    });

    test(`the wall clock jumps ${way} and a new process begins in the same boot: only the time between counts`, () => {
      for (const known of [true, false]) {
        const { mark, clock } = markAt(NOW);
        clock.advance(2 * HOUR);
        clock.setWall(clock.wall() + sign * jump);
        clock.setKnown(known);
        const again = new AgeClock(clock, mark);
        assert.equal(again.now(), 3 * HOUR);
        clock.setKnown(true);
        clock.advance(HOUR);
        assert.equal(again.now(), 4 * HOUR);
        assert.equal(stored(again.mark()).age, 4 * HOUR);
      }
    });

    test(`the clock is wrong ${way} after a boot until it is known: the time off counts, once`, () => {
      const { mark } = markAt(NOW);
      const clock = boot(NOW + 3 * HOUR + sign * jump, false);
      const age = new AgeClock(clock, mark);
      clock.advance(5 * 60_000);
      assert.equal(age.now(), HOUR + 5 * 60_000);
      clock.setWall(NOW + 3 * HOUR + 5 * 60_000);
      clock.setKnown(true);
      assert.equal(age.now(), 4 * HOUR + 5 * 60_000);
      clock.setKnown(false);
      clock.setWall(PAST);
      clock.advance(HOUR);
      clock.setKnown(true);
      assert.equal(age.now(), 5 * HOUR + 5 * 60_000);
    });
  }
}

test('age does not change as long as the clock was never known', () => {
  let mark: AgeMark | null = null;
  for (let n = 1; n <= 3; n++) {
    const clock = boot(PAST, false);
    const age: AgeClock = new AgeClock(clock, mark);
    clock.advance(HOUR);
    mark = stored(age.mark());
    assert.deepEqual([mark.age, mark.wall], [n * HOUR, null]);
  }
  const clock = boot(NOW, true);
  assert.equal(new AgeClock(clock, mark).now(), 3 * HOUR, 'from when would it count?');
});

test('boots that never knew the time: the next that does adds what they did not', () => {
  let { mark } = markAt(NOW);
  for (let n = 0; n < 2; n++) {
    const clock = boot(PAST, false);
    const age = new AgeClock(clock, mark);
    clock.advance(HOUR);
    mark = stored(age.mark());
    // Another process in the same boot.
    clock.advance(HOUR);
    const again = new AgeClock(clock, mark);
    clock.advance(HOUR);
    mark = stored(again.mark());
  }
  assert.equal(mark.age, 7 * HOUR);
  const clock = boot(NOW + DAY, true);
  assert.equal(new AgeClock(clock, mark).now(), HOUR + DAY, 'a day since it was last known, whatever ran meanwhile');
});

test('a known clock that lies before the last known time adds nothing', () => {
  for (const back of [5 * SECOND, 6 * HOUR, 50 * YEAR]) {
    const { mark } = markAt(NOW);
    const clock = boot(NOW - back, true);
    const age = new AgeClock(clock, mark);
    assert.equal(age.now(), HOUR);
    clock.advance(HOUR);
    assert.equal(age.now(), 2 * HOUR);
    clock.setWall(NOW + DAY);
    assert.equal(age.now(), 2 * HOUR, 'a jump in operation');
  }
});

test('a known clock that says 50 years have passed is not believed; once it says better, the time off counts', () => {
  const { mark } = markAt(NOW);
  const clock = boot(NOW + 50 * YEAR, true);
  let age = new AgeClock(clock, mark);
  clock.advance(HOUR);
  assert.equal(age.now(), 2 * HOUR);
  // Through a restart and a boot.
  age = new AgeClock(clock, stored(age.mark()));
  assert.equal(age.now(), 2 * HOUR);
  const next = boot(NOW + 60 * YEAR, true);
  age = new AgeClock(next, stored(age.mark()));
  assert.equal(age.now(), 2 * HOUR);
  next.setWall(NOW + 3 * DAY);
  assert.equal(age.now(), HOUR + 3 * DAY);
});

test('a clock that goes on saying that 50 years have passed is right in the end, and nothing is added for it', () => {
  const { mark } = markAt(NOW - 50 * YEAR);
  const clock = boot(NOW, true);
  let age = new AgeClock(clock, mark);
  clock.advance(DAY + HOUR);
  assert.equal(age.now(), DAY + 2 * HOUR);
  const next = boot(clock.wall() + 2 * HOUR, true);
  age = new AgeClock(next, stored(age.mark()));
  assert.equal(age.now(), DAY + 4 * HOUR);
});

test('a gateway from a shelf: years off count, up to ten', () => {
  const { mark } = markAt(NOW);
  assert.equal(new AgeClock(boot(NOW + 9 * YEAR, true), mark).now(), HOUR + 9 * YEAR);
  assert.equal(new AgeClock(boot(NOW + 11 * YEAR, true), mark).now(), HOUR);
});

test('marks of the first release, which do not name their boot, are read', () => {
  const clock = boot(NOW + HOUR, true);
  assert.equal(new AgeClock(clock, { age: 5, wall: NOW }).now(), 5 + HOUR);
  assert.equal(new AgeClock(clock, { age: 5, wall: null }).now(), 5);
});

test('with the time lost in operation, the mark goes on from when it was known', () => {
  const clock = boot(NOW, true);
  const age = new AgeClock(clock, null);
  clock.advance(HOUR);
  age.mark();
  clock.setKnown(false);
  clock.setWall(PAST);
  clock.advance(HOUR);
  const mark = stored(age.mark());
  assert.deepEqual([mark.age, mark.wall], [2 * HOUR, NOW + 2 * HOUR]);
  assert.equal(new AgeClock(boot(NOW + 5 * HOUR, true), mark).now(), 5 * HOUR);
});
