import type { ChildDialect, Publication } from '../dialects/child-dialect.ts';
import { covers } from '../dialects/topic-filter.ts';
import type { Client } from './gatekeeper.ts';
import type { Errand, Letter, Mailbox } from './mailbox.ts';

/** The connection that a session has while its client is there. */
export interface Line {
  readonly client: Client;
  readonly dialect: ChildDialect;
  readonly mqtt5: boolean;
  /** The most QoS 1 messages that may be on their way to it. */
  readonly window: number;
  /** False: its socket is full. */
  readonly roomy: boolean;
  /** False: it cannot be said to this client (too large, or no MQTT). `id` 0 is QoS 0. */
  publish(publication: Publication, id: number, dup: boolean): boolean;
}

/** How long a session is kept without its client: not at all, seconds, or for ever. */
export type Keeping = 'not' | { readonly secs: number } | 'for ever';

const PACKET_ID_MAX = 65_535;

/**
 * What one client is to us, whether it is there or not: its subscriptions, and the messages that wait for it. Messages belong
 * to the child and not to its MQTT session: a clean session begins without subscriptions, and still finds its commands.
 */
export class Session {
  readonly child: string;
  readonly module: string | null;
  readonly mailbox: Mailbox;
  readonly subscriptions = new Map<string, 0 | 1>();
  keeping: Keeping = 'not';
  /** Age at which its client left, ms; null while it is there. */
  goneAt: number | null = null;
  line: Line | null = null;
  /** Wall ms at which its client was last heard, and left, since the hub started; null: not yet. */
  seenAt: number | null = null;
  leftAt: number | null = null;
  /** A message of its client found no room: it waits outside until there is some. */
  turnedAway = false;
  /** Over all its connections: messages in, out, and refused, and what was let go because the client was slow. */
  readonly counts = { in: 0, out: 0, refused: 0, slow: 0 };
  readonly #age: () => number;
  /** What is on its way: letters, and what is said once and never again. */
  readonly #onTheWay = new Map<number, Letter | 'fleeting'>();
  /** Errands that the client, as far as was tried, has not subscribed to. */
  readonly #deaf = new Set<string>();
  #lastId = 0;

  constructor(child: string, module: string | null, mailbox: Mailbox, age: () => number) {
    this.child = child;
    this.module = module;
    this.mailbox = mailbox;
    this.#age = age;
  }

  /** How many QoS 1 messages are on their way to the client. */
  get inFlight(): number {
    return this.#onTheWay.size;
  }

  /** A session begins: nothing is known of an older one. */
  reset(): void {
    this.subscriptions.clear();
    this.#onTheWay.clear();
    for (const letter of this.mailbox.letters) letter.packetId = 0;
  }

  attach(line: Line): void {
    this.line = line;
    this.goneAt = null;
    this.#deaf.clear();
    // What was said once is not said again; letters are, under the same identifier.
    for (const [id, what] of this.#onTheWay) if (what === 'fleeting') this.#onTheWay.delete(id);
    for (const letter of this.mailbox.letters) letter.sent = false;
    this.pump();
  }

  detach(line: Line): void {
    if (this.line !== line) return;
    this.line = null;
    this.goneAt = this.#age();
    for (const letter of this.mailbox.letters) letter.sent = false;
  }

  /** False: it had that very subscription. */
  subscribe(filter: string, qos: 0 | 1): boolean {
    this.#deaf.clear();
    const changed = this.subscriptions.get(filter) !== qos;
    this.subscriptions.set(filter, qos);
    return changed;
  }

  /** The QoS of the subscriptions that name this topic; null: none does. */
  granted(topic: string): 0 | 1 | null {
    let qos: 0 | 1 | null = null;
    for (const [filter, granted] of this.subscriptions) {
      if (granted !== qos && covers(filter, topic)) qos = granted === 1 ? 1 : (qos ?? 0);
    }
    return qos;
  }

  /** A publication on the topic, of the one or two that it may have, that is subscribed to; null: on neither. */
  #wanted(publication: Publication): { readonly publication: Publication; readonly granted: 0 | 1 } | null {
    const granted = this.granted(publication.topic);
    if (granted !== null) return { publication, granted };
    const { bareTopic: topic } = publication;
    const bare = topic === undefined ? null : this.granted(topic);
    return topic === undefined || bare === null ? null : { publication: { ...publication, topic }, granted: bare };
  }

  /** Whether something on this topic could be said now, if it is subscribed to. */
  ready(topic: string): boolean {
    const { line } = this;
    if (line === null || !line.roomy) return false;
    return this.granted(topic) !== 1 || this.#onTheWay.size < line.window;
  }

  /** Says something once, to the client that is there now and has subscribed to it. False: it was not said. */
  say(said: Publication): boolean {
    const { line } = this;
    const wanted = this.#wanted(said);
    if (line === null || wanted === null) return false;
    const { publication, granted } = wanted;
    const qos = Math.min(granted, publication.qos);
    if (!line.roomy || (qos === 1 && this.#onTheWay.size >= line.window)) {
      this.counts.slow++;
      return false;
    }
    const id = qos === 1 ? this.#newId() : 0;
    if (!line.publish(publication, id, false)) return false;
    if (id > 0) this.#onTheWay.set(id, 'fleeting');
    this.counts.out++;
    return true;
  }

  /** Sends letters as far as the window and the socket go. */
  pump(): void {
    const { line, mailbox } = this;
    if (line === null) return;
    this.expire();
    // Sending at QoS 0 and finding that something cannot be said both remove letters: the list is walked as it was.
    for (const letter of mailbox.letters.slice()) {
      if (this.line !== line || !line.roomy) break;
      if (letter.sent) continue;
      if (letter.packetId === 0 && this.#onTheWay.size >= line.window) break;
      this.#send(letter, line);
    }
  }

  /** Lets go of what nobody wants any more; what is on its way may still arrive. */
  expire(): void {
    const age = this.#age();
    for (const letter of this.mailbox.letters.filter(({ expiresAt, sent }) => expiresAt <= age && !sent)) {
      this.#onTheWay.delete(letter.packetId);
      this.mailbox.drop(letter, 'expired');
    }
  }

  /** A PUBACK came; false: for nothing that was sent. */
  acknowledged(id: number): boolean {
    const what = this.#onTheWay.get(id);
    if (what === undefined) return false;
    this.#onTheWay.delete(id);
    if (what !== 'fleeting') this.mailbox.remove(what);
    this.pump();
    return true;
  }

  #send(letter: Letter, line: Line): void {
    const errand = nameOf(letter.errand);
    if (this.#deaf.has(errand)) return;
    const said = this.#publication(letter, line);
    const wanted = said === null ? null : this.#wanted(said);
    if (wanted === null) {
      this.#deaf.add(errand);
      return;
    }
    const { publication, granted } = wanted;
    const id = granted === 0 ? 0 : letter.packetId || this.#newId();
    const sent = line.publish(publication, id, id > 0 && letter.packetId > 0);
    if (sent && id > 0) {
      letter.packetId = id;
      letter.sent = true;
      this.#onTheWay.set(id, letter);
    } else {
      this.#onTheWay.delete(letter.packetId);
      if (sent) this.mailbox.remove(letter);
      else this.mailbox.drop(letter, 'dropped');
    }
    if (sent) this.counts.out++;
  }

  /** Null: it cannot be said in this dialect. */
  #publication({ errand, message, expiresAt }: Letter, { client, dialect, mqtt5 }: Line): Publication | null {
    if (errand === 'command') return dialect.commandMessage(client, message, mqtt5);
    if ('input' in errand) return dialect.inputMessage(client, errand.input, message, mqtt5);
    const secs = errand.expires ? Math.max(1, Math.ceil((expiresAt - this.#age()) / 1000)) : null;
    return dialect.lowerCommand?.(errand.topic, message, mqtt5, secs) ?? null;
  }

  #newId(): number {
    do this.#lastId = this.#lastId === PACKET_ID_MAX ? 1 : this.#lastId + 1;
    while (this.#onTheWay.has(this.#lastId));
    return this.#lastId;
  }
}

function nameOf(errand: Errand): string {
  if (errand === 'command') return errand;
  return 'input' in errand ? `input ${errand.input}` : `topic ${errand.topic}`;
}
