import { eventTopic, rfc3339 } from '../dialects/holdfast.ts';
import type { Publication } from '../dialects/child-dialect.ts';
import type { Message } from '../message/message.ts';
import { ulidText } from '../message/ulid.ts';
import type { Connection } from './connection.ts';

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
    let publication: Publication | null = null;
    for (const [connection, waiting] of this.#all) {
      publication ??= this.#publication(message);
      const { session } = connection;
      if (session.granted(publication.topic) === null) continue;
      if (waiting.length === 0 && session.ready(publication.topic) && session.say(publication)) continue;
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

  /** As the upstream sees it in MQTT 5, without its place in a lane, which it need not have. MQTT 3.1.1 gets the body alone. */
  #publication({ id, source, body, contentType, eventTime, acceptedAt, properties }: Message): Publication {
    const userProperties = Object.create(null) as Record<string, string>;
    userProperties['id'] = ulidText(id);
    if (eventTime !== undefined) userProperties['t'] = rfc3339(eventTime);
    userProperties['at'] = rfc3339(acceptedAt.wall);
    userProperties['clock'] = acceptedAt.clock;
    for (const [name, value] of Object.entries(properties ?? {})) userProperties[`p-${name}`] = value;
    return {
      topic: eventTopic(this.#gateway, source),
      payload: body,
      qos: 1,
      properties: { ...(contentType === undefined ? {} : { contentType }), userProperties },
    };
  }
}
