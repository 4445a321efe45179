import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { holdfast } from './parts/command.ts';
import { scratch } from './parts/scratch.ts';

const dir = scratch();

/** A file of this text; its path. */
function file(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

/** JSON lines. */
function lines(name: string, ...events: readonly object[]): string {
  return file(name, events.map((event) => `${JSON.stringify(event)}\n`).join(''));
}

function outputs(stdout: string): unknown[] {
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
}

const COOLDOWN = file(
  'cooldown.sql',
  `SELECT 'reset' AS command, Max(timeCreated) as maxEventTime INTO output FROM input TIMESTAMP BY timeCreated GROUP BY TumblingWindow(second, 10) HAVING Avg(machine.temperature) > 30\n`,
);

function reading(secs: number, temperature: number): object {
  return { timeCreated: `2031-05-06T00:00:${String(secs).padStart(2, '0')}Z`, machine: { temperature } };
}

const YAML = file(
  'gateway.yaml',
  `gateway: { id: line-4 }
modules:
  - id: cooldown
    query: |
      SELECT Count(*) AS n
      FROM input TIMESTAMP BY t GROUP BY TumblingWindow(second, 10)
    outOfOrder: 2s
  - id: broken
    query: |
      SELECT v
      FROM input WHERE
        nosuch(v) > 1
`,
);

describe('rules test', () => {
  test('the published query runs as it stands, whatever the order of the lines', async () => {
    const input = lines('hot.jsonl', reading(12, 20), reading(6, 33), reading(10, 34), reading(1, 29));
    const { code, stdout, stderr } = await holdfast(['rules', 'test', '--query', COOLDOWN, '--input', input]);
    assert.equal(
      stdout,
      '{"output":"output","time":"2031-05-06T00:00:10.000Z","body":{"command":"reset","maxEventTime":"2031-05-06T00:00:10.0000000Z"}}\n',
    );
    assert.deepEqual([code, stderr], [0, '']);
  });

  test('several inputs and a reference table, as one stream in the order of time', async () => {
    const query = file(
      'joined.sql',
      `SELECT d.id, r.name, t.v INTO hot FROM doors AS d TIMESTAMP BY at
         JOIN temps AS t TIMESTAMP BY at ON DATEDIFF(second, d, t) BETWEEN 0 AND 5
         JOIN rooms AS r ON d.id = r.id
       SELECT v INTO seen FROM temps TIMESTAMP BY at`,
    );
    const doors = lines('doors.jsonl', { at: '2031-05-06T00:00:10Z', id: 'a' });
    const temps = lines('temps.jsonl', { at: '2031-05-06T00:00:12.5Z', v: 7 }, { at: '2031-05-06T00:00:09Z', v: 1 });
    const rooms = file('rooms.csv', 'id,name\na,hall\n');
    const inputs = ['--input', `doors=${doors}`, '--input', `Temps=${temps}`];
    const { code, stdout } = await holdfast([
      'rules',
      'test',
      '--query',
      query,
      ...inputs,
      '--reference',
      `rooms=${rooms}`,
    ]);
    assert.deepEqual(outputs(stdout), [
      { output: 'seen', time: '2031-05-06T00:00:09.000Z', body: { v: 1 } },
      { output: 'hot', time: '2031-05-06T00:00:12.500Z', body: { id: 'a', name: 'hall', v: 7 } },
      { output: 'seen', time: '2031-05-06T00:00:12.500Z', body: { v: 7 } },
    ]);
    assert.equal(code, 0);
  });

  test('events without a time of their own: --timestamp-by says where it is; a query that needs no time goes without', async () => {
    const counting = file('count.sql', 'SELECT Count(*) AS n FROM input GROUP BY TumblingWindow(second, 10)');
    const filter = file('filter.sql', 'SELECT v FROM input WHERE v > 1');
    const input = lines(
      'plain.jsonl',
      { when: { at: '2031-05-06T00:00:03Z' }, v: 1 },
      { when: { at: '2031-05-06T00:00:04Z' }, v: 2 },
    );
    const ask = (query: string, ...more: string[]) =>
      holdfast(['rules', 'test', '--query', query, '--input', input, ...more]);
    const refused = await ask(counting);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /write TIMESTAMP BY in the query, or name the field with --timestamp-by/);
    const timed = await ask(counting, '--timestamp-by', 'when.at');
    assert.deepEqual(outputs(timed.stdout), [{ output: 'output', time: '2031-05-06T00:00:10.000Z', body: { n: 2 } }]);
    const timeless = await ask(filter);
    assert.deepEqual(outputs(timeless.stdout), [{ output: 'output', time: null, body: { v: 2 } }]);
    const wrong = await ask(counting, '--timestamp-by', 'when');
    assert.deepEqual([wrong.code, wrong.stdout], [1, '']);
    assert.match(wrong.stderr, /plain.jsonl:1: when is no datetime, no ISO 8601 text and no time since 1970: /);
  });

  test('--timestamp-by takes numbers as time since 1970; an event without it is dropped', async () => {
    const query = file('stamped.sql', 'SELECT v FROM input');
    const input = lines(
      'epoch.jsonl',
      { 'at.utc': 1935792002123, v: 'milliseconds' },
      { 'at.utc': 1935792001, v: 'seconds' },
      { v: 'never' },
      { 'at.utc': 1935792003000456, v: 'microseconds' },
      { 'at.utc': 1.5, v: 'fraction' },
    );
    const args = ['rules', 'test', '--query', query, '--input', input, '--timestamp-by', 'AT.utc'];
    const { code, stdout, stderr } = await holdfast(args);
    assert.deepEqual(outputs(stdout), [
      { output: 'output', time: '1970-01-01T00:00:01.500Z', body: { v: 'fraction' } },
      { output: 'output', time: '2031-05-06T00:00:01.000Z', body: { v: 'seconds' } },
      { output: 'output', time: '2031-05-06T00:00:02.123Z', body: { v: 'milliseconds' } },
      { output: 'output', time: '2031-05-06T00:00:03.000456Z', body: { v: 'microseconds' } },
    ]);
    assert.match(stderr, /^1 dropped, the first because .*epoch.jsonl:3: there is no AT.utc\n$/);
    assert.equal(code, 0);
  });

  test('a filter of an input with TIMESTAMP BY gives the time of each event', async () => {
    const query = file('timed.sql', 'SELECT v FROM input TIMESTAMP BY t WHERE v > 1');
    const input = lines('timed.jsonl', { t: '2031-05-06T00:00:03.5Z', v: 2 });
    const { stdout } = await holdfast(['rules', 'test', '--query', query, '--input', input]);
    assert.deepEqual(outputs(stdout), [{ output: 'output', time: '2031-05-06T00:00:03.500Z', body: { v: 2 } }]);
  });

  test('a join with a reference table alone needs no time', async () => {
    const query = file('named.sql', 'SELECT i.id, r.name FROM input i JOIN rooms r ON i.id = r.id');
    const input = lines('ids.jsonl', { id: 'a' }, { id: 'b' });
    const rooms = file('names.csv', 'id,name\na,hall\n');
    const args = ['rules', 'test', '--query', query, '--input', input, '--reference', `rooms=${rooms}`];
    const { code, stdout } = await holdfast(args);
    assert.deepEqual(outputs(stdout), [{ output: 'output', time: null, body: { id: 'a', name: 'hall' } }]);
    assert.equal(code, 0);
  });

  test('- is standard input', async () => {
    const query = file('plain.sql', 'SELECT v FROM input');
    const asked = ['rules', 'test', '--query', query, '--input', 'input=-'];
    const { code, stdout } = await holdfast(asked, { input: '\uFEFF{"v": 1}\r\n\r\n{"v": 2}\r\n' });
    assert.deepEqual(
      outputs(stdout).map((event) => (event as { body: object }).body),
      [{ v: 1 }, { v: 2 }],
    );
    assert.equal(code, 0);
  });

  test('numbers come out as they went in', async () => {
    const query = file('numbers.sql', 'SELECT a, b, c FROM input');
    const input = file('numbers.jsonl', '{"a": 9007199254740993, "b": 20.0, "c": 1.5}\n\n');
    const { stdout } = await holdfast(['rules', 'test', '--query', query, '--input', input]);
    assert.match(stdout, /"body":\{"a":9007199254740993,"b":20\.0,"c":1\.5\}/);
  });

  test('lines that are no JSON objects are left out and named, the first 20 of them', async () => {
    const input = file('bad.jsonl', `{"v": 1}\n{"v": \n[1]\n{"v": 2}\n${'x\n'.repeat(20)}`);
    const query = file('star.sql', 'SELECT * FROM input');
    const { code, stdout, stderr } = await holdfast(['rules', 'test', '--query', query, '--input', input]);
    assert.deepEqual(
      outputs(stdout).map((event) => (event as { body: object }).body),
      [{ v: 1 }, { v: 2 }],
    );
    assert.match(stderr, /bad.jsonl:2: /);
    assert.match(stderr, /bad.jsonl:3: an event is a JSON object/);
    assert.match(stderr, /bad.jsonl:22: [^]*\n22 lines were left out \(2 more like them\)\n$/);
    assert.doesNotMatch(stderr, /bad.jsonl:23: /);
    assert.equal(code, 1);
  });

  test('an event with a number beyond 64 bits is dropped, as it is when it arrives at the gateway', async () => {
    const input = file('beyond.jsonl', '{"v": 9223372036854775808}\n{"v": 9223372036854775807}\n');
    const query = file('beyond.sql', 'SELECT v FROM input');
    const { code, stdout, stderr } = await holdfast(['rules', 'test', '--query', query, '--input', input]);
    assert.match(stdout, /^\{[^\n]*"body":\{"v":9223372036854775807\}\}\n$/);
    assert.match(stderr, /^1 dropped, the first because .*beyond.jsonl:1: .*64 bits\n$/);
    assert.equal(code, 0);
  });

  test('what is dropped is counted and the first explained, on standard error', async () => {
    const input = lines('untimed.jsonl', reading(1, 40), { machine: {} }, { timeCreated: 'soon' });
    const { code, stdout, stderr } = await holdfast(['rules', 'test', '--query', COOLDOWN, '--input', input]);
    assert.equal(outputs(stdout).length, 1);
    assert.match(stderr, /^2 dropped, the first because .*untimed.jsonl:2: there is no timestamp/);
    assert.equal(code, 0);
  });

  test('the line of the first that is dropped is named, but not that of an event which only closed a window', async () => {
    const ask = (name: string, text: string, ...events: object[]) =>
      holdfast(['rules', 'test', '--query', file(`${name}.sql`, text), '--input', lines(`${name}.jsonl`, ...events)]);
    const given = [1, 0, 2, 0].map((v, n) => ({ v, t: `2026-01-01T00:00:${10 + 10 * n}Z` }));
    const [one, window] = await Promise.all([
      ask('divided', 'SELECT 1 / v AS x INTO out FROM input', ...given),
      ask(
        'closed',
        'SELECT 1 / SUM(v) AS x INTO out FROM input TIMESTAMP BY t GROUP BY TumblingWindow(second, 10)',
        ...given,
      ),
    ]);
    assert.match(one.stderr, /^2 dropped, the first because .*divided.jsonl:2: division by zero\n$/);
    assert.match(window.stderr, /^2 dropped, the first because division by zero\n$/);
  });

  test('used wrongly: no input, an input that is not there, a file that is not there', async () => {
    const ask = (...args: string[]) => holdfast(['rules', 'test', '--query', COOLDOWN, ...args]);
    const ends = await Promise.all([
      ask(),
      ask('--input', 'nosuch=x.jsonl'),
      ask('--input', join(dir, 'none.jsonl')),
      holdfast(['rules', 'test']),
    ]);
    assert.deepEqual(
      ends.map(({ code }) => code),
      [2, 2, 1, 2],
    );
    assert.match(ends[0].stderr, /give them with --input FILE/);
    assert.match(ends[1].stderr, /no input nosuch; it reads input/);
    assert.match(ends[2].stderr, /cannot read .*none.jsonl/);
  });

  test('a module of a gateway.yaml with a reference table: its file is found beside the gateway.yaml', async () => {
    file('sites.csv', 'id,name\na,hall\n');
    const yaml = file(
      'tables.yaml',
      `modules:
  - id: named
    query: SELECT i.id, s.name INTO named FROM input i TIMESTAMP BY t JOIN sites s ON i.id = s.id
    reference: { sites: sites.csv }
    idle: 3s
`,
    );
    const input = lines('visits.jsonl', { t: '2031-05-06T00:00:03Z', id: 'a' });
    const [checked, explained, tried] = await Promise.all([
      holdfast(['rules', 'check', yaml]),
      holdfast(['rules', 'explain', yaml]),
      holdfast(['rules', 'test', '--query', yaml, '--input', input]),
    ]);
    assert.match(checked.stdout, /module named: fine: input input; output named\n/);
    assert.match(explained.stdout, /silent for 3 s/);
    assert.deepEqual(outputs(tried.stdout), [
      { output: 'named', time: '2031-05-06T00:00:03.000Z', body: { id: 'a', name: 'hall' } },
    ]);
  });

  test('a module of a gateway.yaml, chosen by its id', async () => {
    const input = lines('t.jsonl', { t: '2031-05-06T00:00:03Z' });
    const ask = (...args: string[]) => holdfast(['rules', 'test', '--query', YAML, '--input', input, ...args]);
    const several = await ask();
    assert.equal(several.code, 2);
    assert.match(several.stderr, /several modules \(cooldown, broken\): choose one with --module/);
    assert.deepEqual(outputs((await ask('--module', 'cooldown')).stdout), [
      { output: 'output', time: '2031-05-06T00:00:10.000Z', body: { n: 1 } },
    ]);
  });
});

describe('rules check and rules explain', () => {
  test('a query that is fine: what it reads and writes', async () => {
    const { code, stdout } = await holdfast(['rules', 'check', COOLDOWN]);
    assert.deepEqual([code, stdout], [0, `${COOLDOWN}: fine: input input; output output\n`]);
  });

  test('a broken one: the place, the line with a caret, and what to do', async () => {
    const path = file('broken.sql', 'SELECT v\nFROM input\nWHER v > 1\n');
    const { code, stdout } = await holdfast(['rules', 'check', path]);
    assert.equal(code, 1);
    assert.match(stdout, /^\S*broken.sql:3:\d+: /);
    assert.match(stdout, /\n {2}WHER v > 1\n +\^/);
  });

  test('what is probably not meant is a warning beside it, and no problem', async () => {
    const path = file('alias.sql', 'SELECT a AS q\nFROM input\nWHERE q = 1\n');
    const { code, stdout, stderr } = await holdfast(['rules', 'check', path]);
    assert.deepEqual([code, stdout], [0, `${path}: fine: input input; output output\n`]);
    assert.match(
      stderr,
      /warning: \S*alias\.sql:3:7: WHERE reads a field q of input, .*\n {2}WHERE q = 1\n {8}\^\n {2}-> write/,
    );
    const json = JSON.parse((await holdfast(['rules', 'check', path, '--json'])).stdout) as Record<string, object[]>;
    assert.deepEqual([json['ok'], json['problems'], json['warnings']!.length], [true, [], 1]);
    const fine = JSON.parse((await holdfast(['rules', 'check', COOLDOWN, '--json'])).stdout) as Record<
      string,
      object[]
    >;
    assert.deepEqual(fine['warnings'], []);
  });

  test('all modules of a gateway.yaml, with places in that file', async () => {
    const { code, stdout } = await holdfast(['rules', 'check', YAML]);
    assert.equal(code, 1);
    assert.match(stdout, /module cooldown: fine: input input; output output\n/);
    assert.match(stdout, /gateway.yaml:12:9: there is no function nosuch/);
    const json = JSON.parse((await holdfast(['rules', 'check', YAML, '--json'])).stdout) as {
      ok: boolean;
      problems: object[];
    };
    assert.equal(json.ok, false);
    assert.deepEqual(json.problems, [
      { module: 'broken', line: 12, column: 9, message: 'there is no function nosuch', hint: null },
    ]);
  });

  test('explain shows inputs and their time, steps, windows, aggregates and outputs', async () => {
    const { code, stdout } = await holdfast(['rules', 'explain', COOLDOWN]);
    assert.equal(code, 0);
    for (const line of [
      'input input: by the time in timeCreated',
      '  waits 0 s for events out of order; later ones are moved',
      'output output',
      '  tumbling window of 10 s',
      '  keep MAX(timeCreated), AVG(machine.temperature)',
      '  having AVG(machine.temperature) > 30',
    ]) {
      assert.ok(stdout.split('\n').includes(line), `${line}\n\n${stdout}`);
    }
    const yaml = await holdfast(['rules', 'explain', YAML, '--module', 'cooldown']);
    assert.match(yaml.stdout, /^module cooldown\n[^]*waits 2 s for events out of order/);
  });
});
