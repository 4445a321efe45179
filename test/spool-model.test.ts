import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { describe, test } from 'node:test';
import { fc } from './parts/properties.ts';
import { PROPERTIES, run } from './parts/spool-model-properties.ts';
import { emptyTally } from './parts/spool-model-settings.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
/** Runs of each property with each seed, in the long test. */
const LONG_RUNS = 100;

// What is shown here is what the spool does, not what the medium does: kills and power cuts have tests of their own. In memory
// there are several times as many runs to the minute.
if (existsSync('/dev/shm')) process.env['TMPDIR'] = '/dev/shm';

describe('whatever happens in whatever order', () => {
  for (const { name, settings, steps: happenings, runs, sees } of PROPERTIES) {
    const tally = emptyTally();
    // Each seed found something once, or was the day's; a failure prints its own.
    for (const seed of [1, 20_261_121, ...(LONG ? [2, 3] : [])]) {
      test(`${name} (seed ${seed})`, async () => {
        await fc.assert(
          fc.asyncProperty(settings, happenings, (given, all) => run(all, given, tally)),
          { seed, numRuns: LONG ? LONG_RUNS : runs, includeErrorInReport: true, endOnFailure: !LONG },
        );
      });
    }
    test(`${name}: enough has happened to tell`, (context) => {
      context.diagnostic(JSON.stringify(tally));
      for (const what of sees) assert.ok(tally[what] > 0, `nothing was ${what}: too few runs to tell`);
    });
  }
});
