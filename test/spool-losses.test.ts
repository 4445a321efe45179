import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Loss } from '../src/message/loss.ts';
import { Losses } from '../src/spool/losses.ts';

const loss = (seq: number, more: Partial<Loss> = {}): Loss => ({
  epoch: 1,
  lane: 10,
  reason: 'evicted',
  firstSeq: seq,
  lastSeq: seq,
  count: 1,
  firstEventTime: seq * 10,
  lastEventTime: seq * 10,
  exact: true,
  ...more,
});

test('a million losses are a few rows, with exact counts and ranges', () => {
  const losses = new Losses();
  for (let seq = 1; seq <= 1_000_000; seq++)
    losses.add(loss(seq, { lane: seq % 3, reason: seq % 2 ? 'evicted' : 'expired' }));
  assert.equal(losses.size, 6);
  assert.equal(
    losses.rows.reduce((sum, { count }) => sum + count, 0),
    1_000_000,
  );
  for (const row of losses.rows) {
    assert.ok(row.exact && row.firstSeq <= 6 && row.lastSeq > 999_990);
    assert.deepEqual([row.firstEventTime, row.lastEventTime], [row.firstSeq * 10, row.lastSeq * 10]);
  }
});

test('a row that is not exact, or has no times, makes the row it joins so', () => {
  const losses = new Losses();
  losses.add(loss(5));
  losses.add(loss(6, { exact: false, firstEventTime: null, lastEventTime: null }));
  losses.add(loss(3));
  assert.deepEqual(losses.rows, [
    { ...loss(3), lastSeq: 6, count: 3, firstEventTime: 30, lastEventTime: 50, exact: false },
  ]);
});

test('rows that are on their way do not change; what is lost meanwhile is in new ones', () => {
  const losses = new Losses();
  losses.add(loss(1));
  losses.add(loss(2));
  const sent = losses.freeze();
  const before = structuredClone(sent);
  for (let seq = 3; seq <= 1000; seq++) losses.add(loss(seq));
  assert.deepEqual(sent, before);
  assert.deepEqual(
    losses.rows.map(({ count }) => count),
    [2, 998],
  );
  losses.reported(1);
  assert.deepEqual(
    losses.rows.map(({ firstSeq, lastSeq, count }) => [firstSeq, lastSeq, count]),
    [[3, 1000, 998]],
  );
  // The next round.
  losses.freeze();
  losses.add(loss(1001));
  assert.equal(losses.size, 2);
  // The connection went: what was on its way may grow again.
  losses.thaw();
  losses.add(loss(1002));
  assert.equal(
    losses.rows.reduce((sum, { count }) => sum + count, 0),
    1000,
  );
});

test('however the rounds of reporting go, the rows stay few and the counts exact', () => {
  const losses = new Losses();
  let reported = 0;
  let added = 0;
  for (let n = 0; n < 20_000; n++) {
    losses.add(loss(n, { lane: n % 11, epoch: 1 + Math.floor(n / 7000) }));
    added++;
    if (n % 3 === 0) losses.freeze();
    if (n % 50 === 0) losses.thaw();
    if (n % 97 === 0) {
      const rows = losses.freeze();
      reported += rows.reduce((sum, { count }) => sum + count, 0);
      losses.reported(rows.length);
    }
    assert.ok(losses.size <= 257 + 33, `${losses.size} rows`);
  }
  assert.equal(reported + losses.rows.reduce((sum, { count }) => sum + count, 0), added);
});

test('what changed is to be written once', () => {
  const losses = new Losses([loss(1)]);
  assert.equal(losses.takeChanged(), false);
  losses.add(loss(2));
  assert.deepEqual([losses.takeChanged(), losses.takeChanged()], [true, false]);
  losses.reported(0);
  assert.equal(losses.takeChanged(), false);
  losses.reported(1);
  assert.equal(losses.takeChanged(), true);
});
