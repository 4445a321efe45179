/** Up to so many, the first is taken out by moving the others up; beyond, places before the head are left until they are half of all. */
const MOVED_MAX = 32;

/** What waits in the order in which it came; taking the first costs little however many there are. */
export class Fifo<T> {
  #items: (T | undefined)[] = [];
  /** Where the first is: those before it are gone. */
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  get first(): T | undefined {
    return this.#items[this.#head];
  }

  /** Counted from the first. */
  at(index: number): T | undefined {
    return index < 0 ? undefined : this.#items[this.#head + index];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  /** Puts it behind all for which `after` is false; they are looked at from the last, where it nearly always belongs. */
  insert(item: T, after: (other: T) => boolean): void {
    let place = this.#items.length;
    while (place > this.#head && after(this.#items[place - 1] as T)) place--;
    if (place === this.#items.length) this.#items.push(item);
    else this.#items.splice(place, 0, item);
  }

  shift(): T | undefined {
    if (this.#head === 0 && this.#items.length <= MOVED_MAX) return this.#items.shift();
    const item = this.first;
    this.#items[this.#head++] = undefined;
    if (this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  toArray(): T[] {
    return this.#items.slice(this.#head) as T[];
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
  }
}
