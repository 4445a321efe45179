import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { QueryProblem } from '../src/query/problem.ts';
import { DateTime, Float, type Fields, type Value } from '../src/query/value.ts';
import { ReferenceFile } from '../src/rules/reference-file.ts';
import { readTable, TableProblem } from '../src/rules/reference-rows.ts';
import { ManualClock } from './manual-clock.ts';
import { engineFor, give } from './parts/replay.ts';
import { type Result, SelectRig } from './parts/select-rig.ts';

const ROWS: readonly Fields[] = [
  { id: 1, name: 'boiler' },
  { id: 2, name: 'pump' },
  { id: 2, name: 'spare pump' },
  { id: '1', name: 'text' },
  { id: null, name: 'nothing' },
  { name: 'no id' },
];

function run(query: string, rows: readonly Fields[], ...events: readonly Fields[]): readonly Result[] {
  const rig = new SelectRig(query, { references: { r: { rows } } });
  events.forEach((fields, index) => rig.feed('i', index + 1, fields));
  return rig.end();
}

function names(on: string, kind: string, id: Value): unknown[] {
  return run(`SELECT r.name FROM i ${kind} JOIN r ON ${on}`, ROWS, { id }).map(([, { name }]) => name);
}

describe('a join with a reference table', () => {
  test('gives each row that is equal, in the order of the table, at the time of the event', () => {
    assert.deepEqual(run('SELECT i.id, r.name FROM i JOIN r ON i.id = r.id', ROWS, { id: 2 }, { id: 1 }), [
      [1, { id: 2, name: 'pump' }],
      [1, { id: 2, name: 'spare pump' }],
      [2, { id: 1, name: 'boiler' }],
    ]);
  });

  test('values of equal types match, either way round: the text is not the number, 1.0 is 1, NULL is nothing', () => {
    assert.deepEqual(names('i.id = r.id', 'INNER', '1'), ['text']);
    assert.deepEqual(names('r.id = i.id', 'INNER', new Float(1)), ['boiler']);
    assert.deepEqual(names('i.id = r.id', 'INNER', null), []);
    assert.deepEqual(names('i.id = r.id', 'INNER', new DateTime(1)), []);
    assert.deepEqual(names('CAST(i.id AS bigint) = r.id', 'INNER', '1'), ['boiler']);
  });

  test('LEFT keeps the event without a match', () => {
    assert.deepEqual(names('i.id = r.id', 'LEFT', 9), [null]);
    assert.deepEqual(names('i.id = r.id', 'LEFT', null), [null]);
  });

  test('what else ON says is tested on each pair', () => {
    assert.deepEqual(names("i.id = r.id AND r.name LIKE 'spare%'", 'INNER', 2), ['spare pump']);
    assert.deepEqual(names("i.id = r.id AND r.name LIKE 'x%'", 'LEFT', 2), [null]);
  });

  test('two columns together', () => {
    const rows = [
      { site: 'a', id: 1, name: 'a1' },
      { site: 'b', id: 1, name: 'b1' },
    ];
    assert.deepEqual(
      run('SELECT r.name FROM i JOIN r ON i.site = r.site AND i.id = r.id', rows, { site: 'b', id: 1 }),
      [[1, { name: 'b1' }]],
    );
  });

  test('between two joins of streams it neither has a time nor takes theirs', () => {
    const query = `SELECT A.n AS a, r.name, B.n AS b FROM A JOIN r ON A.id = r.id
      JOIN B ON DATEDIFF(second, A, B) BETWEEN 0 AND 5`;
    const rig = new SelectRig(query, { references: { r: { rows: ROWS } } });
    rig.feed('A', 1, { n: 1, id: 1 });
    rig.feed('B', 5, { n: 5 });
    assert.deepEqual(rig.end(), [[5, { a: 1, name: 'boiler', b: 5 }]]);
  });

  test('an event that cannot be worked out is dropped and counted; so is a row of the table, once', () => {
    const rig = new SelectRig('SELECT r.name FROM i JOIN r ON i.id = CAST(r.id AS bigint)', {
      references: { r: { rows: [{ id: 'x' }, { id: '7', name: 'seven' }] } },
    });
    rig.feed('i', 1, { id: 7 });
    rig.feed('i', 2, { id: 7 });
    assert.equal(rig.end().length, 2);
    assert.equal(rig.account.counters.dropped, 1);
  });

  test('a row of the table with which what else ON says cannot be worked out is no match; the others are', () => {
    const rows = [
      { id: 1, max: 'n/a' },
      { id: 1, max: '30' },
      { id: 2, max: 'n/a' },
    ];
    const query = 'SELECT i.id, r.max FROM i LEFT JOIN r ON i.id = r.id AND i.v > CAST(r.max AS float)';
    const rig = new SelectRig(query, { references: { r: { rows } } });
    rig.feed('i', 1, { id: 1, v: 31 });
    rig.feed('i', 2, { id: 2, v: 31 });
    assert.deepEqual(rig.end(), [
      [1, { id: 1, max: '30' }],
      [2, { id: 2, max: null }],
    ]);
    assert.equal(rig.account.counters.dropped, 2);
  });

  const refused: [string, RegExp, string][] = [
    ['i.id > r.id', /joined by equality/, 'i.id > r.id'],
    ['r.id = 1', /joined by equality/, 'r.id = 1'],
    ['i.id = r.id AND DATEDIFF(second, i, r) BETWEEN 0 AND 5', /has no time/, 'r) BETWEEN'],
  ];
  for (const [on, message, place] of refused) {
    test(`is refused where it stands: ${on}`, () => {
      const query = `SELECT r.name FROM i JOIN r ON ${on}`;
      assert.throws(
        () => run(query, ROWS),
        (error) => {
          assert.ok(error instanceof QueryProblem, String(error));
          assert.match(error.message, message);
          assert.ok(query.slice(error.at).startsWith(place), query.slice(error.at));
          return true;
        },
      );
    });
  }
});

describe('a join with TIMESTAMP BY .. OVER', () => {
  test('looks through the table once, and not once for each key', () => {
    let read = 0;
    const row = {
      name: 'boiler',
      get id(): number {
        read++;
        return 1;
      },
    };
    const script = 'SELECT i.k, r.name FROM i TIMESTAMP BY t OVER k JOIN r ON i.id = r.id';
    const engine = engineFor(script, { references: { r: { rows: [row, { id: 2, name: 'pump' }] } } });
    const out = ['a', 'b', 'c'].flatMap((k, index) => give(engine, { secs: 1, fields: { k, id: 1 + (index % 2) } }));
    const names = out.map(({ body }) => [body['k'], body['name']]);
    assert.deepEqual(names, [
      ['a', 'boiler'],
      ['b', 'pump'],
      ['c', 'boiler'],
    ]);
    assert.equal(read, 1);
  });
});

describe("a table's text", () => {
  test('JSON Lines, with empty lines and a byte order mark', () => {
    assert.deepEqual(readTable('\uFEFF{"id":1}\r\n\n{"id":20.0}\n', 't.jsonl'), [{ id: 1 }, { id: new Float(20) }]);
    assert.deepEqual(readTable('', 't.jsonl'), []);
  });

  test('a JSON array', () => {
    assert.deepEqual(readTable(' [ {"id": 1},\n {"id": "b"} ]', 't.json'), [{ id: 1 }, { id: 'b' }]);
  });

  test('CSV: every value is text, quotes hold commas and lines, nothing is NULL and empty quotes are empty text', () => {
    const text = 'id,"the name",note\r\n007,"a ""b"", c",\n\n8,"two\nlines",""\n"9",x,y';
    assert.deepEqual(readTable(text, 'T.CSV'), [
      { id: '007', 'the name': 'a "b", c', note: null },
      { id: '8', 'the name': 'two\nlines', note: '' },
      { id: '9', 'the name': 'x', note: 'y' },
    ]);
  });

  test('CSV: a last column that is empty at the end of the file', () => {
    assert.deepEqual(readTable('a,b\n1,', 't.csv'), [{ a: '1', b: null }]);
  });

  test('a column called __proto__ is a column', () => {
    const [row] = readTable('__proto__,a\nx,y', 't.csv');
    assert.deepEqual(Object.entries(row as Fields), [
      ['__proto__', 'x'],
      ['a', 'y'],
    ]);
    assert.equal(Object.getPrototypeOf(row), Object.prototype);
  });

  const wrong: [string, string, number, RegExp][] = [
    ['{"id":1}\n{"id":', 't.jsonl', 2, /JSON/],
    ['{"id":1}\n\n7', 't.jsonl', 3, /no object/],
    ['[{"id":1}, 2]', 't.json', 1, /element 2 is no object/],
    ['a,b\n1,2\n3', 't.csv', 3, /1 values for 2 columns/],
    ['a,b\n"1\n2",2\n3', 't.csv', 4, /1 values for 2 columns/],
    ['a,a\n', 't.csv', 1, /two columns are called a/],
    ['a,,b\n', 't.csv', 1, /no name/],
    ['', 't.csv', 1, /empty/],
    ['{}\n'.repeat(100_001), 't.jsonl', 1, /100001 rows, at most 100000/],
  ];
  for (const [text, name, line, message] of wrong) {
    test(`says what is wrong and where: ${JSON.stringify(text.slice(0, 20))} in ${name}`, () => {
      assert.throws(
        () => readTable(text, name),
        (error) => {
          assert.ok(error instanceof TableProblem, String(error));
          assert.equal(error.line, line);
          assert.match(error.message, message);
          return true;
        },
      );
    });
  }
});

describe('a table in a file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-reference-'));
  after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'sites.jsonl');
  let changes = 0;

  /** As a careful writer does it; each at another second, whatever the grain of the file system's time. */
  function write(text: string): void {
    writeFileSync(`${path}.new`, text);
    utimesSync(`${path}.new`, ++changes, changes);
    renameSync(`${path}.new`, path);
  }

  test('is read again when it changes, all at once; what is wrong leaves the last good rows, and is said once', async () => {
    const said: (string | null)[] = [];
    const file = new ReferenceFile({ path, clock: new ManualClock(), onProblem: (problem) => said.push(problem) });
    await file.start();
    assert.deepEqual(file.rows, []);
    assert.match(file.problem ?? '', /ENOENT/);

    write('{"id":1}\n{"id":2}');
    await file.check();
    const first = file.rows;
    assert.deepEqual(first, [{ id: 1 }, { id: 2 }]);
    assert.equal(file.problem, null);
    await file.check();
    assert.equal(file.rows, first);

    write('{"id":1}\n{"id":');
    await file.check();
    await file.check();
    assert.equal(file.rows, first);
    assert.match(file.problem ?? '', /sites\.jsonl:2: /);

    write('{"id":3}');
    await file.check();
    assert.deepEqual(file.rows, [{ id: 3 }]);
    assert.equal(file.problem, null);

    renameSync(path, `${path}.away`);
    await file.check();
    assert.deepEqual(file.rows, [{ id: 3 }]);
    assert.match(file.problem ?? '', /ENOENT/);
    renameSync(`${path}.away`, path);
    await file.check();
    assert.equal(file.problem, null);
    assert.deepEqual(
      said.map((problem) => problem?.replace(/.*(ENOENT|:2:).*/, '$1') ?? null),
      ['ENOENT', null, ':2:', null, 'ENOENT', null],
    );
    await file.stop();
  });

  test('a file that is too large is not read', async () => {
    write(`{"id":"${'x'.repeat(8 * 1024 * 1024)}"}`);
    const file = new ReferenceFile({ path, clock: new ManualClock() });
    await file.check();
    assert.match(file.problem ?? '', /bytes, at most 8388608/);
    assert.deepEqual(file.rows, []);
  });

  test('one that was too large and is put back as it was is well again', async () => {
    write('{"id":1}');
    const file = new ReferenceFile({ path, clock: new ManualClock() });
    await file.check();
    renameSync(path, `${path}.before`);
    write(' '.repeat(8 * 1024 * 1024 + 1));
    await file.check();
    assert.match(file.problem ?? '', /bytes, at most 8388608/);
    renameSync(`${path}.before`, path);
    await file.check();
    assert.equal(file.problem, null);
    assert.deepEqual(file.rows, [{ id: 1 }]);
  });

  test('one that answers again, unchanged, is well again', async () => {
    write('{"id":1}');
    const clock = new ManualClock();
    const file = new ReferenceFile({ path, clock });
    await file.check();
    const slow = file.check();
    clock.advance(5000);
    await slow;
    assert.match(file.problem ?? '', /sites\.jsonl: no answer within 5 s/);
    await file.check();
    await file.check();
    assert.equal(file.problem, null);
    assert.deepEqual(file.rows, [{ id: 1 }]);
  });

  test('a pipe in its place is not waited for', { timeout: 10_000 }, async () => {
    rmSync(path, { force: true });
    execFileSync('mkfifo', [path]);
    const file = new ReferenceFile({ path, clock: new ManualClock() });
    await file.check();
    assert.match(file.problem ?? '', /sites\.jsonl: is no file/);
    rmSync(path);
  });

  test('is looked at by the clock until it is stopped, and a running join sees the new rows', async () => {
    const clock = new ManualClock();
    write('{"id":1,"name":"old"}');
    const file = new ReferenceFile({ path, clock, everyMs: 1000 });
    await file.start();
    const rig = new SelectRig('SELECT r.name FROM i JOIN r ON i.id = r.id', { references: { r: file } });
    rig.feed('i', 1, { id: 1 });
    write('{"id":1,"name":"new"}');
    rig.feed('i', 2, { id: 1 });
    clock.advance(1000);
    // Waits for the look that the clock began, and begins none.
    await file.stop();
    rig.feed('i', 3, { id: 1 });
    assert.deepEqual(
      rig.results.map(([, { name }]) => name),
      ['old', 'old', 'new'],
    );
    assert.equal(clock.timers, 0);
  });
});
