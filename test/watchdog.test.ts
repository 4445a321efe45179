import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import type { SystemdNotifier } from '../src/health/systemd.ts';
import { Watchdog } from '../src/health/watchdog.ts';
import { ManualClock } from './manual-clock.ts';

test('the watchdog is fed while commits end, and not while one never does', () => {
  const clock = new ManualClock();
  const log = pino({ level: 'silent' });
  let feeds = 0;
  // systemd itself is spoken to in systemd-notify.test.ts.
  const notifier = { watchdogIntervalMs: 15_000, watchdog: () => feeds++ } as unknown as SystemdNotifier;
  let commitUnderWayMs = 0;
  const watchdog = new Watchdog({ status: () => ({ spool: { commitUnderWayMs } }) }, notifier, clock, log);
  watchdog.start();
  clock.advance(60_000);
  assert.equal(feeds, 5);
  commitUnderWayMs = 59_000;
  clock.advance(15_000);
  assert.equal(feeds, 6, 'a slow card is not a stuck one');
  commitUnderWayMs = 61_000;
  clock.advance(60_000);
  assert.equal(feeds, 6);
  commitUnderWayMs = 0;
  clock.advance(15_000);
  assert.equal(feeds, 7);
  watchdog.stop();
  clock.advance(60_000);
  assert.equal(feeds, 7);
});
