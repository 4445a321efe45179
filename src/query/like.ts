import { ValueError } from './value.ts';

/*
 * LIKE patterns: `%` any run of characters, `_` one, `[a-c]` one of a set, `[^a-c]` one that is not in it, `[%]` a plain `%`. Characters
 * are UTF-16 units and compare with their case. A pattern falls into the runs between its `%`s, of which each is searched from where
 * the last one ended: never more work than length of text times length of pattern.
 */

/** Longest pattern, in characters. */
export const PATTERN_MAX = 1000;

export interface Like {
  /** Whether the whole text is as the pattern says. */
  matches(text: string): boolean;
  /** Where it begins in the text, from 1; behind the `%` that the pattern begins with. 0 when the text is not as the pattern says. */
  position(text: string): number;
}

/** Throws ValueError when a set is not closed, or the pattern is too long. */
export function like(pattern: string): Like {
  if (pattern.length > PATTERN_MAX) throw new ValueError(`a pattern of more than ${PATTERN_MAX} characters`);
  const runs = runsOf(pattern);
  const position = (text: string): number => find(runs, text);
  return { position, matches: (text) => position(text) > 0 };
}

/** One character of a pattern: itself, `any`, or a set. */
type Unit = string | { readonly has: (code: number) => boolean };

interface Run {
  readonly units: readonly Unit[];
  /** The run's text when it has neither `_` nor sets. */
  readonly plain: string | null;
}

const ANY: Unit = { has: () => true };

/** What stands between the `%`s: always one more than there are of them, some empty. */
function runsOf(pattern: string): Run[] {
  const runs: Unit[][] = [[]];
  for (let at = 0; at < pattern.length;) {
    const sign = pattern[at]!;
    if (sign === '%') {
      runs.push([]);
    } else if (sign === '[') {
      const end = pattern.indexOf(']', at + 1);
      if (end < 0) throw new ValueError(`the pattern's [ at position ${at + 1} is not closed by ]`);
      runs.at(-1)!.push(setOf(pattern.slice(at + 1, end)));
      at = end;
    } else {
      runs.at(-1)!.push(sign === '_' ? ANY : sign);
    }
    at++;
  }
  return runs.map((units) => ({
    units,
    plain: units.every((unit) => typeof unit === 'string') ? units.join('') : null,
  }));
}

function setOf(text: string): Unit {
  const negated = text.startsWith('^');
  const members = negated ? text.slice(1) : text;
  const ranges: [number, number][] = [];
  for (let at = 0; at < members.length;) {
    const from = members.charCodeAt(at);
    const isRange = members[at + 1] === '-' && at + 2 < members.length;
    ranges.push([from, isRange ? members.charCodeAt(at + 2) : from]);
    at += isRange ? 3 : 1;
  }
  return { has: (code) => ranges.some(([from, to]) => code >= from && code <= to) !== negated };
}

/** Position from 1 of the first run that has something, or 0. */
function find(runs: readonly Run[], text: string): number {
  const [first, ...others] = runs as [Run, ...Run[]];
  const last = others.pop();
  if (last === undefined) return first.units.length === text.length && standsAt(first, text, 0) ? 1 : 0;
  if (!standsAt(first, text, 0)) return 0;
  let start = first.units.length > 0 ? 0 : -1;
  let at = first.units.length;
  for (const run of others) {
    if (run.units.length === 0) continue;
    const found = search(run, text, at);
    if (found < 0) return 0;
    if (start < 0) start = found;
    at = found + run.units.length;
  }
  const end = text.length - last.units.length;
  if (end < at || !standsAt(last, text, end)) return 0;
  if (start < 0) start = last.units.length > 0 ? end : 0;
  return start + 1;
}

function search(run: Run, text: string, from: number): number {
  if (run.plain !== null) return text.indexOf(run.plain, from);
  for (let at = from; at + run.units.length <= text.length; at++) {
    if (standsAt(run, text, at)) return at;
  }
  return -1;
}

function standsAt(run: Run, text: string, at: number): boolean {
  if (run.plain !== null) return text.startsWith(run.plain, at);
  if (at + run.units.length > text.length) return false;
  return run.units.every((unit, index) =>
    typeof unit === 'string' ? text[at + index] === unit : unit.has(text.charCodeAt(at + index)),
  );
}
