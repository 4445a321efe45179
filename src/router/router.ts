import {
  BODY_BYTES_MAX,
  HOPS_MAX,
  LANE_UNSPECIFIED,
  type AcceptedAt,
  type Message,
  type Reading,
} from '../message/message.ts';
import { ulid } from '../message/ulid.ts';
import type { NamedRoute } from './route.ts';
import { RouteTable } from './route-table.ts';

/** What the router needs of the spool. */
export interface Sink {
  stamp(): AcceptedAt;
  /** `mustBeWritten`: it is not sent before it is on the medium. */
  accept(message: Message, senderWaits: boolean, mustBeWritten: boolean): Promise<void>;
  refused(reason: 'too-large'): void;
  discard(reason: 'no-route' | 'loop', message: Message): void;
}

/** Where routes lead. Nothing that is given to modules or children may throw. */
export interface Destinations {
  readonly upstream: Sink;
  /** Gives a message to inputs of modules, at once and in memory. */
  modules(message: Message, inputs: readonly ModuleInput[]): void;
  /** Gives a message to a child, at once. */
  child(child: string, input: string, message: Message): void;
  /**
   * Resolves when what was given to modules and children, and did not go upstream, outlasts a power cut as far as it ever will; rejects when
   * it cannot. `senderWaits`: someone holds back an acknowledgement until then; if nobody does, it resolves at once.
   */
  kept(senderWaits: boolean): Promise<void>;
}

export interface ModuleInput {
  readonly module: string;
  readonly input: string;
}

/** What a module puts out. */
export interface ModuleOutput extends Omit<Reading, 'output'> {
  readonly module: string;
  readonly output: string;
  /** Of the message that made it, or the most of those that did; 0 when it was none. */
  readonly hops: number;
}

export interface RouterOptions {
  /** The gateway's id: what modules put out comes from it. */
  readonly gateway: string;
  readonly destinations: Destinations;
  /** In the order in which they were written. */
  readonly routes: readonly NamedRoute[];
  /** Sees each message that was taken on, wherever it goes. Must not throw. */
  readonly onTaken?: (message: Message) => void;
}

/** The body is larger than a message may be. */
export class TooLarge extends Error {
  constructor(bytes: number) {
    super(`a body of ${bytes} bytes is larger than the ${BODY_BYTES_MAX} that a message may have`);
    this.name = 'TooLarge';
  }
}

/** Decides where a message goes: to each sink that a route of its leads to, once. */
export class Router {
  readonly #gateway: string;
  readonly #destinations: Destinations;
  #table: RouteTable;
  readonly #onTaken: ((message: Message) => void) | undefined;

  constructor({ gateway, destinations, routes, onTaken }: RouterOptions) {
    this.#gateway = gateway;
    this.#destinations = destinations;
    this.#table = new RouteTable(routes);
    this.#onTaken = onTaken;
  }

  /**
   * Takes a reading on. Resolves when it is durable, or at once where nobody waits and it does not go upstream; rejects when it was
   * refused, which is counted. `senderWaits`: someone holds back an acknowledgement until then.
   */
  reading(child: string, reading: Reading, senderWaits: boolean): Promise<void> {
    const { output, measuredAt } = reading;
    return this.#taken(output === undefined ? { child } : { child, output }, reading, measuredAt, 0, senderWaits);
  }

  /** Takes on what a module puts out: as {@link reading}. It has come one hop further than what it was made from. */
  moduleOutput({ module, output, hops, measuredAt, ...content }: ModuleOutput, senderWaits: boolean): Promise<void> {
    return this.#taken({ child: this.#gateway, module, output }, content, measuredAt, hops + 1, senderWaits);
  }

  /**
   * Takes on what a connected child, one of its modules, or the hub itself says: as {@link reading}. `hops`: of how many modules and
   * gateways it has come through.
   */
  said(
    source: Message['source'],
    content: Omit<Reading, 'measuredAt' | 'output'>,
    senderWaits: boolean,
    hops = 0,
  ): Promise<void> {
    return this.#taken(source, content, undefined, hops, senderWaits);
  }

  /** Puts these routes in place of the others. Each message takes the one or the other, and none is overtaken. */
  configure(routes: readonly NamedRoute[]): void {
    this.#table = new RouteTable(routes);
  }

  /** Whether some route takes changes of twins, from `/twinChangeNotifications`. */
  get takesNotices(): boolean {
    return this.#table.takesNotices;
  }

  #taken(
    source: Message['source'],
    content: Omit<Reading, 'measuredAt' | 'output'>,
    measuredAt: number | undefined,
    hops: number,
    senderWaits: boolean,
  ): Promise<void> {
    const { upstream } = this.#destinations;
    if (content.body.length > BODY_BYTES_MAX) {
      upstream.refused('too-large');
      return Promise.reject(new TooLarge(content.body.length));
    }
    const acceptedAt = upstream.stamp();
    const { body, contentType, contentEncoding, properties, eventTime } = content;
    // Field by field: copying what a driver or a child gave as a whole takes several times as long.
    const message: Draft = {
      id: ulid(acceptedAt.wall),
      source,
      body,
      acceptedAt,
      priority: LANE_UNSPECIFIED,
      hops,
    };
    if (contentType !== undefined) message.contentType = contentType;
    if (contentEncoding !== undefined) message.contentEncoding = contentEncoding;
    if (properties !== undefined) message.properties = properties;
    // A sensor may say nonsense; a time that is none must not go further than here.
    if (eventTime !== undefined && Number.isFinite(eventTime)) message.eventTime = eventTime;
    else if (measuredAt !== undefined) setOurTime(message, measuredAt);
    return this.#dispatch(message, senderWaits);
  }

  /**
   * Gives a message to each of its sinks. The upstream comes first, so that a reading stands in the spool before what modules make of
   * it; modules and children get it also when the spool refuses it: local control does not end because the way up is full.
   */
  #dispatch(message: Draft, senderWaits: boolean): Promise<void> {
    const { upstream } = this.#destinations;
    if (message.hops > HOPS_MAX) {
      upstream.discard('loop', message);
      return Promise.resolve();
    }
    const taken = this.#table.taken(message);
    this.#onTaken?.(message);
    if (taken.length === 0) {
      upstream.discard('no-route', message);
      return Promise.resolve();
    }
    const up = taken.find(({ route }) => route.sink.kind === 'upstream');
    if (up?.priority !== undefined) message.priority = up.priority;
    if (up?.timeToLiveSecs !== undefined) message.expiresAfterSecs = up.timeToLiveSecs;
    // What rules remember, and what is known of gateways below, is on the medium with it or not at all.
    const mustBeWritten = message.source.module !== undefined || message.hops > 0;
    const stored = up === undefined ? null : upstream.accept(message, senderWaits, mustBeWritten);
    if (taken.length > 1 || stored === null) this.#give(taken, message);
    return stored ?? this.#destinations.kept(senderWaits);
  }

  #give(taken: readonly NamedRoute[], message: Message): void {
    const inputs: ModuleInput[] = [];
    for (const { route } of taken) if (route.sink.kind === 'module') inputs.push(route.sink);
    if (inputs.length > 0) this.#destinations.modules(message, inputs);
    for (const { route } of taken) {
      if (route.sink.kind === 'child') this.#destinations.child(route.sink.child, route.sink.input, message);
    }
  }
}

/** A message whose route is still sought. */
type Draft = { -readonly [Key in keyof Message]: Message[Key] };

/** When it was measured by our clock, as the event's time. */
function setOurTime(message: Draft, measuredAt: number): void {
  const { wall, monotonic, clock } = message.acceptedAt;
  message.eventTime = Math.round(wall - Math.max(0, monotonic - measuredAt));
  if (clock !== 'synced') message.eventTimeOurs = true;
}
