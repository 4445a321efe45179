import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseScript } from '../src/query/parser.ts';
import { queryWarnings } from '../src/query/warnings.ts';

/** The warnings of a query, each with the text that it is said of. */
function warned(script: string): string[] {
  return queryWarnings(parseScript(script)).map(
    ({ at, message }) => `${/^[\w.]+/.exec(script.slice(at))?.[0]}: ${message}`,
  );
}

const OF_Q = 'q: WHERE reads a field q of input, and not the q that this SELECT gives';

describe('a name that WHERE and GROUP BY cannot know', () => {
  test('an alias of the same SELECT, that nothing says is a field, is warned of once and at its place', () => {
    assert.deepEqual(warned('SELECT a AS q FROM input WHERE q = 1 OR q = 2'), [OF_Q]);
    assert.deepEqual(warned('SELECT m.q FROM input WHERE ABS(q) > 1'), [OF_Q]);
    assert.deepEqual(warned('SELECT *, a AS q FROM input WHERE q = 1'), [OF_Q]);
    assert.deepEqual(warned('SELECT a AS Q FROM input WHERE q = 1 HAVING q = 1'), [OF_Q]);
    assert.deepEqual(warned('SELECT a AS q FROM input HAVING q = 1'), [OF_Q.replace('WHERE', 'HAVING')]);
    assert.deepEqual(warned('SELECT COUNT(*) AS q FROM input WHERE q > 1 GROUP BY TumblingWindow(second, 1)'), [OF_Q]);
    const grouped = 'SELECT MAX(a) AS q FROM input GROUP BY q, TumblingWindow(second, 1)';
    assert.deepEqual(warned(grouped), [OF_Q.replace('WHERE', 'GROUP BY')]);
    assert.deepEqual(warned('WITH s AS (SELECT a AS q FROM input WHERE q = 1) SELECT q FROM s WHERE q = 1'), [OF_Q]);
  });

  test('another SELECT that makes the same mistake is no witness', () => {
    const twice = 'SELECT a AS q INTO x FROM input WHERE q = 1; SELECT b AS q INTO y FROM input WHERE q = 2';
    assert.deepEqual(warned(twice), [OF_Q, OF_Q]);
  });

  test('no word of a name that is a field, too', () => {
    for (const fine of [
      'SELECT q FROM input WHERE q = 1',
      'SELECT CAST(q AS float) AS q FROM input WHERE q = 1',
      'SELECT a AS q, q AS a FROM input WHERE q = 1 AND a = 1',
      'SELECT a AS q FROM input WHERE input.q = 1',
      'SELECT a AS q FROM input TIMESTAMP BY q WHERE q IS NOT NULL',
      'CREATE TABLE input (Q bigint, a bigint) SELECT a AS q FROM input WHERE q = 1',
      'SELECT a AS q INTO x FROM input WHERE q = 1; SELECT q INTO y FROM input',
      'SELECT a AS q INTO x FROM input WHERE q = 1; SELECT b INTO y FROM input WHERE q > 1',
      'WITH s AS (SELECT v AS q, a FROM input) SELECT a AS q FROM s WHERE q = 1',
      'WITH s AS (SELECT q, a FROM input), r AS (SELECT * FROM s) SELECT a AS q FROM r WHERE q = 1',
      'SELECT COUNT(*) AS n FROM input GROUP BY TumblingWindow(second, 1) HAVING n > 1',
      'SELECT e.ArrayValue AS ArrayValue FROM input CROSS APPLY GetArrayElements(l) AS e WHERE ArrayValue > 1',
      'SELECT a AS q FROM input WHERE b = 1',
      'SELECT q, COUNT(*) AS n FROM input WHERE q = 1 GROUP BY q, TumblingWindow(second, 1)',
      'SELECT COUNT(*) AS q FROM input PARTITION BY q GROUP BY TumblingWindow(second, 1)',
    ]) {
      assert.deepEqual(warned(fine), [], fine);
    }
  });

  test('a step that leaves the field out does not have it', () => {
    const script = 'WITH s AS (SELECT a FROM input WHERE q = 3) SELECT a AS q FROM s WHERE q = 1';
    assert.deepEqual(warned(script), [OF_Q.replace('of input', 'of s')]);
  });

  test('thousands of steps are looked through at once', () => {
    const steps = Array.from({ length: 8_000 }, (_, index) => `s${index + 1} AS (SELECT * FROM s${index})`);
    const script = `WITH s0 AS (SELECT q FROM i), ${steps.join()} SELECT a AS q FROM s8000 WHERE q = 1`;
    assert.deepEqual(warned(script), []);
  });
});

describe('the partition of a hub', () => {
  test('where ON compares it, it is said that there is none', () => {
    const join = (by: string, on: string): string =>
      `SELECT a.v FROM x a ${by} JOIN y b ${by} ON DATEDIFF(second, a, b) BETWEEN 0 AND 5 AND ${on}`;
    const compared = join('PARTITION BY PartitionId', 'a.PartitionId = b.PartitionId');
    assert.match(
      warned(compared).join('\n'),
      /^a\.PartitionId: inputs here have one partition: [^\n]*NULL matches nothing$/,
    );
    assert.deepEqual(warned(join('PARTITION BY PartitionId', 'a.v = b.v')), []);
    assert.deepEqual(warned(join('', 'a.PartitionId = b.PartitionId')), []);
  });
});
