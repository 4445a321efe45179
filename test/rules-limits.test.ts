import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { engineFor, give } from './parts/replay.ts';

describe('what counts against the limit of bytes', () => {
  for (const aggregate of [
    'Count(DISTINCT v % 5)',
    'TopOne(v) OVER (ORDER BY v)',
    'CollectTop(3, v) OVER (ORDER BY v)',
  ]) {
    test(`what an aggregate does not keep takes no room: ${aggregate}`, () => {
      const script = `SELECT Count(*) AS n, ${aggregate} AS x FROM input TIMESTAMP BY t GROUP BY TumblingWindow(minute, 1)`;
      const engine = engineFor(script, { limits: { bytes: 2000 } });
      for (let v = 0; v < 50; v++) give(engine, { secs: 1 + v, fields: { v } });
      assert.equal(engine.counters.bounded, 0);
      assert.equal(engine.end()[0]!.body['n'], 50);
      assert.deepEqual(engine.held, { windows: 0, groups: 0, bytes: 0 });
    });
  }

  for (const aggregate of ['CollectTop(100) OVER (ORDER BY v)', 'TopOne() OVER (ORDER BY v)']) {
    test(`events that an aggregate keeps are bounded: ${aggregate}`, () => {
      const script = `SELECT k, ${aggregate} AS x FROM input TIMESTAMP BY t GROUP BY k, TumblingWindow(minute, 1)`;
      const engine = engineFor(script, { limits: { bytes: 20_000 } });
      for (let v = 0; v < 50; v++) give(engine, { secs: 1 + v, fields: { v, k: v % 20, text: 'x'.repeat(1000) } });
      assert.ok(engine.counters.bounded > 0 && engine.held.bytes > 15_000 && engine.held.bytes <= 20_000);
      engine.end();
      assert.deepEqual(engine.held, { windows: 0, groups: 0, bytes: 0 });
    });
  }

  test('events that wait for their order count with all that is in them', () => {
    const engine = engineFor('SELECT t FROM input TIMESTAMP BY t', { outOfOrderMs: 60_000, limits: { bytes: 20_000 } });
    for (let secs = 0; secs < 20; secs++) give(engine, { secs, fields: { text: 'x'.repeat(1000) } });
    assert.equal(engine.counters.bounded, 12, 'some 2.4 kB each');
    assert.equal(engine.end().length, 8);
    assert.equal(engine.held.bytes, 0);
  });

  test('rows of a UNION that wait for the other side count with all that is in them', () => {
    const script = `WITH both AS (SELECT text FROM a TIMESTAMP BY t UNION SELECT text FROM b TIMESTAMP BY t) SELECT text FROM both`;
    const engine = engineFor(script, { limits: { bytes: 20_000 } });
    for (let secs = 0; secs < 4; secs += 0.2) give(engine, { secs, fields: { text: 'x'.repeat(1000) }, input: 'a' });
    assert.ok(engine.counters.bounded > 10);
    assert.equal(engine.end().length, 20 - engine.counters.bounded);
    assert.equal(engine.held.bytes, 0);
  });

  const waiting = {
    'an event': 'SELECT k FROM a TIMESTAMP BY t',
    'a join':
      'SELECT a.k FROM a TIMESTAMP BY t JOIN b TIMESTAMP BY t ON a.k = b.k AND DATEDIFF(second, a, b) BETWEEN 0 AND 5',
    'a union': 'WITH both AS (SELECT k FROM a TIMESTAMP BY t UNION SELECT k FROM b TIMESTAMP BY t) SELECT k FROM both',
  };
  for (const [name, script] of Object.entries(waiting)) {
    test(`${name} that waited under a higher limit gives back what it takes`, () => {
      const options = { outOfOrderMs: name === 'an event' ? 60_000 : 0 };
      const engine = engineFor(script, options);
      for (let secs = 0; secs < 10; secs++) give(engine, { secs: secs / 10, fields: { k: 1 }, input: 'a' });
      const lower = engineFor(script, { ...options, limits: { bytes: 1000 } });
      lower.load(engine.save());
      assert.deepEqual(lower.held, engine.held);
      assert.ok(lower.held.bytes > 1000);
      lower.end();
      assert.equal(lower.held.bytes, 0);
    });
  }
});
