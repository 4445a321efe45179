import { nearest } from './nearest.ts';

/** Parts of a date by their full name, with the other spellings of the reference ("Date and time"). */
const SPELLINGS = {
  year: ['yy', 'yyyy', 'years'],
  quarter: ['qq', 'q', 'quarters'],
  month: ['mm', 'm', 'months'],
  dayofyear: ['dy', 'y'],
  day: ['dd', 'd', 'days'],
  week: ['wk', 'ww', 'weeks'],
  weekday: ['dw', 'w'],
  hour: ['hh', 'hours'],
  minute: ['mi', 'n', 'minutes'],
  second: ['ss', 's', 'seconds'],
  millisecond: ['ms', 'milliseconds'],
  microsecond: ['mcs', 'microseconds'],
} as const;

export type DatePart = keyof typeof SPELLINGS;

const PARTS = new Map<string, DatePart>(
  (Object.keys(SPELLINGS) as DatePart[]).flatMap((part) =>
    [part, ...SPELLINGS[part]].map((spelling): [string, DatePart] => [spelling, part]),
  ),
);

/** Those that are a length of time, in microseconds, from the longest to the shortest. */
export const DURATION_UNITS: readonly (readonly [unit: DatePart, micros: number])[] = [
  ['day', 86_400_000_000],
  ['hour', 3_600_000_000],
  ['minute', 60_000_000],
  ['second', 1_000_000],
  ['millisecond', 1000],
  ['microsecond', 1],
];
const MICROS: ReadonlyMap<DatePart, number> = new Map(DURATION_UNITS);

/** The longest window, LIMIT DURATION and time bound of a join: 7 days. */
export const DURATION_MAX_MICROS = 7 * 86_400_000_000;

/** The full name of a part of a date in any of its spellings, in any case; undefined when it is none. */
export function datePart(word: string): DatePart | undefined {
  return PARTS.get(word.toLowerCase());
}

/** Microseconds of a unit; undefined for those that are no length of time, or of changing length (month, year), and for weeks. */
export function unitMicros(part: DatePart): number | undefined {
  return MICROS.get(part);
}

/** What to write in place of a word that is no part of a date. */
export function datePartHint(word: string): string {
  const meant = nearest(word, PARTS.keys());
  const all = Object.keys(SPELLINGS).join(', ');
  return meant === undefined ? `parts of a date are ${all}` : `did you mean ${meant}?`;
}
