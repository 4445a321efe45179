/** Words that are no names unless they stand in brackets or behind a dot. */
export const RESERVED: ReadonlySet<string> = new Set(
  (
    'select from where group having into with union join inner left on as and or not in is like between ' +
    'case when then else end null distinct true false system udf uda current_timestamp'
  ).split(' '),
);

/** Words that begin what may follow a name, so that they are no alias without AS. */
const FOLLOWING: ReadonlySet<string> = new Set(
  (
    'by timestamp partition cross outer apply right full natural order limit top offset over create table except intersect ' +
    'fetch for option qualify window match_recognize pivot unpivot tablesample escape within at insert update delete declare set'
  ).split(' '),
);

/** Whether a bare word (in lower case) cannot be a name. */
export function isReserved(lower: string): boolean {
  return RESERVED.has(lower);
}

/** Whether a bare word (in lower case) can be an alias without AS. */
export function mayBeAlias(lower: string): boolean {
  return !RESERVED.has(lower) && !FOLLOWING.has(lower);
}

/** A name as it is written in a query: bare where it can be, else in brackets. */
export function nameText(name: string): string {
  const bare = /^[\p{L}_][\p{L}\p{M}\p{N}_]*$/u.test(name) && !RESERVED.has(name.toLowerCase());
  return bare ? name : `[${name.replaceAll(']', ']]')}]`;
}
