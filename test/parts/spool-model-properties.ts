import { fc } from './properties.ts';
import type { ModelSettings, Tally } from './spool-model-settings.ts';
import {
  accepting,
  configuring,
  letters,
  passing,
  refusing,
  relaying,
  sending,
  steps,
  stopping,
  trickling,
  type Step,
} from './spool-model-steps.ts';
import { SpoolModel } from './spool-model.ts';

const MIB = 2 ** 20;

const DEFAULTS: ModelSettings = {
  write: 'always',
  whenFull: 'drop-oldest',
  timeToLiveSecs: 7200,
  quota: { bytes: 64 * MIB },
};

export interface Property {
  readonly name: string;
  readonly settings: fc.Arbitrary<Partial<ModelSettings>>;
  readonly steps: fc.Arbitrary<Step[]>;
  readonly runs: number;
  /** What must have come up in the runs of a seed. */
  readonly sees: readonly (keyof Tally)[];
}

export async function run(all: readonly Step[], given: Partial<ModelSettings>, tally: Tally): Promise<void> {
  const model = await SpoolModel.start({ ...DEFAULTS, ...given }, tally);
  try {
    for (const one of all) await model.step(one);
    await model.end();
  } catch (error) {
    await model.abandon();
    throw error;
  }
}

const lanes = fc.constantFrom<NonNullable<ModelSettings['lanes']>[]>(
  {},
  { 0: { whenFull: 'reject-new' } },
  { 10: { whenFull: 'thin' }, 3: { whenFull: 'drop-oldest' }, 0: { whenFull: 'reject-new' } },
);
const whenFull = fc.constantFrom<ModelSettings['whenFull'][]>('thin', 'drop-oldest', 'reject-new');
const smallQuota = fc.constantFrom(1.25, 2, 8).map((mib) => ({ bytes: mib * MIB }));

export const PROPERTIES: readonly Property[] = [
  {
    name: 'nothing is lost, doubled or out of order while there is room',
    settings: fc.constant({ roomy: true, timeToLiveSecs: 10 ** 9 }),
    steps: steps(
      [accepting(8, 150, [0, 10, 300, 5000]), accepting(1, 10, [60_000]), trickling, ...sending, ...stopping, letters],
      40,
    ),
    runs: 8,
    sees: ['crashes', 'merged', 'revived'],
  },
  {
    name: 'what does not fit goes lowest lane first, oldest first or every second one, and all of it is in a loss report',
    settings: fc.record({ whenFull, lanes, quota: smallQuota }),
    steps: steps(
      [accepting(4, 3, [10, 20_000, 60_000]), accepting(6, 100, [1000, 3000, 8000]), ...sending, ...stopping, letters],
      60,
    ),
    runs: 6,
    sees: ['crashes', 'evicted', 'thinned', 'refused'],
  },
  {
    name: 'what is too old goes within a minute, nothing goes before its time, and no wall clock has a say in it',
    settings: fc.record({ timeToLiveSecs: fc.constantFrom(2, 30, 300, 7200), roomy: fc.constant(true) }),
    steps: steps(
      [
        accepting(8, 60, [10, 300, 5000]),
        trickling,
        ...sending,
        ...stopping,
        ...passing(8),
        configuring(2, [{ timeToLiveSecs: 1 }, { timeToLiveSecs: 40 }, { timeToLiveSecs: 7200 }]),
      ],
      40,
    ),
    runs: 6,
    sees: ['crashes', 'expired'],
  },
  {
    name: 'settings that change while it runs act at once, and the file never grows above either quota',
    settings: fc.record({ whenFull, quota: smallQuota }),
    steps: steps(
      [
        accepting(8, 60, [10, 1000, 8000]),
        accepting(2, 3, [60_000, 262_144]),
        ...sending,
        ...stopping,
        ...passing(2),
        configuring(6, [
          { quota: { bytes: 1.25 * MIB } },
          { quota: { bytes: 3 * MIB } },
          { quota: { bytes: 8 * MIB } },
          { whenFull: 'thin' },
          { whenFull: 'drop-oldest' },
          { whenFull: 'reject-new' },
          { lanes: { 10: { whenFull: 'thin' } } },
          { lanes: {} },
          { timeToLiveSecs: 60 },
          { timeToLiveSecs: 7200 },
        ]),
      ],
      50,
    ),
    runs: 6,
    sees: ['crashes', 'evicted', 'thinned', 'expired'],
  },
  {
    name: 'sent from memory when that is quicker, every number is still used once, and no promise is broken',
    settings: fc.record({
      write: fc.constant('when-needed' as const),
      quota: fc.constantFrom({ bytes: 8 * MIB }, { bytes: 64 * MIB }),
    }),
    steps: steps(
      [
        accepting(4, 60, [0, 10, 300, 5000, 20_000]),
        relaying,
        trickling,
        ...sending,
        ...sending,
        ...stopping,
        ...passing(2),
        letters,
      ],
      50,
    ),
    runs: 6,
    sees: ['crashes', 'epochs', 'unwritten', 'revived'],
  },
  {
    name: 'while the medium refuses, the newest wait in memory, what somebody waits for first, and all goes on afterwards',
    settings: fc.record({
      write: fc.constantFrom('always' as const, 'when-needed' as const),
      whenFull: fc.constantFrom('thin' as const, 'drop-oldest' as const),
    }),
    steps: steps(
      [
        accepting(6, 20, [10, 5000]),
        accepting(6, 80, [262_000], fc.constant(false)),
        ...sending,
        ...stopping,
        ...passing(1),
        ...refusing,
      ],
      30,
    ),
    runs: 2,
    sees: ['crashes', 'shed'],
  },
];
