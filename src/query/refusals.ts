/*
 * What other dialects have, or the reference has and this gateway has not: each with what to write instead. Names in lower case.
 */

const NOW = 'use System.Timestamp(), the time of the event or of the window';
const PLACES = 'functions of places are not supported here';
const CLOUD = 'it exists only in the cloud service';
const RANKS = 'use TopOne() OVER (ORDER BY ..) or CollectTop(n) OVER (ORDER BY ..) in a window';
const NONE = null;

const FUNCTIONS: ReadonlyMap<string, string | null> = new Map<string, string | null>([
  ...['getdate', 'getutcdate', 'sysdatetime', 'sysutcdatetime', 'sysdatetimeoffset', 'current_timestamp', 'now'].map(
    (name): [string, string] => [name, NOW],
  ),
  ...[
    'createpoint',
    'createlinestring',
    'createpolygon',
    'st_distance',
    'st_overlaps',
    'st_intersects',
    'st_within',
  ].map((name): [string, string] => [name, PLACES]),
  ...['row_number', 'rank', 'dense_rank', 'percent_rank', 'ntile'].map((name): [string, string] => [name, RANKS]),
  ...[
    'log',
    'log10',
    'sin',
    'cos',
    'tan',
    'asin',
    'acos',
    'atan',
    'atn2',
    'cot',
    'pi',
    'degrees',
    'radians',
    'rand',
  ].map((name): [string, string | null] => [name, NONE]),
  ['anomalydetection_spikeanddip', CLOUD],
  ['anomalydetection_changepoint', CLOUD],
  ['getmetadatapropertyvalue', 'fields of the message itself come with the event'],
  ['convert', 'use CAST(x AS type)'],
  ['try_convert', 'use TRY_CAST(x AS type)'],
  ['parse', 'use CAST(x AS type)'],
  ['try_parse', 'use TRY_CAST(x AS type)'],
  ['format', 'use CAST(x AS nvarchar(max)), DATENAME or CONCAT'],
  ['to_char', 'use CAST(x AS nvarchar(max))'],
  ['isnull', 'use COALESCE(a, b), or x IS NULL in a condition'],
  ['ifnull', 'use COALESCE(a, b)'],
  ['nvl', 'use COALESCE(a, b)'],
  ['iif', 'use CASE WHEN condition THEN a ELSE b END'],
  ['if', 'use CASE WHEN condition THEN a ELSE b END'],
  ['choose', 'use CASE x WHEN 1 THEN a WHEN 2 THEN b END'],
  ['greatest', 'use CASE WHEN a > b THEN a ELSE b END'],
  ['least', 'use CASE WHEN a < b THEN a ELSE b END'],
  ['isdate', 'use TRY_CAST(x AS datetime) IS NOT NULL'],
  ['isnumeric', 'use TRY_CAST(x AS float) IS NOT NULL'],
  ['lead', 'later events are not known yet: use LAG in the later event'],
  ['first', 'use TopOne() OVER (ORDER BY ..) in a window, or ISFIRST'],
  ['first_value', 'use TopOne() OVER (ORDER BY ..) in a window'],
  ['last_value', 'use LAST(x) OVER (LIMIT DURATION(unit, n))'],
  ['string_agg', 'use Collect(x), which gives an array'],
  ['array_agg', 'use Collect(x)'],
  ['median', 'use PERCENTILE_CONT(0.5) OVER (ORDER BY x)'],
  ['mean', 'use AVG(x)'],
  ['average', 'use AVG(x)'],
  ['stddev', 'use STDEV(x)'],
  ['stddev_pop', 'use STDEVP(x)'],
  ['variance', 'use VAR(x)'],
  ['count_big', 'use COUNT(x)'],
  ['approx_count_distinct', 'use COUNT(DISTINCT x)'],
  ['length', 'use LEN(x)'],
  ['datalength', 'use LEN(x)'],
  ['substr', 'use SUBSTRING(text, start, length)'],
  ['instr', 'use CHARINDEX(part, text)'],
  ['ceil', 'use CEILING(x)'],
  ['pow', 'use POWER(x, y)'],
  ['mod', 'write a % b'],
  ['char', 'use NCHAR(n)'],
  ['ascii', 'use UNICODE(x)'],
  ['eomonth', 'use DATEADD and DATEPART'],
  ['datefromparts', 'use DATETIMEFROMPARTS(year, month, day, 0, 0, 0, 0)'],
  ['switchoffset', 'all times are UTC: use DATEADD(hour, n, x)'],
  ['todatetimeoffset', 'all times are UTC: use DATEADD(hour, n, x)'],
  ['newid', NONE],
  ['exists', 'use a LEFT JOIN and IS NOT NULL'],
  ['any', 'use OR or IN (..)'],
  ['all', 'use AND'],
  ['grouping', 'write one SELECT for each grouping'],
  ['rollup', 'write one SELECT for each grouping'],
  ['cube', 'write one SELECT for each grouping'],
  ['duration', 'it stands in a window or in LIMIT DURATION(unit, n)'],
  ['hop', 'it stands in HoppingWindow'],
  ['offset', 'it stands in a window'],
  ['timeout', 'it stands in SessionWindow'],
  ['maxduration', 'it stands in SessionWindow'],
]);

/** What to write in place of a function that is refused (null: nothing); undefined when it is not refused here. */
export function refusedFunction(name: string): string | null | undefined {
  return FUNCTIONS.get(name);
}

const CLAUSES: ReadonlyMap<string, readonly [what: string, hint: string]> = new Map([
  ['order', ['ORDER BY', 'results come in the order of time; TopOne and CollectTop order within a window']],
  ['limit', ['LIMIT', 'a stream has no end: TopOne() or CollectTop(n) take from a window']],
  ['offset', ['OFFSET', 'a stream has no end: TopOne() or CollectTop(n) take from a window']],
  ['fetch', ['FETCH', 'a stream has no end: TopOne() or CollectTop(n) take from a window']],
  ['except', ['EXCEPT', 'use a LEFT JOIN and IS NULL']],
  ['intersect', ['INTERSECT', 'use JOIN']],
  ['at', ['AT TIME ZONE', 'all times are UTC: use DATEADD(hour, n, x)']],
  ['right', ['RIGHT JOIN', 'change the sides and use LEFT JOIN']],
  ['full', ['FULL JOIN', 'use LEFT JOIN, and a second SELECT for the other side']],
  ['natural', ['NATURAL JOIN', 'use JOIN .. ON']],
  ['qualify', ['QUALIFY', 'use a step of WITH and WHERE']],
  ['window', ['WINDOW', 'windows stand in GROUP BY']],
  ['option', ['OPTION', 'there are no hints for an optimiser']],
  ['for', ['FOR', 'leave it out']],
  ['pivot', ['PIVOT', 'use one CASE WHEN .. in an aggregate for each column']],
  ['unpivot', ['UNPIVOT', 'use CROSS APPLY GetRecordProperties(x) AS p']],
  ['tablesample', ['TABLESAMPLE', 'use WHERE']],
  ['match_recognize', ['MATCH_RECOGNIZE', 'use LAG(x) OVER (LIMIT DURATION(unit, n)), or a self-join']],
  ['insert', ['INSERT', 'SELECT .. INTO output writes to an output']],
  ['update', ['UPDATE', 'a query only reads and gives out: SELECT .. INTO']],
  ['delete', ['DELETE', 'a query only reads and gives out: SELECT .. INTO']],
  ['declare', ['DECLARE', 'there are no variables: use a step of WITH']],
  ['set', ['SET', 'there are no variables: use a step of WITH']],
]);

/** A clause of other dialects that begins with this word, and what to write instead. */
export function refusedClause(lower: string): readonly [what: string, hint: string] | undefined {
  return CLAUSES.get(lower);
}

const TYPES: ReadonlyMap<string, string> = new Map([
  ...['int', 'integer', 'smallint', 'tinyint', 'long'].map((name): [string, string] => [name, 'bigint']),
  ...['double', 'real', 'decimal', 'numeric', 'money', 'number'].map((name): [string, string] => [name, 'float']),
  ...['varchar', 'char', 'nchar', 'text', 'string', 'nvarchar'].map((name): [string, string] => [
    name,
    'nvarchar(max)',
  ]),
  ...['date', 'time', 'datetime2', 'datetimeoffset', 'timestamp'].map((name): [string, string] => [name, 'datetime']),
  ...['bool', 'boolean'].map((name): [string, string] => [name, 'bit']),
  ...['object', 'struct', 'json'].map((name): [string, string] => [name, 'record']),
]);

/** The type to use in place of one of other dialects. */
export function typeInstead(lower: string): string | undefined {
  return TYPES.get(lower);
}
