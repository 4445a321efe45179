import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CsvLineDecoder } from '../src/drivers/decoders/csv.ts';
import { type LineDecoder, numberOrText as read } from '../src/drivers/decoders/decoder.ts';
import { JsonLineDecoder } from '../src/drivers/decoders/json.ts';
import { RegexLineDecoder } from '../src/drivers/decoders/regex.ts';
import { fc } from './parts/properties.ts';

function bodyOf(decoder: LineDecoder, line: Buffer | string): string {
  const decoded = decoder.decode(Buffer.from(line as string));
  assert.ok('body' in decoded, `malformed: ${JSON.stringify(decoded)}`);
  return decoded.body.toString('utf8');
}

function whyNot(decoder: LineDecoder, line: Buffer | string): string {
  const decoded = decoder.decode(Buffer.from(line as string));
  assert.ok('malformed' in decoded, `a body: ${JSON.stringify(decoded)}`);
  return decoded.malformed;
}

const LATIN1 = Buffer.from('{"unit":"\xb0C"}', 'latin1');

test('json: the body is the bytes of the line as they came', () => {
  const json = new JsonLineDecoder();
  for (const line of [' { "b": 1.50, "a":2 } ', '[1,2]', '12', '"text"', 'null', '{"unit":"\u00b0C"}'])
    assert.equal(bodyOf(json, line), line);
});

test('json: the body is a copy, since the line belongs to the splitter', () => {
  const line = Buffer.from('[1]');
  const decoded = new JsonLineDecoder().decode(line);
  line.fill('x');
  assert.ok('body' in decoded);
  assert.equal(decoded.body.toString(), '[1]');
});

test('json: what does not parse, or is not UTF-8, is malformed', () => {
  const json = new JsonLineDecoder();
  for (const line of ['temp=3', '{"a":1', "{'a':1}", 'NaN', '{"a":1}}', ' '])
    assert.equal(whyNot(json, line), 'not JSON');
  assert.equal(whyNot(json, LATIN1), 'not UTF-8');
  assert.equal(whyNot(json, '['.repeat(200_000)), 'not JSON');
});

test('csv: columns become an object, numeric text becomes numbers', () => {
  const csv = new CsvLineDecoder({ columns: ['t', 'h', 'state'], separator: ',' });
  assert.equal(bodyOf(csv, '21.5,-3,ok'), '{"t":21.5,"h":-3,"state":"ok"}');
  assert.equal(bodyOf(csv, ' 21.5 , +23,'), '{"t":21.5,"h":23,"state":""}');
});

test('csv: fields may be quoted as in RFC 4180, and quoted fields stay text', () => {
  const csv = new CsvLineDecoder({ columns: ['a', 'b'], separator: ',' });
  assert.equal(bodyOf(csv, '"x,y","say ""hi"""'), '{"a":"x,y","b":"say \\"hi\\""}');
  assert.equal(bodyOf(csv, '"0042",""'), '{"a":"0042","b":""}');
});

test('csv: other separators', () => {
  assert.equal(bodyOf(new CsvLineDecoder({ columns: ['a', 'b'], separator: ';' }), '1,5;2'), '{"a":"1,5","b":2}');
  assert.equal(bodyOf(new CsvLineDecoder({ columns: ['a', 'b'], separator: '\t' }), '1\t2'), '{"a":1,"b":2}');
  assert.equal(bodyOf(new CsvLineDecoder({ columns: ['a', 'b'], separator: '||' }), '"1"||2'), '{"a":"1","b":2}');
});

test('csv: a line with another number of columns, or bad quotes, is malformed', () => {
  const csv = new CsvLineDecoder({ columns: ['a', 'b'], separator: ',' });
  assert.equal(whyNot(csv, '1'), '1 columns instead of 2');
  assert.equal(whyNot(csv, '1,2,3'), '3 columns instead of 2');
  assert.equal(whyNot(csv, '1,2,'), '3 columns instead of 2');
  assert.equal(whyNot(csv, '1,"2'), 'a quoted field does not end');
  assert.equal(whyNot(csv, '1,"2"x'), 'text after a closing quote');
  assert.equal(whyNot(csv, '1,2"'), 'a quote inside an unquoted field');
  assert.equal(whyNot(csv, Buffer.from('1,\xff', 'latin1')), 'not UTF-8');
});

test('csv: a column may be called __proto__', () => {
  assert.equal(
    bodyOf(new CsvLineDecoder({ columns: ['__proto__', 'a'], separator: ',' }), '1,2'),
    '{"__proto__":1,"a":2}',
  );
});

test('csv: whatever was quoted comes back', () => {
  const field = fc.string({ unit: 'binary' }).filter((text) => !/[\n\r]/.test(text));
  fc.assert(
    fc.property(fc.array(field, { minLength: 1, maxLength: 6 }), (fields) => {
      const columns = fields.map((_, i) => `c${i}`);
      const line = fields.map((text) => `"${text.replaceAll('"', '""')}"`).join(',');
      const body = JSON.parse(bodyOf(new CsvLineDecoder({ columns, separator: ',' }), line)) as Record<string, string>;
      assert.deepEqual(Object.values(body), fields);
    }),
  );
});

const CODES = ['00412E5', '004120', '1E10', '412E5', '007', '004512', '-07', '007.', '+00', '5E', '12e34'];

test('numbers that JSON could not carry unharmed stay text', () => {
  for (const text of ['9007199254740993', '1e+999', '-', '.', '1e', '0x10', 'Infinity', '1_000', '1 2', ''])
    assert.equal(read(text), text);
  assert.equal(read('-.5e-3'), -0.0005);
  assert.equal(read('7.'), 7);
});

test('what may be a serial number, an article or a time of day stays text', () => {
  for (const text of CODES) assert.equal(read(text), text);
  assert.equal(
    bodyOf(new CsvLineDecoder({ columns: ['serialNo', 't'], separator: ',' }), '00412E5,004512'),
    '{"serialNo":"00412E5","t":"004512"}',
  );
  assert.equal(bodyOf(new RegexLineDecoder({ pattern: '(?<n>\\S+) (?<m>\\S+)' }), '1E10 0.5'), '{"n":"1E10","m":0.5}');
});

test('numbers as sensors write them are numbers', () => {
  const numbers: readonly (readonly [string, number])[] = [
    ['0', 0],
    ['+5', 5],
    ['-0.50', -0.5],
    ['+00123.4', 123.4],
    ['.5', 0.5],
    ['5.', 5],
    ['1.2E+03', 1200],
    ['1E-5', 0.00001],
    ['5e+3', 5000],
    ['1.5e3', 1500],
    ['6.02e23', 6.02e23],
    [' 21.5 ', 21.5],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
  ];
  for (const [text, value] of numbers) assert.equal(read(text), value, text);
  // JSON has no sign for nothing; a thermometer that says -0.0 must not say text.
  assert.equal(JSON.stringify([read('-0'), read('-0.0')]), '[0,0]');
});

test('whatever became a number says the same when it is read again, and an integer keeps every digit', () => {
  const digits = fc.string({ unit: fc.constantFrom(...'0123456789eE+-.'.split('')), minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(digits, (text) => {
      const value = read(text);
      if (typeof value === 'string') assert.equal(value, text);
      else if (/^[1-9]\d*$/.test(text)) assert.equal(JSON.stringify(value), text);
      else assert.equal(JSON.parse(JSON.stringify(value)), value === 0 ? 0 : Number(text));
    }),
    { numRuns: 5_000 },
  );
});

test('csv: a column may say that it is text, or a number', () => {
  const csv = new CsvLineDecoder({
    columns: [{ name: 'serialNo', type: 'text' }, { name: 'weight', type: 'number' }, { name: 'state' }, 't'],
    separator: ',',
  });
  assert.equal(bodyOf(csv, '412,+00123.4,7,21.5'), '{"serialNo":"412","weight":123.4,"state":7,"t":21.5}');
  assert.equal(bodyOf(csv, ' 5 ,"1E3",ok,"1"'), '{"serialNo":" 5 ","weight":1000,"state":"ok","t":"1"}');
});

test('a number that cannot be read as one is null, and an integer that would lose digits stays text', () => {
  const csv = new CsvLineDecoder({ columns: [{ name: 'n', type: 'number' }], separator: ',' });
  for (const text of ['', 'n/a', '---', '0x1F', '1e999', '1 2']) assert.equal(bodyOf(csv, text), '{"n":null}', text);
  assert.equal(bodyOf(csv, '0009007199254740993'), '{"n":"0009007199254740993"}');
  assert.equal(bodyOf(csv, ' 007 '), '{"n":7}');
});

test('csv: a row of the names of the columns is a header and no message', () => {
  const csv = new CsvLineDecoder({ columns: ['t', { name: 'h', type: 'number' }], separator: ',' });
  for (const header of ['t,h', '"t","h"']) assert.deepEqual(csv.decode(Buffer.from(header)), { skipped: true });
  assert.equal(bodyOf(csv, 't,H'), '{"t":"t","h":null}');
  // One word alone may be what the sensor has to say.
  assert.equal(bodyOf(new CsvLineDecoder({ columns: ['alarm'], separator: ',' }), 'alarm'), '{"alarm":"alarm"}');
});

test('regex: a group may be said to be text, or a number', () => {
  const pattern = '^(?<id>\\d+) (?<weight>\\S+)(?: (?<rest>.+))?$';
  const regex = new RegexLineDecoder({ pattern, types: { id: 'text', weight: 'number', rest: 'number' } });
  assert.equal(bodyOf(regex, '412 +00123.4'), '{"id":"412","weight":123.4,"rest":null}');
  assert.equal(bodyOf(regex, '412 ------ 1E3'), '{"id":"412","weight":null,"rest":1000}');
});

test('regex: named groups become an object, a group that took no part is null', () => {
  const regex = new RegexLineDecoder({ pattern: '^T=(?<t>-?[\\d.]+)(?: H=(?<h>\\d+))?(?: (?<state>\\w+))?$' });
  assert.equal(bodyOf(regex, 'T=-3.50 H=44 ok'), '{"t":-3.5,"h":44,"state":"ok"}');
  assert.equal(bodyOf(regex, 'T=1'), '{"t":1,"h":null,"state":null}');
});

test('regex: a line that does not match, or is not UTF-8, is malformed', () => {
  const regex = new RegexLineDecoder({ pattern: '(?<n>\\d+)' });
  assert.equal(whyNot(regex, 'none'), 'does not match the pattern');
  assert.equal(whyNot(regex, Buffer.from('1\xff', 'latin1')), 'not UTF-8');
});

test('regex: a pattern that cannot work is refused when it is made', () => {
  assert.throws(() => new RegexLineDecoder({ pattern: '(' }), SyntaxError);
  assert.throws(() => new RegexLineDecoder({ pattern: '(\\d+)(?<=x)(?<!y)' }), /no named group/);
});

test('regex: a catastrophic pattern costs a line, not the process', () => {
  const regex = new RegexLineDecoder({ pattern: '^(?<a>(a+)+)$' });
  const bad = `${'a'.repeat(4_000)}!`;
  // Of the processor: the machine may stand still.
  const before = process.cpuUsage();
  assert.match(whyNot(regex, bad), /longer than 50 ms/);
  assert.match(whyNot(regex, 'aaa'), /not looked at/);
  assert.equal(bodyOf(regex, 'aaa'), '{"a":"aaa"}');
  assert.ok(process.cpuUsage(before).user < 2_000_000);
});

test('regex: a pattern that is slow on every line soon hardly runs at all', () => {
  const regex = new RegexLineDecoder({ pattern: '^(?<a>(a+)+)$' });
  const bad = `${'a'.repeat(4_000)}!`;
  const whys = Array.from({ length: 60 }, () => whyNot(regex, bad));
  assert.equal(whys.filter((why) => why.includes('longer than')).length, 6); // lines 0, 2, 5, 10, 19, 36
});
