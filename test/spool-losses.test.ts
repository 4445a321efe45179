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

/** Rows without their ids. */
const contents = (losses: Losses) => losses.rows.map(({ id: _, ...row }) => row);

test('a row that is not exact, or has no times, makes the row it joins so', () => {
  const losses = new Losses();
  losses.add(loss(5));
  losses.add(loss(6, { exact: false, firstEventTime: null, lastEventTime: null }));
  losses.add(loss(3));
  assert.deepEqual(contents(losses), [
    { ...loss(3), lastSeq: 6, count: 3, firstEventTime: 30, lastEventTime: 50, exact: false },
  ]);
});

test('a row names the child while all it counts is of that child', () => {
  const losses = new Losses();
  losses.add(loss(1, { child: 'press' }));
  losses.add(loss(2, { child: 'press' }));
  assert.deepEqual(contents(losses), [{ ...loss(1, { child: 'press' }), lastSeq: 2, count: 2, lastEventTime: 20 }]);
  losses.add(loss(3, { child: 'meter' }));
  losses.add(loss(4, { child: 'press' }));
  losses.add(loss(5));
  assert.deepEqual(contents(losses), [{ ...loss(1), lastSeq: 5, count: 5, lastEventTime: 50 }]);
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
  assert.ok(losses.unreported);
  losses.reported(sent);
  assert.deepEqual(
    losses.rows.map(({ firstSeq, lastSeq, count }) => [firstSeq, lastSeq, count]),
    [[3, 1000, 998]],
  );
  // The next round. The connection goes in the middle of it: what was on its way comes again as it was.
  const again = structuredClone(losses.freeze());
  losses.add(loss(1001));
  losses.pause();
  losses.add(loss(1002));
  assert.deepEqual(
    losses.rows.map(({ count }) => count),
    [998, 2],
  );
  assert.deepEqual(losses.freeze().slice(0, 1), again);
  assert.notEqual(losses.rows[0]!.id, losses.rows[1]!.id);
});

test('rows that may have been sent come again as they were after a restart, and the rest may grow', () => {
  const losses = new Losses();
  losses.add(loss(1));
  const [sent] = structuredClone(losses.freeze());
  losses.add(loss(2));
  assert.ok(losses.takeChanged());
  // What is written while somebody sends is frozen with it; this was not.
  losses.pause();
  const reopened = new Losses(JSON.parse(JSON.stringify(losses.rows)) as Loss[]);
  reopened.add(loss(3));
  assert.deepEqual(
    reopened.rows.map(({ count }) => count),
    [1, 1, 1],
  );
  assert.deepEqual(reopened.rows[0], sent);
  const open = new Losses([loss(1), loss(2, { lane: 3 })]);
  open.add(loss(3));
  assert.deepEqual(
    open.rows.map(({ count }) => count),
    [2, 1],
  );
});

test('what is handed out is durable once it has been written as it is', () => {
  const losses = new Losses();
  losses.add(loss(1));
  losses.takeChanged();
  losses.written();
  losses.freeze();
  assert.deepEqual([losses.durable, losses.changed], [false, true], 'it could still grow after a crash');
  losses.takeChanged();
  losses.markChanged();
  losses.written();
  assert.equal(losses.durable, false, 'the medium did not take it');
  losses.takeChanged();
  losses.add(loss(2));
  losses.written();
  assert.equal(losses.durable, true);
  // While somebody sends, what comes is frozen as it is written: one commit, not two.
  losses.takeChanged();
  losses.written();
  losses.reported(losses.freeze().slice(0, 1));
  assert.deepEqual([losses.durable, losses.size], [true, 1]);
  losses.takeChanged();
  losses.reported(losses.freeze());
  losses.written();
  losses.add(loss(3));
  assert.deepEqual([losses.freeze().length, losses.durable], [1, false]);
});

test('a report that the upstream refused stays, and those beside it go', () => {
  const losses = new Losses();
  for (const lane of [1, 2, 3]) losses.add(loss(lane, { lane }));
  const rows = losses.freeze();
  losses.reported([rows[0]!, rows[2]!]);
  assert.deepEqual(
    losses.rows.map(({ lane }) => lane),
    [2],
  );
  losses.reported([rows[0]!, { id: 'nobody' }]);
  assert.equal(losses.size, 1);
  losses.add(loss(4, { lane: 2 }));
  assert.equal(losses.size, 2, 'it stays as it was sent');
});

test('however the rounds of reporting go, the rows stay few and the counts exact', () => {
  const reasons = ['evicted', 'expired', 'thinned', 'dead-letter', 'quarantined'] as const;
  let losses = new Losses();
  let reported = 0;
  let added = 0;
  for (let n = 0; n < 20_000; n++) {
    losses.add(loss(n, { lane: n % 11, reason: reasons[n % 5]!, epoch: 1 + Math.floor(n / 700) }));
    added++;
    if (n % 3 === 0) losses.freeze();
    if (n % 50 === 0) losses.pause();
    if (n % 997 === 0) losses = new Losses(JSON.parse(JSON.stringify(losses.rows)) as Loss[]);
    if (n % 4001 === 0) {
      const rows = losses.freeze();
      reported += rows.reduce((sum, { count }) => sum + count, 0);
      losses.reported(rows);
    }
    assert.ok(losses.size <= 256, `${losses.size} rows`);
  }
  assert.equal(reported + losses.rows.reduce((sum, { count }) => sum + count, 0), added);
  assert.equal(new Set(losses.rows.map(({ id }) => id)).size, losses.size);
});

test('what changed is to be written once', () => {
  const losses = new Losses([loss(1)]);
  assert.equal(losses.takeChanged(), false);
  losses.add(loss(2));
  assert.deepEqual([losses.takeChanged(), losses.takeChanged()], [true, false]);
  losses.reported([]);
  assert.equal(losses.takeChanged(), false);
  losses.reported(losses.freeze());
  assert.equal(losses.takeChanged(), true);
});
