import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { breach, patchFrom, sizeOf } from '../src/twins/limits.ts';
import { difference, merged, same, type Json, type JsonObject } from '../src/twins/patch.ts';
import { fc } from './parts/properties.ts';

const name = fc.constantFrom('a', 'b', 'c', '__proto__', 'constructor', 'toString', '');
/** Few names, so that documents meet in them. */
const { value } = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom<Json>(0, -0, 1, 'x', '', true, false),
    fc.array(fc.constantFrom<Json>(1, null, 'x'), { maxLength: 2 }),
    fc.dictionary(name, tie('value'), { maxKeys: 4 }) as fc.Arbitrary<Json>,
  ),
}));
const document = fc.dictionary(name, value, { maxKeys: 4 }) as fc.Arbitrary<JsonObject>;
/** A patch: a document with nulls in it. */
const { withNulls } = fc.letrec<{ withNulls: Json }>((tie) => ({
  withNulls: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom<Json>(null, 2, 'y'),
    fc.dictionary(name, tie('withNulls'), { maxKeys: 4 }) as fc.Arbitrary<Json>,
  ),
}));
const patch = fc.dictionary(name, withNulls, { maxKeys: 4 }) as fc.Arbitrary<JsonObject>;
const SEEDS = [7, 20_261_126];

/** As it is after it was written and read. */
function kept(json: JsonObject): JsonObject {
  return JSON.parse(JSON.stringify(json)) as JsonObject;
}

/** Whether there is a null where a document cannot have one. */
function hasNull(json: Json): boolean {
  if (typeof json !== 'object' || json === null) return json === null;
  return !Array.isArray(json) && Object.values(json).some(hasNull);
}

/** RFC 7396, section 2, as it is written there. */
function mergePatch(target: Json | undefined, by: Json): Json {
  if (typeof by !== 'object' || by === null || Array.isArray(by)) return by;
  const result = new Map(
    typeof target === 'object' && target !== null && !Array.isArray(target) ? Object.entries(target) : [],
  );
  for (const [key, each] of Object.entries(by)) {
    if (each === null) result.delete(key);
    else result.set(key, mergePatch(result.get(key), each));
  }
  return Object.fromEntries(result);
}

describe('a merge patch', () => {
  for (const seed of SEEDS) {
    const runs = { seed, numRuns: 2000 };

    test(`merges as RFC 7396 says, and changes neither (seed ${seed})`, () => {
      fc.assert(
        fc.property(document, patch, (target, by) => {
          const before = JSON.stringify([target, by]);
          const result = merged(target, by);
          assert.ok(same(result, mergePatch(target, by)), JSON.stringify(result));
          assert.equal(hasNull(result), false);
          assert.equal(JSON.stringify([target, by]), before);
        }),
        runs,
      );
    });

    test(`twice is once (seed ${seed})`, () => {
      fc.assert(
        fc.property(document, patch, (target, by) => {
          const once = merged(target, by);
          assert.ok(same(merged(once, by), once));
        }),
        runs,
      );
    });

    test(`made of two documents leads from one to the other, through the medium, and is empty when they are the same (seed ${seed})`, () => {
      fc.assert(
        fc.property(document, document, (from, to) => {
          const found = difference(kept(from), kept(to));
          assert.ok(same(merged(from, kept(found)), to), JSON.stringify(found));
          assert.equal(Object.keys(found).length === 0, same(from, to));
          assert.equal(Object.keys(difference(to, kept(to))).length, 0);
        }),
        runs,
      );
    });
  }

  const CASES: readonly (readonly [string, string, string])[] = [
    // RFC 7396, appendix A, those whose target and patch are objects.
    ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'],
    ['{"a":"b"}', '{"a":null}', '{}'],
    ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'],
    ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'],
    ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'],
    ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
    ['{}', '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'],
  ];
  for (const [target, by, result] of CASES) {
    test(`${target} with ${by}`, () => {
      assert.equal(JSON.stringify(merged(JSON.parse(target) as JsonObject, JSON.parse(by) as JsonObject)), result);
    });
  }
});

/** An object with so many others within it. */
function nested(depth: number): JsonObject {
  return depth === 0 ? { x: 1 } : { a: nested(depth - 1) };
}

describe('what a twin may hold', () => {
  const CASES: readonly (readonly [what: string, value: Json, fits: boolean])[] = [
    ['the largest whole number', { a: 2 ** 52 - 1 }, true],
    ['one more', { a: 2 ** 52 }, false],
    ['the smallest', { a: -(2 ** 52) }, true],
    ['one less', { a: -(2 ** 52) - 1 }, false],
    ['a fraction', { a: 0.1 }, true],
    ['what JSON reads as infinite', JSON.parse('{"a":1e999}') as Json, false],
    ['a text of 4096 bytes', { a: 'é'.repeat(2048) }, true],
    ['one of 4098', { a: 'é'.repeat(2049) }, false],
    ['a name of 1024 bytes', { ['n'.repeat(1024)]: 1 }, true],
    ['one of 1025', { ['n'.repeat(1025)]: 1 }, false],
    ['an empty name', { '': 1 }, false],
    ['a name with a point', { 'a.b': 1 }, false],
    ['a name with a dollar', { a: { $b: 1 } }, false],
    ['a name with a space', { 'a b': 1 }, false],
    ['a name with a control character', { 'a\u0085': 1 }, false],
    ['ten objects within each other', nested(10), true],
    ['eleven', nested(11), false],
    ['a list among them', { a: [[[[[[[[[[1]]]]]]]]]] }, true],
    ['too many lists', { a: [[[[[[[[[[[1]]]]]]]]]]] }, false],
    ['null', { a: null }, true],
    ['something wrong in a list', { a: [{ 'b.c': 1 }] }, false],
  ];
  for (const [what, json, fits] of CASES)
    test(what, () => assert.equal(breach(json) === null, fits, breach(json) ?? ''));

  test('however deep it goes, it is refused, not fallen over', () => {
    const deep = JSON.parse(`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`) as Json;
    assert.match(breach(deep) ?? '', /nested deeper than 10/);
    assert.ok((breach(deep) ?? '').length < 200);
  });

  test('a patch is an object, and what is the gateway’s in it is left out', () => {
    assert.deepEqual(patchFrom({ $version: 3, $metadata: {}, a: 1 }), { a: 1 });
    for (const none of [null, 1, 'x', [1], undefined]) assert.equal(typeof patchFrom(none), 'string');
    assert.match(patchFrom({ $versions: 3 }) as string, /\$versions/);
  });

  test('its size is counted as IoT Hub counts it', () => {
    assert.equal(
      sizeOf({ name: 'text', n: 1, yes: true, list: [1, 'ab'], inner: { é: 'a\u0001b' } }),
      8 + 9 + 7 + 14 + 9,
    );
  });
});
