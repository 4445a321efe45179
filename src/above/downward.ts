import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import type { Publication } from '../dialects/child-dialect.ts';
import { holdfastUpstream } from '../dialects/holdfast-upstream.ts';
import { covers } from '../dialects/topic-filter.ts';
import type { DownPublication, MethodFromAbove, UpPublication } from '../dialects/upstream-dialect.ts';
import type { BelowHouse } from '../hub/front.ts';
import { MailboxFull } from '../hub/mailbox.ts';
import { decodePublication, encodePublication, type KeptPublication } from './kept-publication.ts';
import type { Rejection } from './rejections.ts';

/** Documents that are kept for gateways below us, and their bytes: beyond it they are handed on, and not kept. */
const DOCUMENTS_MAX = 10_000;
const DOCUMENTS_BYTES_MAX = 8 * 2 ** 20;
/** A gateway that has its hands full is tried again after this, ms. */
const BUSY_MS = 50;
const DOCUMENT = 'below/doc/';
const NOT_FOUND = 404;

export interface DownwardOptions {
  readonly house: Pick<BelowHouse, 'hub' | 'store'>;
  /** The child through which a gateway is reached. */
  readonly way: (gateway: string) => string | null;
  /** Answers a method that cannot be handed on. */
  readonly answer: (publication: UpPublication) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * What comes from above for gateways below us. Registry documents and desired properties are kept, still sealed and as they are, and
 * are there for whoever subscribes to them, with above or without; commands wait in the mailbox of the child through which
 * their gateway is reached; methods go down at once or not at all.
 */
export class Downward {
  readonly #options: DownwardOptions;
  readonly #documents = new Map<string, KeptPublication>();
  /** Topics that a child has yet to be told of. */
  readonly #due = new Map<string, Set<string>>();
  #bytes = 0;
  #last: Promise<unknown> = Promise.resolve();
  #busy: Timer | null = null;
  #full = false;

  /** Reads what is kept. */
  constructor(options: DownwardOptions) {
    this.#options = options;
    const { store } = options.house;
    for (const name of store.names(DOCUMENT)) {
      try {
        const record = store.get(name);
        if (record === null) continue;
        const document = decodePublication(record);
        this.#documents.set(document.topic, document);
        this.#bytes += document.body.length;
      } catch (error) {
        options.log.error({ err: error, record: name }, 'what is kept for a gateway below cannot be read');
      }
    }
  }

  /** Resolves when it need not come again, with a command that is refused for good; rejects when it should. */
  async receive(gateway: string, publication: DownPublication): Promise<Rejection | null> {
    const way = this.#options.way(gateway);
    const from = holdfastUpstream(gateway).heard(publication);
    if (from.kind === 'command') return this.#command(gateway, way, publication);
    if (way === null) return null;
    if (from.kind === 'registry' || from.kind === 'desired') await this.#turn(() => this.#document(way, publication));
    else if (from.kind === 'method') this.#method(gateway, way, publication, from);
    return null;
  }

  /** A child has subscribed: it is told what is kept on these topics. */
  subscribed(child: string, filter: string): void {
    for (const topic of this.#documents.keys()) if (covers(filter, topic)) this.#owe(child, topic);
    this.#pump();
  }

  /** A child has begun a connection: it subscribes anew. */
  came(child: string): void {
    this.#due.delete(child);
  }

  /** `isIts` tells topics of gateways that are not below us any more. */
  forget(isIts: (topic: string) => boolean): Promise<void> {
    return this.#turn(async () => {
      const gone = [...this.#documents.values()].filter(({ topic }) => isIts(topic));
      for (const { topic, body } of gone) {
        this.#documents.delete(topic);
        this.#bytes -= body.length;
      }
      await this.#options.house.store.put(gone.map(({ topic }) => [DOCUMENT + topic, null] as const));
    });
  }

  stop(): void {
    this.#busy?.cancel();
  }

  /** One thing at a time, as the store does it: each counts with what the one before it has left. */
  #turn(act: () => Promise<void>): Promise<void> {
    const done = this.#last.then(act);
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #document(way: string, { topic, body, contentType }: DownPublication): Promise<void> {
    const before = this.#documents.get(topic);
    // Retained above: it comes again with each connection.
    if (before?.body.equals(body) === true) return;
    const document: KeptPublication = { topic, body, ...(contentType === undefined ? {} : { contentType }) };
    const bytes = this.#bytes + body.length - (before?.body.length ?? 0);
    const room = bytes <= DOCUMENTS_BYTES_MAX && (before !== undefined || this.#documents.size < DOCUMENTS_MAX);
    if (body.length > 0 && !room) {
      if (!this.#full) this.#options.log.error({ topic }, 'no more documents can be kept for gateways below');
      this.#full = true;
      if (this.#options.house.hub.tell(way, publicationOf(document)) === 'busy') throw new Error('a gateway is busy');
      return;
    }
    const record = body.length === 0 ? null : encodePublication(document);
    if (record !== null || before !== undefined) await this.#options.house.store.put([[DOCUMENT + topic, record]]);
    this.#bytes = bytes;
    // Its body is a piece of what came from a socket: the copy holds nothing else alive.
    if (record === null) this.#documents.delete(topic);
    else this.#documents.set(topic, decodePublication(record));
    this.#owe(way, topic);
    this.#pump();
  }

  async #command(gateway: string, way: string | null, publication: DownPublication): Promise<Rejection | null> {
    if (way === null) return { child: gateway, reason: 'unknown', why: 'there is no way to that gateway' };
    const { topic, body, contentType, userProperties, messageExpirySecs } = publication;
    const properties = Object.fromEntries(
      Object.entries(userProperties ?? {}).map(([name, value]) => [
        name,
        typeof value === 'string' ? value : value.at(-1)!,
      ]),
    );
    const message = { body, properties, ...(contentType === undefined ? {} : { contentType }) };
    const errand = { topic, expires: messageExpirySecs !== undefined };
    try {
      await this.#options.house.hub.deliver(way, null, errand, message, messageExpirySecs ?? null);
      return null;
    } catch (error) {
      if (!(error instanceof MailboxFull)) throw error;
      return { child: way, reason: 'full', why: `${error.message}, and it was for ${gateway}` };
    }
  }

  #method(gateway: string, way: string, { topic, body }: DownPublication, request: MethodFromAbove): void {
    const told = this.#options.house.hub.tell(way, { topic, payload: body, qos: 0 });
    if (told === 'told') return;
    const error =
      told === 'busy' ? `${way} takes nothing now` : `${way}, through which it is reached, is not connected`;
    const payload = Buffer.from(JSON.stringify({ error }));
    this.#options.answer(holdfastUpstream(gateway).methodResponse(request, NOT_FOUND, payload));
  }

  #owe(child: string, topic: string): void {
    const due = this.#due.get(child) ?? new Set();
    this.#due.set(child, due.add(topic));
  }

  #pump(): void {
    let busy = false;
    for (const [child, topics] of this.#due) {
      for (const topic of topics) {
        const document = this.#documents.get(topic) ?? { topic, body: Buffer.alloc(0) };
        if (this.#options.house.hub.tell(child, publicationOf(document)) === 'busy') {
          busy = true;
          break;
        }
        // Whoever does not listen asks when it comes again.
        topics.delete(topic);
      }
      if (topics.size === 0) this.#due.delete(child);
    }
    if (!busy) return;
    this.#busy ??= this.#options.clock.after(BUSY_MS, () => {
      this.#busy = null;
      this.#pump();
    });
  }
}

function publicationOf({ topic, body, contentType }: KeptPublication): Publication {
  return { topic, payload: body, qos: 1, ...(contentType === undefined ? {} : { properties: { contentType } }) };
}
