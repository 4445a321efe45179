import * as z from 'zod';
import {
  ALONGSIDE,
  choice,
  complain,
  duration,
  flag,
  integer,
  milliseconds,
  misfit,
  section,
  show,
  text,
} from './values.ts';

/** Longest debounce, milliseconds. */
export const DEBOUNCE_MS_MAX = 10_000;
/** Most lines of a GPIO chip (the kernel's number of lines is 16 bits wide; real chips stay far below). */
export const OFFSET_MAX = 65_535;
const DAY_MS = 86_400_000;

/** A line by the chip's label (or the name of its device) and the line's offset in it. Numbers of chips and of sysfs change between kernels; labels do not. */
export const ChipLineSchema = section({
  chip: text('the label of a GPIO chip', 'pinctrl-bcm2711').describe(
    'Label of the GPIO chip, as `gpiodetect` prints it, or the name of its device, such as `44e07000.gpio`.',
  ),
  offset: integer(0, OFFSET_MAX).describe('Offset of the line in the chip.'),
});

export type ChipLine = z.output<typeof ChipLineSchema>;

const lineWrong = misfit('a GPIO line', 'for example GPIO17 or { chip: pinctrl-bcm2711, offset: 17 }');

export const GpioSchema = section({
  line: z
    .union([text('a GPIO line', 'GPIO17'), ChipLineSchema], { error: lineWrong })
    .describe('A header name from the profile, or a chip label and an offset.'),
  direction: choice(['in', 'out']).describe('`in` reads the line, `out` drives it.').default('in'),
  edge: choice(['none', 'rising', 'falling', 'both'])
    .describe('The changes that make a message; for `in`, where it is `both` when left out.')
    .exactOptional(),
  debounceMs: milliseconds({ min: 0, max: DEBOUNCE_MS_MAX }, '20 or 20ms')
    .describe('A level must hold this long to count; for `in`.')
    .prefault(0),
  activeLow: flag().describe('Electrically low counts as 1.').default(false),
  bias: choice(['as-is', 'none', 'pull-up', 'pull-down'])
    .describe('What the chip does to an open line; needs the character device. `as-is`: what the firmware has set.')
    .default('as-is'),
  count: section({
    every: duration(1000, DAY_MS, 'from 1s to 1d, with its unit', '10s').describe('Time between messages.'),
  })
    .describe('Edges are counted, and the count is told, not each of them; for `in`.')
    .exactOptional(),
  duration: flag()
    .describe('Each message says how long the level before it lasted (`heldMs`); for `in` with edge `both`.')
    .default(false),
  initial: choice([0, 1]).describe('The level to begin with; for `out`, where it is 0 when left out.').exactOptional(),
  safe: choice([0, 1])
    .describe('The level to leave behind at a stop, and to begin with after a crash; for `out`. Left out: it stays.')
    .exactOptional(),
})
  .superRefine(({ direction, edge, debounceMs, initial, safe, count, duration: lasts }, context) => {
    const misplaced = (key: string, value: unknown, owner: 'in' | 'out'): void =>
      complain(context, `${show(value)} is for direction ${owner}, and this line is ${direction}; remove it`, [key]);
    if (direction === 'out' && edge !== undefined) misplaced('edge', edge, 'in');
    if (direction === 'out' && typeof debounceMs === 'number' && debounceMs > 0)
      misplaced('debounceMs', debounceMs, 'in');
    if (direction === 'out' && count !== undefined) misplaced('count', count, 'in');
    if (direction === 'out' && lasts === true) misplaced('duration', lasts, 'in');
    if (direction === 'in' && initial !== undefined) misplaced('initial', initial, 'out');
    if (direction === 'in' && safe !== undefined) misplaced('safe', safe, 'out');
    if (direction !== 'in') return;
    if (count !== undefined && edge === 'none')
      complain(context, 'with edge none there is nothing to count', ['count']);
    if (lasts !== true) return;
    if (edge !== undefined && edge !== 'both')
      complain(context, `how long a level lasts is known with edge both, and this line has ${show(edge)}`, [
        'duration',
      ]);
    if (count !== undefined)
      complain(context, 'a count says itself how long the level was 1 (activeMs); remove duration', ['duration']);
  }, ALONGSIDE)
  .transform(
    (gpio) =>
      ({
        ...gpio,
        edge: gpio.edge ?? (gpio.direction === 'in' ? 'both' : 'none'),
        initial: gpio.initial ?? 0,
      }) as const,
  )
  .describe('A line of the GPIO header.');
