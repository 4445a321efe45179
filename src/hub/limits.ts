import { BODY_BYTES_MAX } from '../message/message.ts';

/** What one child, and all together, may take up. */
export interface HubLimits {
  /** Clients that are let in at once. */
  readonly clientsMax: number;
  /** New connections of one address: as many at once, and as many a second after that. */
  readonly connectionsBurst: number;
  readonly connectionsPerSec: number;
  /** Of one client; what is over waits in its own socket. */
  readonly messagesPerSec: number;
  readonly bytesPerSec: number;
  /** Subscriptions of one client. */
  readonly subscriptionsMax: number;
  /** Messages that wait for one client, their bytes, and how long they wait where nobody says. */
  readonly queuedMax: number;
  readonly queuedBytesMax: number;
  readonly queuedSecsMax: number;
}

export const LIMITS: HubLimits = {
  clientsMax: 100,
  connectionsBurst: 200,
  connectionsPerSec: 20,
  messagesPerSec: 1000,
  bytesPerSec: 4 * 2 ** 20,
  subscriptionsMax: 50,
  queuedMax: 1000,
  queuedBytesMax: 2 ** 20,
  queuedSecsMax: 172_800,
};

/** Connections above the clients that may be let in, for those who have not yet shown who they are. */
export const STRANGERS_MAX = 128;
/** From the first byte, ms: the TLS handshake and the HTTP request, then again until CONNECT is whole. */
export const PATIENCE_MS = 10_000;
/** Largest CONNECT, bytes: a will's payload counts too. Who sends it is not known yet. */
export const CONNECT_BYTES_MAX = 64 * 1024;
/** Longest topic, bytes: a property bag stands in it. Longest filter, and the most levels of either. */
export const TOPIC_BYTES_MAX = 16 * 1024;
export const FILTER_BYTES_MAX = 1024;
export const LEVELS_MAX = 32;
/** Filters in one SUBSCRIBE or UNSUBSCRIBE. */
export const FILTERS_MAX = 256;
/** Largest packet once a client is in, bytes: the largest body, its topic, and room for properties. */
export const PACKET_BYTES_MAX = BODY_BYTES_MAX + TOPIC_BYTES_MAX + 16 * 1024;
/** What a client may have sent without its being acknowledged; then its socket is not read. */
export const UNACKNOWLEDGED_MAX = 64;
export const UNACKNOWLEDGED_BYTES_MAX = 2 ** 20;
/** A gateway speaks for many: it may say so many times as much as one child ... */
export const GATEWAY_SHARE = 8;
/** ... and subscribe to so much: seven filters for itself, and as many for each gateway below it. */
export const GATEWAY_SUBSCRIPTIONS_MAX = 4096;
/** What we may have sent to a client without its acknowledging it. */
export const WINDOW = 20;
/** Bytes that wait in a client's socket: then what is QoS 1 waits in its queue, and what is QoS 0 is let go. */
export const UNSENT_BYTES_MAX = 2 ** 20;
/** How long a client of MQTT 3.1.1 waits for its PUBACK when there is no room, ms. */
export const NO_ROOM_MS = 20_000;
/** Longest that a session of MQTT 5 is kept, seconds: longer wishes are cut to it. */
export const SESSION_SECS_MAX = 7 * 86_400;
/** All that waits in all queues, bytes: it shares a small file with the registry. */
export const QUEUED_BYTES_TOTAL_MAX = 16 * 2 ** 20;
