/** Things by their numbers, the least first; of equal numbers the one of the lower order. */
export class Heap<T> {
  readonly #at: number[] = [];
  readonly #order: number[] = [];
  readonly #things: T[] = [];
  /** The least number; Infinity when there is nothing. */
  get least(): number {
    return this.#at.length > 0 ? this.#at[0]! : Infinity;
  }

  get first(): T | null {
    return this.#things.length > 0 ? this.#things[0]! : null;
  }

  push(at: number, thing: T, order: number): void {
    this.#at.push(at);
    this.#order.push(order);
    this.#things.push(thing);
    let child = this.#at.length - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (!this.#before(child, parent)) break;
      this.#swap(child, parent);
      child = parent;
    }
  }

  pop(): T {
    const last = this.#at.length - 1;
    this.#swap(0, last);
    this.#at.pop();
    this.#order.pop();
    const thing = this.#things.pop()!;
    let parent = 0;
    for (;;) {
      let least = 2 * parent + 1;
      if (least >= last) break;
      if (least + 1 < last && this.#before(least + 1, least)) least++;
      if (!this.#before(least, parent)) break;
      this.#swap(parent, least);
      parent = least;
    }
    return thing;
  }

  #before(a: number, b: number): boolean {
    return this.#at[a]! < this.#at[b]! || (this.#at[a] === this.#at[b] && this.#order[a]! < this.#order[b]!);
  }

  #swap(a: number, b: number): void {
    for (const list of [this.#at, this.#order, this.#things] as unknown[][]) {
      [list[a], list[b]] = [list[b], list[a]];
    }
  }
}
