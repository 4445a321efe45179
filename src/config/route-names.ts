/** Longest name that is taken over; an identifier has at most 128 characters, and a number may come behind it. */
const NAME_LENGTH_MAX = 120;

/** Names of an edge hub's routes as ours: there a name may have characters that an identifier has not. */
export class RouteNames {
  readonly #taken = new Set<string>();

  /** The name in our letters; with a number behind it when another one came to the same. */
  nameFor(theirs: string): string {
    const safe = theirs.replaceAll(/[^A-Za-z0-9._-]/g, '-').slice(0, NAME_LENGTH_MAX);
    // YAML has the second, but a configuration cannot.
    const base = safe === '' || safe === '__proto__' ? 'route' : safe;
    let free = base;
    for (let n = 2; this.#taken.has(free); n++) free = `${base}-${n}`;
    this.#taken.add(free);
    return free;
  }
}
