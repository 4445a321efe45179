import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import type { RevokedListener } from '../hub/gatekeeper.ts';
import type { OpenedDocument } from './document.ts';
import {
  identityFault,
  MODULES_MAX,
  REGISTERED_MAX,
  RegisteredSchema,
  type Auth,
  type Identity,
  type ModuleIdentity,
  type Registered,
} from './identity.ts';
import { SealError } from './seal-key.ts';
import {
  absent,
  disturbed,
  documentDigest,
  readSync,
  staysIn,
  successionFault,
  SYNC,
  type RefusedChild,
  type RemovedListener,
  type Sync,
} from './sync.ts';

const PREFIX = 'child/';
/** Bytes of a key that is made here: what the cloud makes, too. */
const SAS_KEY_BYTES = 32;

/** What a child that the configuration names may do to others. */
export interface Grants {
  readonly invoke: readonly string[];
  readonly send: readonly string[];
  readonly observe: readonly string[];
}

/** What the configuration says of children. */
export interface ConfiguredChildren {
  /** Ids that nobody can connect as: the gateway and what it reads itself. */
  readonly taken: readonly string[];
  readonly connected: ReadonlyMap<string, Grants>;
}

/** Where it is kept; see {@link SealedStore}. */
export interface RegistryStore {
  get(name: string): Buffer | null;
  put(changes: readonly (readonly [name: string, value: Buffer | null])[]): Promise<void>;
  names(prefix: string): string[];
}

/** Something cannot be done to the registry; the message is for people. Nothing was changed. */
export class RegistryRefusal extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'RegistryRefusal';
  }
}

/**
 * The children that may connect, with their credentials: in memory whole, sealed on the medium. What a method has done is
 * durable when it resolves. It is in effect a moment before that: who is cut off is not let in meanwhile.
 */
export class Registry {
  readonly #store: RegistryStore;
  #configured: ConfiguredChildren;
  readonly #taken: ReadonlySet<string>;
  readonly #children: Map<string, Registered>;
  readonly #listeners = new Set<RevokedListener>();
  readonly #removedListeners = new Set<RemovedListener>();
  /** Those whom a document leaves out, until one is durable. */
  #leaving: Parameters<RemovedListener>[] = [];
  readonly #greeters = new Set<() => void>();
  #queue: Promise<unknown> = Promise.resolve();
  #synced: Sync | null;

  /** Reads what is kept. A record that cannot be read is said and left as it is: that child alone is locked out. */
  constructor(store: RegistryStore, configured: ConfiguredChildren, log: Logger) {
    this.#store = store;
    this.#configured = configured;
    this.#taken = new Set(configured.taken);
    this.#children = new Map();
    for (const name of store.names(PREFIX)) {
      const child = name.slice(PREFIX.length);
      try {
        const found = RegisteredSchema.safeParse(JSON.parse(store.get(name)?.toString('utf8') ?? 'null'));
        if (found.success) this.#children.set(child, found.data);
        else log.error({ child }, `its credentials cannot be used: ${identityFault(found.error)}`);
      } catch (error) {
        if (!(error instanceof SealError)) throw error;
        log.error({ child }, error.message);
      }
      if (this.#taken.has(child))
        log.warn({ child }, 'it has credentials, and the gateway reads it itself: it cannot connect');
    }
    this.#synced = readSync(store, log);
  }

  /** What the configuration says of children that connect is another now; what it reads itself is as it was. */
  configure(configured: ConfiguredChildren): void {
    this.#configured = configured;
  }

  /** Whether it is not known yet who may be let in: nobody was added, and no registry document was ever taken. */
  get empty(): boolean {
    return this.#children.size === 0 && this.#synced === null;
  }

  /** Whether there is anybody whose password could be guessed. */
  get hasPasswords(): boolean {
    for (const { auth, modules } of this.#children.values())
      if ('password' in auth || modules.some((module) => 'password' in module.auth)) return true;
    return false;
  }

  /** The last registry document that was taken; null: none ever was. */
  get synced(): Sync | null {
    return this.#synced;
  }

  /** The credentials of a child; undefined when it has none, or the gateway reads it itself. */
  find(id: string): Registered | undefined {
    return this.#taken.has(id) ? undefined : this.#children.get(id);
  }

  grants(id: string): Grants {
    return this.#configured.connected.get(id) ?? NONE;
  }

  /** By id. Children that the configuration names and that have no credentials are not among them. */
  all(): readonly Registered[] {
    return [...this.#children.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** Children that the configuration lets connect, and that have no credentials yet. */
  withoutCredentials(): readonly string[] {
    return [...this.#configured.connected.keys()].filter((id) => !this.#children.has(id));
  }

  /** Adds a child from here. Rejects with a {@link RegistryRefusal} when there is one of that id. */
  add(identity: Identity): Promise<void> {
    return this.#turn(async () => {
      const { id } = identity;
      if (this.#taken.has(id)) {
        throw new RegistryRefusal(
          `${id} is an id of the configuration: the gateway itself, or what it reads over a wire`,
        );
      }
      const other = this.#children.get(id);
      if (other !== undefined) {
        const whence = other.origin === 'upstream' ? 'from upstream' : 'added here';
        throw new RegistryRefusal(`there is a child ${id} already, ${whence}`);
      }
      if (this.#children.size >= REGISTERED_MAX)
        throw new RegistryRefusal(`there are ${REGISTERED_MAX} children, the most there may be`);
      await this.#keep({ ...identity, origin: 'local' });
      for (const greet of this.#greeters) greet();
    });
  }

  addModule(child: string, module: ModuleIdentity): Promise<void> {
    return this.#turn(async () => {
      const found = this.#own(child);
      if (found.modules.some(({ id }) => id === module.id))
        throw new RegistryRefusal(`${child} has a module ${module.id} already`);
      if (found.modules.length >= MODULES_MAX)
        throw new RegistryRefusal(`${child} has ${MODULES_MAX} modules, the most there may be`);
      await this.#keep({ ...found, modules: [...found.modules, module] });
      for (const greet of this.#greeters) greet();
    });
  }

  /** Removes a child with its modules, or one module. Who is connected as it is cut off. */
  remove(child: string, module: string | null): Promise<void> {
    return this.#turn(async () => {
      const found = this.#own(child);
      if (module === null) {
        this.#children.delete(child);
        this.#revoked(found, null);
        await this.#write(child, null, found);
      } else {
        mustHave(found, module);
        await this.#change({ ...found, modules: found.modules.filter(({ id }) => id !== module) }, found, module);
      }
      this.#removed([[child, module]]);
    });
  }

  /** A disabled child is cut off at once, with its modules, and keeps its credentials. */
  setStatus(child: string, status: Identity['status']): Promise<void> {
    return this.#turn(async () => {
      const found = this.#own(child);
      if (status === found.status) return;
      if (status === 'disabled') await this.#change({ ...found, status }, found, null);
      else await this.#keep({ ...found, status });
    });
  }

  /**
   * Makes a new primary key. The one before stays valid as the secondary, so that the child goes on with it until it has been
   * told; with `both`, neither key of before is valid any more. Resolves with the keys as they are now.
   */
  rotateKey(child: string, module: string | null, both: boolean): Promise<Auth> {
    return this.#turn(async () => {
      const found = this.#own(child);
      const { auth } = module === null ? found : mustHave(found, module);
      if (!('sas' in auth)) throw new RegistryRefusal(`${module ?? child} has no shared access keys`);
      const secondaryKey = both ? newSasKey() : auth.sas.primaryKey;
      const made: Auth = { sas: { primaryKey: newSasKey(), secondaryKey } };
      const next =
        module === null
          ? { ...found, auth: made }
          : {
              ...found,
              modules: found.modules.map((each) => (each.id === module ? { id: module, auth: made } : each)),
            };
      await this.#change(next, found, module);
      return made;
    });
  }

  /**
   * Takes a registry document: its children replace those that came from upstream before, in one durable step. A child whose id is taken
   * here is refused alone, and the others are taken. Who is removed or disabled is cut off at once, and so is everybody who came
   * in by a credential that counts no more; nobody else is. `receivedAt`: wall ms, null when the time is not known.
   * Resolves with false when all of it was taken already. Rejects with a {@link RegistryRefusal} when none of it is: an older version, the same
   * version with another content, too many children.
   */
  takeDocument({ document, signed }: OpenedDocument, receivedAt: number | null): Promise<boolean> {
    return this.#turn(async () => {
      const fault = successionFault(document, signed, this.#synced);
      if (fault !== null) throw new RegistryRefusal(fault);
      const refused: RefusedChild[] = [];
      const next = new Map<string, Registered>();
      for (const child of document.children) {
        const why = this.#clash(child.id);
        if (why === null) next.set(child.id, { ...child, origin: 'upstream' });
        else refused.push({ id: child.id, why });
      }
      const before = [...this.#children.values()].filter(({ origin }) => origin === 'upstream');
      const total = this.#children.size - before.length + next.size;
      if (total > REGISTERED_MAX)
        throw new RegistryRefusal(
          `with its ${next.size} children there would be ${total}; at most ${REGISTERED_MAX} may be`,
        );
      const { version, issuedAt } = document;
      const digest = documentDigest(document);
      const synced = { version, issuedAt, receivedAt, signed, children: next.size, refused, digest };
      const changes = this.#changesTo(next);
      const same = digest === this.#synced?.digest && JSON.stringify(refused) === JSON.stringify(this.#synced.refused);
      if (changes.length === 0 && same) return false;
      // Who loses something loses it now, who gains something has it once it is durable.
      for (const child of before) {
        const after = next.get(child.id);
        if (after === undefined) this.#children.delete(child.id);
        else this.#children.set(child.id, after);
        this.#leaving.push(...absent(child, after));
        if (this.#taken.has(child.id)) continue;
        for (const module of disturbed(child, after))
          this.#tell(child.id, module, (client) => staysIn(child, after, client));
      }
      await this.#store.put([...changes, [SYNC, Buffer.from(JSON.stringify(synced), 'utf8')]]);
      for (const [id, child] of next) this.#children.set(id, child);
      this.#synced = synced;
      this.#removed(this.#leaving.splice(0));
      return true;
    });
  }

  /** Calls `listener` with who must be cut off; a child's modules by name, since its keys let them in, too. */
  onRevoked(listener: RevokedListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Calls `listener` with a child (null), or a module of one, that is gone for good: what belongs to it may go, too. */
  onRemoved(listener: RemovedListener): () => void {
    this.#removedListeners.add(listener);
    return () => void this.#removedListeners.delete(listener);
  }

  /** Calls `listener` when a child, or a module of one, has been added from here. */
  onAdded(listener: () => void): void {
    this.#greeters.add(listener);
  }

  async #change(next: Registered, before: Registered, module: string | null): Promise<void> {
    this.#children.set(next.id, next);
    this.#revoked(before, module);
    await this.#write(next.id, next, before);
  }

  /** What is in effect already. If the medium does not take it it has not happened: else it could not be asked for again. */
  async #write(id: string, next: Registered | null, before: Registered): Promise<void> {
    try {
      await this.#store.put([[PREFIX + id, next === null ? null : Buffer.from(JSON.stringify(next), 'utf8')]]);
    } catch (error) {
      this.#children.set(id, before);
      throw error;
    }
  }

  /** Nobody is worse off by it: it counts once it is durable. */
  async #keep(next: Registered): Promise<void> {
    await this.#store.put([[PREFIX + next.id, Buffer.from(JSON.stringify(next), 'utf8')]]);
    this.#children.set(next.id, next);
  }

  #revoked({ id, modules }: Registered, module: string | null): void {
    const whom = module === null ? [null, ...modules.map((each) => each.id)] : [module];
    for (const each of whom) this.#tell(id, each);
  }

  #tell(...revoked: Parameters<RevokedListener>): void {
    for (const listener of this.#listeners) listener(...revoked);
  }

  /** They are no more, and that is durable by now. */
  #removed(gone: readonly Parameters<RemovedListener>[]): void {
    for (const [child, module] of gone) {
      const found = this.#children.get(child);
      // The twin of an id that the gateway reads itself now is another's; and a child may have come back meanwhile.
      if (this.#taken.has(child)) continue;
      if (found !== undefined && (module === null || found.modules.some(({ id }) => id === module))) continue;
      for (const listener of this.#removedListeners) listener(child, module);
    }
  }

  /** Why a child from upstream cannot have this id; null when it can. */
  #clash(id: string): string | null {
    if (this.#taken.has(id))
      return 'it is an id of the configuration: the gateway itself, or what it reads over a wire';
    return this.#children.get(id)?.origin === 'local' ? 'a child of that id was added here' : null;
  }

  /** What has to change on the medium for its children from upstream to be these. What is the same is not written again. */
  #changesTo(next: ReadonlyMap<string, Registered>): (readonly [name: string, value: Buffer | null])[] {
    const changes: [string, Buffer | null][] = [];
    for (const child of next.values()) {
      const [name, value] = [PREFIX + child.id, Buffer.from(JSON.stringify(child), 'utf8')];
      if (!value.equals(this.#kept(name) ?? Buffer.alloc(0))) changes.push([name, value]);
    }
    for (const name of this.#store.names(PREFIX)) {
      if (next.has(name.slice(PREFIX.length))) continue;
      const found = RegisteredSchema.safeParse(jsonOf(this.#kept(name)));
      if (found.data?.origin === 'upstream') changes.push([name, null]);
    }
    return changes;
  }

  #kept(name: string): Buffer | null {
    try {
      return this.#store.get(name);
    } catch (error) {
      if (error instanceof SealError) return null;
      throw error;
    }
  }

  #own(child: string): Registered {
    const found = this.#children.get(child);
    if (found === undefined) throw new RegistryRefusal(`there is no child ${child} with credentials`);
    if (found.origin === 'upstream') throw new RegistryRefusal(`${child} comes from upstream: change it there`);
    return found;
  }

  /** One change at a time. */
  #turn<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(act);
    this.#queue = done.catch(() => undefined);
    return done;
  }
}

const NONE: Grants = { invoke: [], send: [], observe: [] };

function jsonOf(value: Buffer | null): unknown {
  return JSON.parse(value?.toString('utf8') ?? 'null');
}

/** A fresh shared access key, base64. */
export function newSasKey(): string {
  return randomBytes(SAS_KEY_BYTES).toString('base64');
}

function mustHave(child: Registered, module: string): ModuleIdentity {
  const found = child.modules.find(({ id }) => id === module);
  if (found === undefined) throw new RegistryRefusal(`${child.id} has no module ${module}`);
  return found;
}
