import { fromMicros } from '../query/datetime.ts';
import type { DateTime } from '../query/value.ts';
import type { Micros } from './row.ts';

/** RFC 3339 with milliseconds; six or seven digits of the second where three do not say it all. */
export function momentText(moment: DateTime): string {
  const text = new Date(moment.ms).toISOString();
  if (moment.ticks === 0) return text;
  const digits = String(moment.ticks).padStart(4, '0');
  return `${text.slice(0, -1)}${digits.endsWith('0') ? digits.slice(0, 3) : digits}Z`;
}

export function microsText(time: Micros): string {
  return momentText(fromMicros(time));
}

const UNITS = [
  ['d', 86_400_000_000],
  ['h', 3_600_000_000],
  ['min', 60_000_000],
  ['s', 1_000_000],
  ['ms', 1000],
] as const;

/** A length of time in whole days, hours, minutes or seconds, whichever of them it has at least two of; the rest is left out. */
export function aboutText(span: Micros): string {
  const [unit, size] = UNITS.find(([, each]) => span >= 2 * each) ?? UNITS[3];
  return `${Math.floor(span / size)} ${unit}`;
}

/** A length of time in the largest unit that it is whole in: `10 s`, `1500 ms`. */
export function spanText(span: Micros): string {
  for (const [unit, size] of UNITS) if (span !== 0 && span % size === 0) return `${span / size} ${unit}`;
  return span === 0 ? '0 s' : `${span} µs`;
}
