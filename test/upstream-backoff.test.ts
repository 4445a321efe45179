import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backoff } from '../src/upstream/backoff.ts';

const take = (waits: Iterator<number, never>, count: number) => Array.from({ length: count }, () => waits.next().value);

test('the bound doubles up to the largest, and stays there', () => {
  assert.deepEqual(
    take(
      backoff(1000, 60_000, () => 1),
      9,
    ),
    [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000],
  );
  assert.equal(
    take(
      backoff(1000, 60_000, () => 1),
      5000,
    ).at(-1),
    60_000,
  );
});

test('each wait is any part of its bound: full jitter', () => {
  assert.deepEqual(
    take(
      backoff(1000, 60_000, () => 0),
      4,
    ),
    [0, 0, 0, 0],
  );
  assert.deepEqual(
    take(
      backoff(1000, 60_000, () => 0.5),
      4,
    ),
    [500, 1000, 2000, 4000],
  );
  const waits = take(backoff(1000, 1000, Math.random), 10_000);
  const mean = waits.reduce((a, b) => a + b, 0) / waits.length;
  assert.ok(mean > 450 && mean < 550, `${mean} on average`);
  assert.ok(Math.min(...waits) < 20 && Math.max(...waits) > 980);
});

test('bounds of a fraction of a second, and one that begins at its largest', () => {
  assert.deepEqual(
    take(
      backoff(10, 20, () => 1),
      3,
    ),
    [10, 20, 20],
  );
  assert.deepEqual(
    take(
      backoff(86_400_000, 86_400_000, () => 1),
      3,
    ),
    [86_400_000, 86_400_000, 86_400_000],
  );
});
