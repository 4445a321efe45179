import type { Change, Reader } from '../store/environment.ts';
import { StoreError } from '../store/store-error.ts';
import { lacksRoom, namesIn, parsed, STATE_MAP_BYTES, stateFull, type State, type StateEntry } from '../store/state.ts';
import { LateEnvironment } from './late-environment.ts';

/** What is kept of the spool outside of it. */
export type Remembered = Pick<State, 'get' | 'put'>;

/** `dataDir/state/` on a medium that cannot be written yet: it is read as far as it can be, and written once it may be. */
export class LateState implements Remembered {
  readonly #environment: LateEnvironment;
  #queue: Promise<void> = Promise.resolve();

  constructor(directory: string) {
    this.#environment = new LateEnvironment({ directory, mapBytes: () => STATE_MAP_BYTES, durability: 'strict' }, null);
    try {
      this.#environment.look();
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
    }
  }

  /** Undefined also for what cannot be read. */
  get(name: string): unknown {
    return parsed(this.bytes(name));
  }

  /** As {@link State.put}; rejects with the StoreError while the medium does not take it. */
  put(name: string, value: unknown): Promise<void> {
    return this.putBytes([[name, Buffer.from(JSON.stringify(value), 'utf8')]]);
  }

  /** null also for what cannot be read. */
  bytes(name: string): Buffer | null {
    return this.#readable((reader) => reader.get(Buffer.from(name, 'utf8')), null);
  }

  /** None also when they cannot be read. */
  names(prefix: string): string[] {
    return this.#readable((reader) => namesIn(reader, prefix), []);
  }

  /** As {@link State.putBytes}; rejects with the StoreError while the medium does not take it. */
  putBytes(entries: readonly StateEntry[]): Promise<void> {
    const changes = entries.map(([name, value]): Change => [Buffer.from(name, 'utf8'), value]);
    const written = this.#queue.then(() => {
      if (this.#readable((reader) => lacksRoom(reader, changes), false)) throw stateFull();
      return this.#environment.write(changes);
    });
    this.#queue = written.catch(() => undefined);
    return written;
  }

  #readable<T>(look: (reader: Reader) => T, otherwise: T): T {
    try {
      return this.#environment.read(look);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      return otherwise;
    }
  }

  async close(): Promise<void> {
    await this.#queue;
    await this.#environment.close();
  }
}
