import { DateTime, type Value } from './value.ts';

/** Ticks of 100 ns in a millisecond. */
const TICKS_PER_MS = 10_000;
const MS_PER_DAY = 86_400_000;
/** 0001-01-01T00:00Z and 9999-12-31T23:59:59.999Z. */
export const MS_MIN = -62_135_596_800_000;
export const MS_MAX = 253_402_300_799_999;

const ZERO = 48;
const NINE = 57;

/**
 * ISO 8601 as far as it names a moment: `2031-05-06`, `2031-05-06T07:08`, `...:09`, `...:09.1234567`, each time with `Z`, `+02:00`,
 * `+0200`, `+02` or nothing, which is UTC; a blank may stand for the `T`, and letters may be small. Up to 9 digits of a second's
 * fraction, of which 7 count. Null for all else (week dates, 24:00, leap seconds, years beyond 1 to 9999).
 */
export function parseIso(text: string): DateTime | null {
  const length = text.length;
  if (length < 10 || length > 35 || text.charCodeAt(4) !== 45 || text.charCodeAt(7) !== 45) return null;
  const year = digits(text, 0, 4);
  const month = digits(text, 5, 2);
  const day = digits(text, 8, 2);
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month)) return null;
  const midnight = daysSinceEpoch(year, month, day) * MS_PER_DAY;
  if (length === 10) return new DateTime(midnight);

  const between = text.charCodeAt(10) | 32;
  if ((between !== 116 && between !== 32) || length < 16 || text.charCodeAt(13) !== 58) return null;
  const hour = digits(text, 11, 2);
  const minute = digits(text, 14, 2);
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59) return null;
  let at = 16;
  let second = 0;
  let fraction = 0;
  if (text.charCodeAt(at) === 58) {
    second = digits(text, 17, 2);
    if (second < 0 || second > 59) return null;
    at = 19;
    if (text.charCodeAt(at) === 46) {
      let scale = 1_000_000;
      const start = ++at;
      for (; at < length; at++) {
        const code = text.charCodeAt(at);
        if (code < ZERO || code > NINE) break;
        if (scale >= 1) fraction += (code - ZERO) * scale;
        scale /= 10;
      }
      if (at === start || at - start > 9) return null;
    }
  }
  const zone = zoneMinutes(text, at);
  if (zone === null) return null;
  const ticks = fraction % TICKS_PER_MS;
  const ms = midnight + ((hour * 60 + minute - zone) * 60 + second) * 1000 + (fraction - ticks) / TICKS_PER_MS;
  return ms < MS_MIN || ms > MS_MAX ? null : new DateTime(ms, ticks);
}

/** Minutes east of UTC by what stands at the end of the text; null when that is no zone. */
function zoneMinutes(text: string, at: number): number | null {
  const rest = text.length - at;
  if (rest === 0) return 0;
  const sign = text.charCodeAt(at);
  if (rest === 1) return (sign | 32) === 122 ? 0 : null;
  if (sign !== 43 && sign !== 45) return null;
  const colon = rest === 6 && text.charCodeAt(at + 3) === 58;
  if (rest !== 3 && rest !== 5 && !colon) return null;
  const hours = digits(text, at + 1, 2);
  const minutes = rest === 3 ? 0 : digits(text, at + (colon ? 4 : 3), 2);
  if (hours < 0 || hours > 14 || minutes < 0 || minutes > 59) return null;
  return (sign === 43 ? 1 : -1) * (hours * 60 + minutes);
}

/** So many decimal digits as a number; -1 when one of them is none. */
function digits(text: string, at: number, count: number): number {
  let value = 0;
  for (let index = at; index < at + count; index++) {
    const code = text.charCodeAt(index);
    // Written so that NaN, past the end of the text, is refused too.
    if (!(code >= ZERO && code <= NINE)) return -1;
    value = value * 10 + code - ZERO;
  }
  return value;
}

const MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const;

export function daysInMonth(year: number, month: number): number {
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  return month === 2 && leap ? 29 : MONTH_DAYS[month - 1]!;
}

/** Days from 1970-01-01 in the Gregorian calendar (Howard Hinnant, "chrono-compatible low-level date algorithms", days_from_civil). */
export function daysSinceEpoch(year: number, month: number, day: number): number {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

/** A datetime itself, and ISO text as the moment that it names; null for all else. */
export function asDateTime(value: Value): DateTime | null {
  if (value instanceof DateTime) return value;
  return typeof value === 'string' ? parseIso(value) : null;
}

/** Whole microseconds since 1970, rounded down. Exact until the year 2255. */
export function micros(moment: DateTime): number {
  return moment.ms * 1000 + Math.floor(moment.ticks / 10);
}

export function fromMicros(time: number): DateTime {
  const ms = Math.floor(time / 1000);
  return new DateTime(ms, (time - ms * 1000) * 10);
}

/** Less than 0 when `a` is the earlier, more than 0 when it is the later. */
export function compareMoments(a: DateTime, b: DateTime): number {
  return a.ms - b.ms || a.ticks - b.ticks;
}
