import {
  BODY_BYTES_MAX,
  HOPS_MAX,
  LANE_UNSPECIFIED,
  type AcceptedAt,
  type Message,
  type Reading,
} from '../message/message.ts';
import { ulid } from '../message/ulid.ts';

/** What the router needs of the spool. */
export interface Sink {
  stamp(): AcceptedAt;
  accept(message: Message, senderWaits: boolean): Promise<void>;
  refused(reason: 'too-large'): void;
  discard(reason: 'no-route' | 'loop', message: Message): void;
}

/** A route to the upstream: what it says of the messages that take it. */
export interface UpstreamRoute {
  /** 0 (first) to 9; absent: after 9. */
  readonly priority?: number | undefined;
  readonly timeToLiveSecs?: number | undefined;
}

/** The body is larger than a message may be. */
export class TooLarge extends Error {
  constructor(bytes: number) {
    super(`a body of ${bytes} bytes is larger than the ${BODY_BYTES_MAX} that a message may have`);
    this.name = 'TooLarge';
  }
}

/**
 * Decides where a message goes. In this version every route takes everything to the upstream, so the best of them decides
 * lane and time to live: a message has one entry in the spool, whatever the number of routes.
 */
export class Router {
  readonly #sink: Sink;
  readonly #best: UpstreamRoute;

  constructor(sink: Sink, routes: readonly UpstreamRoute[]) {
    this.#sink = sink;
    const rank = (route: UpstreamRoute) => route.priority ?? LANE_UNSPECIFIED;
    this.#best = routes.toSorted((a, b) => rank(a) - rank(b))[0] ?? {};
  }

  /**
   * Takes a reading on. Resolves when it is durable; rejects when it was refused, which is counted. `senderWaits`: someone
   * holds back an acknowledgement until then.
   */
  reading(child: string, reading: Reading, senderWaits: boolean): Promise<void> {
    if (reading.body.length > BODY_BYTES_MAX) {
      this.#sink.refused('too-large');
      return Promise.reject(new TooLarge(reading.body.length));
    }
    const acceptedAt = this.#sink.stamp();
    const { output, eventTime, measuredAt, ...content } = reading;
    const { priority, timeToLiveSecs } = this.#best;
    return this.message(
      {
        ...content,
        // A sensor may say nonsense; a time that is none must not go further than here.
        ...(eventTime !== undefined && Number.isFinite(eventTime) ? { eventTime } : ourTime(acceptedAt, measuredAt)),
        id: ulid(acceptedAt.wall),
        source: output === undefined ? { child } : { child, output },
        acceptedAt,
        priority: priority ?? LANE_UNSPECIFIED,
        ...(timeToLiveSecs === undefined ? {} : { expiresAfterSecs: timeToLiveSecs }),
        hops: 0,
      },
      senderWaits,
    );
  }

  message(message: Message, senderWaits: boolean): Promise<void> {
    if (message.hops > HOPS_MAX) {
      this.#sink.discard('loop', message);
      return Promise.resolve();
    }
    return this.#sink.accept(message, senderWaits);
  }
}

/** When it was measured by our clock, as the event's time. */
function ourTime(acceptedAt: AcceptedAt, measuredAt: number | undefined) {
  if (measuredAt === undefined) return {};
  const eventTime = Math.round(acceptedAt.wall - Math.max(0, acceptedAt.monotonic - measuredAt));
  return acceptedAt.clock === 'synced' ? { eventTime } : { eventTime, eventTimeOurs: true as const };
}
