import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Twins, type TwinChange } from '../src/twins/twins.ts';
import { emptyObject, merged, same, type Json, type JsonObject } from '../src/twins/patch.ts';
import { MemoryStore } from './parts/memory-store.ts';
import { fc } from './parts/properties.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const RUNS = LONG ? 5000 : 400;
const SEEDS = [13, 20_261_126];

const leaf = fc.constantFrom<Json>(1, 2, 'x', null, [1]);
const inner = fc.dictionary(fc.constantFrom('p', 'q'), leaf, { maxKeys: 2 });
const patch = fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.oneof(leaf, inner), {
  maxKeys: 3,
}) as fc.Arbitrary<JsonObject>;
const document = patch.map((each) => merged(emptyObject(), each));

interface Change {
  readonly do: 'report' | 'desire' | 'replace' | 'adopt';
  readonly child: string;
  readonly value: JsonObject;
  readonly version?: number;
}
type Step = Change | { readonly do: 'fail' | 'restart' | 'settle' };

const child = fc.constantFrom('d', 'e');
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constantFrom<Change['do']>('report', 'desire'), child, value: patch }),
  fc.record({ do: fc.constant<Change['do']>('replace'), child, value: document }),
  fc.record({
    do: fc.constant<Change['do']>('adopt'),
    child,
    value: document,
    version: fc.integer({ min: 1, max: 12 }),
  }),
  fc.constantFrom<Step>({ do: 'fail' }, { do: 'restart' }, { do: 'settle' }),
);

interface Known {
  version: number;
  /** Of the last document from above. */
  above: number;
  properties: JsonObject;
}

/** What the twins must be, told without waiting, records or differences. */
class Model {
  readonly #sides = new Map<string, Known>();

  side(key: string): Known {
    const known = this.#sides.get(key) ?? { version: 1, above: 0, properties: emptyObject() };
    this.#sides.set(key, known);
    return known;
  }

  apply(key: string, properties: JsonObject, version?: number): number {
    const known = this.side(key);
    if (version !== undefined && version <= known.above) return known.version;
    known.above = version ?? known.above;
    const takes = version !== undefined && (version > known.version || isFirst(known, version));
    if (!takes && same(properties, known.properties)) return known.version;
    known.version = takes ? version : known.version + 1;
    known.properties = properties;
    return known.version;
  }
}

function isFirst({ version, properties }: Known, given: number): boolean {
  return given === version && Object.keys(properties).length === 0;
}

/** Makes a change of both; resolves when it was answered as the model says. */
async function given(twins: Twins, model: Model, change: Change): Promise<void> {
  const { child: who, value, version } = change;
  const key = `${change.do === 'report' ? 'reported' : 'desired'} ${who}`;
  const whole = change.do === 'replace' || change.do === 'adopt';
  const expected = model.apply(key, whole ? value : merged(model.side(key).properties, value), version);
  const answer = whole
    ? await twins.replaceDesired(who, null, value, version)
    : change.do === 'desire'
      ? await twins.desire(who, null, value)
      : await twins.report(who, null, Buffer.from(JSON.stringify(value)));
  assert.deepEqual(answer, { version: expected });
}

describe('twins through changes at once, failed writes and restarts', () => {
  for (const seed of SEEDS) {
    test(`are what was answered, and what was told adds up to them (seed ${seed})`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
          const store = new MemoryStore();
          const model = new Model();
          const told = new Map<string, JsonObject>();
          const changed = ({ child: who, side, patch: by, version }: TwinChange) => {
            const key = `${side} ${who}`;
            told.set(key, merged(told.get(key) ?? emptyObject(), by));
            assert.equal(typeof version, 'number');
          };
          let twins = new Twins({ store, changed });
          const waiting: Promise<void>[] = [];
          const settle = () => Promise.all(waiting.splice(0));
          for (const each of steps) {
            if ('child' in each) waiting.push(given(twins, model, each));
            else if (each.do === 'settle') await settle();
            else if (each.do === 'restart') {
              await settle();
              twins = new Twins({ store, changed });
            } else {
              await settle();
              store.fails = new Error('the medium');
              const failed = await twins.report('d', null, Buffer.from('{"a":"never kept"}'));
              assert.ok('status' in failed && failed.status === 500);
            }
          }
          await settle();
          for (const who of ['d', 'e']) {
            const view = twins.read(who, null);
            for (const side of ['desired', 'reported'] as const) {
              const { version, properties } = model.side(`${side} ${who}`);
              assert.ok(same(view[side], { ...properties, $version: version }), JSON.stringify(view[side]));
              assert.ok(same(told.get(`${side} ${who}`) ?? {}, properties));
            }
          }
        }),
        { seed, numRuns: RUNS },
      );
    });
  }
});
