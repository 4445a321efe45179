import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Fields } from '../src/query/value.ts';
import { fc } from './parts/properties.ts';
import { engineFor, replay, type Given } from './parts/replay.ts';

/** Events a second apart, from 1 s on. */
function events(...all: readonly Fields[]): Given[] {
  return all.map((fields, index) => ({ secs: index + 1, fields }));
}

/** The bodies that come out. */
function bodies(script: string, given: readonly Given[]): unknown[] {
  return replay(script, given).map((row) => (row as [number, Fields])[1]);
}

/** What is wrong with a query. */
function refused(script: string): string {
  try {
    engineFor(script);
  } catch (error) {
    return (error as Error).message;
  }
  return '';
}

const SOURCE = 'FROM input PARTITION BY v TIMESTAMP BY t';

describe('PARTITION BY of a source', () => {
  const three = events({ v: 1, id: 1 }, { v: 2, id: 2 }, { v: 2, id: 3 });

  test('windows are counted for each value of the key', () => {
    for (const window of ['TumblingWindow(second, 5)', 'HoppingWindow(second, 5, 5)']) {
      assert.deepEqual(bodies(`SELECT COUNT(*) AS n ${SOURCE} GROUP BY ${window}`, three), [{ n: 1 }, { n: 2 }]);
    }
  });

  test('the key may be given out though GROUP BY does not name it, with and without the alias', () => {
    const script = 'SELECT i.v, V AS w, COUNT(*) AS n FROM input AS i PARTITION BY v TIMESTAMP BY t GROUP BY';
    assert.deepEqual(bodies(`${script} TumblingWindow(second, 5)`, three), [
      { v: 1, w: 1, n: 1 },
      { v: 2, w: 2, n: 2 },
    ]);
    assert.deepEqual(bodies(`${script} i.v, TumblingWindow(second, 5)`, three).length, 2);
    assert.match(refused(`SELECT id ${SOURCE} GROUP BY TumblingWindow(second, 5)`), /id differs within a group/);
  });

  test('a missing key and NULL are one partition; 1 and 1.0 are one, 1 and the text of it are two', () => {
    const given = events({}, { v: null }, { v: 1 }, { v: '1' });
    assert.deepEqual(bodies(`SELECT COUNT(*) AS n ${SOURCE} GROUP BY TumblingWindow(second, 5)`, given), [
      { n: 2 },
      { n: 1 },
      { n: 1 },
    ]);
  });

  test('a session is over for each value by itself', () => {
    const given = [1, 3, 5, 7].map((secs) => ({ secs, fields: { v: secs === 7 ? 1 : secs % 4 } }));
    const script = `SELECT COUNT(*) AS n ${SOURCE} GROUP BY SessionWindow(second, 3, 60)`;
    // By v: 1 at 1 and 5, and at 7; 3 at 3. Over everything it would be one session.
    assert.deepEqual(bodies(script, given), [{ n: 1 }, { n: 1 }, { n: 2 }]);
  });

  test('LAG, LAST, ISFIRST and running aggregates look back within the partition', () => {
    const over = 'OVER (LIMIT DURATION(second, 50))';
    const columns = `LAG(id) ${over} AS p, ISFIRST(minute, 1) AS f, COUNT(*) ${over} AS c`;
    assert.deepEqual(bodies(`SELECT id, ${columns} ${SOURCE}`, three), [
      { id: 1, p: null, f: 1, c: 1 },
      { id: 2, p: null, f: 1, c: 1 },
      { id: 3, p: 2, f: 0, c: 2 },
    ]);
    const when = 'OVER (PARTITION BY id LIMIT DURATION(second, 50) WHEN id > 0)';
    assert.deepEqual(bodies(`SELECT LAST(v) ${when} AS l ${SOURCE} WHERE LAG(id) ${over} IS NULL`, three), [
      { l: 1 },
      { l: 2 },
    ]);
  });

  test('joined sources that both have a key are joined by it, and NULL matches nothing', () => {
    const given = events({ v: 1, id: 1 }, { v: 2, id: 2 }, { v: 2, id: 3 }, { id: 4 }, { id: 5 });
    const on = 'ON DATEDIFF(second, a, b) BETWEEN 1 AND 60';
    const by = 'PARTITION BY v TIMESTAMP BY t';
    const pairs = `SELECT a.id AS x, b.id AS y FROM input a ${by} JOIN input b`;
    assert.deepEqual(bodies(`${pairs} ${by} ${on}`, given), [{ x: 2, y: 3 }]);
    assert.deepEqual(bodies(`${pairs} ${by} ${on} AND b.v = a.v`, given), [{ x: 2, y: 3 }]);
    // One side alone has no partitions to match: every row of it meets all of the other's.
    assert.equal(bodies(`${pairs} TIMESTAMP BY t ${on}`, given).length, 10);
    const grouped = `SELECT COUNT(*) AS n FROM input a ${by} JOIN input b TIMESTAMP BY t ${on} GROUP BY TumblingWindow(second, 10)`;
    assert.deepEqual(bodies(grouped, given.slice(0, 3)), [{ n: 2 }, { n: 1 }]);
  });

  test('with a JOIN each function that looks back does so within the partitions of its own source', () => {
    const given = events({ v: 1, id: 1 }, { v: 2, id: 2 }, { v: 2, id: 3 });
    const back = (alias: string): string => `LAG(${alias}.id) OVER (LIMIT DURATION(minute, 1)) AS ${alias}`;
    const script = `SELECT b.id, ${back('a')}, ${back('b')}
      FROM input a PARTITION BY v TIMESTAMP BY t JOIN input b TIMESTAMP BY t ON DATEDIFF(second, a, b) = 0`;
    assert.deepEqual(bodies(script, given), [
      { id: 1, a: null, b: null },
      { id: 2, a: null, b: 1 },
      { id: 3, a: 2, b: 2 },
    ]);
    const whose = script.replace(back('b'), 'ISFIRST(minute, 1) AS f');
    assert.match(refused(whose), /ISFIRST may be over any of the joined sources/);
  });

  test('a step may be partitioned, and what reads a partitioned step is not', () => {
    const script = (
      more: string,
    ): string => `WITH s AS (SELECT v, COUNT(*) AS n ${SOURCE} GROUP BY TumblingWindow(second, 5))
      SELECT SUM(n) AS n FROM s ${more} GROUP BY TumblingWindow(second, 5)`;
    assert.deepEqual(bodies(script(''), three), [{ n: 3 }]);
    assert.deepEqual(bodies(script('PARTITION BY s.v'), three), [{ n: 1 }, { n: 2 }]);
  });

  test('an expression is a key, also beside APPLY and where the alias is the name of a field', () => {
    const given = events({ v: 1, l: [1] }, { v: 3, l: [1, 2] }, { v: 2, l: [5] });
    const script = `SELECT COUNT(*) AS n FROM input v PARTITION BY v % 2 TIMESTAMP BY t CROSS APPLY GetArrayElements(l) AS e`;
    assert.deepEqual(bodies(`${script} GROUP BY TumblingWindow(second, 5)`, given), [{ n: 3 }, { n: 1 }]);
  });

  test('PartitionId is the number of a hub in the cloud: here there is one partition', () => {
    const given = events({ PartitionId: 1, id: 1 }, { PartitionId: 2, id: 2 });
    for (const key of ['PartitionId', 'partitionid', 'input.PartitionId']) {
      const script = `SELECT COUNT(*) AS n FROM input PARTITION BY ${key} TIMESTAMP BY t GROUP BY TumblingWindow(second, 5)`;
      assert.deepEqual(bodies(script, given), [{ n: 2 }]);
    }
  });

  test('it takes no time of its own, and explain shows where the key went', () => {
    assert.match(
      refused('SELECT a FROM input PARTITION BY System.Timestamp()'),
      /PARTITION BY takes no System\.Timestamp/,
    );
    const explained = engineFor(`SELECT COUNT(*) AS n ${SOURCE} GROUP BY TumblingWindow(second, 5)`).explain();
    assert.match(explained, /a group for each v\n/);
  });
});

/** A select over partitioned sources, and what it comes to when the key is written everywhere. */
const PAIRS: readonly (readonly [partitioned: string, written: string])[] = [
  ...['TumblingWindow(second, 5)', 'HoppingWindow(second, 6, 2)', 'SlidingWindow(second, 4)'].map(
    (window) =>
      [
        `SELECT v, id, COUNT(*) AS n ${SOURCE} GROUP BY id, ${window}`,
        `SELECT v, id, COUNT(*) AS n FROM input TIMESTAMP BY t GROUP BY id, v, ${window}`,
      ] as const,
  ),
  [
    `SELECT COUNT(*) AS n, SUM(id) AS s ${SOURCE} GROUP BY SessionWindow(second, 2, 9)`,
    'SELECT COUNT(*) AS n, SUM(id) AS s FROM input TIMESTAMP BY t GROUP BY v, SessionWindow(second, 2, 9) OVER (PARTITION BY v)',
  ],
  [
    `SELECT LAG(id) OVER (LIMIT DURATION(second, 6)) AS l, ISFIRST(second, 4) AS f ${SOURCE} WHERE id < 3`,
    'SELECT LAG(id) OVER (PARTITION BY v LIMIT DURATION(second, 6)) AS l, ISFIRST(second, 4) OVER (PARTITION BY v) AS f FROM input TIMESTAMP BY t WHERE id < 3',
  ],
  [
    `SELECT a.id AS x, b.id AS y FROM input a PARTITION BY v TIMESTAMP BY t LEFT JOIN input b PARTITION BY v TIMESTAMP BY t
      ON DATEDIFF(second, a, b) BETWEEN 0 AND 3 AND b.id > a.id`,
    `SELECT a.id AS x, b.id AS y FROM input a TIMESTAMP BY t LEFT JOIN input b TIMESTAMP BY t
      ON DATEDIFF(second, a, b) BETWEEN 0 AND 3 AND b.id > a.id AND a.v = b.v`,
  ],
];

describe('PARTITION BY is the same as the key written everywhere', () => {
  const event = fc.record({
    secs: fc.integer({ min: 1, max: 20 }),
    fields: fc.record({ v: fc.constantFrom(1, 2, '1', null), id: fc.integer({ min: 0, max: 4 }) }),
  });
  const streams = fc.array(event, { maxLength: 25 }).map((all) => all.sort((a, b) => a.secs - b.secs));
  for (const seed of [1, 20_261_126]) {
    test(`in any stream of events (seed ${seed})`, () => {
      const same = fc.property(streams, (given) => {
        for (const [partitioned, written] of PAIRS)
          assert.deepEqual(replay(partitioned, given), replay(written, given));
      });
      fc.assert(same, { seed, numRuns: 100 });
    });
  }
});
