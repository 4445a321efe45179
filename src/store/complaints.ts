/** Complaints listed one by one; further ones are only counted. */
const LISTED_MAX = 100;

/** What is wrong with a file, in words, each thing once. */
export class Complaints {
  readonly listed: string[] = [];
  readonly #seen = new Set<string>();
  count = 0;

  add(complaint: string): void {
    // The same page may be met twice: by the walk over the pages, and by the one over what they hold.
    if (this.#seen.has(complaint)) return;
    this.count++;
    if (this.listed.length >= LISTED_MAX) return;
    this.#seen.add(complaint);
    this.listed.push(complaint);
  }
}
