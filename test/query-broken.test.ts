import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseScript } from '../src/query/parser.ts';
import { placeOf, problemText, QueryProblem } from '../src/query/problem.ts';
import { BROKEN } from './fixtures/broken-queries.ts';

/** The problem with a text; fails when there is none, or another error. */
function problemOf(text: string): QueryProblem {
  try {
    parseScript(text);
  } catch (error) {
    assert.ok(error instanceof QueryProblem, `${text}\n${String(error)}`);
    return error;
  }
  return assert.fail(`nothing is wrong with: ${text}`);
}

test('there are at least 100 broken queries, each another', () => {
  assert.ok(BROKEN.length >= 100);
  assert.equal(new Set(BROKEN.map(([marked]) => marked)).size, BROKEN.length);
});

for (const [marked, message, hint] of BROKEN) {
  test(`broken: ${marked.replaceAll('\n', '\\n')}`, () => {
    const at = marked.indexOf('‸');
    assert.ok(at >= 0 && marked.indexOf('‸', at + 1) < 0, 'one place is marked');
    const before = marked.slice(0, at).split('\n');
    const text = marked.replace('‸', '');
    const problem = problemOf(text);
    const { line, column } = placeOf(text, problem.at);
    const expected = `${before.length}:${before.at(-1)!.length + 1}`;
    assert.equal(`${line}:${column}`, expected, `${problem.message} -> ${problem.hint}`);
    assert.match(problem.message, message);
    if (hint !== undefined) assert.match(problem.hint ?? '', hint);
  });
}

test('a problem is shown with its line, a caret under the place, and what to write instead', () => {
  const text = 'SELECT a\nFROM input\nWHERE ISNULL(a, 0) > 1';
  assert.equal(
    problemText(text, problemOf(text), 'hot.sql'),
    [
      'hot.sql:3:7: ISNULL is not supported here',
      '  WHERE ISNULL(a, 0) > 1',
      '        ^',
      '  -> use COALESCE(a, b), or x IS NULL in a condition',
    ].join('\n'),
  );
});
