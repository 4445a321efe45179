import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { inputsOf, queriesOf } from '../src/query/inputs.ts';
import { lex } from '../src/query/lexer.ts';
import { parseExpression } from '../src/query/parser-expressions.ts';
import { parseScript } from '../src/query/parser.ts';
import { printExpression } from '../src/query/printer.ts';
import { problemText, QueryProblem } from '../src/query/problem.ts';
import { BROKEN } from './fixtures/broken-queries.ts';
import { VALID } from './fixtures/valid-queries.ts';
import { fc } from './parts/properties.ts';
import { withoutPlaces } from './parts/query-parts.ts';

/** Reads a text in each way; whatever is thrown must be a problem with a place in it that can be shown. */
function survives(text: string): void {
  for (const parse of [parseScript, parseExpression]) {
    try {
      const result = parse(text);
      if ('kind' in result) printExpression(result);
      else inputsOf(result);
    } catch (error) {
      if (!(error instanceof QueryProblem)) throw error;
      assert.ok(
        Number.isInteger(error.at) && error.at >= 0 && error.at <= text.length,
        `${error.message} at ${error.at}`,
      );
      assert.ok(error.message.length < 400 && problemText(text, error, 'q').length < 1200, error.message.slice(0, 100));
    }
  }
}

const WORDS = [
  ...new Set(
    [...VALID, ...BROKEN.map(([marked]) => marked)].flatMap(
      (text) => text.match(/[A-Za-z_]\w*|'[^']*'|\d+(?:\.\d+)?|[^\s\w]/gu) ?? [],
    ),
  ),
  '\n',
  '--',
  '/*',
  '*/',
  "'",
  '"',
  '[',
  ']]',
  '1e',
  '9223372036854775808',
  '\u{1f600}',
  '\u0000',
  '__proto__',
  'constructor',
  '<>',
  '!<',
];
const word = fc.constantFrom(...WORDS);
const soup = fc.array(word, { maxLength: 80 }).map((words) => words.join(' '));
const glued = fc.array(word, { maxLength: 40 }).map((words) => words.join(''));

/** A valid query of which some words are left out, doubled, put elsewhere or replaced, or of which a character is. */
const mutated = fc
  .record({
    text: fc.constantFrom(...VALID),
    changes: fc.array(fc.record({ what: fc.nat(4), where: fc.nat(200), to: fc.nat(200), word }), {
      minLength: 1,
      maxLength: 5,
    }),
  })
  .map(({ text, changes }) => {
    const tokens = lex(text).map(({ at, end }) => text.slice(at, end));
    for (const { what, where, to, word: other } of changes) {
      const index = where % tokens.length;
      if (what === 0) tokens.splice(index, 1);
      else if (what === 1) tokens.splice(index, 0, tokens[index]!);
      else if (what === 2) tokens.splice(to % tokens.length, 0, ...tokens.splice(index, 1));
      else if (what === 3) tokens[index] = other;
      else tokens[index] = tokens[index]!.slice(0, to % 5) + other.slice(0, 1) + tokens[index]!.slice((to % 5) + 1);
    }
    return tokens.join(' ');
  });

describe('any text is either read or refused with a place', () => {
  const runs: [name: string, texts: fc.Arbitrary<string>, seed: number, numRuns: number][] = [
    ['words of the language in any order', soup, 4_190_001, 3000],
    ['the same, glued', glued, 4_190_002, 3000],
    ['valid queries with something changed', mutated, 4_190_003, 6000],
    ['any characters', fc.string({ unit: 'binary', maxLength: 60 }), 4_190_004, 2000],
    [
      'any code units',
      fc.array(fc.nat(0xffff), { maxLength: 40 }).map((units) => String.fromCharCode(...units)),
      4_190_005,
      2000,
    ],
  ];
  for (const [name, texts, seed, numRuns] of runs)
    test(name, () => fc.assert(fc.property(texts, survives), { seed, numRuns }));

  test('some of the changed queries are still valid, and most are not', () => {
    let valid = 0;
    const sample = fc.sample(mutated, { seed: 4_190_006, numRuns: 1000 });
    for (const text of sample) {
      try {
        parseScript(text);
        valid += 1;
      } catch {
        // Counted by what is left.
      }
    }
    assert.ok(valid > 20 && valid < 500, `${valid} of 1000`);
  });
});

const SIZE = 64 * 1024;
/** `part` again and again up to 64 KB, between `before` and `after`. */
const filled = (before: string, part: string | ((n: number) => string), after = ''): string => {
  const parts: string[] = [before];
  let length = before.length + after.length;
  for (let n = 0; ; n++) {
    const next = typeof part === 'string' ? part : part(n);
    if (length + next.length > SIZE) break;
    parts.push(next);
    length += next.length;
  }
  return parts.join('') + after;
};

const ADVERSARIES: Readonly<Record<string, string>> = {
  'opening brackets': filled('SELECT ', '('),
  'closing brackets': filled('SELECT a FROM b WHERE ', ')'),
  'NOT after NOT': filled('SELECT a FROM b WHERE ', 'NOT '),
  'minus after minus': filled('SELECT ', '- '),
  'tilde after tilde': filled('SELECT ', '~'),
  'a sum without end': filled('SELECT a', '+a', ' AS b FROM c'),
  'a product without end': filled('SELECT a', '*a', ' AS b FROM c'),
  'OR without end': filled('SELECT a FROM c WHERE a', ' OR a'),
  'AND without end': filled('SELECT a FROM c WHERE a=1', ' AND a=1'),
  'sums of 400 in a row': filled('SELECT 1 AS x', (n) => `,a${'+a'.repeat(400)} AS c${n}`, ' FROM d'),
  'CASE in CASE': filled('SELECT ', 'CASE WHEN '),
  'CASE in ELSE': filled('SELECT ', 'CASE a WHEN b THEN c ELSE '),
  'branches of a CASE': filled('SELECT CASE a', ' WHEN b THEN c', ' END AS d FROM e'),
  'calls in calls': filled('SELECT ', 'LEN('),
  'OVER in OVER': filled('SELECT ', 'SUM(a) OVER (PARTITION BY '),
  arguments: filled('SELECT CONCAT(a', ',a', ') AS b FROM c'),
  'a list of IN': filled('SELECT a FROM b WHERE a IN (1', ',1', ')'),
  'a path': filled('SELECT a', '.a', ' FROM b'),
  columns: filled('SELECT a', (n) => `,a${n}`, ' FROM b'),
  'columns without commas': filled('SELECT ', 'a '),
  'one column often': filled('SELECT a', ',a', ' FROM b'),
  'columns of a group': filled('SELECT COUNT(*) FROM b GROUP BY TumblingWindow(second,1)', ',a'),
  'keys of a group, and what is made of them': filled(
    'SELECT 1 AS x',
    (n) => `,b+a+b+a+b+a AS c${n}`,
    ` FROM d GROUP BY TumblingWindow(second,1)${',b+a+b+a+b'.repeat(50)},b+a+b+a+b+a`,
  ),
  windows: filled('SELECT COUNT(*) FROM b GROUP BY Windows(Tumbling(second,1)', ',Tumbling(second,1)', ')'),
  'windows in windows': filled('SELECT COUNT(*) FROM b GROUP BY ', 'Windows('),
  selects: filled('', (n) => `SELECT a INTO o${n} FROM b `),
  UNIONs: filled('SELECT a FROM b', ' UNION SELECT a FROM b'),
  steps: filled('WITH s AS (SELECT a FROM b)', (n) => `,s${n} AS (SELECT a FROM s)`, ' SELECT a FROM s'),
  joins: filled('SELECT a.a FROM a', (n) => ` JOIN b AS b${n} ON a.a=1`),
  applies: filled('SELECT a FROM a', (n) => ` CROSS APPLY GetArrayElements(a) a${n}`),
  tables: filled('', (n) => `CREATE TABLE t${n} (a bit) `, 'SELECT a FROM t0'),
  'columns of a table': filled('CREATE TABLE b (a bit', (n) => `,a${n} bit`, ') SELECT a FROM b'),
  'times of one input': filled('', (n) => `SELECT a INTO o${n} FROM b TIMESTAMP BY a+b+c+d `),
  semicolons: filled('', ';', 'SELECT a FROM b'),
  quotes: filled('SELECT ', "'"),
  'closing name brackets': filled('SELECT [', ']]'),
  'an open text': filled("SELECT '", 'a'),
  'an open comment': filled('SELECT /*', '*'),
  comments: filled('', '/**/', 'SELECT a FROM b'),
  'short comments': filled('', '--\n', 'SELECT a FROM b'),
  'a long word': filled('', 'a'),
  'a long number': filled('SELECT ', '9'),
  'a long fraction': filled('SELECT 1.', '9', ' AS a FROM b'),
  'a long exponent': filled('SELECT 1e', '9'),
  'white space': filled('', ' '),
  lines: filled('SELECT', '\n', '!'),
  points: filled('SELECT ', '.'),
  commas: filled('SELECT a FROM b', ','),
  'less than': filled('SELECT a', '<'),
  'misspelt keywords': filled('SELECT a ', 'FORM '),
};

/** Processor time of `work`, ms: the machine may be busy with something else. The quickest of a few, since the first compiles; no more once it is `enough`. */
function quickest(work: () => void, enough: number): number {
  let least = Infinity;
  for (let run = 0; run < 5 && least > enough; run++) {
    const before = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / 1000);
  }
  return least;
}

/** What `ordinary` takes on the machine that the 100 ms are of, ms. */
const ORDINARY_MS = 5;

/** Small texts and objects, as a parser makes them: it tells how quick this machine is at this moment, which on a shared one changes by half. */
function ordinary(): void {
  const found: { readonly text: string; readonly at: number; before: object | null }[] = [];
  for (let round = 0; round < 2; round++) {
    for (const match of ADVERSARIES['misspelt keywords']!.matchAll(/\w+|\W/g))
      found.push({ text: match[0], at: match.index, before: found.at(-1) ?? null });
  }
  assert.ok(found.length > 20_000);
}

function quickly(text: string): void {
  const ms = quickest(() => survives(text), 100);
  if (ms <= 100) return;
  const slower = quickest(ordinary, 0) / ORDINARY_MS;
  assert.ok(ms <= 100 * slower, `${ms} ms, on a processor that takes ${slower.toFixed(2)} times as long as it should`);
}

describe('64 KB of anything are read or refused in 100 ms', () => {
  for (const [name, text] of Object.entries(ADVERSARIES)) {
    test(name, () => {
      assert.ok(text.length > SIZE - 2000 && text.length <= SIZE);
      quickly(text);
    });
  }
  test('random words', () => {
    const words = fc.array(word, { minLength: 12_000, maxLength: 12_000, size: 'max' });
    for (const sample of fc.sample(words, { seed: 4_190_007, numRuns: 5 })) quickly(sample.join(' ').slice(0, SIZE));
  });
});

describe('what has been read can be walked', () => {
  test('an expression of the most levels that are allowed', () => {
    const script = parseScript(`SELECT a${' + a'.repeat(499)} AS b FROM c`);
    assert.equal(queriesOf(script).length, 1);
    assert.throws(() => parseScript(`SELECT a${' + a'.repeat(501)} AS b FROM c`), /more than 500 levels/);
  });
  test('200 brackets in one another, and not one more', () => {
    const inBrackets = (depth: number): string => `${'('.repeat(depth)}a${')'.repeat(depth)}`;
    assert.deepEqual(withoutPlaces(parseExpression(inBrackets(200))), { kind: 'field', path: ['a'] });
    assert.throws(
      () => parseExpression(inBrackets(201)),
      (error) => error instanceof QueryProblem && error.at === 201 && /more than 200 brackets/.test(error.message),
    );
  });
});
