/** Thinning stops at every 1024th message. */
export const LEVEL_MAX = 10;

const SLOTS_MIN = 64;

/** A block as the index knows it. */
export interface Indexed {
  readonly firstSeq: number;
  /** Age, ms, before which nothing in it has expired. */
  readonly expiry: number;
  readonly level: number;
  readonly pages: number;
}

/**
 * What is to be known of a lane's blocks without reading them: where they begin, when the first of their messages expires,
 * how often they were thinned, how much room they take. About 20 bytes a block, in order of their numbers; a removed block
 * leaves a hole until the holes are as many as the blocks.
 */
export class BlockIndex {
  #firstSeqs = new Float64Array(SLOTS_MIN);
  #expiries = new Float64Array(SLOTS_MIN);
  #levels = new Uint8Array(SLOTS_MIN);
  /** In sixteenths. */
  #pages = new Uint16Array(SLOTS_MIN);
  #length = 0;
  #holes = 0;
  /** Pages by level. */
  readonly #byLevel = new Float64Array(LEVEL_MAX + 1);
  #soonest = Infinity;

  get count(): number {
    return this.#length - this.#holes;
  }

  pagesAt(level: number): number {
    return (this.#byLevel[level] ?? 0) / 16;
  }

  /** No block has anything that expires before this age; it may be that none has for longer. */
  get soonest(): number {
    return this.#soonest;
  }

  /** Adds a block behind all others, or puts it in the place of the one that began there. */
  set(block: Indexed): void {
    const at = this.#find(block.firstSeq);
    if (at < this.#length && this.#firstSeqs[at] === block.firstSeq) {
      this.#forget(at);
      this.#write(at, block);
      this.#holes--;
    } else if (at === this.#length) {
      this.#room();
      this.#write(this.#length++, block);
    } else {
      // Between two others: a block that was made of several. There is a hole near, but rarely the need to use it.
      this.#room();
      for (const array of [this.#firstSeqs, this.#expiries, this.#levels, this.#pages]) {
        array.copyWithin(at + 1, at, this.#length);
      }
      this.#length++;
      this.#write(at, block);
    }
  }

  remove(firstSeq: number): void {
    const at = this.#find(firstSeq);
    if (at >= this.#length || this.#firstSeqs[at] !== firstSeq || this.#pages[at] === 0) return;
    this.#forget(at);
    if (this.#holes > SLOTS_MIN && this.#holes * 2 > this.#length) this.#compact();
  }

  /** Blocks from number `from` on, in order, as long as `visit` says true. */
  walk(from: number, visit: (block: Indexed) => boolean): void {
    for (let at = this.#find(from); at < this.#length; at++) {
      if (this.#pages[at] === 0) continue;
      if (!visit(this.#read(at))) return;
    }
  }

  /** First numbers of blocks of which something may have expired at `age`, at most so many. */
  due(age: number, most: number): number[] {
    if (age < this.#soonest) return [];
    const found: number[] = [];
    let soonest = Infinity;
    for (let at = 0; at < this.#length; at++) {
      const expiry = this.#expiries[at]!;
      if (this.#pages[at] === 0) continue;
      soonest = Math.min(soonest, expiry);
      if (expiry <= age && found.length < most) found.push(this.#firstSeqs[at]!);
    }
    this.#soonest = soonest;
    return found;
  }

  #write(at: number, { firstSeq, expiry, level, pages }: Indexed): void {
    this.#firstSeqs[at] = firstSeq;
    this.#expiries[at] = expiry;
    const counted = Math.min(level, LEVEL_MAX);
    const sixteenths = Math.max(1, Math.round(pages * 16));
    this.#levels[at] = counted;
    this.#pages[at] = sixteenths;
    this.#add(counted, sixteenths);
    this.#soonest = Math.min(this.#soonest, expiry);
  }

  #add(level: number, pages: number): void {
    this.#byLevel[level] = (this.#byLevel[level] ?? 0) + pages;
  }

  #read(at: number): Indexed {
    return {
      firstSeq: this.#firstSeqs[at]!,
      expiry: this.#expiries[at]!,
      level: this.#levels[at]!,
      pages: this.#pages[at]! / 16,
    };
  }

  /** Makes a slot a hole. */
  #forget(at: number): void {
    if (this.#pages[at] === 0) return;
    this.#add(this.#levels[at]!, -this.#pages[at]!);
    this.#pages[at] = 0;
    this.#holes++;
  }

  /** The first slot whose number is not below `seq`. */
  #find(seq: number): number {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#firstSeqs[middle]! < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #room(): void {
    if (this.#length < this.#firstSeqs.length) return;
    const slots = this.#length * 2;
    this.#firstSeqs = grown(this.#firstSeqs, new Float64Array(slots));
    this.#expiries = grown(this.#expiries, new Float64Array(slots));
    this.#levels = grown(this.#levels, new Uint8Array(slots));
    this.#pages = grown(this.#pages, new Uint16Array(slots));
  }

  #compact(): void {
    let to = 0;
    for (let at = 0; at < this.#length; at++) {
      if (this.#pages[at] === 0) continue;
      this.#firstSeqs[to] = this.#firstSeqs[at]!;
      this.#expiries[to] = this.#expiries[at]!;
      this.#levels[to] = this.#levels[at]!;
      this.#pages[to] = this.#pages[at]!;
      to++;
    }
    this.#length = to;
    this.#holes = 0;
  }
}

function grown<Kind extends Float64Array | Uint8Array | Uint16Array>(old: Kind, larger: Kind): Kind {
  larger.set(old);
  return larger;
}
