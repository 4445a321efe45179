import { Environment, type Change, type Reader } from './environment.ts';

/** Address space of the state environment: far more than it holds. */
const MAP_BYTES = 64 * 2 ** 20;

/** One entry of the state environment by its name; null deletes it. */
export type StateEntry = readonly [name: string, value: Buffer | null];

/**
 * The second environment, `dataDir/state/`: small things that no fault of the spool may take along. Values are JSON under
 * short names, or sealed bytes (registry/sealed-store.ts).
 */
export class State {
  readonly #environment: Environment;
  #queue: Promise<void> = Promise.resolve();

  constructor(directory: string, durability: 'strict' | 'relaxed' = 'strict') {
    this.#environment = Environment.open({ directory, mapBytes: MAP_BYTES, durability });
  }

  /** Undefined also for what is no JSON any more: nothing here is worth not starting for. */
  get(name: string): unknown {
    return parsed(this.bytes(name));
  }

  /** Durable when it resolves; writes happen in the order of the calls. */
  put(name: string, value: unknown): Promise<void> {
    return this.putBytes([[name, Buffer.from(JSON.stringify(value), 'utf8')]]);
  }

  /** What is kept under a name, as it is. */
  bytes(name: string): Buffer | null {
    return this.#environment.read((reader) => reader.get(key(name)));
  }

  /** The names that begin with `prefix`, in the order of their bytes. */
  names(prefix: string): string[] {
    return this.#environment.read((reader) => namesIn(reader, prefix));
  }

  /** All of it in one transaction, as {@link put}; null deletes. */
  putBytes(entries: readonly StateEntry[]): Promise<void> {
    const changes = entries.map(([name, value]): Change => [key(name), value]);
    const written = this.#queue.then(async () => {
      // Somebody took the folder away: what LMDB has open still is brought back first.
      if (this.#environment.displaced === 'gone') await this.#environment.recreate();
      await this.#environment.write(changes);
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

/** The names in the state environment that begin with `prefix`. */
export function namesIn(reader: Reader, prefix: string): string[] {
  const names: string[] = [];
  reader.scanHeads(key(prefix), 0, (entry) => {
    const name = entry.key.toString('utf8');
    if (!name.startsWith(prefix)) return false;
    names.push(name);
    return true;
  });
  return names;
}

/** What was kept as JSON; undefined where it is none. */
export function parsed(bytes: Buffer | null): unknown {
  try {
    return bytes === null ? undefined : JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}

function key(name: string): Buffer {
  return Buffer.from(name, 'utf8');
}
