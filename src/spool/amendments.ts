import type { Change, Entry, Reader } from '../store/environment.ts';
import { blockKey, keyLane, keySeq } from './keys.ts';

interface Amendment {
  readonly key: Buffer;
  /** Null: it goes. */
  readonly value: Buffer | null;
  /** Pages that it frees on the medium, less those that it takes. */
  readonly pagesFreed: number;
}

/**
 * Changes to what lies on the medium, which the next commit carries: blocks that are done with, or take the place of
 * others; dead letters. Who reads the spool sees them as done. The last word on each key counts, and what a failed commit
 * carried stays.
 */
export class Amendments {
  readonly #byKey = new Map<string, Amendment>();
  /** Of them, those that put something there. */
  readonly #puts = new Map<string, Amendment>();

  get size(): number {
    return this.#byKey.size;
  }

  /** Pages that will be free once these are on the medium. */
  get pagesFreed(): number {
    let pages = 0;
    for (const amendment of this.#byKey.values()) pages += amendment.pagesFreed;
    return pages;
  }

  /** `pagesFreed`: what lies there now takes so many pages more than `value` will. */
  put(key: Buffer, value: Buffer, pagesFreed: number): void {
    const name = nameOf(key);
    const amendment = { key, value, pagesFreed: pagesFreed + (this.#byKey.get(name)?.pagesFreed ?? 0) };
    this.#byKey.set(name, amendment);
    this.#puts.set(name, amendment);
  }

  delete(key: Buffer, pagesFreed: number): void {
    const name = nameOf(key);
    this.#byKey.set(name, { key, value: null, pagesFreed: pagesFreed + (this.#byKey.get(name)?.pagesFreed ?? 0) });
    this.#puts.delete(name);
  }

  /** Whether something is to be done with what lies at `key`. */
  has(key: Buffer): boolean {
    return this.#byKey.has(nameOf(key));
  }

  /** Whether that is to put something there. */
  puts(key: Buffer): boolean {
    return this.#puts.has(nameOf(key));
  }

  /** What a commit carries now. */
  snapshot(): readonly Amendment[] {
    return [...this.#byKey.values()];
  }

  changes(carried: readonly Amendment[]): Change[] {
    return carried.map(({ key, value }) => [key, value]);
  }

  /** They are on the medium; what was said of the same keys since then is not. */
  settled(carried: readonly Amendment[]): void {
    for (const amendment of carried) {
      const name = nameOf(amendment.key);
      if (this.#byKey.get(name) !== amendment) continue;
      this.#byKey.delete(name);
      this.#puts.delete(name);
    }
  }

  /** The first entry at or after `key`, with these changes made. */
  ceiling(reader: Reader, key: Buffer): Entry | null {
    let from = key;
    let found: Entry | null = null;
    for (;;) {
      found = reader.ceiling(from);
      const amended = found === null ? undefined : this.#byKey.get(nameOf(found.key));
      if (found === null || amended === undefined) break;
      if (amended.value !== null) {
        found = { key: found.key, value: amended.value };
        break;
      }
      from = after(found.key);
    }
    for (const { key: put, value } of this.#puts.values()) {
      if (put.compare(key) < 0 || (found !== null && put.compare(found.key) >= 0)) continue;
      found = { key: put, value: value! };
    }
    return found;
  }

  /** The last entry before `key`, with these changes made. */
  below(reader: Reader, key: Buffer): Entry | null {
    let before = key;
    let found: Entry | null = null;
    for (;;) {
      found = reader.below(before);
      const amended = found === null ? undefined : this.#byKey.get(nameOf(found.key));
      if (found === null || amended === undefined) break;
      if (amended.value !== null) {
        found = { key: found.key, value: amended.value };
        break;
      }
      before = found.key;
    }
    for (const { key: put, value } of this.#puts.values()) {
      if (put.compare(key) >= 0 || (found !== null && put.compare(found.key) <= 0)) continue;
      found = { key: put, value: value! };
    }
    return found;
  }
}

function nameOf(key: Buffer): string {
  return key.toString('latin1');
}

/** The next key of the same lane. */
function after(key: Buffer): Buffer {
  return blockKey(keyLane(key), keySeq(key) + 1);
}
