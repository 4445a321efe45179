import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseText, printBody } from '../src/query/body-json.ts';
import type { Fields } from '../src/query/value.ts';
import { shown, valueOf } from './parts/expression.ts';

const row = parseText(`{
  "machine": {"temperature": 30, "Pressure": 2.50, "a.b": {"c d": 7}, "x]y": 8, "": 9},
  "list": [5, 8, {"k": 1}], "empty": [], "flag": true, "text": "abc", "nothing": null, "whole": 20.0,
  "big": 9007199254740993, "json": "{\\"a\\": [1, 2.0]}", "bad": "{a", "at": "2031-05-06T07:08:09Z"
}`) as Fields;

/** What it shows, the expression, and its value as JSON. */
const rows: readonly (readonly [string, string, string])[] = [
  ['GetType of a whole number', 'GetType(machine.temperature)', '"bigint"'],
  ['GetType of a number beyond a double', 'GetType(big)', '"bigint"'],
  ['GetType of a number with a fraction', 'GetType(machine.pressure)', '"float"'],
  ['GetType of 20.0', 'GetType(whole)', '"float"'],
  ['GetType of text, ISO text too', 'GetType(at)', '"nvarchar(max)"'],
  ['GetType of a datetime', 'GetType(CAST(at AS datetime))', '"datetime"'],
  ['GetType of true', 'GetType(flag)', '"bit"'],
  ['GetType of an object', 'GetType(machine)', '"record"'],
  ['GetType of an array', 'GetType(list)', '"array"'],
  ['GetType of NULL is NULL', 'GetType(nothing)', 'null'],
  ['GetRecordPropertyValue', "GetRecordPropertyValue(machine, 'temperature')", '30'],
  ['GetRecordPropertyValue finds without case', "GetRecordPropertyValue(machine, 'PRESSURE')", '2.5'],
  ['GetRecordPropertyValue with a dot and a blank in brackets', "GetRecordPropertyValue(machine, '[a.b].[c d]')", '7'],
  ['GetRecordPropertyValue with a bracket in brackets', "GetRecordPropertyValue(machine, '[x]]y]')", '8'],
  ['GetRecordPropertyValue of what is missing', "GetRecordPropertyValue(machine, 'a.b')", 'null'],
  ['GetRecordPropertyValue of a path beyond a number', "GetRecordPropertyValue(machine, 'temperature.x')", 'null'],
  [
    'GetRecordPropertyValue of what every object inherits',
    "GetRecordPropertyValue(machine, 'constructor.name')",
    'null',
  ],
  ['GetArrayElement counts from 0', 'GetArrayElement(list, 1)', '8'],
  ['GetArrayElement gives records', 'GetArrayElement(list, 2)', '{"k":1}'],
  ['GetArrayElement outside is NULL', 'GetArrayElement(list, 3)', 'null'],
  ['GetArrayElement of a negative is NULL', 'GetArrayElement(list, -1)', 'null'],
  ['GetArrayLength', 'GetArrayLength(list)', '3'],
  ['GetArrayLength of an empty one', 'GetArrayLength(empty)', '0'],
  ['GetArrayLength of what is missing is NULL', 'GetArrayLength(nosuch)', 'null'],
  ['JSON_PARSE gives a record, numbers with their types', 'JSON_PARSE(json)', '{"a":[1,2.0]}'],
  ['JSON_PARSE gives any value', "JSON_PARSE(' 12 ')", '12'],
  ['JSON_PARSE of what is no JSON is NULL', 'JSON_PARSE(bad)', 'null'],
  ['COALESCE takes the first that is not NULL', "COALESCE(nothing, nosuch, text, 'x')", '"abc"'],
  ['COALESCE of NULLs is NULL', 'COALESCE(nothing, nosuch)', 'null'],
  ['COALESCE does not work out what comes after', 'COALESCE(text, 1 / (machine.temperature - 30))', '"abc"'],
  ['COALESCE with a float makes a bigint float', 'COALESCE(machine.temperature, 0.0)', '30.0'],
  ['NULLIF of equals is NULL', 'NULLIF(machine.temperature, 30)', 'null'],
  ['NULLIF of others is the first', 'NULLIF(machine.temperature, 31)', '30'],
  ['NULLIF with NULL is the first', 'NULLIF(machine.temperature, nothing)', '30'],
];

for (const [shows, expression, expected] of rows) test(shows, () => assert.equal(shown(expression, row), expected));

test('what is no record or array drops the event', () => {
  assert.throws(() => valueOf("GetRecordPropertyValue(list, 'a')", row), /argument 1 .* is array, and must be record/);
  assert.throws(() => valueOf('GetArrayElement(machine, 0)', row), /is record, and must be array/);
  assert.throws(() => valueOf('GetArrayLength(text)', row), /is nvarchar\(max\), and must be array/);
  assert.throws(
    () => valueOf('GetRecordPropertyValue(machine, text)', { ...row, text: 'a..b' }),
    /is no path of names/,
  );
});

/** What it shows, the CAST, and its value; null when CAST fails and TRY_CAST is NULL. */
const casts: readonly (readonly [string, string, string | null])[] = [
  ['bigint to bigint', 'machine.temperature AS bigint', '30'],
  ['bigint to float', 'machine.temperature AS float', '30.0'],
  ['bigint to text', 'big AS nvarchar(max)', '"9007199254740993"'],
  ['bigint to datetime', 'machine.temperature AS datetime', null],
  ['bigint to bit: all but 0 is true', 'machine.temperature AS bit', 'true'],
  ['0 to bit', '0 AS bit', 'false'],
  ['bigint to record', 'machine.temperature AS record', null],
  ['float to bigint goes toward zero', '-3.7 AS bigint', '-3'],
  ['float beyond 64 bits to bigint', '1e19 AS bigint', null],
  ['float to text', 'machine.pressure AS nvarchar(max)', '"2.5"'],
  ['whole float to text', 'whole AS nvarchar(max)', '"20"'],
  ['float to bit', '0.5 AS bit', 'true'],
  ['text to bigint', "' 42 ' AS bigint", '42'],
  ['text with a sign to bigint', "'+42' AS bigint", '42'],
  ['text to bigint is exact', "'9007199254740993' AS bigint", '9007199254740993'],
  ['text with a fraction to bigint is cut off', "'3.7' AS bigint", '3'],
  ['text beyond 64 bits to bigint', "'9223372036854775808' AS bigint", null],
  ['text that is no number to bigint', 'text AS bigint', null],
  ['empty text to bigint', "'' AS bigint", null],
  ['hexadecimal text to bigint', "'0x10' AS bigint", null],
  ['text to float', "'-2.5e1' AS float", '-25.0'],
  ['NaN to float', "'NaN' AS float", null],
  ['Infinity to float', "'Infinity' AS float", null],
  ['text beyond float to float', "'1e999' AS float", null],
  ['text to datetime', 'at AS datetime', '"2031-05-06T07:08:09.0000000Z"'],
  ['text that is no date to datetime', 'text AS datetime', null],
  ['text to bit', "'True' AS bit", 'true'],
  ['numeric text to bit', "'0' AS bit", 'false'],
  ['other text to bit', 'text AS bit', null],
  ['text to record: that is JSON_PARSE', 'json AS record', null],
  ['datetime to text', 'CAST(at AS datetime) AS nvarchar(max)', '"2031-05-06T07:08:09.0000000Z"'],
  ['datetime to bigint', 'CAST(at AS datetime) AS bigint', null],
  ['datetime to bit', 'CAST(at AS datetime) AS bit', null],
  ['bit to bigint', 'flag AS bigint', '1'],
  ['bit to float', 'flag AS float', '1.0'],
  ['bit to text', 'flag AS nvarchar(max)', '"true"'],
  ['bit to datetime', 'flag AS datetime', null],
  ['record to record', 'GetArrayElement(list, 2) AS record', '{"k":1}'],
  ['array to array', 'empty AS array', '[]'],
  ['array to record', 'empty AS record', null],
  ['record to text', 'machine AS nvarchar(max)', null],
];

for (const [shows, cast, expected] of casts) {
  test(`CAST of ${shows}${expected === null ? ' fails, and TRY_CAST is NULL' : ''}`, () => {
    assert.equal(shown(`TRY_CAST(${cast})`, row), expected ?? 'null');
    if (expected === null) assert.throws(() => valueOf(`CAST(${cast})`, row), /cannot become|beyond bigint/);
    else assert.equal(shown(`CAST(${cast})`, row), expected);
  });
}

test('CAST of NULL is NULL, whatever to', () => {
  for (const type of ['bigint', 'float', 'nvarchar(max)', 'datetime', 'bit', 'record', 'array']) {
    assert.equal(valueOf(`CAST(nothing AS ${type})`, row), null, type);
  }
});

test('a failed CAST says what could not become what', () => {
  assert.throws(() => valueOf('CAST(text AS bigint)', row), {
    name: 'ValueError',
    message: "nvarchar(max) 'abc' cannot become bigint",
  });
  assert.equal(printBody(valueOf('TRY_CAST(text AS bigint)', row)), 'null');
});
