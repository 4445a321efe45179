import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DEPTH_MAX, parseBody, parseText, printBody } from '../src/query/body-json.ts';
import { compare, distinctKey, order, sortable } from '../src/query/compare.ts';
import { asDateTime, fromMicros, micros, parseIso } from '../src/query/datetime.ts';
import { getField, pathReader, setField } from '../src/query/field.ts';
import { like } from '../src/query/like.ts';
import { decodeState, encodeState } from '../src/query/state.ts';
import { DateTime, Float, typeName, type Value } from '../src/query/value.ts';
import { fc } from './parts/properties.ts';

/** Any value, as the language holds it: whole floats wrapped, big integers as bigint. */
const anyValue = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger().map((whole) => whole + 0),
    fc.bigInt(2n ** 53n, 2n ** 63n - 1n),
    fc.bigInt(-(2n ** 63n), -(2n ** 53n)),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => (Number.isInteger(x) ? new Float(x) : x)),
    fc.string({ unit: 'binary' }),
    fc.constantFrom('__proto__', '', 'constructor', 'b1', 'f20', '\ud800'),
    fc
      .record({ ms: fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 }), ticks: fc.nat(9999) })
      .map(({ ms, ticks }) => new DateTime(ms, ticks)),
    fc.array(tie('value'), { maxLength: 4 }),
    fc
      .array(fc.tuple(fc.oneof(fc.string(), fc.constantFrom('', '__proto__', 'constructor')), tie('value')), {
        maxLength: 4,
      })
      .map((fields) => {
        const record: Record<string, Value> = {};
        for (const [name, value] of fields) setField(record, name, value);
        return record;
      }),
  ),
})).value;

const NUMBERS = [
  '0',
  '-0',
  '7',
  '-7',
  '20.0',
  '20.50',
  '0.1',
  '-0.0',
  '1e3',
  '1E-3',
  '1.5e300',
  '2.000000000000000000001',
];
const LARGE = [
  '9007199254740991',
  '9007199254740993',
  '-9223372036854775808',
  '9223372036854775807',
  '123456789012345.9999',
];
const SMALL = [
  '0.99999999999999999999',
  '1.00000000000000000001',
  '99999999999.9999999',
  '12345678901.04',
  '4503599627370497.3',
];

describe('bodies', () => {
  test('numbers keep their type and all their digits', () => {
    const shown = (json: string): string => {
      const value = parseText(json);
      return `${typeName(value)} ${printBody(value)}`;
    };
    const expected: Record<string, string> = {
      '7': 'bigint 7',
      '-0': 'bigint 0',
      '20.0': 'float 20.0',
      '20.50': 'float 20.5',
      '1e3': 'float 1000.0',
      '-0.0': 'float -0.0',
      '1e21': 'float 1e+21',
      '9007199254740991': 'bigint 9007199254740991',
      '9007199254740993': 'bigint 9007199254740993',
      '-9223372036854775808': 'bigint -9223372036854775808',
      '123456789012345.9999': 'float 123456789012346.0',
      '0.99999999999999999999': 'float 1.0',
      '9007199254740993.0': 'float 9007199254740992.0',
    };
    for (const [json, value] of Object.entries(expected)) {
      assert.equal(shown(json), value, json);
      assert.equal(
        printBody(parseText(`{"a":[${json}, ${json} ],"b": ${json}}`)).split(value.split(' ')[1]!).length,
        4,
        json,
      );
    }
  });

  test('whatever way a number is read, it has the type that its text says', () => {
    const number = fc.oneof(
      fc.constantFrom(...NUMBERS, ...LARGE, ...SMALL),
      fc
        .tuple(fc.bigInt(-(10n ** 18n), 10n ** 18n), fc.stringMatching(/^(\.(\d{1,20}|0{1,20}|9{1,20}))?$/))
        .map((parts) => parts.join('')),
      // JavaScript writes doubles below 1e21 as integers; those beyond 64 bits are refused, as another test shows.
      fc.double({ noNaN: true, min: -9e18, max: 9e18 }).map(String),
      fc.double({ noNaN: true, noDefaultInfinity: true, min: 1e21 }).map(String),
    );
    const around = fc.constantFrom(
      ['', ''],
      ['[', ']'],
      ['[1,', ',2]'],
      ['{"a":', '}'],
      ['{"a": ', ' }'],
      ['\n', '\n'],
    );
    fc.assert(
      fc.property(number, around, (text, [before, after]) => {
        let value = parseText(`${before}${text}${after}`);
        if (before.includes('{')) value = getField(value, 'a');
        if (Array.isArray(value)) value = (value as readonly Value[])[before === '[' ? 0 : 1]!;
        const type = /[.e]/i.test(text) ? 'float' : 'bigint';
        assert.equal(typeName(value), type);
        if (type === 'bigint') assert.equal(BigInt(value as number | bigint), BigInt(text));
        else assert.equal(value instanceof Float ? value.value : value, Number(text));
      }),
      { numRuns: 3000, seed: 41 },
    );
  });

  test('what was printed is read again as the very same', () => {
    const printable = anyValue.filter((value) => !printBody(value).includes('Z"'));
    fc.assert(
      fc.property(printable, (value) => assert.deepStrictEqual(parseBody(Buffer.from(printBody(value))), value)),
      { numRuns: 2000, seed: 42 },
    );
  });

  test('the slow way of reading reads what JSON.parse reads, and refuses what it refuses', () => {
    const text = fc.oneof(
      fc.json(),
      fc.json().chain((json) => fc.nat(json.length).map((at) => json.slice(0, at))),
      fc
        .tuple(
          fc.json(),
          fc.nat(),
          fc.constantFrom('{', '}', '[', ']', ',', ':', '"', '\\', '0', '-', '.', 'e', ' ', '\n', '\u0001'),
        )
        .map(([json, at, sign]) => {
          const place = at % (json.length + 1);
          return json.slice(0, place) + sign + json.slice(place);
        }),
    );
    fc.assert(
      fc.property(text, (json) => {
        // The exponent behind it sends all of it the slow way.
        const slow = `[${json}, 1e0]`;
        let expected: unknown;
        try {
          expected = JSON.parse(slow);
        } catch {
          assert.throws(() => parseText(slow), { name: 'ValueError' });
          return;
        }
        // JavaScript writes doubles below 1e21 as integers, and those beyond 64 bits are none of ours.
        if (/\d{19}/.test(slow)) return;
        assert.deepStrictEqual(JSON.parse(printBody(parseText(slow))), JSON.parse(JSON.stringify(expected)));
      }),
      { numRuns: 3000, seed: 43 },
    );
  });

  test('what is no JSON, or more than a type can hold, is refused', () => {
    const refused: [string, RegExp][] = [
      ['', /no JSON/],
      ['{"a":}', /no JSON/],
      ['{"a":1e5,}', /no JSON: unexpected "}" at position 9/],
      ['[1e5', /no JSON: it ends too soon/],
      ['9223372036854775808', /beyond bigint/],
      ['[-9223372036854775809]', /beyond bigint/],
      ['1e309', /beyond float/],
      [`[${'9'.repeat(2000)}]`, /more than 1024 characters/],
      ['['.repeat(DEPTH_MAX + 1) + ']'.repeat(DEPTH_MAX + 1), /deeper than 128/],
      ['['.repeat(100_000), /deeper than 128/],
    ];
    for (const [json, message] of refused)
      assert.throws(() => parseText(json), { name: 'ValueError', message }, json.slice(0, 40));
    const deep = '['.repeat(DEPTH_MAX) + ']'.repeat(DEPTH_MAX);
    assert.equal(printBody(parseText(deep)), deep);
    const wide = `[${'[],'.repeat(500)}[]]`;
    assert.equal(printBody(parseText(wide)), wide);
  });

  test('a byte order mark is nothing', () => assert.deepEqual(parseBody(Buffer.from('\ufeff{"a":1}')), { a: 1 }));

  test('a datetime is printed with 7 digits, and lone surrogates are escaped', () => {
    assert.equal(printBody({ at: new DateTime(0, 1) }), '{"at":"1970-01-01T00:00:00.0000001Z"}');
    assert.equal(printBody('\ud800"\n'), '"\\ud800\\"\\n"');
  });
});

describe('state', () => {
  test('every value comes back the very same', () => {
    fc.assert(
      fc.property(anyValue, (value) => assert.deepStrictEqual(decodeState(encodeState(value)), value)),
      { numRuns: 5000, seed: 44 },
    );
  });

  test('a record with an empty name is not taken for anything else', () => {
    for (const inner of ['f20', 'b1', 'd0.0', null, { '': 'f20' }, ['x']] as Value[]) {
      assert.deepStrictEqual(decodeState(encodeState({ '': inner })), { '': inner });
    }
  });

  test('what is no state is refused', () => {
    for (const text of ['', '{"":"x1"}', '{"":1}', '{"":["f20"]}'])
      assert.throws(() => decodeState(text), SyntaxError, text);
  });
});

describe('fields', () => {
  test('are found as spelled, then without case, the first such', () => {
    const record = { Temp: 1, temp: 2, TEMP: 3 };
    assert.equal(getField(record, 'temp'), 2);
    assert.equal(getField(record, 'tEmp'), 1);
    assert.equal(getField(record, 'temps'), null);
    assert.equal(pathReader(['A', 'b'])({ a: { B: 5 } }), 5);
    assert.equal(pathReader(['a', 'b', 'c', 'd'])({ a: { b: { c: { d: 6 } } } }), 6);
    assert.deepEqual(pathReader([])({ a: 1 }), { a: 1 });
  });

  test('what every object inherits is no field, and a field of such a name is one', () => {
    for (const name of ['constructor', '__proto__', 'toString', 'hasOwnProperty', 'valueOf', '__defineGetter__']) {
      assert.equal(getField({}, name), null, name);
      assert.equal(pathReader([name])({ a: 1 }), null, name);
      const record = parseText(`{"${name}": 5}`);
      assert.equal(getField(record, name), 5, name);
      assert.equal(pathReader([name])(record), 5, name);
      assert.equal(pathReader([name.toUpperCase()])(record), 5, name);
      const made: Record<string, Value> = {};
      setField(made, name, { x: 1 });
      assert.equal(printBody(made), `{"${name}":{"x":1}}`);
      assert.equal(Object.getPrototypeOf(made), Object.prototype);
    }
    assert.equal(({} as { x?: number }).x, undefined);
    assert.equal(printBody(parseText('{"__proto__": {"x": 1e0}}')), '{"__proto__":{"x":1.0}}');
  });

  test('arrays, floats, datetimes and texts have no fields', () => {
    for (const value of [[1], new Float(1), new DateTime(0), 'abc', 5, null, true] as Value[]) {
      for (const name of ['length', 'value', 'ms', 'ticks', '0']) assert.equal(pathReader([name])(value), null);
      assert.equal(getField(value, 'length'), null);
    }
    for (const name of ['length', 'value', 'ms', 'ticks', '0', 'map'])
      assert.equal(pathReader([name])({ [name]: 7 }), 7, name);
  });
});

describe('datetimes', () => {
  test('ISO text in its forms', () => {
    const forms: Record<string, string> = {
      '2031-05-06': '2031-05-06T00:00:00.0000000Z',
      '2031-05-06T07:08': '2031-05-06T07:08:00.0000000Z',
      '2031-05-06T07:08Z': '2031-05-06T07:08:00.0000000Z',
      '2031-05-06T07:08:09': '2031-05-06T07:08:09.0000000Z',
      '2031-05-06 07:08:09Z': '2031-05-06T07:08:09.0000000Z',
      '2031-05-06t07:08:09z': '2031-05-06T07:08:09.0000000Z',
      '2031-05-06T07:08:09.1Z': '2031-05-06T07:08:09.1000000Z',
      '2031-05-06T07:08:09.123456789Z': '2031-05-06T07:08:09.1234567Z',
      '2031-05-06T07:08:09.123+02:00': '2031-05-06T05:08:09.1230000Z',
      '2031-05-06T07:08:09-0330': '2031-05-06T10:38:09.0000000Z',
      '2031-05-06T07:08:09+02': '2031-05-06T05:08:09.0000000Z',
      '2032-02-29T00:00:00Z': '2032-02-29T00:00:00.0000000Z',
      '2000-02-29': '2000-02-29T00:00:00.0000000Z',
      '0001-01-01': '0001-01-01T00:00:00.0000000Z',
      '9999-12-31T23:59:59.9999999Z': '9999-12-31T23:59:59.9999999Z',
      '1969-12-31T23:59:59.9999999Z': '1969-12-31T23:59:59.9999999Z',
    };
    for (const [text, expected] of Object.entries(forms)) assert.equal(parseIso(text)?.toString(), expected, text);
  });

  test('what is no moment', () => {
    const wrong = [
      '',
      '2031',
      '2031-05',
      '2031-5-06',
      '2031-13-01',
      '2031-00-01',
      '2031-02-29',
      '1900-02-29',
      '2031-04-31',
      '0000-01-01',
      '2031-05-06T',
      '2031-05-06T07',
      '2031-05-06T24:00',
      '2031-05-06T07:60',
      '2031-05-06T07:08:60Z',
      '2031-05-06T07:08:09.Z',
      '2031-05-06T07:08:09.1234567891Z',
      '2031-05-06T07:08:09+15:00',
      '2031-05-06X07:08',
      '2031-05-06T07:08:09+2',
      '2031-05-06T07:08:09+02:0',
      '2031-05-06T07:08:09ZZ',
      ' 2031-05-06',
      '2031-05-06 ',
      '2031-W19-2',
      '2031-05-06T07:08:09+02-00',
      '9999-12-31T23:59:59-01:00',
      '0001-01-01T00:00:00+01:00',
      '2031-05-06T07:08:0x',
      '２０３１-05-06',
    ];
    for (const text of wrong) assert.equal(parseIso(text), null, text);
  });

  test('agree with Date wherever both can', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date('0001-01-01'), max: new Date('9999-12-31'), noInvalidDate: true }),
        (date) => {
          assert.equal(parseIso(date.toISOString())?.ms, date.getTime());
        },
      ),
      { numRuns: 2000, seed: 45 },
    );
  });

  test('microseconds there and back', () => {
    for (const text of [
      '2031-05-06T07:08:09.1234560Z',
      '1969-12-31T23:59:59.9999990Z',
      '1970-01-01T00:00:00.0000000Z',
    ]) {
      assert.equal(fromMicros(micros(parseIso(text)!)).toString(), text);
    }
    assert.equal(micros(parseIso('1970-01-01T00:00:00.0012349Z')!), 1234);
    assert.equal(micros(parseIso('1969-12-31T23:59:59.9999999Z')!), -1);
  });

  test('text is one where it is ISO', () => {
    assert.equal(asDateTime('1970-01-01')?.ms, 0);
    assert.equal(asDateTime('x'), null);
    assert.equal(asDateTime(5), null);
  });
});

describe('comparison', () => {
  test('numbers by their values, whatever their types', () => {
    const ascending: Value[] = [
      -(2n ** 63n),
      -2.5,
      new Float(-2),
      0,
      0.5,
      new Float(1),
      2,
      9007199254740991,
      2n ** 53n,
      2n ** 53n + 1n,
      new Float(1e19),
    ];
    ascending.forEach((a, left) =>
      ascending.forEach((b, right) => {
        assert.equal(Math.sign(compare(a, b)), Math.sign(left - right), `${printBody(a)} and ${printBody(b)}`);
        assert.equal(distinctKey(a) === distinctKey(b), left === right);
      }),
    );
    assert.equal(compare(1, new Float(1)), 0);
    assert.equal(distinctKey(1), distinctKey(new Float(1)));
  });

  test('text with text by its units and with case, bits as 0 and 1, ISO text with datetimes', () => {
    assert.ok(compare('a', 'b') < 0);
    assert.ok(compare('B', 'a') < 0);
    assert.notEqual(compare('a', 'A'), 0);
    assert.equal(compare(true, 1), 0);
    assert.ok(compare(false, true) < 0);
    assert.equal(compare('1970-01-01T02:00:00+02:00', new DateTime(0)), 0);
    assert.ok(compare(new DateTime(0, 1), '1970-01-01') > 0);
  });

  test('nothing else', () => {
    const pairs: [Value, Value][] = [
      ['1', 1],
      ['x', new DateTime(0)],
      [0, new DateTime(0)],
      [true, 'true'],
      [[1], [1]],
      [{}, {}],
      [{}, 1],
    ];
    for (const [a, b] of pairs)
      assert.throws(() => compare(a, b), { name: 'ValueError', message: /cannot be compared with/ });
  });

  test('groups are told apart', () => {
    const different: Value[] = [
      null,
      'null',
      1,
      '1',
      's1',
      true,
      'true',
      [1],
      '[1]',
      { a: 1 },
      { a: '1' },
      [],
      {},
      '',
      new DateTime(0),
      '1970-01-01T00:00:00.0000000Z',
    ];
    assert.equal(new Set(different.map(distinctKey)).size, different.length);
  });

  test('ORDER BY: NULL, numbers, datetimes; nothing else', () => {
    const ascending = [null, -1, new Float(2), '1970-01-01', new DateTime(1)].map(sortable);
    assert.deepEqual(ascending.toReversed().toSorted(order), ascending);
    for (const value of ['x', true, {}, []] as Value[]) assert.throws(() => sortable(value), /ORDER BY takes/);
  });
});

describe('LIKE', () => {
  const rows: [pattern: string, text: string, matches: boolean][] = [
    ['abc', 'abc', true],
    ['abc', 'abcd', false],
    ['abc', 'ABC', false],
    ['a%', 'a', true],
    ['a%', 'ba', false],
    ['%a', 'bba', true],
    ['%a', 'ab', false],
    ['%b%', 'abc', true],
    ['%', '', true],
    ['', '', true],
    ['', 'a', false],
    ['_', '', false],
    ['_', 'a', true],
    ['a_c', 'abc', true],
    ['a%a', 'a', false],
    ['a%a', 'aa', true],
    ['%ab%ab%', 'xabab', true],
    ['%ab%ab%', 'xab', false],
    ['a%b%c', 'a-b-b-c', true],
    ['[a-c]x', 'bx', true],
    ['[a-c]x', 'dx', false],
    ['[^a-c]x', 'dx', true],
    ['[^a-c]x', 'ax', false],
    ['[abx-z]', 'y', true],
    ['[a-]', '-', true],
    ['100[%]', '100%', true],
    ['100[%]', '1000', false],
    ['a[_]b', 'a_b', true],
    ['a[[]b', 'a[b', true],
    ['a]b', 'a]b', true],
    ['[]', 'a', false],
    ['%.%*', 'a.b*', true],
    ['a%%b', 'ab', true],
    ['line\n%', 'line\n5', true],
  ];
  for (const [pattern, text, matches] of rows) {
    test(`'${pattern}' ${matches ? 'matches' : 'does not match'} '${text}'`.replaceAll('\n', '\\n'), () =>
      assert.equal(like(pattern).matches(text), matches),
    );
  }

  test('random patterns agree with a regular expression', () => {
    const sign = fc.constantFrom('a', 'b', '%', '_', '[ab]', '[^a]');
    fc.assert(
      fc.property(fc.array(sign, { maxLength: 6 }), fc.stringMatching(/^[abc]{0,8}$/), (signs, text) => {
        const source = signs.map((each) => (each === '%' ? '.*' : each === '_' ? '.' : each)).join('');
        assert.equal(like(signs.join('')).matches(text), new RegExp(`^${source}$`, 's').test(text));
      }),
      { numRuns: 5000, seed: 46 },
    );
  });

  test('a set that is not closed, and a pattern too long, are refused', () => {
    assert.throws(() => like('ab[c'), /\[ at position 3 is not closed/);
    assert.throws(() => like('a'.repeat(1001)), /more than 1000 characters/);
  });
});
