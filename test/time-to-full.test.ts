import assert from 'node:assert/strict';
import { test } from 'node:test';
import { timeToFull } from '../src/health/checks/time-to-full.ts';
import type { GatewayStatus } from '../src/health/status.ts';
import { WearMeter } from '../src/spool/wear.ts';
import { ManualClock } from './manual-clock.ts';

const MIB = 2 ** 20;
const DAY_SECS = 86_400;

/** A status as far as it is looked at: 100 MiB of quota, a tenth of it taken. */
function status(intakeBytesPerDay: number | null, state = 'online'): GatewayStatus {
  const spool = { intakeBytesPerDay, quotaBytes: 100 * MIB, livePages: 2560, pageBytes: 4096 };
  return { spool, upstream: { state } } as unknown as GatewayStatus;
}

test('what comes in is a rate after a minute, and counts what a message takes besides its body', () => {
  const clock = new ManualClock();
  const wear = new WearMeter(clock, () => null, null);
  wear.payload(936);
  assert.equal(wear.intakeBytesPerDay, null);
  clock.advance(100_000);
  assert.equal(wear.intakeBytesPerDay, 864_000);
});

test('how long the spool holds out is what is free by what comes in, unless messages expire before', () => {
  const year = 365 * DAY_SECS;
  assert.deepEqual(timeToFull(status(10 * MIB), year), {
    result: 'OK',
    message: '10 MiB a day come in; without an upstream the spool is full in 8 days',
  });
  assert.match(timeToFull(status(10 * MIB), 7200).message, /messages expire after 2 hours, before the spool is full$/);
  assert.equal(timeToFull(status(100 * MIB), year).result, 'WARN');
  assert.equal(timeToFull(status(3000 * MIB), year).result, 'WARN');
  assert.equal(timeToFull(status(3000 * MIB, 'offline'), year).result, 'FAIL');
  assert.equal(timeToFull(status(0), year).result, 'OK');
  assert.equal(timeToFull(status(null), year).result, 'SKIP');
});
