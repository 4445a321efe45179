import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WearMeter } from '../src/spool/wear.ts';
import { ManualClock } from './manual-clock.ts';

const GIB = 2 ** 30;

test('a budget that comes while it runs does not hold against it what was written before', () => {
  const clock = new ManualClock();
  const meter = new WearMeter(clock, () => null, null);
  for (let n = 0; n < 100_000; n++) {
    meter.committed([]);
    clock.advance(250);
  }
  assert.equal(meter.figures(250).budget, null);
  meter.budgetBytesPerDay = 10 * GIB;
  assert.deepEqual(meter.figures(250).budget, { bytesPerDay: 10 * GIB, commitEveryMs: 250, kept: true });
  assert.equal(meter.atEase, true);
});

test('the same budget again changes nothing: what is overdrawn stays so', () => {
  const clock = new ManualClock();
  const meter = new WearMeter(clock, () => null, 2 ** 20);
  for (let n = 0; n < 1000; n++) meter.committed([]);
  assert.equal(meter.figures(250).budget!.kept, false);
  meter.budgetBytesPerDay = 2 ** 20;
  assert.equal(meter.figures(250).budget!.kept, false);
});
