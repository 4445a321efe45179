import type { TwinStore } from '../../src/twins/twins.ts';

/** Records in memory, which become durable when the test says so. */
export class MemoryStore implements TwinStore {
  readonly records = new Map<string, Buffer>();
  /** Writes that wait, in order, when `holds`. */
  readonly waiting: (() => void)[] = [];
  holds = false;
  /** What the next write fails with. */
  fails: Error | null = null;
  puts = 0;

  get(name: string): Buffer | null {
    return this.records.get(name) ?? null;
  }

  async put(changes: readonly (readonly [name: string, value: Buffer | null])[]): Promise<void> {
    this.puts += 1;
    if (this.holds) await new Promise<void>((resolve) => this.waiting.push(resolve));
    const { fails } = this;
    this.fails = null;
    if (fails !== null) throw fails;
    for (const [name, value] of changes) {
      if (value === null) this.records.delete(name);
      else this.records.set(name, value);
    }
  }

  names(prefix: string): readonly string[] {
    return [...this.records.keys()].filter((name) => name.startsWith(prefix)).sort();
  }
}
