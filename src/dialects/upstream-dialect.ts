import type { LossRow } from '../message/loss.ts';
import type { Stored } from '../message/message.ts';
import type { KnownTime } from './holdfast.ts';

/*
 * What a dialect is to the upstream connection: it says what is subscribed to, reads what comes from above, and writes what goes
 * up. Pure: no I/O, no clock. One exists for each gateway; it may count request ids.
 */

/** A PUBLISH as it goes up. QoS 1 unless it says otherwise. */
export interface UpPublication {
  readonly topic: string;
  readonly body: Buffer;
  readonly qos?: 0 | 1;
  readonly retain?: boolean;
  /** MQTT 5 only. */
  readonly contentType?: string | undefined;
  /** MQTT 5 only: name, value, name, value ... */
  readonly userProperties?: readonly string[];
}

/** A PUBLISH as it comes down. */
export interface DownPublication {
  readonly topic: string;
  readonly body: Buffer;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** MQTT 5 only. */
  readonly contentType?: string | undefined;
  readonly userProperties?: Readonly<Record<string, string | string[]>> | undefined;
  /** MQTT 5 only, seconds. */
  readonly messageExpirySecs?: number | undefined;
}

/** A message to a child, one of its modules or the gateway, from above. Properties by the names of docs/routes.md. */
export interface CommandFromAbove {
  readonly kind: 'command';
  readonly child: string;
  readonly module: string | null;
  readonly body: Buffer;
  readonly contentType?: string;
  readonly contentEncoding?: string;
  readonly properties: Readonly<Record<string, string>>;
  /** How long it is worth something, where its sender says so in the packet. */
  readonly lifeSecs?: number;
}

/** A direct method. Give it back to {@link UpstreamDialect.methodResponse}. */
export interface MethodFromAbove {
  readonly kind: 'method';
  readonly child: string;
  readonly module: string | null;
  readonly method: string;
  /** Its name as it stood in the topic, where that was not percent-encoded as we do: who asked waits under that one. */
  readonly written?: string;
  readonly requestId: string;
  /** JSON; empty: none. */
  readonly payload: Buffer;
  /** Null: it does not say. */
  readonly responseTimeoutSecs: number | null;
  /** ms since 1970 by its sender's clock; null: it does not say. */
  readonly sentAt: number | null;
  /** Why the request cannot be read: that is its answer. */
  readonly fault?: string;
}

/** What comes from above, taken apart. */
export type FromAbove =
  /** The registry document, still sealed. */
  | { readonly kind: 'registry'; readonly body: Buffer }
  /** The whole desired document, JSON with `$version`; empty: there is none any more. */
  | { readonly kind: 'desired'; readonly child: string; readonly module: string | null; readonly body: Buffer }
  /** A merge patch of the gateway's own desired properties, which makes them this version. */
  | { readonly kind: 'desired patch'; readonly version: number; readonly body: Buffer }
  /** The answer to {@link UpstreamDialect.twinGet}: JSON `{desired, reported}`. */
  | { readonly kind: 'twin'; readonly status: number; readonly requestId: string; readonly body: Buffer }
  /** The answer to a {@link UpstreamDialect.reported}. */
  | { readonly kind: 'reported answer'; readonly status: number; readonly requestId: string; readonly body: Buffer }
  | CommandFromAbove
  | MethodFromAbove
  /** For a gateway below us: goes down as it stands. */
  | { readonly kind: 'below'; readonly gateway: string; readonly publication: DownPublication }
  /** None of ours, or not understood. */
  | { readonly kind: 'nothing'; readonly why: string };

/** In this order things are asked for, and done, when a connection has come about: what a step changes counts in the next one. */
export const STAGES = ['registry', 'twins', 'commands'] as const;
export type Stage = (typeof STAGES)[number];

export interface Subscription {
  readonly stage: Stage;
  readonly filters: readonly string[];
  readonly qos: 0 | 1;
}

/** Reported properties that are to be published: the whole document with `$version` (null: it is gone), and what of it is new. */
export interface ReportedToAbove {
  readonly child: string;
  readonly module: string | null;
  readonly document: Readonly<Record<string, unknown>> | null;
  /** A merge patch against what was published before; null: that is not known. */
  readonly patch: Readonly<Record<string, unknown>> | null;
}

export interface UpstreamDialect {
  readonly name: 'holdfast' | 'iothub';
  /** It can only be spoken over this version of MQTT; null: over both. */
  readonly onlyVersion: 4 | 5 | null;
  /** In the order of {@link STAGES}. */
  subscriptions(): readonly Subscription[];
  heard(publication: DownPublication): FromAbove;
  /** `mqtt5`: properties travel as such, not in the topic. */
  event(stored: Stored, known: KnownTime, mqtt5: boolean): UpPublication;
  loss(row: LossRow): UpPublication;
  /** `body`: JSON. */
  status(body: Buffer, mqtt5: boolean): UpPublication | null;
  /** What the broker says for us when we are gone. */
  will(body: Buffer): UpPublication | null;
  /** A direct method's answer; `payload`: JSON, empty: none. */
  methodResponse(request: MethodFromAbove, status: number, payload: Buffer): UpPublication;
  /** `requestId` comes again in the answer, where there is one. */
  reported(reported: ReportedToAbove, requestId: string): UpPublication | null;
  /** Asks for the gateway's own twin, where it does not come by itself. */
  twinGet(requestId: string): UpPublication | null;
  /** The gateway's public key, a JWK. */
  key(jwk: Buffer): UpPublication | null;
}
