import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shown, valueOf } from './parts/expression.ts';

const MOMENT = "'2031-05-06T07:08:09.1234567Z'";

/** What it shows, the expression, and its value as JSON. 2031-05-06 is a Tuesday, 2031-01-01 a Wednesday. */
const rows: readonly (readonly [string, string, string])[] = [
  ['DATEADD second', "DATEADD(second, 90, '2031-05-06T23:59:00Z')", '"2031-05-07T00:00:30.0000000Z"'],
  ['DATEADD of a negative', "DATEADD(hour, -1, '2031-01-01T00:30:00Z')", '"2030-12-31T23:30:00.0000000Z"'],
  ['DATEADD keeps the ticks', `DATEADD(ms, 1, ${MOMENT})`, '"2031-05-06T07:08:09.1244567Z"'],
  ['DATEADD microsecond', `DATEADD(mcs, 1, ${MOMENT})`, '"2031-05-06T07:08:09.1234577Z"'],
  ['DATEADD microsecond over a millisecond', `DATEADD(mcs, 999, ${MOMENT})`, '"2031-05-06T07:08:09.1244557Z"'],
  ['DATEADD microsecond below a second', "DATEADD(mcs, -1, '2031-01-01')", '"2030-12-31T23:59:59.9999990Z"'],
  [
    'DATEADD day, week, dayofyear, weekday',
    "DATEADD(wk, 1, DATEADD(dy, 1, DATEADD(dw, 1, DATEADD(d, 1, '2031-02-18'))))",
    '"2031-02-28T00:00:00.0000000Z"',
  ],
  [
    'DATEADD month takes the last day of a shorter month',
    "DATEADD(month, 1, '2031-01-31')",
    '"2031-02-28T00:00:00.0000000Z"',
  ],
  ['DATEADD month in a leap year', "DATEADD(month, 1, '2032-01-31T10:00:00Z')", '"2032-02-29T10:00:00.0000000Z"'],
  ['DATEADD month back over a year', "DATEADD(month, -13, '2031-01-15')", '"2029-12-15T00:00:00.0000000Z"'],
  ['DATEADD quarter', "DATEADD(qq, 1, '2031-11-30')", '"2032-02-29T00:00:00.0000000Z"'],
  ['DATEADD year from 29 February', "DATEADD(year, 1, '2032-02-29')", '"2033-02-28T00:00:00.0000000Z"'],
  ['DATEADD cuts a fraction off', "DATEADD(day, 1.9, '2031-01-01')", '"2031-01-02T00:00:00.0000000Z"'],
  [
    'DATEADD makes a moment of milliseconds',
    "DATEADD(millisecond, 1935817689123, '1970-01-01T00:00:00Z')",
    '"2031-05-06T07:08:09.1230000Z"',
  ],
  [
    'DATEDIFF hour counts boundaries, from the reference',
    "DATEDIFF(hour, '2031-05-06T10:59:59Z', '2031-05-06T11:00:01Z')",
    '1',
  ],
  ['DATEDIFF within one hour is 0', "DATEDIFF(hour, '2031-05-06T10:00:00Z', '2031-05-06T10:59:59Z')", '0'],
  ['DATEDIFF backwards is negative', "DATEDIFF(minute, '2031-05-06T10:02:00Z', '2031-05-06T10:00:59Z')", '-2'],
  ['DATEDIFF year', "DATEDIFF(year, '2030-12-31T23:59:59Z', '2031-01-01')", '1'],
  ['DATEDIFF quarter', "DATEDIFF(quarter, '2030-12-31', '2031-07-01')", '3'],
  ['DATEDIFF month', "DATEDIFF(month, '2031-01-31', '2031-02-01')", '1'],
  ['DATEDIFF day', "DATEDIFF(day, '2031-01-01T23:59:59Z', '2031-01-02')", '1'],
  [
    'DATEDIFF dayofyear and weekday are days',
    "DATEDIFF(dy, '2031-01-01', '2031-03-01') + DATEDIFF(dw, '2031-01-01', '2031-01-02')",
    '60',
  ],
  ['DATEDIFF week: weeks begin on Sunday', "DATEDIFF(week, '2031-05-03', '2031-05-04')", '1'],
  ['DATEDIFF week from Sunday to Saturday is 0', "DATEDIFF(week, '2031-05-04', '2031-05-10')", '0'],
  ['DATEDIFF week before 1970', "DATEDIFF(week, '1969-12-27', '1969-12-28')", '1'],
  ['DATEDIFF second before 1970', "DATEDIFF(second, '1969-12-31T23:59:59.9Z', '1970-01-01')", '1'],
  ['DATEDIFF millisecond', "DATEDIFF(ms, '2031-01-01T00:00:00.0019Z', '2031-01-01T00:00:00.0021Z')", '1'],
  ['DATEDIFF microsecond', "DATEDIFF(mcs, '2031-01-01T00:00:00.0000019Z', '2031-01-01T00:00:00.0010020Z')", '1001'],
  [
    'DATEDIFF microsecond over all years is exact',
    "DATEDIFF(mcs, '0001-01-01', '9999-12-31T23:59:59.999999Z')",
    '315537897599999999',
  ],
  ['DATEPART year', `DATEPART(yy, ${MOMENT})`, '2031'],
  ['DATEPART quarter', `DATEPART(q, ${MOMENT})`, '2'],
  ['DATEPART month', `DATEPART(m, ${MOMENT})`, '5'],
  ['DATEPART dayofyear: 31 + 28 + 31 + 30 + 6', `DATEPART(dy, ${MOMENT})`, '126'],
  ['DATEPART day', `DATEPART(dd, ${MOMENT})`, '6'],
  ['DATEPART week 1 holds 1 January', "DATEPART(week, '2031-01-01')", '1'],
  ['DATEPART week 1 ends with Saturday', "DATEPART(week, '2031-01-04')", '1'],
  ['DATEPART week 2 begins with Sunday', "DATEPART(week, '2031-01-05')", '2'],
  ['DATEPART weekday: Sunday is 1', "DATEPART(weekday, '2031-05-04')", '1'],
  ['DATEPART weekday: Tuesday is 3', `DATEPART(dw, ${MOMENT})`, '3'],
  ['DATEPART hour', `DATEPART(hh, ${MOMENT})`, '7'],
  ['DATEPART minute', `DATEPART(n, ${MOMENT})`, '8'],
  ['DATEPART second', `DATEPART(ss, ${MOMENT})`, '9'],
  ['DATEPART millisecond', `DATEPART(ms, ${MOMENT})`, '123'],
  ['DATEPART microsecond is the whole fraction of the second', `DATEPART(mcs, ${MOMENT})`, '123456'],
  ['DATEPART before 1970', "DATEPART(second, '1969-12-31T23:59:58.5Z')", '58'],
  ['DATENAME month', `DATENAME(month, ${MOMENT})`, '"May"'],
  ['DATENAME weekday', `DATENAME(weekday, ${MOMENT})`, '"Tuesday"'],
  ['DATENAME of anything else is the number', `DATENAME(hour, ${MOMENT})`, '"7"'],
  ['DAY, MONTH, YEAR', `DAY(${MOMENT}) * 10000 + MONTH(${MOMENT}) * 100 + YEAR(${MOMENT}) % 100`, '60531'],
  ['a date in another zone counts in UTC', "DAY('2031-05-07T01:00:00+02:00')", '6'],
  ['DATETIMEFROMPARTS', 'DATETIMEFROMPARTS(2031, 5, 6, 7, 8, 9, 12)', '"2031-05-06T07:08:09.0120000Z"'],
  ['DATETIMEFROMPARTS of the year 1', 'DATETIMEFROMPARTS(1, 1, 1, 0, 0, 0, 0)', '"0001-01-01T00:00:00.0000000Z"'],
  ['DATETIMEFROMPARTS with a NULL is NULL', 'DATETIMEFROMPARTS(2031, 5, 6, 7, x, 9, 12)', 'null'],
  ['a NULL date gives NULL', 'DATEADD(second, 1, x)', 'null'],
];

for (const [shows, expression, expected] of rows) test(shows, () => assert.equal(shown(expression), expected));

test('what is no date drops the event', () => {
  const refused: [string, RegExp][] = [
    ['DAY(t)', /argument 1 of DAY\(date\) is nvarchar\(max\), and must be datetime or ISO 8601 text/],
    ['DATEADD(second, 1, n)', /argument 3 of DATEADD\(part, n, date\) is bigint/],
    ["DATEADD(year, 8000 + n, '2031-01-01')", /beyond the years 1 to 9999/],
    ["DATEADD(day, n * -1000000, '2031-01-01')", /beyond the years 1 to 9999/],
    ['DATETIMEFROMPARTS(2031, 2, 29 + n, 0, 0, 0, 0)', /there is no day 30/],
    ['DATETIMEFROMPARTS(2031, 12 + n, 1, 0, 0, 0, 0)', /there is no month 13/],
    ['DATETIMEFROMPARTS(2031, 1, 1, 0, 0, 0, 999 + n)', /there is no millisecond 1000/],
  ];
  for (const [expression, message] of refused) {
    assert.throws(() => valueOf(expression, { n: 1, t: 'yesterday' }), { name: 'ValueError', message }, expression);
  }
});
