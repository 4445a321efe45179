import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Fields, Value } from '../src/query/value.ts';
import { SelectRig } from './parts/select-rig.ts';

function bodies(query: string, ...events: readonly Fields[]): readonly Fields[] {
  const rig = new SelectRig(query);
  events.forEach((fields, index) => rig.feed('in', index + 1, fields));
  return rig.end().map(([, body]) => body);
}

const ELEMENTS = 'SELECT e.id, a.ArrayIndex AS i, a.ArrayValue AS v FROM [in] AS e';

describe('APPLY', () => {
  test('example of the reference: a row for each element, at the time of the event', () => {
    const rig = new SelectRig(`${ELEMENTS} CROSS APPLY GetArrayElements(e.r) AS a`);
    rig.feed('in', 7, { id: 1, r: [5, 8] });
    assert.deepEqual(rig.end(), [
      [7, { id: 1, i: 0, v: 5 }],
      [7, { id: 1, i: 1, v: 8 }],
    ]);
  });

  test('CROSS drops a row that has no element, OUTER keeps it with NULL', () => {
    const events: Fields[] = [{ id: 1, r: [] }, { id: 2 }, { id: 3, r: null }, { id: 4, r: [null] }];
    assert.deepEqual(bodies(`${ELEMENTS} CROSS APPLY GetArrayElements(e.r) AS a`, ...events), [
      { id: 4, i: 0, v: null },
    ]);
    assert.deepEqual(bodies(`${ELEMENTS} OUTER APPLY GetArrayElements(e.r) AS a`, ...events), [
      { id: 1, i: null, v: null },
      { id: 2, i: null, v: null },
      { id: 3, i: null, v: null },
      { id: 4, i: 0, v: null },
    ]);
  });

  test('properties of a record, its own alone and none within them, whatever their names', () => {
    const query =
      'SELECT p.PropertyName AS n, p.PropertyValue AS v FROM [in] AS e CROSS APPLY GetRecordProperties(e.r) AS p';
    const record = JSON.parse('{"b":{"c":1},"a":"x","__proto__":2,"constructor":null}') as Value;
    assert.deepEqual(bodies(query, { r: record }), [
      { n: 'b', v: { c: 1 } },
      { n: 'a', v: 'x' },
      { n: '__proto__', v: 2 },
      { n: 'constructor', v: null },
    ]);
  });

  test('what it makes is found without its alias, before fields of that name; not when two make it', () => {
    const query = `SELECT id, arrayvalue AS v FROM [in] CROSS APPLY GetArrayElements(r) AS a WHERE ArrayIndex = 1`;
    assert.deepEqual(bodies(query, { id: 1, r: [5, 8], ArrayValue: 'field' }), [{ id: 1, v: 8 }]);
    const properties = 'SELECT PropertyValue AS v, ArrayValue AS w FROM [in] OUTER APPLY GetRecordProperties(r) AS a';
    assert.deepEqual(bodies(properties, { r: { x: 3 }, ArrayValue: 'field' }), [{ v: 3, w: 'field' }]);
    const twice = `SELECT ArrayValue FROM [in] CROSS APPLY GetArrayElements(r) AS a CROSS APPLY GetArrayElements(r) AS b`;
    assert.throws(() => bodies(twice), /ArrayValue may be of any of the APPLYs/);
  });

  test('one opens what the one before it made', () => {
    const query = `SELECT o.ArrayIndex AS outer1, p.PropertyName AS name, p.PropertyValue AS v FROM [in] AS e
      CROSS APPLY GetArrayElements(e.list) AS o CROSS APPLY GetRecordProperties(o.ArrayValue) AS p WHERE p.PropertyValue > 1`;
    assert.deepEqual(bodies(query, { list: [{ a: 1, b: 2 }, { c: 3 }] }), [
      { outer1: 0, name: 'b', v: 2 },
      { outer1: 1, name: 'c', v: 3 },
    ]);
  });

  test('after a join it sees both sides', () => {
    const query = `SELECT L.id, a.ArrayValue AS v FROM L JOIN R ON DATEDIFF(second, L, R) BETWEEN 0 AND 5
      CROSS APPLY GetArrayElements(R.list) AS a`;
    const rig = new SelectRig(query);
    rig.feed('L', 1, { id: 'x' });
    rig.feed('R', 2, { list: [3, 4] });
    assert.deepEqual(rig.end(), [
      [2, { id: 'x', v: 3 }],
      [2, { id: 'x', v: 4 }],
    ]);
  });

  for (const wrong of [{ r: 'text' }, { r: 7 }, { r: { a: 1 } }]) {
    test(`an event with ${JSON.stringify(wrong.r)} for an array is dropped and counted, OUTER or not`, () => {
      for (const kind of ['CROSS', 'OUTER']) {
        const rig = new SelectRig(`${ELEMENTS} ${kind} APPLY GetArrayElements(e.r) AS a`);
        rig.feed('in', 1, { id: 1, ...wrong });
        assert.deepEqual(rig.end(), []);
        assert.equal(rig.account.counters.dropped, 1);
        assert.match(rig.account.firstFault ?? '', /GetArrayElements needs an array/);
      }
    });
  }

  test('an array is no record', () => {
    const rig = new SelectRig('SELECT p.PropertyName AS n FROM [in] AS e CROSS APPLY GetRecordProperties(e.r) AS p');
    rig.feed('in', 1, { r: [1] });
    assert.deepEqual(rig.end(), []);
    assert.match(rig.account.firstFault ?? '', /GetRecordProperties needs a record/);
  });

  test('an event that would become too many rows is dropped whole, and counted', () => {
    const query = `SELECT a.ArrayIndex AS i FROM [in] AS e
      CROSS APPLY GetArrayElements(e.r) AS a CROSS APPLY GetArrayElements(e.r) AS b`;
    const rig = new SelectRig(query);
    rig.feed('in', 1, { r: Array.from({ length: 316 }, () => 1) });
    rig.feed('in', 2, { r: Array.from({ length: 317 }, () => 1) });
    assert.equal(rig.end().length, 316 * 316);
    assert.match(rig.account.firstFault ?? '', /more than 100000 rows/);
  });
});
