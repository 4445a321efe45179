import { noProperties } from '../dialects/bag.ts';
import type { Publication } from '../dialects/child-dialect.ts';
import { eventTopic, ORIGIN, propertyLevel, rfc3339 } from '../dialects/holdfast.ts';
import { covers } from '../dialects/topic-filter.ts';
import type { Message } from '../message/message.ts';
import { ulidText } from '../message/ulid.ts';
import type { Connection } from './connection.ts';
import { TOPIC_BYTES_MAX } from './limits.ts';

/** What waits for one observer: messages, and bytes. */
const WAITING_MAX = 256;
const WAITING_BYTES_MAX = 2 ** 20;

/** Local dashboards and flows that watch the gateway's events. A slow one loses the oldest, and nobody waits for it. */
export class Observers {
  readonly #gateway: string;
  readonly #all = new Map<Connection, Publication[]>();

  constructor(gateway: string) {
    this.#gateway = gateway;
  }

  /** Only whoever has the grant is asked about; the dialect says to which filters it may subscribe. */
  add(connection: Connection): void {
    if (connection.client.grants.observe.length === 0) return;
    this.#all.set(connection, []);
    connection.onRoom = () => this.#pump(connection);
  }

  /** Its grants may be others than before. */
  regrant(connection: Connection): void {
    if (connection.client.grants.observe.length === 0) this.remove(connection);
    else if (!this.#all.has(connection)) this.add(connection);
  }

  remove(connection: Connection): void {
    this.#all.delete(connection);
  }

  /** A message was accepted: shown to those who have subscribed to it, now or when they have room. */
  show(message: Message): void {
    if (this.#all.size === 0) return;
    const made = new Made(this.#gateway, message);
    for (const [connection, waiting] of this.#all) {
      const { session } = connection;
      const publication = made.forWhom(connection);
      if (session.granted(publication.topic) === null) continue;
      if (waiting.length === 0 && session.ready(publication.topic)) {
        session.say(publication);
        continue;
      }
      waiting.push(publication);
      let bytes = waiting.reduce((sum, { payload }) => sum + payload.length, 0);
      while (waiting.length > WAITING_MAX || bytes > WAITING_BYTES_MAX) {
        bytes -= waiting.shift()!.payload.length;
        session.counts.slow++;
      }
    }
  }

  #pump(connection: Connection): void {
    const waiting = this.#all.get(connection);
    const { session } = connection;
    let said = 0;
    while (waiting !== undefined && said < waiting.length && session.ready(waiting[said]!.topic)) {
      session.say(waiting[said]!);
      said++;
    }
    waiting?.splice(0, said);
  }
}

/**
 * A message in the forms in which observers get it, each made once: as the upstream sees it, without its place in a lane, which it
 * need not have. With MQTT 3.1.1 what travels beside the body is a last level of the topic, for those filters alone that end
 * in `#`: who names the topic itself gets the body alone.
 */
class Made {
  readonly #message: Message;
  readonly #pairs: readonly string[];
  readonly #bare: Publication;
  #five: Publication | null = null;
  #withBag: Publication | null = null;

  constructor(gateway: string, message: Message) {
    this.#message = message;
    this.#pairs = pairsOf(message);
    this.#bare = { topic: eventTopic(gateway, message.source), payload: message.body, qos: 1 };
  }

  forWhom({ mqtt5, session }: Connection): Publication {
    if (mqtt5) return (this.#five ??= this.#inProperties());
    this.#withBag ??= this.#inTopic();
    const { topic } = this.#withBag;
    for (const filter of session.subscriptions.keys())
      if (filter.endsWith('#') && covers(filter, topic)) return this.#withBag;
    return this.#bare;
  }

  #inProperties(): Publication {
    const { contentType } = this.#message;
    const userProperties = noProperties();
    for (let at = 0; at < this.#pairs.length; at += 2) userProperties[this.#pairs[at]!] = this.#pairs[at + 1]!;
    return { ...this.#bare, properties: { ...(contentType === undefined ? {} : { contentType }), userProperties } };
  }

  /** The body alone where it would be no topic any more. */
  #inTopic(): Publication {
    const topic = `${this.#bare.topic}/${propertyLevel(this.#message.contentType, this.#pairs)}`;
    return topic.length > TOPIC_BYTES_MAX ? this.#bare : { ...this.#bare, topic };
  }
}

/** Name, value, name, value ... */
function pairsOf({ id, contentEncoding, eventTime, acceptedAt, properties }: Message): string[] {
  const pairs = ['id', ulidText(id)];
  if (eventTime !== undefined) pairs.push('t', rfc3339(eventTime));
  pairs.push('at', rfc3339(acceptedAt.wall), 'clock', acceptedAt.clock);
  if (contentEncoding !== undefined) pairs.push('content-encoding', contentEncoding);
  for (const [name, value] of Object.entries(properties ?? {}))
    pairs.push(name === ORIGIN ? 'origin' : `p-${name}`, value);
  return pairs;
}
