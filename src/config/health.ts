import type { z } from 'zod';
import { duration, identifier, integer, section } from './values.ts';

const DAY_MS = 86_400_000;

/** When the gateway warns of itself and its board. */
export const HealthSchema = section({
  every: duration(1000, DAY_MS, 'from 1s to 1d, with its unit', '60s')
    .describe('Time between looks at the board.')
    .prefault('60s'),
  led: identifier('activity')
    .describe('The LED of the profile that shows how the gateway does; `none` leaves all alone.')
    .default('activity'),
  limits: section({
    temperatureCelsius: integer(30, 125).describe('The processor is too hot above this.').default(80),
    memoryPercent: integer(10, 100).describe("More than this of the board's memory is in use.").default(90),
    diskPercent: integer(10, 100)
      .describe('The filesystem of `dataDir` is fuller than this, as `df` counts.')
      .default(95),
    lifeDays: integer(1, 36_500)
      .describe('The medium has fewer days left, at the rate at which it is written, than this.')
      .default(365),
    silentAfter: duration(1000, 30 * DAY_MS, 'from 1s to 30d, with its unit', '10m')
      .describe('A wired child has given no good reading for so long. Left out: no child is expected to.')
      .exactOptional(),
  })
    .describe('What is beyond them is in the log and in `holdfast status`.')
    .prefault({}),
}).describe('When to warn of the board, and what its LED shows; docs/health.md says where it is read.');

export type HealthConfig = z.output<typeof HealthSchema>;
