import { StoreError } from '../store/store-error.ts';
import type { State } from '../store/state.ts';
import { LateEnvironment } from './late-environment.ts';

/** Address space of the state environment, as that of {@link State}. */
const MAP_BYTES = 64 * 2 ** 20;

/** What is kept of the spool outside of it. */
export type Remembered = Pick<State, 'get' | 'put'>;

/** `dataDir/state/` on a medium that cannot be written yet: it is read as far as it can be, and written once it may be. */
export class LateState implements Remembered {
  readonly #environment: LateEnvironment;
  #queue: Promise<void> = Promise.resolve();

  constructor(directory: string) {
    this.#environment = new LateEnvironment({ directory, mapBytes: () => MAP_BYTES, durability: 'strict' }, null);
    try {
      this.#environment.look();
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
    }
  }

  /** Undefined also for what cannot be read. */
  get(name: string): unknown {
    try {
      const bytes = this.#environment.read((reader) => reader.get(Buffer.from(name, 'utf8')));
      return bytes === null ? undefined : JSON.parse(bytes.toString('utf8'));
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      return undefined;
    }
  }

  /** As {@link State.put}; rejects with the StoreError while the medium does not take it. */
  put(name: string, value: unknown): Promise<void> {
    const text = JSON.stringify(value);
    const written = this.#queue.then(() =>
      this.#environment.write([[Buffer.from(name, 'utf8'), Buffer.from(text, 'utf8')]]),
    );
    this.#queue = written.catch(() => undefined);
    return written;
  }

  async close(): Promise<void> {
    await this.#queue;
    await this.#environment.close();
  }
}
