import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import { DocumentRefused, openDocument } from '../registry/document.ts';
import type { GatewayKey } from '../registry/gateway-key.ts';
import { JwkError, type PublicJwk } from '../registry/jwk.ts';
import { RegistryRefusal, type Registry } from '../registry/registry.ts';
import { syncStatus, type RefusedChild, type Sync } from '../registry/sync.ts';

/** Refused children that are named in the log, of one document. */
const NAMED_MAX = 10;

export interface RegistrarOptions {
  readonly registry: Registry;
  readonly key: GatewayKey;
  /** Whose signature a document must have; null: nobody's. Asked for each; throws a {@link JwkError} when it cannot be known. */
  readonly trust: () => PublicJwk | null;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What became of the registry documents from above. */
export interface RegistryReport {
  /** Of the last one that was taken; this and the others are null while none was. */
  readonly version: number | null;
  /** RFC 3339. */
  readonly issuedAt: string | null;
  /** RFC 3339; null when the time was not known. */
  readonly receivedAt: string | null;
  readonly signed: boolean | null;
  /** How many of its children were taken. */
  readonly children: number | null;
  readonly refused: readonly RefusedChild[];
  /** Why one that came later was not taken: one line, nothing secret in it. Null when that which came last was. */
  readonly error: string | null;
}

/**
 * Takes the registry documents that come from above. What was taken last stays in force until another is: a document that is
 * refused, or that is gone, changes nothing.
 */
export class Registrar {
  readonly #options: RegistrarOptions;
  #working: Promise<void> | null = null;
  #waiting: Buffer | null = null;
  #error: string | null = null;

  constructor(options: RegistrarOptions) {
    this.#options = options;
  }

  /**
   * Takes a document as it came. Resolves when it is durable and in force, when it was refused, or when a later one took its
   * place; rejects when it, or that one, could not be kept: it should come again. The log hears what happened, of the same document
   * only once.
   */
  receive(body: Buffer): Promise<void> {
    // It is a retained message: only the last one counts.
    this.#waiting = body;
    this.#working ??= this.#work().finally(() => (this.#working = null));
    return this.#working;
  }

  /** Null when no document was ever taken, and none was refused since the start. */
  report(): RegistryReport | null {
    const { lastSync } = this;
    if (lastSync === null && this.#error === null) return null;
    const none = { version: null, issuedAt: null, receivedAt: null, signed: null, children: null, refused: [] };
    return { ...(lastSync === null ? none : syncStatus(lastSync)), error: this.#error };
  }

  /** The document that was taken last, also before the start; null: none ever was. */
  get lastSync(): Sync | null {
    return this.#options.registry.synced;
  }

  /** Calls `listener` when a child has come that is in no document. */
  onAdded(listener: () => void): void {
    this.#options.registry.onAdded(listener);
  }

  async #work(): Promise<void> {
    let unkept: Error | null = null;
    for (let body = this.#next(); body !== null; body = this.#next()) unkept = await this.#take(body);
    if (unkept !== null) throw unkept;
  }

  #next(): Buffer | null {
    const body = this.#waiting;
    this.#waiting = null;
    return body;
  }

  /** Gives back why it could not be kept; null when it was, or was refused. */
  async #take(body: Buffer): Promise<Error | null> {
    const { registry, key, trust, clock, log } = this.#options;
    if (body.length === 0) {
      log.info('there is no registry document above any more: the children stay as they are');
      return null;
    }
    try {
      const opened = await openDocument(body, key, trust());
      const news = await registry.takeDocument(opened, clock.known() ? clock.wall() : null);
      this.#error = null;
      if (news) this.#say(opened.document.version);
      return null;
    } catch (error) {
      return this.#refuse(error as Error);
    }
  }

  #say(version: number): void {
    const { log } = this.#options;
    const { children, refused, signed } = this.lastSync!;
    log.info({ version, children, signed, refused: refused.length }, 'a registry document was taken');
    for (const { id, why } of refused.slice(0, NAMED_MAX)) log.warn({ child: id }, `not taken from upstream: ${why}`);
    if (refused.length > NAMED_MAX) log.warn(`and ${refused.length - NAMED_MAX} more were not taken from upstream`);
  }

  /** Gives the error back where it need not last. */
  #refuse(error: Error): Error | null {
    const { log } = this.#options;
    const expected = [DocumentRefused, RegistryRefusal, JwkError].some((known) => error instanceof known);
    const why = expected ? error.message : `it cannot be kept: ${error.message}`;
    if (why !== this.#error)
      log.error(expected ? {} : { err: error }, `a registry document was not taken, the one before counts: ${why}`);
    this.#error = why;
    return expected ? null : error;
  }
}
