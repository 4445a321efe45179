import { fc } from './properties.ts';
import type { Away, ModelSettings } from './spool-model-settings.ts';

/** One thing that happens to a spool. */
export type Happening =
  | {
      readonly do: 'accept';
      readonly lane: number;
      readonly count: number;
      readonly bytes: number;
      readonly kind: 'noise' | 'json';
      readonly wait: boolean;
      readonly lifeSecs: number | null;
    }
  /** Many commits of one message each, while nobody sends. */
  | { readonly do: 'trickle'; readonly lane: number; readonly count: number; readonly bytes: number }
  /** Accepted and delivered at once: the upstream is near. */
  | {
      readonly do: 'relay';
      readonly lane: number;
      readonly count: number;
      readonly bytes: number;
      readonly dead: boolean;
    }
  | { readonly do: 'take'; readonly count: number }
  | { readonly do: 'settle'; readonly count: number; readonly deadEvery: number }
  | { readonly do: 'report'; readonly acknowledged: boolean }
  | { readonly do: 'rewind' | 'heal' }
  | { readonly do: 'pass' | 'wall'; readonly ms: number }
  | { readonly do: 'configure'; readonly change: Partial<ModelSettings> }
  | { readonly do: 'letters'; readonly act: 'retry' | 'drop'; readonly half: boolean }
  | { readonly do: 'refuse'; readonly fault: 'io' | 'full' }
  | { readonly do: 'restart' | 'crash'; readonly away: Away };

/** ... and whether everything is flushed and looked at afterwards, or goes on as it is. */
export type Step = Happening & { readonly look: boolean };

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

type Weighted = fc.WeightedArbitrary<Happening>;

const number = (max: number) => fc.integer({ min: 1, max });
const lane = fc.constantFrom(10, 3, 0);
const away = fc.record({ ms: fc.constantFrom(0, 5 * SECOND, 10 * MINUTE, 3 * HOUR), reboot: fc.boolean() });

export const accepting = (weight: number, count: number, sizes: readonly number[], wait = fc.boolean()): Weighted => ({
  weight,
  arbitrary: fc.record({
    do: fc.constant('accept' as const),
    lane,
    count: number(count),
    bytes: fc.constantFrom(...sizes),
    kind:
      Math.max(...sizes) > 20_000 ? fc.constant('noise' as const) : fc.constantFrom('noise' as const, 'json' as const),
    wait,
    lifeSecs: fc.constantFrom(null, null, 1, 45, 3600),
  }),
});

export const trickling: Weighted = {
  weight: 2,
  arbitrary: fc.record({
    do: fc.constant('trickle' as const),
    lane,
    count: number(60),
    bytes: fc.constantFrom(10, 1500, 4000),
  }),
};

export const relaying: Weighted = {
  weight: 5,
  arbitrary: fc.record({
    do: fc.constant('relay' as const),
    lane,
    count: number(20),
    bytes: fc.constantFrom(10, 1500),
    dead: fc.boolean(),
  }),
};

export const sending: readonly Weighted[] = [
  { weight: 4, arbitrary: fc.record({ do: fc.constant('take' as const), count: number(200) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      count: number(200),
      deadEvery: fc.constantFrom(0, 0, 1, 3, 7),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('report' as const), acknowledged: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('rewind' as const) }) },
];

export const stopping: readonly Weighted[] = [
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const), away }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('crash' as const), away }) },
];

export const letters: Weighted = {
  weight: 2,
  arbitrary: fc.record({
    do: fc.constant('letters' as const),
    act: fc.constantFrom('retry' as const, 'drop' as const),
    half: fc.boolean(),
  }),
};

export const passing = (weight: number): readonly Weighted[] => [
  {
    weight,
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      ms: fc.constantFrom(3, 900, 20 * SECOND, 50 * SECOND, 3 * MINUTE, HOUR, 3 * HOUR),
    }),
  },
  {
    weight: Math.ceil(weight / 3),
    arbitrary: fc.record({
      do: fc.constant('wall' as const),
      ms: fc.constantFrom(-50 * 365 * 24 * HOUR, -6 * HOUR, -5 * SECOND, 5 * SECOND, 6 * HOUR, 50 * 365 * 24 * HOUR),
    }),
  },
];

export const configuring = (weight: number, changes: readonly Partial<ModelSettings>[]): Weighted => ({
  weight,
  arbitrary: fc.record({ do: fc.constant('configure' as const), change: fc.constantFrom(...changes) }),
});

export const refusing: readonly Weighted[] = [
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('refuse' as const),
      fault: fc.constantFrom('io' as const, 'full' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('heal' as const) }) },
];

export function steps(of: readonly Weighted[], most: number): fc.Arbitrary<Step[]> {
  const step = fc.tuple(fc.oneof(...of), fc.boolean()).map(([happening, look]): Step => ({ ...happening, look }));
  return fc.array(step, { maxLength: most, size: 'max' });
}
