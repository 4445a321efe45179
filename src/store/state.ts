import { Environment, type Change } from './environment.ts';

/** Address space of the state environment: far more than it holds. */
const MAP_BYTES = 64 * 2 ** 20;

/**
 * The second environment, `dataDir/state/`: small things that no fault of the spool may take along. Values are JSON under
 * short names.
 */
export class State {
  readonly #environment: Environment;
  #queue: Promise<void> = Promise.resolve();

  constructor(directory: string, durability: 'strict' | 'relaxed' = 'strict') {
    this.#environment = Environment.open({ directory, mapBytes: MAP_BYTES, durability });
  }

  get(name: string): unknown {
    const bytes = this.#environment.read((reader) => reader.get(key(name)));
    return bytes === null ? undefined : JSON.parse(bytes.toString('utf8'));
  }

  /** Durable when it resolves; writes happen in the order of the calls. */
  put(name: string, value: unknown): Promise<void> {
    const change: Change = [key(name), Buffer.from(JSON.stringify(value), 'utf8')];
    const written = this.#queue.then(async () => {
      // Somebody took the folder away: what LMDB has open still is brought back first.
      if (this.#environment.displaced === 'gone') await this.#environment.recreate();
      await this.#environment.write([change]);
    });
    this.#queue = written.catch(() => undefined);
    return written;
  }

  /** Bytes on disk. */
  fileBytes(): number {
    return this.#environment.fileBytes();
  }

  async close(): Promise<void> {
    await this.#queue;
    await this.#environment.close();
  }
}

function key(name: string): Buffer {
  return Buffer.from(name, 'utf8');
}
