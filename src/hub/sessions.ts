import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import { QUEUED_BYTES_TOTAL_MAX, type HubLimits } from './limits.ts';
import { Mailbox, type Settled, type Weight } from './mailbox.ts';
import { Pen } from './pen.ts';
import type { Store } from './session-store.ts';
import { Session, type Keeping } from './session.ts';

const SESSION = 'session/';
const LETTER = 'letter/';
const VERSION = 1;

interface Saved {
  readonly version: number;
  readonly subscriptions: Readonly<Record<string, 0 | 1>>;
  readonly keeping: Keeping;
  readonly goneAt: number | null;
}

/** All sessions. What a client may expect to find again is in the store, under `session/` and `letter/`. */
export class Sessions {
  readonly #store: Store;
  readonly #pen: Pen;
  readonly #log: Logger;
  readonly #age: () => number;
  readonly #limits: HubLimits;
  readonly #settled: (child: string, module: string | null, ...gone: Parameters<Settled>) => ReturnType<Settled>;
  readonly #all = new Map<string, Session>();
  readonly #weight: Weight = { bytes: 0, max: QUEUED_BYTES_TOTAL_MAX, next: 1 };

  constructor(
    store: Store,
    limits: HubLimits,
    age: () => number,
    clock: Clock,
    log: Logger,
    settled: (child: string, module: string | null, ...gone: Parameters<Settled>) => ReturnType<Settled>,
  ) {
    this.#store = store;
    this.#pen = new Pen(store, clock, log);
    this.#log = log;
    this.#age = age;
    this.#limits = limits;
    this.#settled = settled;
  }

  /** Reads what was kept. What cannot be read is left out, and said. */
  load(): void {
    for (const name of this.#store.names(SESSION)) {
      const key = name.slice(SESSION.length);
      this.#try(name, (record) => {
        const saved = JSON.parse(record.toString('utf8')) as Saved;
        if (saved.version !== VERSION) throw new Error(`it is of format ${saved.version}, which is not known here`);
        const session = this.#make(key);
        for (const [filter, qos] of Object.entries(saved.subscriptions)) session.subscriptions.set(filter, qos);
        session.keeping = saved.keeping;
        session.goneAt = saved.goneAt ?? this.#age();
      });
    }
    for (const name of this.#store.names(LETTER)) {
      const at = name.lastIndexOf('/');
      const session = this.#make(name.slice(LETTER.length, at));
      this.#try(name, (record) => session.mailbox.found(record, Number(name.slice(at + 1))));
    }
  }

  *[Symbol.iterator](): IterableIterator<Session> {
    yield* this.#all.values();
  }

  /** The session of a client; made when there is none. */
  of(child: string, module: string | null): Session {
    return this.#make(keyOf(child, module));
  }

  find(child: string, module: string | null): Session | undefined {
    return this.#all.get(keyOf(child, module));
  }

  /**
   * A client comes. True: it finds its session as it left it. With `clean` it does not, and what `keeping` says is what it
   * finds next time.
   */
  begin(session: Session, clean: boolean, keeping: Keeping): boolean {
    const { goneAt } = session;
    const left =
      session.keeping === 'for ever' ||
      (session.keeping !== 'not' && (goneAt === null || goneAt + session.keeping.secs * 1000 > this.#age()));
    const present = left && !clean;
    const before = recordOf(session);
    if (!present) session.reset();
    session.keeping = keeping;
    session.goneAt = null;
    this.#save(session, before);
    return present;
  }

  /** Its client left. */
  end(session: Session): void {
    if (session.keeping === 'not') session.reset();
    else if (session.keeping !== 'for ever') void this.save(session);
  }

  /** Resolves when its subscriptions are durable, at once when nothing of it is kept. */
  save(session: Session): Promise<void> {
    return session.keeping === 'not' ? Promise.resolve() : this.#pen.set(nameOf(session), recordOf(session));
  }

  /** A client that there is no more: nothing of it stays. */
  forget(child: string, module: string | null): void {
    for (const [key, session] of this.#all) {
      if (session.child !== child || (module !== null && session.module !== module)) continue;
      for (const letter of session.mailbox.letters.slice()) session.mailbox.drop(letter, 'dropped');
      void this.#pen.set(`${SESSION}${key}`, null);
      this.#all.delete(key);
    }
  }

  /** Lets go of what has outlived its time. */
  expire(): void {
    for (const session of this.#all.values()) {
      session.expire();
      const { goneAt, keeping } = session;
      if (goneAt === null || keeping === 'for ever' || keeping === 'not') continue;
      if (goneAt + keeping.secs * 1000 > this.#age()) continue;
      session.reset();
      session.keeping = 'not';
      void this.#pen.set(nameOf(session), null);
    }
  }

  /** Resolves when everything is durable, or cannot be written. */
  flush(): Promise<void> {
    return this.#pen.flush();
  }

  #save(session: Session, before: Buffer): void {
    if (session.keeping === 'not') {
      // Nothing of it was kept before, or what was is no more.
      if (this.#isKept(session)) void this.#pen.set(nameOf(session), null);
    } else if (!recordOf(session).equals(before) || !this.#isKept(session)) {
      void this.#pen.set(nameOf(session), recordOf(session));
    }
  }

  #isKept(session: Session): boolean {
    try {
      return this.#store.get(nameOf(session)) !== null;
    } catch {
      // What cannot be read has been said, and gives way to the next one.
      return true;
    }
  }

  #make(key: string): Session {
    let session = this.#all.get(key);
    if (session === undefined) {
      const [child = '', module] = key.split('/').map(decodeURIComponent);
      const settled: Settled = (...gone) => this.#settled(child, module ?? null, ...gone);
      const mailbox = new Mailbox(`${LETTER}${key}/`, this.#pen, this.#weight, this.#limits, settled);
      session = new Session(child, module ?? null, mailbox, this.#age);
      this.#all.set(key, session);
    }
    return session;
  }

  #try(name: string, read: (record: Buffer) => void): void {
    try {
      const record = this.#store.get(name);
      if (record !== null) read(record);
    } catch (error) {
      this.#log.error({ err: error, record: name }, 'a record of a session cannot be read and is left out');
    }
  }
}

function keyOf(child: string, module: string | null): string {
  const name = encodeURIComponent(child);
  return module === null ? name : `${name}/${encodeURIComponent(module)}`;
}

function nameOf({ child, module }: Session): string {
  return `${SESSION}${keyOf(child, module)}`;
}

function recordOf({ subscriptions, keeping, goneAt }: Session): Buffer {
  const saved: Saved = { version: VERSION, subscriptions: Object.fromEntries(subscriptions), keeping, goneAt };
  return Buffer.from(JSON.stringify(saved), 'utf8');
}

/** The names of what is kept of a child that there is no more, or of one module of it: for where no hub runs. */
export function sessionRecords(store: Pick<Store, 'names'>, child: string, module: string | null): string[] {
  const key = keyOf(child, module);
  const session = store.names(`${SESSION}${key}`).filter((name) => name === `${SESSION}${key}`);
  const ofModules = module === null ? store.names(`${SESSION}${key}/`) : [];
  return [...session, ...ofModules, ...store.names(`${LETTER}${key}/`)];
}
