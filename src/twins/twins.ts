import { patchFrom, SIZE_MAX, sizeOf } from './limits.ts';
import { difference, emptyObject, isObject, merged, type JsonObject } from './patch.ts';

/*
 * Twins: for each child, each module and the gateway itself what it shall be (desired) and what it says that it is (reported). Each
 * side has a version that grows by one with each change. A patch that changes nothing is no change: nothing is written for a child
 * that reports the same again and again.
 */

/** Changes of one twin that may wait for the medium. */
const WAITING_MAX = 64;
/** A twin that nobody has changed yet has this version, as IoT Hub's. */
const FIRST_VERSION = 1;
const FORMAT = 1;
const PREFIX = 'twin/';

/** Small durable records by name; the sealed store of `registry/` is one. */
export interface TwinStore {
  get(name: string): Buffer | null;
  /** Resolves when all are durable; null removes. */
  put(changes: readonly (readonly [name: string, value: Buffer | null])[]): Promise<void>;
  names(prefix: string): readonly string[];
}

/** What went wrong, in the form in which a child gets it; codes are IoT Hub's, `status` follows HTTP. */
export interface TwinFault {
  readonly status: number;
  readonly errorCode: number;
  readonly message: string;
}

/** A change that is durable. */
export interface TwinChange {
  readonly child: string;
  readonly module: string | null;
  readonly side: 'desired' | 'reported';
  readonly version: number;
  /** What is not as it was before, as a merge patch. */
  readonly patch: JsonObject;
}

/** Both sides, each with its `$version`. */
export interface TwinView {
  readonly desired: JsonObject;
  readonly reported: JsonObject;
}

interface Side {
  readonly version: number;
  readonly properties: JsonObject;
  /** Of the document that was had from above last; absent: none was. */
  readonly above?: number;
}
interface Twin {
  readonly desired: Side;
  readonly reported: Side;
}

export interface TwinsOptions {
  readonly store: TwinStore;
  /** Called when a change is durable, in the order of each twin's changes. Must not throw. */
  readonly changed: (change: TwinChange) => void;
  /** Called when a twin is no longer ours. Must not throw. */
  readonly forgotten?: (child: string, module: string | null) => void;
}

/** What becomes of a side: its properties, and its version when that is not the next one. */
type Edit = (side: Side) => { properties: JsonObject; version?: number; above?: number };

export class Twins {
  readonly #store: TwinStore;
  readonly #changed: (change: TwinChange) => void;
  readonly #forgotten: (child: string, module: string | null) => void;
  /** Twins that are being changed: how many changes, and when the last of them is done. */
  readonly #busy = new Map<string, { waiting: number; last: Promise<unknown> }>();

  constructor({ store, changed, forgotten = () => undefined }: TwinsOptions) {
    this.#store = store;
    this.#changed = changed;
    this.#forgotten = forgotten;
  }

  /** As it is on the medium. */
  read(child: string, module: string | null): TwinView {
    const { desired, reported } = this.#load(child, module);
    return { desired: shown(desired), reported: shown(reported) };
  }

  /** Merges what a child reports, JSON. Resolves when it is durable; never rejects. */
  report(child: string, module: string | null, body: Buffer): Promise<{ readonly version: number } | TwinFault> {
    let value: unknown;
    try {
      value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
    } catch {
      return Promise.resolve(fault(400, 400_006, 'the reported properties are not JSON'));
    }
    return this.#patched(child, module, 'reported', value);
  }

  /** Merges into the desired properties. Resolves when it is durable; never rejects. */
  desire(child: string, module: string | null, patch: unknown): Promise<{ readonly version: number } | TwinFault> {
    return this.#patched(child, module, 'desired', patch);
  }

  /**
   * Puts a whole document in place of the desired properties. With a `version` it comes from above, where desired properties are
   * decided: one that was not had from there yet takes the place of whatever is here, and gives it its version, or the next one
   * where we are further already because something was set here meanwhile. Resolves when it is durable, with the version that is
   * then ours; never rejects.
   */
  replaceDesired(
    child: string,
    module: string | null,
    document: unknown,
    version?: number,
  ): Promise<{ readonly version: number } | TwinFault> {
    const properties = patchFrom(document);
    if (typeof properties === 'string') return Promise.resolve(fault(400, 400_004, properties));
    return this.#edit(child, module, 'desired', (side) => {
      if (version === undefined) return { properties: merged(emptyObject(), properties) };
      if (version <= (side.above ?? 0)) return { properties: side.properties };
      const next = merged(emptyObject(), properties);
      const untouched = version === side.version && Object.keys(side.properties).length === 0;
      if (version > side.version || untouched) return { properties: next, version, above: version };
      return { properties: next, above: version };
    });
  }

  /** Removes a child's twin and those of its modules (or of one module): it is no longer ours. */
  async forget(child: string, module: string | null): Promise<void> {
    const name = nameOf(child, module);
    const isMeant = (each: string) => each === name || (module === null && each.startsWith(`${name}/`));
    const busy = [...this.#busy].filter(([each]) => isMeant(each));
    await Promise.all(busy.map(([, { last }]) => last));
    const names = this.#store.names(name).filter(isMeant);
    await this.#store.put(names.map((each) => [each, null]));
    for (const each of names) this.#forgotten(...namedBy(each));
  }

  /** All that have a twin, modules as `child/module`. */
  ids(): string[] {
    return this.#store.names(PREFIX).map((name) => name.slice(PREFIX.length));
  }

  #patched(
    child: string,
    module: string | null,
    side: 'desired' | 'reported',
    value: unknown,
  ): Promise<{ readonly version: number } | TwinFault> {
    const patch = patchFrom(value);
    if (typeof patch === 'string') return Promise.resolve(fault(400, 400_004, patch));
    return this.#edit(child, module, side, ({ properties }) => ({ properties: merged(properties, patch) }));
  }

  /** Edits one side, after what is under way for the same twin. */
  async #edit(
    child: string,
    module: string | null,
    side: 'desired' | 'reported',
    edit: Edit,
  ): Promise<{ readonly version: number } | TwinFault> {
    const name = nameOf(child, module);
    const busy = this.#busy.get(name) ?? { waiting: 0, last: Promise.resolve() };
    if (busy.waiting >= WAITING_MAX)
      return fault(429, 429_001, `${WAITING_MAX} changes of this twin are waiting already`);
    busy.waiting += 1;
    this.#busy.set(name, busy);
    const done = busy.last.then(() => this.#written(name, { child, module, side }, edit));
    busy.last = done;
    const result = await done;
    busy.waiting -= 1;
    if (busy.waiting === 0) this.#busy.delete(name);
    return result;
  }

  async #written(
    name: string,
    where: Pick<TwinChange, 'child' | 'module' | 'side'>,
    edit: Edit,
  ): Promise<{ readonly version: number } | TwinFault> {
    try {
      const twin = this.#load(where.child, where.module);
      const was = twin[where.side];
      const { properties, version: given, above = was.above } = edit(was);
      const size = sizeOf(properties);
      if (size > SIZE_MAX)
        return fault(413, 413_001, `the ${where.side} properties would have ${size} bytes; they may have ${SIZE_MAX}`);
      const patch = difference(was.properties, properties);
      const changes = Object.keys(patch).length > 0;
      const version = given ?? (changes ? was.version + 1 : was.version);
      if (version === was.version && above === was.above) return { version };
      const side: Side = { version, properties, ...(above === undefined ? {} : { above }) };
      const record = { format: FORMAT, ...twin, [where.side]: side };
      await this.#store.put([[name, Buffer.from(JSON.stringify(record))]]);
      if (changes) this.#changed({ ...where, version, patch });
      return { version };
    } catch (error) {
      return fault(500, 500_001, `the twin could not be kept: ${(error as Error).message}`);
    }
  }

  #load(child: string, module: string | null): Twin {
    const bytes = this.#store.get(nameOf(child, module));
    const nothing: Side = { version: FIRST_VERSION, properties: emptyObject() };
    if (bytes === null) return { desired: nothing, reported: nothing };
    const { format, desired, reported } = JSON.parse(bytes.toString('utf8')) as Twin & { format: number };
    if (format !== FORMAT || !isSide(desired) || !isSide(reported))
      throw new Error(`the twin of ${child} has a format that this release does not know`);
    return { desired, reported };
  }
}

function nameOf(child: string, module: string | null): string {
  return module === null ? `${PREFIX}${child}` : `${PREFIX}${child}/${module}`;
}

function namedBy(name: string): [child: string, module: string | null] {
  const [child = '', module] = name.slice(PREFIX.length).split('/');
  return [child, module ?? null];
}

function isSide(side: unknown): side is Side {
  return isObject(side) && typeof side['version'] === 'number' && isObject(side['properties']);
}

function shown({ version, properties }: Side): JsonObject {
  return { ...properties, $version: version };
}

function fault(status: number, errorCode: number, message: string): TwinFault {
  return { status, errorCode, message };
}
