import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { SpoolModel, type Step } from './parts/spool-model.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const MIB = 2 ** 20;

const step = (bytes: fc.Arbitrary<number>, count: number, wait: fc.Arbitrary<boolean>): fc.Arbitrary<Step> => {
  const number = (max: number) => fc.integer({ min: 1, max });
  const accept = {
    do: fc.constant('accept' as const),
    lane: fc.constantFrom(0, 3, 10),
    count: number(count),
    bytes,
    wait,
  };
  const settle = {
    do: fc.constant('settle' as const),
    count: number(200),
    deadEvery: fc.constantFrom(0, 0, 0, 1, 7),
  };
  const rest = fc.constantFrom('flush', 'rewind', 'rewind', 'restart', 'crash', 'audit');
  return fc.oneof(
    { weight: 8, arbitrary: fc.record(accept) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('take' as const), count: number(200) }) },
    { weight: 4, arbitrary: fc.record(settle) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('report' as const), acknowledged: fc.boolean() }) },
    { weight: 6, arbitrary: fc.record({ do: rest }) },
  );
};

async function run(steps: readonly Step[], quotaBytes: number): Promise<SpoolModel> {
  const model = await SpoolModel.start({ quota: { bytes: quotaBytes } });
  try {
    for (const one of steps) await model.step(one);
    await model.end();
    return model;
  } catch (error) {
    await model.abandon();
    throw error;
  }
}

describe('whatever happens in whatever order', () => {
  // Each seed found something once, or is the day's; a failure prints its own.
  for (const seed of [1, 20_261_121, ...(LONG ? [2, 3, 4, 5] : [])]) {
    test(`nothing is lost, doubled or out of order while there is room (seed ${seed})`, async () => {
      const steps = fc.array(step(fc.constantFrom(0, 10, 300, 5000, 60_000), 300, fc.boolean()), { maxLength: 40 });
      await fc.assert(
        fc.asyncProperty(steps, async (all) => void (await run(all, 512 * MIB))),
        { seed, numRuns: LONG ? 300 : 20, includeErrorInReport: true, endOnFailure: !LONG },
      );
    });

    test(`what does not fit is dropped from the front, and all of it is in a loss report (seed ${seed})`, async () => {
      let evicted = 0;
      let crashes = 0;
      const steps = fc.array(step(fc.constantFrom(10, 20_000, 60_000), 3, fc.constant(true)), {
        minLength: 20,
        maxLength: 120,
      });
      await fc.assert(
        fc.asyncProperty(steps, async (all) => {
          const model = await run(all, 1.25 * MIB);
          evicted += model.evicted;
          crashes += model.crashes;
        }),
        { seed, numRuns: LONG ? 300 : 20, includeErrorInReport: true, endOnFailure: !LONG },
      );
      assert.ok(
        evicted > 0 && crashes > 0,
        `${evicted} messages were evicted over ${crashes} crashes: too few to tell`,
      );
    });
  }
});
