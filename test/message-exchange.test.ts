import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bodyForm, exchanged, incoming, NoMessage, stamped } from '../src/message/exchange.ts';
import type { Message } from '../src/message/message.ts';
import { ulid, ulidFrom, ulidText } from '../src/message/ulid.ts';
import { fc } from './parts/properties.ts';

const stamp = { wall: 2000, monotonic: 7, boot: 3, clock: 'unknown', age: 99 } as const;

/** There and back, as text. */
function returned(message: Message): Message {
  const known = { at: message.acceptedAt.wall, clock: message.acceptedAt.clock };
  const form = exchanged({ lane: message.priority, epoch: 1, seq: 1, message }, known);
  return stamped(incoming(JSON.parse(JSON.stringify(form))), stamp);
}

const text = () => fc.string({ unit: 'grapheme', maxLength: 20 });
const maybe = <Key extends string, T>(key: Key, value: fc.Arbitrary<T>) =>
  fc.option(value, { nil: undefined }).map((v) => (v === undefined ? {} : { [key]: v }));
const body = () =>
  fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    fc.json().map((json) => Buffer.from(json)),
    text().map((string) => Buffer.from(string)),
  );

describe('a message in its JSON form', () => {
  test('comes back as it was, with a new stamp', () => {
    fc.assert(
      fc.property(
        body(),
        fc.integer({ min: 0, max: 10 }),
        fc.tuple(maybe('module', fc.constant('m-1')), maybe('output', text())),
        fc.tuple(maybe('contentType', text()), maybe('contentEncoding', text())),
        maybe('properties', fc.dictionary(text(), text(), { minKeys: 1, noNullPrototype: false })),
        maybe(
          'eventTime',
          fc.oneof(
            fc.integer({ min: 0, max: 4e12 }),
            fc.double({ noNaN: true, noDefaultInfinity: true }).map((ms) => ms + 0),
          ),
        ),
        maybe('expiresAfterSecs', fc.integer({ min: 1, max: 2_147_483_647 })),
        (bytes, priority, [module, output], [type, encoding], properties, eventTime, expiry) => {
          const message: Message = {
            id: ulid(1000),
            source: { child: 'press-1', ...module, ...output },
            body: bytes,
            ...type,
            ...encoding,
            ...properties,
            ...eventTime,
            ...expiry,
            acceptedAt: { wall: 1000, monotonic: 5, boot: 1, clock: 'synced', age: 4 },
            priority,
            hops: 2,
          };
          const back = returned(message);
          const given = message.properties ?? {};
          assert.deepEqual({ ...back.properties }, { ...given });
          assert.deepEqual(
            { ...back, properties: 0 },
            { ...message, properties: 0, acceptedAt: { ...stamp, wall: 1000, clock: 'synced', boot: 0, monotonic: 0 } },
          );
        },
      ),
      { numRuns: 1000, seed: 20_261_125 },
    );
  });

  test('shows a body as JSON or text only where that is all of it', () => {
    const forms: [string | Buffer, unknown][] = [
      ['{"a":1}', { a: 1 }],
      ['{"a": 1}', '{"a": 1}'],
      ['1.0', '1.0'],
      ['12', 12],
      ['"quoted"', '"quoted"'],
      ['plain', 'plain'],
      ['null', null],
      ['', ''],
      ['{"base64":"AAAA"}', '{"base64":"AAAA"}'],
      ['{"a":1,"a":2}', '{"a":1,"a":2}'],
      [Buffer.from([0xff, 0x00]), { base64: '/wA=' }],
    ];
    for (const [bytes, form] of forms) assert.deepEqual(bodyForm(Buffer.from(bytes as string)), form);
  });

  test('needs only a child and a body', () => {
    const message = stamped(incoming({ child: 'a', body: 'x' }), stamp);
    assert.equal(message.priority, 10);
    assert.equal(message.hops, 0);
    assert.deepEqual(message.acceptedAt, stamp);
    assert.equal(message.id.length, 16);
  });

  test('keeps what its times are worth; without a word on it they are taken to be right', () => {
    const times = (form: object) => {
      const { acceptedAt, eventTimeOurs } = stamped(incoming({ child: 'a', body: 'x', ...form }), stamp);
      return [acceptedAt.wall, acceptedAt.clock, acceptedAt.boot, eventTimeOurs];
    };
    const given = { eventTime: 4, acceptedAt: 5 };
    assert.deepEqual(times(given), [5, 'synced', 0, undefined]);
    assert.deepEqual(times({ ...given, clock: 'restored' }), [5, 'restored', 0, undefined]);
    assert.deepEqual(times({ ...given, clock: 'unknown' }), [5, 'unknown', 0, undefined]);
    assert.deepEqual(times({ ...given, clock: 'unknown', eventTimeOurs: true }), [5, 'unknown', 0, true]);
    // With a stamp of ours, the event time is by a clock of which we know nothing.
    assert.deepEqual(times({ eventTime: 4, clock: 'unknown', eventTimeOurs: true }), [2000, 'unknown', 3, undefined]);
  });

  test('is refused with the reason when it is none', () => {
    const fine = { child: 'a', body: 'x' };
    const wrong: [unknown, RegExp][] = [
      [null, /no JSON object/],
      [[fine], /no JSON object/],
      [{ body: 'x' }, /no child/],
      [{ child: 'a' }, /no body/],
      [{ ...fine, child: 'a/b' }, /its child may have/],
      [{ ...fine, child: '' }, /its child may have/],
      [{ ...fine, module: '#' }, /its module may have/],
      [{ ...fine, lane: 11 }, /its lane is no whole number from 0 to 10/],
      [{ ...fine, hops: 9 }, /its hops/],
      [{ ...fine, expiresAfterSecs: 0 }, /its expiresAfterSecs/],
      [{ ...fine, eventTime: 'yesterday' }, /its eventTime is no time/],
      [{ ...fine, acceptedAt: 1e300 }, /its acceptedAt is no time/],
      [{ ...fine, acceptedAt: -1 }, /its acceptedAt is no time/],
      [{ ...fine, clock: 'Unknown', acceptedAt: 5 }, /its clock is none of synced, restored, unknown/],
      [{ ...fine, eventTimeOurs: 1 }, /its eventTimeOurs is neither true nor false/],
      [{ ...fine, id: 'abc' }, /its id is no ULID/],
      [{ ...fine, id: '8ZZZZZZZZZZZZZZZZZZZZZZZZZ' }, /its id is no ULID/],
      [{ ...fine, properties: { a: 1 } }, /its property "a" is no string/],
      [{ ...fine, properties: [] }, /its properties are no object/],
      [{ ...fine, contentType: 7 }, /its contentType is no string/],
      [{ ...fine, contentType: '\ud800' }, /no Unicode text/],
      [{ ...fine, evenTime: 5 }, /has no "evenTime"/],
      [{ ...fine, body: { base64: 'A' } }, /is not base64/],
      [{ ...fine, body: 'x'.repeat(262_145) }, /larger than the 262144/],
    ];
    for (const [form, why] of wrong) {
      assert.throws(
        () => incoming(form),
        (error: unknown) => error instanceof NoMessage && why.test(error.message),
        String(why),
      );
    }
    assert.equal(incoming({ ...fine, body: 'x'.repeat(262_144) }).message.body.length, 262_144);
  });
});

test('a ULID comes back from its text', () => {
  for (let n = 0; n < 100; n++) {
    const id = ulid(n * 1e10);
    assert.ok(ulidFrom(ulidText(id))!.equals(id));
  }
});
