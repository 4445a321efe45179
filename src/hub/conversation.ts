import type { Logger } from 'pino';
import type { ChildDialect, EventSaid, Heard, InvokeSaid, Said } from '../dialects/child-dialect.ts';
import type { Outcome } from './acknowledgements.ts';
import type { Client } from './gatekeeper.ts';
import type { Below, Services } from './services.ts';
import type { Session } from './session.ts';

/** Methods of others that one client may be waiting for. */
const INVOKED_MAX = 10;
const NONE = Buffer.alloc(0);
const TAKEN: Outcome = { reason: 0 };
const NOT_ITS_TOPIC: Outcome = { reason: 0x87 };
/** Whoever speaks for a gateway that is another one's is told so, and goes on with all else. */
const NOT_ITS_GATEWAY: Outcome = { reason: 0x87, explained: true };
const NO_ROOM: Outcome = { reason: 0x97, stuck: true };
const NOT_TAKEN: Outcome = { reason: 0x83 };

/** What is done with what a client says. */
export class Conversation {
  readonly #client: Client;
  readonly #dialect: ChildDialect;
  readonly #session: Session;
  readonly #services: Services;
  readonly #answered: (rid: string, status: number, body: Buffer) => boolean;
  readonly #log: Logger;
  #invoked = 0;
  /** There was no room for its desired document. */
  #desiredWaits = false;
  /** The last telemetry without properties of MQTT 5, and what it was: a device says most on one topic. */
  #heard: { readonly topic: string; readonly retain: boolean; readonly said: EventSaid } | null = null;
  /** What telemetry waits for, and what comes of it: all that one commit carries share both. */
  #stored: Promise<void> | null = null;
  #outcome: Promise<Outcome> = Promise.resolve(TAKEN);

  /** `answered` takes the answer to a method; false: nobody asked. */
  constructor(
    client: Client,
    dialect: ChildDialect,
    session: Session,
    services: Services,
    answered: (rid: string, status: number, body: Buffer) => boolean,
    log: Logger,
  ) {
    this.#client = client;
    this.#dialect = dialect;
    this.#session = session;
    this.#services = services;
    this.#answered = answered;
    this.#log = log;
  }

  /** What a client means. */
  meaning(heard: Heard): Said {
    const { topic, payload, retain, properties } = heard;
    const last = this.#heard;
    if (last !== null && last.topic === topic && last.retain === retain && properties === undefined) {
      // Of telemetry nothing but the body comes from the payload.
      return { ...last.said, body: payload };
    }
    const said = this.#dialect.said(this.#client, heard);
    if (said.kind === 'event' && properties === undefined)
      this.#heard = { topic, retain, said: { ...said, body: NONE } };
    return said;
  }

  /** Never rejects. What is said takes its place in order at the call. */
  hear(said: Said): Promise<Outcome> {
    if (said.kind !== 'event') return this.#act(said).catch((error: unknown) => this.#notTaken(said, error));
    try {
      const stored = this.#services.event(this.#client, said);
      if (stored === this.#stored) return this.#outcome;
      this.#stored = stored;
      return (this.#outcome = stored.then(
        () => TAKEN,
        (error: unknown) => this.#notTaken(said, error),
      ));
    } catch (error) {
      return Promise.resolve(this.#notTaken(said, error));
    }
  }

  #notTaken(said: Said, error: unknown): Outcome {
    if ((error as { reason?: unknown }).reason === 'rejected') return NO_ROOM;
    this.#log.warn({ err: error, kind: said.kind }, 'what a client said could not be taken');
    return NOT_TAKEN;
  }

  /** A client that has a desired document as from a retained message gets it. */
  async desired(): Promise<void> {
    this.#desiredWaits = false;
    try {
      const { desired } = await this.#services.twinGet(this.#client);
      const version = (desired as { $version?: unknown }).$version;
      const body = Buffer.from(JSON.stringify(desired), 'utf8');
      const document = this.#dialect.desiredPatch(this.#client, typeof version === 'number' ? version : 0, body);
      // Without it a child would go on with the one before until it connects again.
      if (this.#session.ready(document.topic)) this.#session.say(document);
      else this.#desiredWaits = true;
    } catch (error) {
      this.#log.warn({ err: error }, 'a client could not be given its desired properties');
    }
  }

  /** There is room again for what is said to the client. */
  room(): void {
    if (this.#desiredWaits) void this.desired();
  }

  async #act(said: Exclude<Said, EventSaid>): Promise<Outcome> {
    switch (said.kind) {
      case 'send': {
        const { kind: _, child, ...message } = said;
        await this.#services.send(this.#client, child, message);
        return TAKEN;
      }
      case 'twin get':
        await this.#twinGet(said.rid);
        return TAKEN;
      case 'twin patch':
        return this.#twinPatch(said.rid, said.body);
      case 'method answer':
        if (!this.#answered(said.rid, said.status, said.body)) this.#log.debug({ rid: said.rid }, 'nobody asked');
        return TAKEN;
      case 'invoke':
        void this.#invoke(said);
        return TAKEN;
      case 'lower event':
        return this.#lower(said.gateway, (below) => below.event(said));
      case 'lower word':
        return this.#lower(said.gateway, (below) => below.word(said));
      case 'nothing':
        return NOT_ITS_TOPIC;
    }
  }

  async #lower(gateway: string, act: (below: Below) => Promise<void>): Promise<Outcome> {
    const { below } = this.#services;
    if (below === undefined || !below.owns(this.#client.child, gateway)) return NOT_ITS_GATEWAY;
    await act(below);
    return TAKEN;
  }

  async #twinGet(rid: string): Promise<void> {
    try {
      const { desired, reported } = await this.#services.twinGet(this.#client);
      this.#twinAnswer(200, rid, null, { desired, reported });
    } catch (error) {
      this.#log.warn({ err: error }, 'a client could not be given its twin');
      this.#twinAnswer(500, rid, null, { errorCode: 500_001, message: 'the twin cannot be read' });
    }
  }

  async #twinPatch(rid: string, patch: Buffer): Promise<Outcome> {
    const outcome = await this.#services.twinPatch(this.#client, patch);
    if ('version' in outcome) {
      this.#twinAnswer(204, rid, outcome.version, null);
      return TAKEN;
    }
    const { status, ...error } = outcome;
    this.#twinAnswer(status, rid, null, error);
    // MQTT 5's name for it: the payload is not what it should be.
    return { reason: 0x99, explained: true };
  }

  #twinAnswer(status: number, rid: string, version: number | null, body: object | null): void {
    const bytes = body === null ? NONE : Buffer.from(JSON.stringify(body), 'utf8');
    const answer = this.#dialect.twinAnswer(this.#client, status, rid, version, bytes);
    if (answer !== null) this.#session.say(answer);
  }

  async #invoke(said: InvokeSaid): Promise<void> {
    if (this.#invoked >= INVOKED_MAX) {
      this.#answer(said, 429, Buffer.from(JSON.stringify({ error: `${INVOKED_MAX} methods are waited for already` })));
      return;
    }
    this.#invoked++;
    try {
      const { child, module, method, body, responseTimeoutSecs } = said;
      const result = await this.#services.invoke(this.#client, child, module, method, body, responseTimeoutSecs);
      this.#answer(said, result.status, result.payload);
    } catch (error) {
      this.#log.warn({ err: error }, 'a method that a client invoked failed');
      this.#answer(said, 500, NONE);
    } finally {
      this.#invoked--;
    }
  }

  #answer(said: InvokeSaid, status: number, payload: Buffer): void {
    const answer = this.#dialect.invokeAnswer(this.#client, said, status, payload);
    if (answer !== null) this.#session.say(answer);
  }
}
