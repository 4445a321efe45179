import { Environment, type Change, type Reader } from './environment.ts';
import { StoreError } from './store-error.ts';

const MIB = 2 ** 20;
/** The state environment's map, bytes. Only a thousand children with the largest of twins come near it. */
export const STATE_MAP_BYTES: number = 64 * MIB;
/** Most that it may grow to: LMDB writes pages anew to delete what is in them, and a full map could never be emptied. */
const STATE_BYTES_MAX = 62 * MIB;
/** Changes that need no more than this may go so far beyond: what the gateway notes of itself, bytes. */
const SMALL_BYTES = 4096;
const BEYOND_BYTES_MAX = MIB;
/** What LMDB puts before a value on pages of its own, and beside one in a page of the tree, bytes (MDB's PAGEHDRSZ, NODESIZE). */
const PAGE_HEADER_BYTES = 16;
const NODE_BYTES = 8;

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
    this.#environment = Environment.open({ directory, mapBytes: STATE_MAP_BYTES, durability });
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

  /** All of it in one transaction, as {@link put}; null deletes. Rejects with {@link stateFull} where there is no room for it. */
  putBytes(entries: readonly StateEntry[]): Promise<void> {
    const changes = entries.map(([name, value]): Change => [key(name), value]);
    const written = this.#queue.then(async () => {
      // Somebody took the folder away: what LMDB has open still is brought back first.
      if (this.#environment.displaced === 'gone') await this.#environment.recreate();
      if (this.#environment.read((reader) => lacksRoom(reader, changes))) throw stateFull();
      await this.#environment.write(changes);
    });
    this.#queue = written.catch(() => undefined);
    return written;
  }

  /** As {@link putBytes}, without a bound: what was in one such environment has room in another. */
  refill(entries: readonly StateEntry[]): Promise<void> {
    return this.#environment.write(entries.map(([name, value]): Change => [key(name), value]));
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

/** Whether `changes` would make the state environment larger than it may become. What makes it smaller always has room. */
export function lacksRoom(reader: Reader, changes: readonly Change[]): boolean {
  const { live, pageBytes } = reader.livePages();
  let more = 0;
  for (const [name, value] of changes) {
    more += roomFor(name, value, pageBytes) - roomFor(name, reader.get(name), pageBytes);
  }
  const beyond = more > SMALL_BYTES ? 0 : BEYOND_BYTES_MAX;
  return more > 0 && live * pageBytes + more > STATE_BYTES_MAX + beyond;
}

/** Bytes that an entry takes, without the tree above it. LMDB gives a value pages of its own when two would not fit into one. */
function roomFor(name: Buffer, value: Buffer | null, pageBytes: number): number {
  if (value === null) return 0;
  const inTree = NODE_BYTES + name.length + value.length;
  if (inTree <= (pageBytes - PAGE_HEADER_BYTES) / 2) return inTree;
  return NODE_BYTES + name.length + Math.ceil((PAGE_HEADER_BYTES + value.length) / pageBytes) * pageBytes;
}

export function stateFull(): StoreError {
  const bound = STATE_BYTES_MAX / MIB;
  return new StoreError(
    'full',
    `what is kept of children, twins and sessions fills the ${bound} MiB that it may take: take children out, or make their twins smaller`,
  );
}

function key(name: string): Buffer {
  return Buffer.from(name, 'utf8');
}
