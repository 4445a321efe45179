import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Message } from '../src/message/message.ts';
import { MessageView } from '../src/router/message-view.ts';
import { readRoute } from '../src/router/route.ts';
import { MESSAGE_ID, routeMessage } from './parts/route-message.ts';

/** What a condition is for a message: the value itself, not only whether it lets the message through. */
function valueOf(condition: string, message: Message): unknown {
  const route = readRoute(`FROM /messages WHERE ${condition} INTO $upstream`);
  return route.evaluate!(new MessageView(message));
}

type Cases = readonly (readonly [condition: string, value: unknown])[];

function hold(message: Message, cases: Cases): void {
  for (const [condition, value] of cases) assert.deepEqual(valueOf(condition, message), value, condition);
}

const BODY = {
  m: { t: 7, list: [1, [2, { deep: 'x' }]], only: { one: 5 } },
  text: 'hello',
  yes: true,
  no: false,
  nil: null,
  day: '2026-01-02T03:04:05Z',
  'odd-name': 1,
  Case: 'upper',
  zero: 0,
};
const P1 = routeMessage({
  properties: { temp: '41', 'temp-2': '9', Name: 'Anna', TRUE: 'yes', empty: '' },
  body: BODY,
});

describe('conditions', () => {
  test('the worked examples of the reference', () =>
    hold(P1, [
      ['as_number(temp) > 40', true],
      [`temp > '5'`, false],
      [`$body.m.t >= 7 AND $connectionDeviceId = 'p1'`, true],
      ['$body.m.x > 100', undefined],
      [`$body.m.t = '7'`, false],
      [`NOT (nosuch = 'a')`, undefined],
      [`(nosuch ?? 'a') = 'a'`, true],
      [`temp-1 = 'x'`, undefined],
      [`temp-2 = '9'`, true],
    ]));

  test('application properties are text, and their names compare without case', () =>
    hold(P1, [
      [`name = 'Anna'`, true],
      [`NAME = 'anna'`, false],
      [`TRUE = 'yes'`, true],
      [`empty = ''`, true],
      ['nosuch', undefined],
      [`toString = 'x'`, undefined],
    ]));

  test('operators of one rank go from left to right, and tighter ones first', () =>
    hold(P1, [
      ['2 + 3 * 4 = 14', true],
      ['10 - 3 - 2', 5],
      ['2 * 3 % 4', 2],
      ['12 / 3 / 2', 2],
      ['1 + 2 < 4 = true', true],
      ['1 < 2 = 3 < 4', true],
      ['true OR true AND false', true],
      ['(true OR true) AND false', false],
      ['NOT false AND false', false],
      ['NOT (false AND false)', true],
      ['- 2 * 3', -6],
      ['-2 - -3', 1],
      [`'a' || 'b' = 'ab'`, true],
      [`nosuch ?? temp ?? 'x'`, '41'],
      ['1 <> 2', true],
      ['1 != 1', false],
    ]));

  test('numbers are doubles; what is no number is undefined', () =>
    hold(P1, [
      ['3 / 4', 0.75],
      ['0x1F', 31],
      ['-0x10', -16],
      ['1.5e3', 1500],
      ['1e999', Infinity],
      ['1 / 0', Infinity],
      ['1 / 0 > 5', true],
      ['1 % 0', undefined],
      ['0 / 0 = 0 / 0', undefined],
      ['5 % 3', 2],
    ]));

  test('a body field is found by its path, with case, and what is missing is undefined', () =>
    hold(P1, [
      ['$body.m.t', 7],
      ['{$body.m.t}', 7],
      ['{ $body.m.t }', 7],
      ['$BODY.m.t', 7],
      ['$body.M.t', undefined],
      ['$body.m.list[0]', 1],
      ['$body.m.list[1][0]', 2],
      ['$body.m.list[1][1].deep', 'x'],
      ['$body.m.list[2]', undefined],
      ['$body.m.list.length', undefined],
      ['$body.m[0]', undefined],
      ['$body.odd-name', 1],
      ['$body.*', undefined],
      ['$body.m.only.*', 5],
      ['$body.text.length', undefined],
      ['$body.constructor', undefined],
      ['$body.__proto__', undefined],
      ['$body', undefined],
      [`$body.day = '2026-01-02T03:04:05Z'`, true],
      ['$body.nil', null],
    ]));

  test('values of different types are never equal, and rank: true and false, numbers, text, null', () =>
    hold(P1, [
      [`$body.m.t = '7'`, false],
      [`$body.m.t != '7'`, true],
      ['$body.text > 100', true],
      ['$body.yes < 0', true],
      ['$body.nil > 100', true],
      [`$body.nil > 'z'`, true],
      ['$body.nil = null', true],
      ['$body.nosuch = null', undefined],
      ['$body.m.t = null', false],
      ['$body.m = $body.m', undefined],
      ['$body.m.list > 1', undefined],
      ['false < true', true],
      [`'B' < 'a'`, true],
      ['null = null', true],
      ['null < null', false],
    ]));

  test('reckoning with a body field that is no number is undefined', () =>
    hold(P1, [
      ['$body.m.t + 1', 8],
      ['-$body.m.t', undefined],
      ['- $body.m.t', -7],
      ['$body.m.t % 4', 3],
      ['$body.text + 1', undefined],
      ['- $body.text', undefined],
      ['$body.nil * 2', undefined],
      [`$body.text || '!'`, 'hello!'],
      [`$body.m.t || '!'`, undefined],
    ]));

  test('AND, OR and NOT of true, false, undefined and null', () => {
    const table: readonly (readonly [string, string, unknown, unknown])[] = [
      ['true', 'true', true, true],
      ['true', 'false', false, true],
      ['false', 'false', false, false],
      ['true', 'undefined', undefined, true],
      ['false', 'undefined', false, undefined],
      ['undefined', 'undefined', undefined, undefined],
      ['null', 'true', null, null],
      ['null', 'false', null, null],
      ['null', 'undefined', null, null],
      ['null', 'null', null, null],
    ];
    for (const [a, b, and, or] of table) {
      hold(P1, [
        [`${a} AND ${b}`, and],
        [`${b} AND ${a}`, and],
        [`${a} OR ${b}`, or],
        [`${b} OR ${a}`, or],
      ]);
    }
    hold(P1, [
      ['NOT true', false],
      ['NOT undefined', undefined],
      ['NOT null', true],
      ['NOT NOT true', true],
      ['1 = 1 AND undefined = 1 AND 2 = 1', false],
      ['1 = 2 OR undefined = 1 OR 1 = 1', true],
    ]);
  });

  test('what stands alone from a body must be true or false', () =>
    hold(P1, [
      ['$body.yes', true],
      ['$body.yes AND true', true],
      [`temp = '41' AND $body.yes`, true],
      ['$body.no OR $body.yes', true],
      ['$body.no AND $body.nosuch', undefined],
      ['$body.yes OR $body.nosuch', undefined],
      ['true OR $body.m.t', undefined],
      ['$body.nil AND true', undefined],
      ['NOT $body.yes', false],
      ['NOT $body.nil', undefined],
      ['NOT $body.text', undefined],
      ['($body.nosuch ?? true) AND true', true],
      ['$body.yes AND $body.m.t > 5 AND NOT $body.no', true],
    ]));

  test('?? replaces undefined, not null', () =>
    hold(P1, [
      ['undefined ?? 5', 5],
      ['null ?? null', null],
      ['$body.nil ?? 5', null],
      ['$body.nosuch ?? 5', 5],
      ['$body.zero ?? 5', 0],
    ]));

  test('IN finds a value among those of a list', () =>
    hold(P1, [
      [`name IN ['Bert', 'Anna']`, true],
      [`temp in ['42']`, false],
      ['$body.m.t IN [1, 7]', true],
      ['$body.m.t IN []', false],
      [`nosuch IN ['a']`, undefined],
      ['NOT ($body.m.t IN [1, 2])', true],
      ['7 IN [$body.m.t]', true],
    ]));

  test('functions of numbers', () =>
    hold(P1, [
      ['ABS(-5)', 5],
      ['ceiling(1.2)', 2],
      ['FLOOR(-1.2)', -2],
      ['EXP(0)', 1],
      ['SIGN(-3)', -1],
      ['SQUARE(3)', 9],
      ['SQRT(9)', 3],
      ['SQRT(-1)', undefined],
      ['POWER(2, 10)', 1024],
      ['POWER(-8, 0.5)', undefined],
      ['ABS($body.text)', undefined],
      ['ABS(null)', undefined],
      ['ABS(undefined)', undefined],
      ['Power(2, $body.m.t)', 128],
    ]));

  test('AS_NUMBER takes time in proportion to the length of a text', () => {
    const spaces = ' '.repeat(200_000);
    for (const text of [
      `${spaces}x`,
      `1${spaces}x`,
      `(${spaces}1${spaces}x`,
      `-${spaces}x`,
      `${'1'.repeat(200_000)}x`,
    ]) {
      const began = performance.now();
      assert.equal(valueOf('AS_NUMBER(p)', routeMessage({ properties: { p: text } })), undefined);
      assert.ok(performance.now() - began < 1000, `${Math.round(performance.now() - began)} ms`);
    }
  });

  test('AS_NUMBER reads what people write', () => {
    const texts: Readonly<Record<string, unknown>> = {
      '41': 41,
      ' 41 ': 41,
      '-4.5': -4.5,
      '+4': 4,
      '4-': -4,
      '1e3': 1000,
      '.5': 0.5,
      '5.': 5,
      '1,000': 1000,
      '(5)': -5,
      '': undefined,
      '.': undefined,
      ',': undefined,
      x1: undefined,
      '1x': undefined,
      '-4-': undefined,
      '(5': undefined,
      '0x10': undefined,
      NaN: undefined,
    };
    for (const [text, value] of Object.entries(texts)) {
      assert.equal(valueOf('AS_NUMBER(p)', routeMessage({ properties: { p: text } })), value, JSON.stringify(text));
    }
    hold(P1, [
      ['AS_NUMBER(5)', 5],
      ['AS_NUMBER($body.m.t)', 7],
      ['AS_NUMBER($body.yes)', undefined],
      ['AS_NUMBER(nosuch)', undefined],
    ]);
  });

  test('what is asked of a value: defined, null, and of which type', () =>
    hold(P1, [
      ['IS_DEFINED(temp)', true],
      ['IS_DEFINED(nosuch)', false],
      ['IS_DEFINED($body.nil)', true],
      ['IS_DEFINED($body.nosuch)', false],
      ['IS_DEFINED(0 / 0)', false],
      ['IS_NULL($body.nil)', true],
      ['IS_NULL($body.nosuch)', false],
      ['IS_NULL($body.m.t)', false],
      ['IS_NULL(null)', true],
      ['IS_BOOL($body.yes)', true],
      ['IS_BOOL(temp)', false],
      ['IS_NUMBER($body.m.t)', true],
      ['IS_NUMBER(1 / 0)', false],
      ['IS_NUMBER(undefined)', false],
      ['IS_STRING(temp)', true],
      ['IS_STRING($body.m.t)', false],
      ['IS_ARRAY($body.m.list)', true],
      ['IS_ARRAY($body.m)', false],
      ['IS_OBJECT($body.m)', true],
      ['IS_OBJECT($body.m.list)', false],
      ['IS_OBJECT($body.nil)', false],
      ['IS_PRIMITIVE($body.nil)', true],
      ['IS_PRIMITIVE($body.text)', true],
      ['IS_PRIMITIVE($body.m)', false],
      ['IS_PRIMITIVE($body.nosuch)', false],
    ]));

  test('functions of text', () =>
    hold(P1, [
      [`CONCAT('a', temp, 'b')`, 'a41b'],
      [`CONCAT('a', nosuch)`, undefined],
      [`CONCAT('a', $body.nil)`, undefined],
      [`CONCAT('a', $body.m.t)`, undefined],
      ['LENGTH(name)', 4],
      ['LENGTH($body.text)', 5],
      ['LENGTH($body.m.t)', undefined],
      ['lower(Name)', 'anna'],
      ['UPPER(name)', 'ANNA'],
      [`SUBSTRING('hello', 0)`, 'hello'],
      [`SUBSTRING('hello', 5)`, ''],
      [`SUBSTRING('hello', 6)`, undefined],
      [`SUBSTRING('hello', -1)`, undefined],
      [`SUBSTRING('hello', 1, 3)`, 'ell'],
      [`SUBSTRING('hello', 1, 4)`, 'ello'],
      [`SUBSTRING('hello', 1, 5)`, undefined],
      [`SUBSTRING('hello', 5, 0)`, undefined],
      [`SUBSTRING('hello', 0, 0)`, ''],
      [`INDEX_OF('hello', 'l')`, 2],
      [`INDEX_OF('hello', 'z')`, -1],
      [`STARTS_WITH($body.text, 'he')`, true],
      [`STARTS_WITH($body.text, 'HE')`, false],
      [`ENDS_WITH(name, 'na')`, true],
      [`CONTAINS(name, 'nn')`, true],
      [`CONTAINS(nosuch, 'nn')`, undefined],
      [String.raw`'a\'b\"c\\d\u00e9'`, `a'b"c\\dé`],
      [`"it's"`, `it's`],
      [`'two\nlines'`, 'two\nlines'],
    ]));

  test('a condition that is not true or false never lets a message through', () => {
    for (const condition of ['3', `'a'`, 'temp', 'null', 'undefined', '$body.m.t']) {
      assert.notEqual(valueOf(condition, P1), true, condition);
    }
  });

  test('comments stand anywhere but right behind a source', () =>
    hold(P1, [
      [`/* a */ temp = /* b */ '41' /* c */`, true],
      [`temp = '/* not one */'`, false],
    ]));
});

describe('what a message says of itself', () => {
  const message = routeMessage({
    source: { child: 'line-4', module: 'cooldown', output: 'out' },
    eventTime: Date.UTC(2026, 0, 1),
    properties: {
      messageId: 'mine',
      'correlation-id': 'c',
      iothub: 'x',
      $own: 'app',
      '$body.m.t': 'app',
      $to: 'first',
    },
    body: { m: { t: 1 } },
  });

  test('the system properties of a message that a module put out', () =>
    hold(message, [
      ['$connectionDeviceId', 'line-4'],
      ['$CONNECTIONMODULEID', 'cooldown'],
      ['$outputName', 'out'],
      ['$inputName', undefined],
      ['$messageId', 'mine'],
      ['$edgeMessageId', MESSAGE_ID],
      ['$cid', 'c'],
      ['$correlationId', 'c'],
      ['$contentType', 'application/json'],
      ['$contentEncoding', 'utf-8'],
      ['$enqueuedTime', '2026-01-02T03:04:05.006Z'],
      ['$creationTime', '2026-01-01T00:00:00.000Z'],
      ['$edgeHubOriginInterface', 'internal'],
      ['$userId', undefined],
      ['$messageType', undefined],
    ]));

  test('a message without an id of its own has ours, and a device is no module', () =>
    hold(routeMessage({ eventTime: 1e300 }), [
      ['$messageId', MESSAGE_ID],
      ['NOT IS_DEFINED($connectionModuleId)', true],
      ['$edgeHubOriginInterface', 'downstream'],
      ['$creationTime', undefined],
    ]));

  test('an application property whose name begins with $ goes first, unless the reference stands in braces', () =>
    hold(message, [
      ['$own', 'app'],
      ['{$own}', undefined],
      ['$to', 'first'],
      ['{$to}', undefined],
      ['$body.m.t', 'app'],
      ['{$body.m.t}', 1],
    ]));
});

describe('a body', () => {
  const json = '{"t":"é😀"}';
  const value = (body: Buffer, contentType?: string, contentEncoding?: string) =>
    valueOf(
      '$body.t',
      routeMessage({ body, ...(contentType && { contentType }), ...(contentEncoding && { contentEncoding }) }),
    );
  const utf32 = (text: string, big: boolean) => {
    const points = Array.from(text, (char) => char.codePointAt(0)!);
    const bytes = Buffer.alloc(points.length * 4);
    points.forEach((point, n) => (big ? bytes.writeUInt32BE(point, n * 4) : bytes.writeUInt32LE(point, n * 4)));
    return bytes;
  };

  test('is read in the three encodings that there are', () => {
    assert.equal(value(Buffer.from(json), 'application/json', 'utf-8'), 'é😀');
    assert.equal(value(Buffer.from(`\uFEFF${json}`), 'Application/JSON', 'UTF-8'), 'é😀');
    assert.equal(value(Buffer.from(json, 'utf16le'), 'application/json', 'utf-16'), 'é😀');
    assert.equal(value(Buffer.from(`\uFEFF${json}`, 'utf16le').swap16(), 'application/json', 'utf-16'), 'é😀');
    assert.equal(value(utf32(json, false), 'application/json', 'utf-32'), 'é😀');
    assert.equal(value(utf32(`\uFEFF${json}`, true), 'application/json', 'utf-32'), 'é😀');
  });

  test('is undefined, and every reference to it, when it is not declared, or not what it is declared to be', () => {
    const bytes = Buffer.from(json);
    assert.equal(value(bytes), undefined);
    assert.equal(value(bytes, 'application/json'), undefined);
    assert.equal(value(bytes, undefined, 'utf-8'), undefined);
    assert.equal(value(bytes, 'application/json; charset=utf-8', 'utf-8'), undefined);
    assert.equal(value(bytes, 'application/json', 'latin1'), undefined);
    assert.equal(value(bytes, 'application/json', 'constructor'), undefined);
    assert.equal(value(Buffer.from('{'), 'application/json', 'utf-8'), undefined);
    assert.equal(value(Buffer.from([0x22, 0xff, 0x22]), 'application/json', 'utf-8'), undefined);
    assert.equal(value(Buffer.from('[1]'), 'application/json', 'utf-8'), undefined);
    assert.equal(value(Buffer.from('null'), 'application/json', 'utf-8'), undefined);
    assert.equal(value(Buffer.alloc(3), 'application/json', 'utf-32'), undefined);
    assert.equal(value(Buffer.alloc(4, 0xff), 'application/json', 'utf-32'), undefined);
    assert.equal(value(Buffer.alloc(0), 'application/json', 'utf-8'), undefined);
  });
});
