import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shown, valueOf } from './parts/expression.ts';

/** What it shows, the expression, and its value as JSON. */
const rows: readonly (readonly [string, string, string])[] = [
  ['CHARINDEX counts from 1', "CHARINDEX('way', 'gateway')", '5'],
  ['CHARINDEX is 0 when there is none', "CHARINDEX('x', 'gateway')", '0'],
  ['CHARINDEX regards case', "CHARINDEX('WAY', 'gateway')", '0'],
  ['CHARINDEX from a start', "CHARINDEX('a', 'gateway', 3)", '6'],
  ['CHARINDEX from before the first is from the first', "CHARINDEX('g', 'gateway', -4)", '1'],
  ['CHARINDEX of nothing is 0', "CHARINDEX('', 'gateway')", '0'],
  ['CONCAT takes NULL for nothing', "CONCAT('a', x, 'b')", '"ab"'],
  ['CONCAT of NULLs is empty', 'CONCAT(x, x)', '""'],
  ['CONCAT converts', "CONCAT(1, '/', 2.5, '/', 3.0, '/', 1 = 1)", '"1/2.5/3/true"'],
  ['CONCAT_WS leaves out NULL with its separator', "CONCAT_WS('-', 'a', x, 'b')", '"a-b"'],
  ['CONCAT_WS keeps empty text', "CONCAT_WS('-', 'a', '', 'b')", '"a--b"'],
  ['CONCAT_WS without a separator', "CONCAT_WS(x, 'a', 'b')", '"ab"'],
  ['LEFT', "LEFT('gateway', 4)", '"gate"'],
  ['LEFT of more than there is', "LEFT('gate', 10)", '"gate"'],
  ['LEFT of none', "LEFT('gate', 0)", '""'],
  ['RIGHT', "RIGHT('gateway', 3)", '"way"'],
  ['RIGHT of more than there is', "RIGHT('way', 10)", '"way"'],
  ['RIGHT of none', "RIGHT('way', 0)", '""'],
  ['LEN', "LEN('gateway')", '7'],
  ['LEN leaves out blanks at the end', "LEN(' a  ')", '2'],
  ['LEN of blanks alone', "LEN('   ')", '0'],
  ['LOWER', "LOWER('GaTe')", '"gate"'],
  ['UPPER', "UPPER('GaTe')", '"GATE"'],
  ['REVERSE', "REVERSE('gate')", '"etag"'],
  ['REVERSE keeps a character of two units', "REVERSE('a😀b')", '"b😀a"'],
  ['LTRIM', "LTRIM('  a ')", '"a "'],
  ['RTRIM', "RTRIM(' a  ')", '" a"'],
  ['TRIM takes all white space of Unicode', "TRIM(CONCAT(NCHAR(8195), NCHAR(9), 'a b', NCHAR(160)))", '"a b"'],
  ['NCHAR', 'NCHAR(65)', '"A"'],
  ['NCHAR of the last code point is text', 'LEN(NCHAR(1114111))', '2'],
  ['NCHAR beyond is NULL', 'NCHAR(1114112)', 'null'],
  ['NCHAR of a negative is NULL', 'NCHAR(-1)', 'null'],
  ['UNICODE is the first one', "UNICODE('Ab')", '65'],
  ['UNICODE of a character of two units', "UNICODE('😀')", '128512'],
  ['UNICODE of nothing is NULL', "UNICODE('')", 'null'],
  ['PATINDEX', "PATINDEX('%way%', 'gateway')", '5'],
  ['PATINDEX is 0 when there is none', "PATINDEX('%xyz%', 'gateway')", '0'],
  ['PATINDEX without % before must begin the text', "PATINDEX('way%', 'gateway')", '0'],
  ['PATINDEX without % after must end it', "PATINDEX('%gate', 'gateway')", '0'],
  ['PATINDEX takes the first that leads to the end', "PATINDEX('%a%y', 'gateway')", '2'],
  ['PATINDEX with a set', "PATINDEX('%[0-9][0-9]%', 'port 4 line 17')", '13'],
  ['PATINDEX with one of anything', "PATINDEX('%t_w%', 'gateway')", '3'],
  ['REGEXMATCH is the position of the first match', "REGEXMATCH('line 17', '[0-9]+')", '6'],
  ['REGEXMATCH ignores case', "REGEXMATCH('GATEWAY', 'gate')", '1'],
  ['REGEXMATCH without a match', "REGEXMATCH('gateway', '^way')", '0'],
  ['REPLACE takes all', "REPLACE('a-b-c', '-', '+')", '"a+b+c"'],
  ['REPLACE of nothing changes nothing', "REPLACE('abc', '', 'x')", '"abc"'],
  ['REPLACE takes its third argument as it is', "REPLACE('abc', 'b', '$&')", '"a$&c"'],
  ['REPLACE regards case', "REPLACE('aA', 'a', 'x')", '"xA"'],
  ['REPLICATE', "REPLICATE('ab', 3)", '"ababab"'],
  ['REPLICATE of a negative is NULL', "REPLICATE('ab', -1)", 'null'],
  ['SPACE', 'SPACE(3)', '"   "'],
  ['SPACE of a negative is NULL', 'SPACE(-1)', 'null'],
  ['STUFF', "STUFF('abcdef', 2, 3, 'XY')", '"aXYef"'],
  ['STUFF from before the first', "STUFF('abcdef', -1, 2, 'X')", '"Xcdef"'],
  ['STUFF from behind the last is empty', "STUFF('abc', 4, 1, 'X')", '""'],
  ['STUFF to beyond the end', "STUFF('abc', 2, 99, 'X')", '"aX"'],
  ['SUBSTRING, from the reference', "SUBSTRING('gateway', 5, 3)", '"way"'],
  ['SUBSTRING from before the first, from the reference', "SUBSTRING('gateway', -1, 4)", '"ga"'],
  ['SUBSTRING wholly before the first', "SUBSTRING('gateway', -5, 3)", '""'],
  ['SUBSTRING past the end', "SUBSTRING('gateway', 8, 2)", '""'],
  ['SUBSTRING beyond the end', "SUBSTRING('gateway', 6, 99)", '"ay"'],
  ['TRANSLATE goes character by character', "TRANSLATE('2*[3+4]', '[]', '()')", '"2*(3+4)"'],
  ['TRANSLATE changes each once', "TRANSLATE('abc', 'ab', 'ba')", '"bac"'],
];

for (const [shows, expression, expected] of rows) test(shows, () => assert.equal(shown(expression), expected));

test('NULL for any argument gives NULL, but in CONCAT and CONCAT_WS', () => {
  const calls = ['LEFT(x, 1)', "LEFT('a', x)", 'LEN(x)', "REPLACE('a', x, 'b')", "SUBSTRING('a', 1, x)", 'UPPER(x)'];
  for (const call of [...calls, "STUFF('a', 1, 1, x)", "CHARINDEX('a', 'a', x)", 'NCHAR(x)', "REGEXMATCH(x, 'a')"]) {
    assert.equal(valueOf(call), null, call);
  }
});

test('what has no result drops the event', () => {
  const refused: [string, RegExp][] = [
    ["LEFT('abc', n)", /length of LEFT is negative/],
    ["RIGHT('abc', n)", /length of RIGHT is negative/],
    ["SUBSTRING('abc', 1, n)", /length of SUBSTRING is negative/],
    ["STUFF('abc', 1, n, '')", /length of STUFF is negative/],
    ["TRANSLATE('abc', 'ab', t)", /differ in length/],
    ['UPPER(n)', /argument 1 of UPPER\(text\) is bigint, and must be nvarchar\(max\)/],
    ["CONCAT('a', r)", /CONCAT takes no record/],
    ["REPLICATE('0123456789', 1000000 + n)", /more than 1048576 characters/],
    ["REPLACE(REPLICATE('a', 2000 + n), 'a', REPLICATE('b', 2000))", /more than 1048576 characters/],
  ];
  for (const [expression, message] of refused) {
    assert.throws(() => valueOf(expression, { n: -1, t: 'abc', r: {} }), { name: 'ValueError', message }, expression);
  }
});

const regex: readonly (readonly [pattern: string, text: string])[] = [
  ['a|b', 'xxb'],
  ['(?:ab)+c', 'xababc'],
  ['(?<name>ab)', 'xab'],
  ['^ab$', 'ab'],
  ['^ab$', 'ab '],
  ['x*', 'aaa'],
  ['a{2}', 'abaab'],
  ['a{2,}b', 'aabaaab'],
  ['a{1,2}?b', 'aab'],
  ['ba{0,1}c', 'xbc'],
  ['[^a-c]', 'abcd'],
  ['[-a]', 'x-'],
  ['[\\d-]+$', 'tel 12-3'],
  ['[\\]]', 'a]'],
  ['\\d{3}\\.\\d', 'x123.4'],
  ['\\bway\\b', 'gateway way'],
  ['\\Bway', 'way gateway'],
  ['\\w+\\s\\W', 'a b ab !'],
  ['\\x41\\u0042', 'xab'],
  ['.+\\t', 'a\tb'],
  ['a.c', 'a\nc abc'],
  ['(a|ab)(c|bcd)$', 'abcd'],
  ['(a*)*b', 'aaab'],
  ['(|a)+b', 'xaab'],
  ['', 'abc'],
  ['ä', 'Ä'],
  ['[à-ö]', 'xÄ'],
  ['a*?b|c', 'cab'],
  ['((a|b)?c){2}', 'acbcc'],
  ['[]', 'abc'],
  ['[^]x', 'a\nx'],
];

test('a regular expression is found where JavaScript finds it', () => {
  for (const [pattern, text] of regex) {
    const expected = text.search(new RegExp(pattern, 'i')) + 1;
    assert.equal(valueOf('REGEXMATCH(s, p)', { s: text, p: pattern }), expected, `${pattern} in ${text}`);
  }
});

test('random regular expressions are found where JavaScript finds them', () => {
  // A small generator of its own: the same patterns each time.
  let seed = 20_311;
  const pick = (count: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((seed / 2_147_483_648) * count);
  };
  const make = (depth: number): string => {
    const atom = ['a', 'b', '.', '[ab]', '[^a]', '\\b', '^', '$'][pick(depth > 0 ? 5 : 8)]!;
    const kind = depth > 3 ? 0 : pick(6);
    if (kind === 1) return `${make(depth + 1)}${make(depth + 1)}`;
    if (kind === 2) return `(?:${make(depth + 1)}|${make(depth + 1)})`;
    if (kind === 3) return `(${make(depth + 1)})${['*', '+', '?', '{1,2}'][pick(4)]}`;
    return atom;
  };
  for (let run = 0; run < 3000; run++) {
    const pattern = make(0);
    const text = Array.from({ length: pick(9) }, () => 'abc'[pick(3)]).join('');
    const expected = text.search(new RegExp(pattern, 'i')) + 1;
    assert.equal(valueOf('REGEXMATCH(s, p)', { s: text, p: pattern }), expected, `${pattern} in ${text}`);
  }
});

test('a pattern from a field that is none is found nowhere, and a constant one is refused', () => {
  for (const pattern of ['(', ')', 'a**', '[a', '(?=a)', '(?<!a)b', '\\1', 'a{3,2}', '[b-a]', '\\', '\\q', 'a{']) {
    assert.equal(valueOf("REGEXMATCH('aaa', p)", { p: pattern }), 0, pattern);
    assert.throws(
      () => valueOf(`REGEXMATCH(s, '${pattern}')`),
      { name: 'QueryProblem', message: /no regular/ },
      pattern,
    );
  }
  assert.throws(() => valueOf(`REGEXMATCH(s, '${'(ab){100}'.repeat(10)}')`), /repeats too much/);
  assert.throws(() => valueOf(`REGEXMATCH(s, '${'('.repeat(60)}a${')'.repeat(60)}')`), /nested too deeply/);
});

test('a pattern that would keep JavaScript busy for ever takes no time', () => {
  const started = performance.now();
  assert.equal(valueOf("REGEXMATCH(s, '^(a+)+$')", { s: `${'a'.repeat(50_000)}!` }), 0);
  assert.equal(valueOf("REGEXMATCH(s, '(a|a)*(a|a)*b')", { s: 'a'.repeat(50_000) }), 0);
  assert.equal(valueOf('REGEXMATCH(s, p)', { s: 'ba', p: `${'('.repeat(9)}${'){9999}'.repeat(9)}a` }), 2);
  assert.equal(valueOf("PATINDEX('%a%a%a%a%a%a%b%', s)", { s: 'a'.repeat(50_000) }), 0);
  assert.ok(performance.now() - started < 5000);
  assert.throws(() => valueOf("REGEXMATCH(s, 'a')", { s: 'a'.repeat(65_537) }), /65537 characters is too long/);
});
