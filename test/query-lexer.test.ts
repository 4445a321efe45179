import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lex, QUERY_MAX, tokenText, type Token } from '../src/query/lexer.ts';
import { QueryProblem } from '../src/query/problem.ts';
import { Float } from '../src/query/value.ts';

/** Tokens without their places, and without the end. */
function tokens(text: string): unknown[] {
  return lex(text)
    .slice(0, -1)
    .map((token) =>
      token.kind === 'number' ? token.value : token.kind === 'end' ? null : `${token.kind} ${token.text}`,
    );
}

/** The kinds and texts of one token alone. */
function only(text: string): Token {
  const [token, end, ...more] = lex(text);
  assert.equal(end?.kind, 'end');
  assert.deepEqual(more, []);
  return token!;
}

test('words keep their spelling, and are known in lower case', () => {
  const word = only('TimeStamp_2');
  assert.ok(word.kind === 'word' && word.text === 'TimeStamp_2' && word.lower === 'timestamp_2');
  assert.equal(only('größe').kind, 'word');
  assert.equal(only('_x').kind, 'word');
});

test('brackets make a name of anything; a closing one is doubled', () => {
  assert.deepEqual(tokens('[my-input] [a.b] [x]]y] "z""z"'), [
    'bracketed my-input',
    'bracketed a.b',
    'bracketed x]y',
    'quoted z"z',
  ]);
});

test('texts stand in single quotes, a quote in them is doubled, and they may span lines', () => {
  assert.deepEqual(tokens("'it''s' '' 'a\nb' ''''"), ["text it's", 'text ', 'text a\nb', "text '"]);
});

test('whole numbers are bigint in all 64 bits, others are float', () => {
  assert.deepEqual(tokens('0 12 9007199254740991 9007199254740992 9223372036854775807'), [
    0,
    12,
    9007199254740991,
    9007199254740992n,
    9223372036854775807n,
  ]);
  assert.deepEqual(tokens('1.5 .5 20.0 3. 1e3 25e-1 1E+2 0007'), [
    1.5,
    0.5,
    new Float(20),
    new Float(3),
    new Float(1000),
    2.5,
    new Float(100),
    7,
  ]);
});

test('a minus is an operator, also directly before a digit', () => {
  assert.deepEqual(tokens('a-1'), ['word a', 'mark -', 1]);
});

test('operators with two signs are one token; !=, !< and !> become what they mean', () => {
  assert.deepEqual(
    tokens('<> != <= >= !< !> < >'),
    ['<>', '<>', '<=', '>=', '>=', '<=', '<', '>'].map((mark) => `mark ${mark}`),
  );
});

test('comments of both kinds and white space mean nothing', () => {
  assert.deepEqual(tokens('\u{feff}a -- b\n/* c\n-- */ d--'), ['word a', 'word d']);
  assert.deepEqual(tokens('a/**/b'), ['word a', 'word b']);
});

test('comment signs inside texts and names are part of them', () => {
  assert.deepEqual(tokens("'--' '/*' [--] a"), ['text --', 'text /*', 'bracketed --', 'word a']);
});

test('each token knows where it begins and ends; the end stands behind the last', () => {
  const text = "a  <= 'x''y' -- more\n\n";
  assert.deepEqual(
    lex(text).map(({ at, end }) => text.slice(at, end)),
    ['a', '<=', "'x''y'", ''],
  );
  assert.equal(lex(text).at(-1)!.at, 12);
});

test('a token is named to a person as it was written, a long one cut short', () => {
  assert.equal(tokenText(only("'it''s'")), "the text 'it''s'");
  assert.equal(tokenText(only('1.50')), 'the number 1.5');
  assert.equal(tokenText(only('20.0')), 'the number 20.0');
  assert.equal(tokenText(only('[a b]')), '[a b]');
  assert.equal(tokenText(only('x'.repeat(100))).length, 40);
});

test('a query that is too long is refused before it is read', () => {
  assert.throws(
    () => lex(`${' '.repeat(QUERY_MAX)}x`),
    (error) => error instanceof QueryProblem && /may have 262144 characters, this one has 262145/.test(error.message),
  );
  assert.equal(lex(' '.repeat(QUERY_MAX)).length, 1);
});
