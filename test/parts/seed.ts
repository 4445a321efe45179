/**
 * Where chance begins in this run: `HOLDFAST_TEST_SEED`, which `npm test` takes from the source, so that the same source meets the
 * same chances on every machine and a changed one meets others (docs/decisions/0020-chance-in-tests.md); else the clock.
 */
export const SEED = Number(process.env['HOLDFAST_TEST_SEED'] || Date.now()) >>> 0;
