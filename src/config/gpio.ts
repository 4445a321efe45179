import { z } from 'zod';
import { ALONGSIDE, choice, complain, flag, integer, milliseconds, misfit, section, show, text } from './values.ts';

/** Longest debounce, milliseconds. */
export const DEBOUNCE_MS_MAX = 10_000;
/** Most lines of a GPIO chip (the kernel's number of lines is 16 bits wide; real chips stay far below). */
export const OFFSET_MAX = 65_535;

/** A line by the chip's label and the line's offset in it. Numbers of chips and of sysfs change between kernels; labels do not. */
export const ChipLineSchema = section({
  chip: text('the label of a GPIO chip', 'pinctrl-bcm2711').describe(
    'Label of the GPIO chip, as `gpiodetect` prints it.',
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
  initial: choice([0, 1]).describe('The level to begin with; for `out`, where it is 0 when left out.').exactOptional(),
})
  .superRefine(({ direction, edge, debounceMs, initial }, context) => {
    const misplaced = (key: string, value: unknown, owner: 'in' | 'out'): void =>
      complain(context, `${show(value)} is for direction ${owner}, and this line is ${direction}; remove it`, [key]);
    if (direction === 'out' && edge !== undefined) misplaced('edge', edge, 'in');
    if (direction === 'out' && typeof debounceMs === 'number' && debounceMs > 0)
      misplaced('debounceMs', debounceMs, 'in');
    if (direction === 'in' && initial !== undefined) misplaced('initial', initial, 'out');
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
