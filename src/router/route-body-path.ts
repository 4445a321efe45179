import { QueryProblem, type Offset } from '../query/problem.ts';
import type { BodyPath, RouteValue } from './route-ast.ts';

/**
 * The path of a reference to the body, `body.part[n].part`; null when `name` is none. `at` is where the name begins. Throws a
 * {@link QueryProblem} for what is no path.
 */
export function bodyPath(name: string, at: Offset): BodyPath | null {
  if (!/^body(?![^.[])/i.test(name)) return null;
  const wrong = (offset: number, what: string) =>
    new QueryProblem(at + offset, what, 'a path is $body.name, then .name and [number] as often as needed');
  const steps: (string | number)[] = [];
  let place = 'body'.length;
  while (place < name.length) {
    if (name[place] === '.') {
      const end = place + 1 + /^[^.[\]]*/.exec(name.slice(place + 1))![0].length;
      if (end === place + 1) throw wrong(place, 'a name is missing behind this dot');
      steps.push(name.slice(place + 1, end));
      place = end;
      continue;
    }
    if (steps.length === 0) throw wrong(place, 'the body itself has no index: it is an object');
    const end = name.indexOf(']', place);
    if (name[place] !== '[' || end === -1) throw wrong(place, 'this bracket is not closed');
    const index = name.slice(place + 1, end);
    if (!/^\d{1,9}$/.test(index))
      throw wrong(place, `${JSON.stringify(index)} is not an index: it is a whole number from 0`);
    steps.push(Number(index));
    place = end + 1;
  }
  return steps;
}

/** What stands there; undefined when nothing does. `*` is the only thing that there is at its place. */
export function atBodyPath(root: object, path: BodyPath): RouteValue {
  let value: unknown = root;
  for (const step of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    if (step === '*' && !Object.hasOwn(value, '*')) {
      const all: unknown[] = Object.values(value);
      if (all.length !== 1) return undefined;
      value = all[0];
    } else if (Array.isArray(value) === (typeof step === 'number') && Object.hasOwn(value, step)) {
      value = (value as Record<string | number, unknown>)[step];
    } else {
      return undefined;
    }
  }
  return path.length === 0 ? undefined : (value as RouteValue);
}
