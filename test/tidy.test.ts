import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import * as house from './house.ts';
import { importsOf, type SourceFile } from './source-text.ts';

/** All files below `folder` whose name ends so, with their texts. */
function read(folder: string, ending: string): SourceFile[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending) && !name.includes('node_modules'))
    .map((name) => join(folder, name))
    .sort()
    .map((path) => ({ path, text: readFileSync(path, 'utf8') }));
}

const src = read('src', '.ts');
const tests = read('test', '.ts');
const pages = [
  ...read('docs', '.md'),
  ...readdirSync('.')
    .filter((name) => name.endsWith('.md'))
    .map((path) => ({ path, text: readFileSync(path, 'utf8') })),
];

function clean(complaints: string[]): void {
  assert.equal(complaints.length, 0, `\n${complaints.join('\n')}`);
}

describe('the house is tidy', () => {
  test('there is something to look at', () => assert.ok(src.length > 0 && tests.length > 0));
  test('imports between rooms point down', () => clean(house.importDirection(src)));
  test('no imports go in a circle', () => clean(house.importCircles(src)));
  test('every file is reached from src/main.ts', () => clean(house.deadFiles(src)));
  test('no name is a junk drawer', () => clean(house.vagueNames([...src, ...tests, ...read('scripts', '')])));
  test(`no file is longer than ${house.LINES_MAX} lines`, () => clean(house.longFiles(src)));
  test('time comes from the clock that is passed in', () => clean(house.platformTime(src)));
  test('nothing is left unfinished', () => clean(house.unfinished(src)));
  test('only src/cli writes to the terminal', () => clean(house.consoleUse(src)));
  test('no test runs alone or only promises to', () => clean(house.partialTests(tests)));
  test('every relative link in the docs leads somewhere', () => clean(house.brokenLinks(pages, existsSync)));
});

/** A house of these files: path -> text. */
function files(texts: Record<string, string>): SourceFile[] {
  return Object.entries(texts).map(([path, text]) => ({ path, text }));
}

/** The one file `src/spool/lane.ts`. */
function lane(text: string): SourceFile[] {
  return files({ 'src/spool/lane.ts': text });
}

describe('the checks themselves', () => {
  test('an import is seen in each of its forms, and not in a comment, a string or a regular expression', () => {
    const text = [
      `import a from './a.ts';`,
      `import type { B } from "./b.ts";`,
      `import './c.ts';`,
      `export * from './d.ts';`,
      `const e = await import('./e.ts');`,
      `let f: typeof import('./f.ts');`,
      `import {`,
      `  g,`,
      `} from './g.ts';`,
      `// import './no.ts';`,
      `/* import './no.ts'; */ const s = "import './no.ts'"; const t = \`import './no.ts' \${\`\${await import('./h.ts')}\`}\`;`,
      `const r = /from '.\\/no.ts'/; const q = 4 / 2; const p = "from './no.ts'"; i /= 2; import.meta.url; x.from('./no.ts');`,
      `const last = [/["'/]/, import('./i.ts')];`,
    ].join('\n');
    assert.deepEqual(
      importsOf(text).map(({ specifier, line }) => `${specifier.slice(2, 3)}${line}`),
      ['a1', 'b2', 'c3', 'd4', 'e5', 'f6', 'g9', 'h11', 'i13'],
    );
  });

  test('an import that points up or sideways is caught, and one that points down is not', () => {
    const verdict = (path: string, specifier: string): string =>
      house.importDirection(files({ [path]: `import type { X } from '${specifier}';` })).join();
    const refused: [string, string, RegExp][] = [
      ['src/message/message.ts', '../store/write.ts', /^src\/message\/message.ts:1: .*message\/ is below store\//],
      ['src/store/write.ts', '../message/message.ts', /store\/ is below message\/ and may import only clock\//],
      ['src/clock/clock.ts', '../config/schema.ts', /clock\/ is below config\//],
      ['src/dialects/holdfast.ts', '../upstream/session.ts', /dialects\/ is below upstream\//],
      ['src/query/lexer.ts', '../router/route.ts', /query\/ is below router\//],
      ['src/spool/lane.ts', '../upstream/drain.ts', /spool\/ and upstream\/ meet only in gateway.ts/],
      ['src/drivers/decoders/csv.ts', '../../rules/window.ts', /drivers\/ and rules\/ meet only in gateway.ts/],
      ['src/router/route.ts', '../gateway.ts', /only cli\/ imports gateway.ts/],
      ['src/board/leds.ts', '../health/status.ts', /only gateway.ts and cli\/ import health\//],
      ['src/health/status.ts', '../cli/run.ts', /nothing imports cli/],
      ['src/gateway.ts', './cli/run.ts', /nothing imports cli/],
      ['src/gateway.ts', './main.ts', /nothing imports main/],
      ['src/start.ts', './cli/run.ts', /start.ts .* imports nothing of ours/],
      ['src/main.ts', './gateway.ts', /main.ts only hands argv to cli\//],
      ['src/spool/lane.ts', '../../test/house.ts', /nothing outside src\//],
      ['src/things/thing.ts', 'pino', /DESIGN names no room things/],
    ];
    for (const [path, specifier, complaint] of refused) assert.match(verdict(path, specifier), complaint);
    const allowed: [string, string][] = [
      ['src/main.ts', './cli/cli.ts'],
      ['src/cli/run.ts', '../gateway.ts'],
      ['src/cli/check.ts', '../health/checks.ts'],
      ['src/gateway.ts', './health/systemd.ts'],
      ['src/gateway.ts', './spool/lane.ts'],
      ['src/health/status.ts', '../spool/lane.ts'],
      ['src/spool/lane.ts', '../config/schema.ts'],
      ['src/spool/lane.ts', '../store/write.ts'],
      ['src/spool/lane.ts', './block.ts'],
      ['src/store/write.ts', '../clock/clock.ts'],
      ['src/message/binary.ts', '../clock/clock.ts'],
      ['src/drivers/serial.ts', './decoders/csv.ts'],
      ['src/upstream/session.ts', '../dialects/holdfast.ts'],
      ['src/store/write.ts', 'node-lmdb'],
    ];
    for (const [path, specifier] of allowed) assert.equal(verdict(path, specifier), '');
  });

  test('a circle of imports is caught once, also through types and through a third file', () => {
    const circle = files({
      'src/spool/a.ts': `import { b } from './b.ts';`,
      'src/spool/b.ts': `import type { C } from './c.ts';`,
      'src/spool/c.ts': `export const c = import('./a.ts');`,
      'src/spool/d.ts': `import { a } from './a.ts'; import { c } from './c.ts';`,
    });
    assert.deepEqual(house.importCircles(circle), [
      'src/spool/a.ts -> src/spool/b.ts -> src/spool/c.ts -> src/spool/a.ts: a circle of imports; ' +
        'move what both need into a file below them',
    ]);
    assert.deepEqual(house.importCircles(circle.slice(0, 2)), []);
  });

  test('a file that nothing reaches is caught, and one reached by a dynamic or type import is not', () => {
    const tree = files({
      'src/main.ts': `await import('./cli/cli.ts');`,
      'src/cli/cli.ts': `import type { Clock } from '../clock/clock.ts'; import lmdb from 'node-lmdb';`,
      'src/clock/clock.ts': '',
      'src/store/node-lmdb.d.ts': `declare module 'node-lmdb' {}`,
      'src/store/other.d.ts': `declare module 'other' {}`,
      'src/spool/lane.ts': `import './block.ts';`,
      'src/spool/block.ts': '',
    });
    assert.deepEqual(
      house.deadFiles(tree).map((complaint) => complaint.split(':')[0]),
      ['src/store/other.d.ts', 'src/spool/lane.ts', 'src/spool/block.ts'],
    );
    assert.match(house.deadFiles(tree.slice(1)).join(), /src\/main.ts: is missing/);
  });

  test('a junk drawer is caught by its name', () => {
    for (const path of ['src/utils/hex.ts', 'src/spool/helpers.ts', 'src/spool/lane-manager.ts', 'src/common/a.ts']) {
      assert.equal(house.vagueNames(files({ [path]: '' })).length, 1, path);
    }
    assert.deepEqual(house.vagueNames(files({ 'src/spool/commonplace.ts': '', 'src/drivers/miscount.ts': '' })), []);
  });

  test('a file of one line too many is caught', () => {
    assert.deepEqual(house.longFiles(lane('x;\n'.repeat(400))), []);
    assert.match(house.longFiles(lane('x;\n'.repeat(401))).join(), /src\/spool\/lane.ts: 401 lines, at most 400/);
  });

  test("the platform's time is caught outside src/clock and src/cli", () => {
    const forbidden = [
      'Date.now()',
      'new Date()',
      'new Date',
      'performance.now()',
      'setTimeout(f, 1)',
      'setInterval(f, 1)',
    ];
    const indirect = [
      'process.hrtime.bigint()',
      'const now = Date.now;',
      `import { setTimeout } from 'node:timers/promises'`,
    ];
    for (const text of [...forbidden, ...indirect]) {
      assert.match(house.platformTime(lane(`\n${text};`)).join(), /^src\/spool\/lane.ts:2: .*take a Clock/, text);
      assert.deepEqual(house.platformTime(files({ 'src/clock/system-clock.ts': text, 'src/cli/view.ts': text })), []);
    }
    const fine = [
      'new Date(wall)',
      'socket.setTimeout(5)',
      '// Date.now()',
      `'setTimeout('`,
      'clearTimeout(t)',
      'new DateFormat()',
    ];
    for (const text of fine) assert.deepEqual(house.platformTime(lane(text)), [], text);
  });

  test('a note to finish something later is caught, also in a comment', () => {
    for (const word of ['TODO', 'FIXME', 'XXX'])
      assert.equal(house.unfinished(lane(`// ${word}: later`)).length, 1, word);
    assert.deepEqual(house.unfinished(lane(`const METHODOLOGY = 'todo';`)), []);
  });

  test('console is caught outside src/cli', () => {
    assert.match(house.consoleUse(lane('console.log(1)')).join(), /only src\/cli/);
    assert.deepEqual(house.consoleUse(files({ 'src/cli/list.ts': 'console.log(1)' })), []);
    assert.deepEqual(house.consoleUse(lane(`// console.log\nconst text = 'console.log'; this.console.write();`)), []);
  });

  test('a test that runs alone or only promises to is caught', () => {
    for (const text of [`test.only('x')`, `test.todo('x')`, `test('x', { only: true })`, `describe\n  .only('x')`]) {
      assert.equal(house.partialTests(files({ 'test/x.test.ts': text })).length, 1, text);
    }
    assert.deepEqual(house.partialTests(files({ 'test/x.test.ts': `test('x'); // not .only(` })), []);
  });

  test('a link that leads nowhere is caught', () => {
    const page = (text: string): string[] =>
      house.brokenLinks(files({ 'docs/guide.md': text }), (path) => ['README.md', 'docs/spool.md'].includes(path));
    const broken = [
      '[x](gone.md)',
      '[x](../gone.md#part)',
      '![x](gone.png "title")',
      '[x]: gone.md',
      '[x](spool.md) [y](spool.txt)',
    ];
    for (const text of broken) assert.equal(page(`\n${text}`).length, 1, text);
    assert.match(page('\n[x](gone.md)').join(), /^docs\/guide.md:2: links to docs\/gone.md/);
    const fine = [
      '[x](spool.md)',
      '[x](spool.md#part)',
      '[x](../README.md)',
      '[x](/README.md)',
      '[x](#part)',
      '[x](https://gone.example/a.md)',
    ];
    for (const text of [...fine, '`[x](gone.md)`', '```\n[x](gone.md)\n```', 'a [b] (c.md)'])
      assert.deepEqual(page(text), [], text);
  });
});
