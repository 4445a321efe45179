import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RecordBuffer, RecordReader } from '../src/message/binary.ts';
import { BODY_BYTES_MAX, type Message } from '../src/message/message.ts';
import { ulid, ulidText } from '../src/message/ulid.ts';
import { fc } from './parts/properties.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const TIME_MAX = 2 ** 48 - 1;

/** UTF-8 has no lone surrogates: they come back as U+FFFD, and nothing else changes. */
const wellFormed = (text: string) => Buffer.from(text, 'utf8').toString('utf8');

const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  fc.string({ minLength: 30, maxLength: 200 }),
  fc.constantFrom(
    '',
    '\0',
    '__proto__',
    'constructor',
    'toString',
    '\ud800',
    'a\udfffb',
    '𝄞',
    '\u00e9',
    'x'.repeat(70_000),
  ),
);
const time = fc.integer({ min: 0, max: TIME_MAX });
const optional = <T>(name: string, arbitrary: fc.Arbitrary<T>) =>
  fc.option(arbitrary, { nil: undefined }).map((value) => (value === undefined ? {} : { [name]: value }));

const message: fc.Arbitrary<Message> = fc
  .tuple(
    fc.record({
      id: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes)),
      body: fc.oneof(
        fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
        fc.constantFrom(
          Buffer.alloc(0),
          Buffer.alloc(127, 1),
          Buffer.alloc(128, 2),
          Buffer.alloc(BODY_BYTES_MAX, 0xff),
        ),
      ),
      hops: fc.integer({ min: 0, max: 8 }),
    }),
    fc.tuple(anyText, optional('module', anyText), optional('output', anyText)),
    fc.oneof(
      fc.record({ wall: time, age: time }).map((at) => ({ ...at, clock: 'synced' as const, boot: 0, monotonic: 0 })),
      fc
        .record({ wall: time, age: time, boot: fc.nat(), monotonic: time })
        .map((at) => ({ ...at, clock: 'unknown' as const })),
    ),
    optional('contentType', anyText),
    optional('contentEncoding', anyText),
    optional('properties', fc.array(fc.tuple(anyText, anyText), { maxLength: 8 })),
    optional('eventTime', fc.oneof(fc.integer(), fc.double({ noNaN: true }), fc.constantFrom(-8.64e15, 8.64e15, -0.5))),
    optional('expiresAfterSecs', fc.integer({ min: 0, max: 2_147_483_647 })),
    optional('eventTimeOurs', fc.constant(true as const)),
  )
  .map(([fixed, [child, module, output], acceptedAt, type, encoding, properties, eventTime, expires, ours]) => ({
    ...fixed,
    source: { child, ...module, ...output },
    acceptedAt,
    priority: 10,
    ...type,
    ...encoding,
    ...('properties' in properties ? { properties: bag(properties['properties']) } : {}),
    ...eventTime,
    ...expires,
    ...ours,
  }));

/** Properties as a child may name them: without a prototype, so that any name is just a name. */
function bag(pairs: readonly (readonly [string, string])[]): Record<string, string> {
  const properties = Object.create(null) as Record<string, string>;
  for (const [name, value] of pairs) properties[name] = value;
  return properties;
}

/** What must come back: texts as UTF-8 can say them, an empty bag as none. */
function expected(original: Message): Message {
  const source = Object.fromEntries(
    Object.entries(original.source).map(([name, value]) => [name, wellFormed(value as string)]),
  );
  const { properties, contentType, contentEncoding, ...rest } = original;
  const pairs = Object.entries(properties ?? {}).map(([name, value]) => [wellFormed(name), wellFormed(value)] as const);
  return {
    ...rest,
    source: source as unknown as Message['source'],
    ...(contentType === undefined ? {} : { contentType: wellFormed(contentType) }),
    ...(contentEncoding === undefined ? {} : { contentEncoding: wellFormed(contentEncoding) }),
    ...(pairs.length === 0 ? {} : { properties: bag(pairs) }),
  };
}

describe('the binary form of a message', () => {
  test('comes back as it was, alone and behind others', () => {
    const buffer = new RecordBuffer(16);
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 4 }), (messages) => {
        buffer.clear();
        for (const one of messages) buffer.message(one);
        const reader = new RecordReader(Buffer.from(buffer.view()));
        for (const one of messages) assert.deepEqual(reader.message(10), expected(one));
        assert.ok(reader.done);
      }),
      { numRuns: LONG ? 20_000 : 400 },
    );
  });

  test('a property called __proto__ is a property', () => {
    const buffer = new RecordBuffer(16);
    const properties = bag([
      ['__proto__', 'polluted'],
      ['constructor', 'x'],
    ]);
    buffer.message({ ...sample(), properties });
    const back = new RecordReader(buffer.view()).message(10);
    assert.deepEqual(Object.keys(back.properties!), ['__proto__', 'constructor']);
    assert.equal(back.properties!['__proto__'], 'polluted');
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
  });

  test('times that no clock shows are brought to the nearest that the form can hold', () => {
    for (const [wall, back] of [
      [-1, 0],
      [-1e15, 0],
      [1.9, 1],
      [TIME_MAX, TIME_MAX],
    ] as const) {
      const buffer = new RecordBuffer(16);
      buffer.message({ ...sample(), acceptedAt: { wall, age: wall, boot: 0, monotonic: 0, clock: 'synced' } });
      const { acceptedAt } = new RecordReader(buffer.view()).message(10);
      assert.deepEqual([acceptedAt.wall, acceptedAt.age], [back, back]);
    }
  });

  test('cut short anywhere, it is refused and not misread', () => {
    const buffer = new RecordBuffer(16);
    buffer.message({ ...sample(), properties: { a: 'b', c: 'd' }, contentType: 'application/json', eventTime: 5 });
    const whole = Buffer.from(buffer.view());
    for (let length = 0; length < whole.length; length++) {
      assert.throws(() => new RecordReader(whole.subarray(0, length)).message(10), RangeError, `at ${length}`);
    }
  });

  test('numbers up to 2^53 - 1 come back', () => {
    const numbers = [0, 1, 127, 128, 16_383, 16_384, 2 ** 32, 2 ** 48, Number.MAX_SAFE_INTEGER];
    const buffer = new RecordBuffer(1);
    for (const number of numbers) buffer.varint(number);
    const reader = new RecordReader(buffer.view());
    assert.deepEqual(
      numbers.map(() => reader.varint()),
      numbers,
    );
  });
});

describe('ULIDs', () => {
  const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
  const value = (text: string) =>
    Array.from(text).reduce((sum, char) => sum * 32n + BigInt(CROCKFORD.indexOf(char)), 0n);

  test('their text is the number of their bytes in Crockford base 32', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const text = ulidText(Buffer.from(bytes));
        assert.match(text, /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/);
        assert.equal(value(text), BigInt(`0x${Buffer.from(bytes).toString('hex')}`));
      }),
    );
    // From the specification: github.com/ulid/spec.
    assert.equal(ulidText(Buffer.alloc(16, 0xff)), '7ZZZZZZZZZZZZZZZZZZZZZZZZZ');
  });

  test('they begin with the time, sort by it, and do not repeat', () => {
    const ids = Array.from({ length: 20_000 }, (_, n) => ulid(1_700_000_000_000 + n));
    const texts = ids.map(ulidText);
    assert.deepEqual(texts, texts.toSorted());
    assert.equal(new Set(texts).size, texts.length);
    assert.equal(ids[7]!.readUIntBE(0, 6), 1_700_000_000_007);
    for (const wall of [-5, 0, 0.5, 2 ** 48, 2 ** 53]) assert.equal(ulid(wall).length, 16);
  });
});

function sample(): Message {
  return {
    id: Buffer.alloc(16, 7),
    source: { child: 'child' },
    body: Buffer.from('body'),
    acceptedAt: { wall: 1, age: 2, boot: 0, monotonic: 0, clock: 'synced' },
    priority: 10,
    hops: 0,
  };
}
