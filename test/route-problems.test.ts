import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { placeOf, QueryProblem } from '../src/query/problem.ts';
import { MessageView } from '../src/router/message-view.ts';
import { readRoute } from '../src/router/route.ts';
import { fc } from './parts/properties.ts';
import { routeMessage } from './parts/route-message.ts';

/** `line:column message; hint` of what is wrong with a route. */
function problemOf(text: string): string {
  try {
    readRoute(text);
  } catch (error) {
    if (!(error instanceof QueryProblem)) throw error;
    const { line, column } = placeOf(text, error.at);
    return `${line}:${column} ${error.message}${error.hint === null ? '' : `; ${error.hint}`}`;
  }
  return 'fine';
}

/** The same of a condition; the column is that within it. */
function conditionProblem(condition: string): string {
  const before = 'FROM /messages WHERE ';
  const problem = problemOf(`${before}${condition} INTO $upstream`);
  return problem.replace(/^1:(\d+)/, (_, column) => String(Number(column) - before.length));
}

const SINK = 'write $upstream or BrokeredEndpoint("/modules/NAME/inputs/INPUT")';
const ENDPOINT = 'write /modules/NAME/inputs/INPUT or /children/NAME/inputs/INPUT';
const PATH = 'a path is $body.name, then .name and [number] as often as needed';
const AS_NUMBER = 'properties are text: write AS_NUMBER(x)';

describe('a broken route is refused with its place, and what would be right', () => {
  const routes: Readonly<Record<string, string>> = {
    '': '1:1 the route is empty; write FROM /messages/* INTO $upstream',
    ' \n ': '1:1 the route is empty; write FROM /messages/* INTO $upstream',
    'TO $upstream': '1:1 expected FROM, found "TO"; a route is FROM source [WHERE condition] INTO sink',
    'SELECT a FROM /messages INTO $upstream':
      '1:8 expected *, found "a"; a route takes whole messages: SELECT * FROM ...',
    'FROM * INTO $upstream': '1:6 expected a source that begins with /, found "*"; write for example FROM /messages/*',
    'FROM / INTO $upstream':
      '1:8 expected a part of the source, found "INTO"; everything is /*, all telemetry /messages/*',
    'FROM /messages/ INTO $upstream': '1:17 expected a part of the source, found "INTO"; a source does not end with /',
    'FROM /messages/modules/7 INTO $upstream':
      '1:24 expected a part of the source, found "7"; a part of only digits cannot be written',
    'FROM /messages/$x INTO $upstream': '1:16 expected a part of the source, found "$x"; a source does not end with /',
    'FROM /messages/from INTO $upstream':
      '1:16 expected a part of the source, found "from"; a source does not end with /',
    'FROM /messages': '1:15 expected WHERE or INTO, found the end of the route',
    'FROM /messages WHERE INTO $upstream': '1:22 expected a value, found "INTO"',
    'FROM /messages WHERE a': '1:23 expected an operator or INTO, found the end of the route',
    'FROM /messages INTO': `1:20 expected a sink, found the end of the route; ${SINK}`,
    'FROM /messages INTO upstream': `1:21 expected a sink, found "upstream"; ${SINK}`,
    'FROM /messages INTO $down': `1:21 no sink is called "$down"; ${SINK}`,
    'FROM /messages INTO BrokeredEndpoint': `1:37 expected (, found the end of the route; ${SINK}`,
    'FROM /messages INTO BrokeredEndpoint(/modules/a/inputs/b)': `1:38 expected the endpoint in quotes, found "/"; ${SINK}`,
    'FROM /messages INTO BrokeredEndpoint("/modules/a/inputs/b"': '1:59 expected ), found the end of the route',
    'FROM /messages INTO BrokeredEndpoint("/modules/a")': `1:39 "/modules/a" is not an endpoint; ${ENDPOINT}`,
    'FROM /messages INTO BrokeredEndpoint("/devices/a/inputs/b")': `1:39 "/devices/a/inputs/b" is not an endpoint; ${ENDPOINT}`,
    'FROM /messages INTO BrokeredEndpoint("/modules//inputs/b")': `1:39 "/modules//inputs/b" is not an endpoint; ${ENDPOINT}`,
    'FROM /messages INTO $upstream;': '1:30 ";" has no meaning here; a route ends without one',
    'FROM /messages INTO $upstream, $upstream': '1:30 "," stands behind the sink; a route ends with its sink',
    'FROM /messages\n  WHERE a = \n  INTO $upstream': '3:3 expected a value, found "INTO"',
    'FROM /messages/* WHERE a = 1 /* x */ INTO $upstream':
      '1:15 this /* begins a comment that swallows the WHERE: it goes on to the */ 20 characters on; write /messages, which takes the same messages, or leave the comment out',
    'FROM /messages/* INTO $upstream /* all of them */':
      '1:15 this /* begins a comment: it goes on to the */ 33 characters on; write /messages, which takes the same messages, or leave the comment out',
    'FROM /* WHERE a = 1 /* x */ INTO $upstream':
      '1:6 this /* begins a comment that swallows the WHERE: it goes on to the */ 20 characters on; write /messages, which takes the same messages, or leave the comment out',
  };
  for (const [text, problem] of Object.entries(routes)) {
    test(JSON.stringify(text), () => assert.equal(problemOf(text), problem));
  }
});

describe('a broken condition is refused with its place, and what would be right', () => {
  const conditions: Readonly<Record<string, string>> = {
    'temp > 40': `6 > between text and a number; ${AS_NUMBER}`,
    "nosuch ?? 'a' = 'a'": '8 ?? between text and true or false; ?? is the loosest operator: write (a ?? b) = c',
    "NOT a = 'x'":
      '5 NOT needs true or false, and this is text; NOT binds tighter than a comparison: write NOT (a = b)',
    'temp = null': '6 = between text and null; only something of the body can be null',
    'a AND 1 = 1': '1 AND needs true or false, and this is text',
    '1 = 1 OR 5': '10 OR needs true or false, and this is a number',
    'temp + 1 > 2': `1 + needs a number, and this is text; ${AS_NUMBER}`,
    '1 % a = 1': `5 % needs a number, and this is text; ${AS_NUMBER}`,
    '- a = 1': `3 - needs a number, and this is text; ${AS_NUMBER}`,
    '1 || 2': '1 || needs text, and this is a number',
    '$body.a + 1 = true': '13 = between a number and true or false',
    '3 -1': '3 expected an operator or INTO, found "-1"; put a space behind the minus',
    'a == b': '4 expected a value, found "="; equality is a single =',
    'a && b': '3 expected an operator or INTO, found "&&"; write AND',
    "a LIKE 'b%'":
      '3 expected an operator or INTO, found "LIKE"; there is no LIKE; use STARTS_WITH, ENDS_WITH or CONTAINS',
    '(a BETWEEN 1 AND 2)': '4 expected an operator or ), found "BETWEEN"; there is no BETWEEN; write x >= a AND x <= b',
    'a IS NULL': '3 expected an operator or INTO, found "IS"; there is no IS; use IS_NULL(x) or IS_DEFINED(x)',
    '(a': '4 expected an operator or ), found "INTO"',
    'ABS(1': '7 expected an operator, a comma or ), found "INTO"',
    'ABS(1,)': '7 expected a value, found ")"',
    'ABS(': '6 expected a value, found "INTO"',
    'ABS()': '1 0 arguments: it is ABS(number)',
    'ABS(1, 2)': '1 2 arguments: it is ABS(number)',
    "CONCAT('a')": '1 1 argument: it is CONCAT(text, text, ...)',
    'ABS(a)': `5 ABS(number) needs a number here, and this is text; ${AS_NUMBER}`,
    'AS_NUMBER(true)': '11 AS_NUMBER(text) needs text or a number here, and this is true or false',
    'LENGTH(5)': '8 LENGTH(text) needs text here, and this is a number',
    "CONCAT('a', 'b', 5)": '18 CONCAT(text, text, ...) needs text here, and this is a number',
    "START_WITH(a, 'b')": '1 there is no function "START_WITH"; did you mean STARTS_WITH?',
    'frobnicate(a)': '1 there is no function "frobnicate"',
    'constructor(a)': '1 there is no function "constructor"',
    "TWIN_CHANGE_INCLUDES('a')": '1 TWIN_CHANGE_INCLUDES is for the cloud only; take FROM /twinChangeNotifications',
    '$body[0] = 1': `6 the body itself has no index: it is an object; ${PATH}`,
    '$body.a[] = 1': `8 "" is not an index: it is a whole number from 0; ${PATH}`,
    '$body.a[1:2] = 1': `8 "1:2" is not an index: it is a whole number from 0; ${PATH}`,
    '$body.a[-1] = 1': `8 "-1" is not an index: it is a whole number from 0; ${PATH}`,
    "$body.a['b'] = 1": `8 "'b'" is not an index: it is a whole number from 0; ${PATH}`,
    '$body.a[0 = 1': `8 this bracket is not closed; ${PATH}`,
    '$body..a = 1': `6 a name is missing behind this dot; ${PATH}`,
    '$body.a. = 1': `8 a name is missing behind this dot; ${PATH}`,
    '$body.a[0]b = 1': `11 this bracket is not closed; ${PATH}`,
    '{$body.a[x]} = 1': `9 "x" is not an index: it is a whole number from 0; ${PATH}`,
    '$ = 1': '1 a name is missing behind $',
    '{a} = 1': '1 braces hold one reference that begins with $; write for example {$connectionDeviceId}',
    '{$a = 1': '1 braces hold one reference that begins with $; write for example {$connectionDeviceId}',
    "a = 'b": "5 the text that begins here does not end; close it with '",
    'a = "b': '5 the text that begins here does not end; close it with "',
    [String.raw`a = 'b\n'`]: String.raw`7 a backslash before "n" means nothing in a text; there are \", \', \\ and \u with four hexadecimal digits; write \\ for a backslash`,
    [String.raw`a = 'b\u12g4'`]: String.raw`7 a backslash before "u" means nothing in a text; there are \", \', \\ and \u with four hexadecimal digits; write \\ for a backslash`,
    'a ? b': '3 "?" has no meaning here; the operator is ??',
    'a = @b': '5 "@" has no meaning here',
    "a IN ['b', 5]": `12 text is sought, and this is a number; ${AS_NUMBER}`,
    "a IN 'b'": `3 expected an operator or INTO, found "IN"; a list follows it: write x IN ['a', 'b']`,
    'a!=1': '3 = between text and a number; "a!" is one name, that of a property: put spaces around operators',
    '-$body.a = -1':
      '10 = between text and a number; "-$body.a" is one name, that of a property: put spaces around operators',
    '5 > a+b': '3 > between a number and text; "a+b" is one name, that of a property: put spaces around operators',
    'ABS(a*2) > 1':
      '5 ABS(number) needs a number here, and this is text; "a*2" is one name, that of a property: put spaces around operators',
    "5 IN ['b']": '7 a number is sought, and this is text',
    "a IN ['b'": '11 expected an operator, a comma or ], found "INTO"',
    '[1]': '1 expected a value, found "["',
  };
  for (const [text, problem] of Object.entries(conditions)) {
    test(text, () => assert.equal(conditionProblem(text), problem));
  }
});

describe('a name that swallowed an operator is a warning', () => {
  for (const name of [`'a'||'b'`, '3-4', 'a+b', 'a!', '-a', '.5', '5.']) {
    test(name, () => {
      const route = readRoute(`FROM /messages WHERE ${name} = 'x' INTO $upstream`);
      assert.deepEqual(
        route.warnings.map(({ message, at }) => [message, at]),
        [[`${JSON.stringify(name)} is one name, that of a property`, 21]],
      );
    });
  }
  for (const [condition, name] of Object.entries({
    "$body.status!='ok'": '$body.status!',
    '$body.a*2 > 60': '$body.a*2',
    '{$body.a+$body.b} > 60': '$body.a+$body.b',
    '$BODY.list[0].a|b = 1': '$BODY.list[0].a|b',
  })) {
    test(`of a field: ${condition}`, () =>
      assert.deepEqual(
        readRoute(`FROM /messages WHERE ${condition} INTO $upstream`).warnings.map(({ message, at }) => [message, at]),
        [[`${JSON.stringify(name)} is one name, that of a field`, 21]],
      ));
  }

  test('a dash in the name of a field is none, nor is the only field that there is', () =>
    assert.deepEqual(readRoute('FROM /messages WHERE $body.a-b.*.c = 1 INTO $upstream').warnings, []));

  test('a-b is a usual name', () =>
    assert.deepEqual(readRoute(`FROM /messages WHERE a-b_c.d = 'x' INTO $upstream`).warnings, []));
});

/** Processor time, ms: others use the machine as well. */
function timed(work: () => void): number {
  const from = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(from);
  return (user + system) / 1000;
}

test('a condition that is never true is a warning', () => {
  for (const [condition, what] of [
    ['3', 'a number'],
    ['temp', 'text'],
    ['null', 'null'],
    [`CONCAT('a', 'b')`, 'text'],
  ] as const) {
    const { warnings } = readRoute(`FROM /messages WHERE ${condition} INTO $upstream`);
    assert.deepEqual(
      warnings.map(({ message }) => message),
      [`a condition that is ${what} lets nothing through`],
    );
  }
});

/** Most that a text of 64 KB may take, ms. */
const TEXT_MS_MAX = 100;

describe('whatever a text holds', () => {
  test('nesting has an end, and length has none that would', () => {
    const nested = (n: number, open: string, close = '') => `${open.repeat(n)}1 = 1${close.repeat(n)}`;
    assert.equal(conditionProblem(nested(60, '(', ')')), 'fine');
    assert.equal(conditionProblem(nested(65, '(', ')')), '65 nested more than 64 deep');
    assert.equal(conditionProblem(nested(20_000, '(', ')')), '65 nested more than 64 deep');
    assert.match(conditionProblem(nested(10_000, 'NOT ')), /nested more than 64 deep/);
    assert.match(conditionProblem(nested(10_000, '- ')), /nested more than 64 deep/);
    assert.match(conditionProblem(nested(10_000, 'ABS(')), /nested more than 64 deep/);
    assert.match(conditionProblem(nested(10_000, '1 IN [')), /nested more than 64 deep/);
    const long = readRoute(`FROM /messages WHERE ${'1 = 1 AND '.repeat(6000)}1 = 1 INTO $upstream`);
    assert.equal(long.evaluate!(new MessageView(routeMessage())), true);
    const sum = readRoute(`FROM /messages WHERE ${'1 + '.repeat(10_000)}1 = 10001 INTO $upstream`);
    assert.equal(sum.evaluate!(new MessageView(routeMessage())), true);
    assert.match(problemOf(`FROM /messages WHERE ${'a'.repeat(70_000)} INTO $upstream`), /at most 65536/);
  });

  test('reading it ends within 100 ms', () => {
    const hard = [
      '/*',
      '*/',
      "'",
      '"',
      "'\\'",
      "a'",
      '[',
      '$a[',
      '(',
      'a ',
      '1 + ',
      "'a'||",
      '{$',
      '-',
      '/ *',
      'a,',
      '??',
      '1 IN [',
    ];
    for (const unit of hard) {
      for (const before of ['', 'FROM /messages WHERE ', 'FROM /messages WHERE ABS(']) {
        const text = before + unit.repeat((65_536 - before.length) / unit.length);
        // The best of some: code is compiled as it runs, and what else a processor does at the time slows it down.
        let took = Infinity;
        for (let tries = 0; tries < 10 && took >= TEXT_MS_MAX; tries++)
          took = Math.min(
            took,
            timed(() => problemOf(text)),
          );
        assert.ok(took < TEXT_MS_MAX, `${JSON.stringify(unit)} took ${took} ms`);
      }
    }
  });

  test('it is a route that can be held against a message, or a problem within the text', () => {
    const part = fc.constantFrom(
      ...'SELECT * FROM /messages /messages/* WHERE INTO $upstream BrokeredEndpoint( "/modules/m/inputs/i" ) ( AND OR NOT'.split(
        ' ',
      ),
      ...'temp $body.m.t $body.a[0] {$messageId} 1 -2 0x1F 1e9 true null undefined'.split(' '),
      ...`= != < <= + - * / % || ?? , [ ] IN 'a' "b" AS_NUMBER( CONCAT( ABS( IS_DEFINED( SUBSTRING( /* */`.split(' '),
    );
    const soup = fc
      .array(fc.oneof({ weight: 20, arbitrary: part }, fc.string()), { maxLength: 25 })
      .map((parts) => parts.join(' '));
    const condition = soup.map((text) => `FROM /messages WHERE ${text} INTO $upstream`);
    const view = new MessageView(routeMessage({ properties: { temp: '5' }, body: { m: { t: 1 }, a: [null] } }));
    let read = 0;
    fc.assert(
      fc.property(fc.oneof(soup, condition, fc.string({ unit: 'binary' })), (text) => {
        try {
          readRoute(text).evaluate?.(view);
          read++;
        } catch (error) {
          assert.ok(error instanceof QueryProblem, String((error as Error).stack));
          assert.ok(error.at >= 0 && error.at <= text.length);
          assert.ok(!/\p{Cc}/u.test(error.message), error.message);
        }
      }),
      { numRuns: 3000, seed: 20261126 },
    );
    assert.ok(read > 20, `only ${read} of the texts were routes`);
  });
});
