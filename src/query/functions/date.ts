import { daysInMonth, daysSinceEpoch, MS_MAX, MS_MIN } from '../datetime.ts';
import { DateTime, integer, ValueError, type Value } from '../value.ts';
import { scalar, type DatePart } from './signature.ts';

const MS_PER_DAY = 86_400_000;
const TICKS_PER_MS = 10_000;
const MONTHS = 'January February March April May June July August September October November December'.split(' ');
const WEEKDAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');
/** Milliseconds of the parts that always have the same length. */
const MS_OF = { week: 7 * MS_PER_DAY, day: MS_PER_DAY, hour: 3_600_000, minute: 60_000, second: 1000, millisecond: 1 };
/** 1970-01-01 was a Thursday: so many days since the Sunday before. */
const EPOCH_WEEKDAY = 4;

function dateOf(moment: DateTime): Date {
  return new Date(moment.ms);
}

function dayOf(moment: DateTime): number {
  return Math.floor(moment.ms / MS_PER_DAY);
}

/** Months since the year 0. */
function monthOf(date: Date): number {
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
}

function inRange(ms: number, ticks: number): DateTime {
  // Written so that NaN is refused too.
  if (!(ms >= MS_MIN && ms <= MS_MAX)) throw new ValueError('the date is beyond the years 1 to 9999');
  return new DateTime(ms, ticks);
}

/** A day that the month does not have becomes its last one: 31 January and a month is 28 or 29 February. */
function addMonths(moment: DateTime, count: number): DateTime {
  const date = dateOf(moment);
  const months = monthOf(date) + count;
  const year = Math.floor(months / 12);
  if (!(year >= 1 && year <= 9999)) throw new ValueError('the date is beyond the years 1 to 9999');
  const month = months - year * 12 + 1;
  const day = Math.min(date.getUTCDate(), daysInMonth(year, month));
  const timeOfDay = moment.ms - dayOf(moment) * MS_PER_DAY;
  return inRange(daysSinceEpoch(year, month, day) * MS_PER_DAY + timeOfDay, moment.ticks);
}

function dateAdd(part: DatePart, count: number, moment: DateTime): Value {
  switch (part) {
    case 'year':
      return addMonths(moment, count * 12);
    case 'quarter':
      return addMonths(moment, count * 3);
    case 'month':
      return addMonths(moment, count);
    case 'dayofyear':
    case 'weekday':
      return inRange(moment.ms + count * MS_PER_DAY, moment.ticks);
    case 'microsecond': {
      const ticks = moment.ticks + (count % 1000) * 10;
      const carried = Math.floor(ticks / TICKS_PER_MS);
      return inRange(moment.ms + Math.trunc(count / 1000) + carried, ticks - carried * TICKS_PER_MS);
    }
    default:
      return inRange(moment.ms + count * MS_OF[part], moment.ticks);
  }
}

/** Which year, week, second ... a moment is in, counted from a common beginning. Weeks begin on Sunday. */
function ordinal(part: DatePart, moment: DateTime): number {
  switch (part) {
    case 'year':
      return dateOf(moment).getUTCFullYear();
    case 'quarter':
      return Math.floor(monthOf(dateOf(moment)) / 3);
    case 'month':
      return monthOf(dateOf(moment));
    case 'week':
      return Math.floor((dayOf(moment) + EPOCH_WEEKDAY) / 7);
    case 'dayofyear':
    case 'weekday':
      return dayOf(moment);
    default:
      return Math.floor(moment.ms / MS_OF[part as keyof typeof MS_OF]);
  }
}

/** Boundaries of that part between the two, less than 0 when the end is before the start. */
function dateDiff(part: DatePart, start: DateTime, end: DateTime): Value {
  if (part !== 'microsecond') return ordinal(part, end) - ordinal(part, start) + 0;
  // In microseconds ten thousand years are more than a double holds.
  const beyond = Math.floor(end.ticks / 10) - Math.floor(start.ticks / 10);
  return integer(BigInt(end.ms - start.ms) * 1000n + BigInt(beyond));
}

function datePart(part: DatePart, moment: DateTime): number {
  const date = dateOf(moment);
  switch (part) {
    case 'year':
      return date.getUTCFullYear();
    case 'quarter':
      return Math.floor(date.getUTCMonth() / 3) + 1;
    case 'month':
      return date.getUTCMonth() + 1;
    case 'dayofyear':
      return dayOfYear(moment);
    case 'day':
      return date.getUTCDate();
    case 'week': {
      // Week 1 holds 1 January, and the next begins on the first Sunday after it.
      const first = dayOf(moment) - dayOfYear(moment) + 1;
      return Math.floor((dayOfYear(moment) - 1 + weekday(first)) / 7) + 1;
    }
    case 'weekday':
      return weekday(dayOf(moment)) + 1;
    case 'hour':
      return date.getUTCHours();
    case 'minute':
      return date.getUTCMinutes();
    case 'second':
      return date.getUTCSeconds();
    case 'millisecond':
      return date.getUTCMilliseconds();
    case 'microsecond':
      return date.getUTCMilliseconds() * 1000 + Math.floor(moment.ticks / 10);
    default:
      return part satisfies never;
  }
}

function dayOfYear(moment: DateTime): number {
  return dayOf(moment) - daysSinceEpoch(dateOf(moment).getUTCFullYear(), 1, 1) + 1;
}

/** 0 is Sunday. */
function weekday(day: number): number {
  return (((day + EPOCH_WEEKDAY) % 7) + 7) % 7;
}

function dateName(part: DatePart, moment: DateTime): Value {
  if (part === 'month') return MONTHS[datePart(part, moment) - 1]!;
  if (part === 'weekday') return WEEKDAYS[datePart(part, moment) - 1]!;
  return `${datePart(part, moment)}`;
}

function fromParts(...parts: [number, number, number, number, number, number, number]): Value {
  const [year, month, day, hour, minute, second, ms] = parts;
  const within = (value: number, least: number, most: number, name: string): void => {
    if (!(value >= least && value <= most)) throw new ValueError(`DATETIMEFROMPARTS: there is no ${name} ${value}`);
  };
  within(year, 1, 9999, 'year');
  within(month, 1, 12, 'month');
  within(day, 1, daysInMonth(year, month), 'day');
  within(hour, 0, 23, 'hour');
  within(minute, 0, 59, 'minute');
  within(second, 0, 59, 'second');
  within(ms, 0, 999, 'millisecond');
  return new DateTime(daysSinceEpoch(year, month, day) * MS_PER_DAY + ((hour * 60 + minute) * 60 + second) * 1000 + ms);
}

export const DATE = {
  dateadd: scalar('DATEADD(part, n, date)', ['part', 'whole', 'datetime'], dateAdd),
  datediff: scalar('DATEDIFF(part, start, end)', ['part', 'datetime', 'datetime'], dateDiff),
  datepart: scalar('DATEPART(part, date)', ['part', 'datetime'], datePart),
  datename: scalar('DATENAME(part, date)', ['part', 'datetime'], dateName),
  day: scalar('DAY(date)', ['datetime'], (moment) => datePart('day', moment)),
  month: scalar('MONTH(date)', ['datetime'], (moment) => datePart('month', moment)),
  year: scalar('YEAR(date)', ['datetime'], (moment) => datePart('year', moment)),
  datetimefromparts: scalar(
    'DATETIMEFROMPARTS(year, month, day, hour, minute, second, millisecond)',
    ['whole', 'whole', 'whole', 'whole', 'whole', 'whole', 'whole'],
    fromParts,
  ),
};
