import type { Source } from '../message/message.ts';
import type { UpPublication } from './upstream-dialect.ts';

/*
 * What a dialect is to the hub: it reads what a connected child publishes and subscribes to, and writes what a child receives.
 * Pure: no I/O, no clock, no state. The hub keeps sessions and delivers; it never looks into a topic itself.
 */

/** Of a connected client, what a dialect needs to know. */
export interface Speaker {
  readonly child: string;
  readonly module: string | null;
  /** It is a gateway below us: it speaks for children of its own, and for gateways below it. */
  readonly gateway?: boolean;
  readonly grants: {
    /** Children whose methods it may invoke: `child`, or `child/module`. */
    readonly invoke: readonly string[];
    /** Children to whom it may send. */
    readonly send: readonly string[];
    /** Topic filters of events that it may watch; one without `holdfast/v1/` stands under this gateway's prefix. */
    readonly observe: readonly string[];
  };
}

/** A PUBLISH as it came, its length and its form as a topic having been checked. */
export interface Heard {
  readonly topic: string;
  readonly payload: Buffer;
  readonly retain: boolean;
  /** MQTT 5 only. */
  readonly properties?: PublicationProperties | undefined;
}

/** The properties of an MQTT 5 PUBLISH that mean something here, in mqtt-packet's spelling. */
export interface PublicationProperties {
  readonly contentType?: string;
  readonly userProperties?: Readonly<Record<string, string | string[]>>;
  /** Seconds; only towards a child. */
  readonly messageExpiryInterval?: number;
}

/** A PUBLISH as it goes to a child. */
export interface Publication {
  readonly topic: string;
  /** The topic without the bag in its last level: for whoever subscribed to that alone. */
  readonly bareTopic?: string;
  readonly payload: Buffer;
  readonly qos: 0 | 1;
  readonly properties?: PublicationProperties;
}

/** A message as it goes to a child: a command from above, or what a route leads to one of its inputs. */
export interface ToChild {
  readonly body: Buffer;
  readonly contentType?: string;
  readonly contentEncoding?: string;
  readonly properties?: Readonly<Record<string, string>>;
  /** Ours; a `messageId` among the properties comes before it. */
  readonly messageId?: string;
  /** Who said it; only what came by a route says so. */
  readonly from?: { readonly child: string; readonly module?: string };
}

/** Telemetry. */
export interface EventSaid {
  readonly kind: 'event';
  readonly module: string | null;
  readonly output: string | null;
  readonly body: Buffer;
  readonly contentType?: string;
  readonly contentEncoding?: string;
  readonly properties: Record<string, string>;
  /** When it happened, if it says: ms since 1970, by the child's own clock. */
  readonly eventTime?: number;
}

/** Telemetry of a child of a gateway below us. Properties as that child has them. */
export interface LowerEventSaid extends Omit<EventSaid, 'kind' | 'module' | 'output'> {
  readonly kind: 'lower event';
  readonly gateway: string;
  readonly source: Source;
  /** In the account of that gateway; null: it does not say. */
  readonly place: Place | null;
  /** The message's id there. */
  readonly id: string;
  readonly hops: number;
}

/** A message's place in the account of a gateway. */
export interface Place {
  readonly epoch: number;
  readonly lane: number;
  readonly seq: number;
}

/** What a gateway below us says besides, of itself or of one below it: it goes up as it stands. */
export interface LowerWordSaid {
  readonly kind: 'lower word';
  readonly gateway: string;
  /** `status` and `key` are said again by themselves when it connects; `reported` only when it changes. */
  readonly what: 'status' | 'key' | 'reported' | 'losses' | 'answer';
  readonly publication: UpPublication;
}

/** A method that a child invokes on another one. Give it back to {@link ChildDialect.invokeAnswer}. */
export interface InvokeSaid {
  readonly kind: 'invoke';
  readonly child: string;
  readonly module: string | null;
  readonly method: string;
  readonly rid: string;
  /** The payload, JSON; empty: none. */
  readonly body: Buffer;
  /** How long it waits; null when it does not say. */
  readonly responseTimeoutSecs: number | null;
}

/** What a child's PUBLISH means. */
export type Said =
  | EventSaid
  | { readonly kind: 'twin get'; readonly rid: string }
  | { readonly kind: 'twin patch'; readonly rid: string; readonly body: Buffer }
  /** `body`: the payload alone, JSON; empty: none. */
  | { readonly kind: 'method answer'; readonly rid: string; readonly status: number; readonly body: Buffer }
  | InvokeSaid
  | LowerEventSaid
  | LowerWordSaid
  | {
      readonly kind: 'send';
      readonly child: string;
      readonly body: Buffer;
      readonly contentType?: string;
      readonly contentEncoding?: string;
      readonly properties: Record<string, string>;
    }
  /** Not its topic, or not understood: refused and counted. */
  | { readonly kind: 'nothing'; readonly why: string };

export interface ChildDialect {
  /** What a child receives when its desired properties change: the merge patch alone, or the whole document. */
  readonly desiredAs: 'patch' | 'document';
  /** Of telemetry, nothing but the body depends on the payload. What it gives is never changed afterwards. */
  said(speaker: Speaker, heard: Heard): Said;
  /** The QoS that a subscription gets; null: refused (SUBACK 0x80, in MQTT 5 0x87). */
  subscribes(speaker: Speaker, filter: string, qos: 0 | 1 | 2): 0 | 1 | null;
  /** The lower gateway for which {@link subscribes} has granted this filter; null: it is the child's own. */
  lower?(speaker: Speaker, filter: string): string | null;
  /** A command for a lower gateway, as it came from above. `expirySecs` null: nobody has said. */
  lowerCommand?(topic: string, message: ToChild, mqtt5: boolean, expirySecs: number | null): Publication;
  /** True: whoever subscribes to this gets its desired document at once, as from a retained message (by {@link desiredPatch}). */
  startsWithDesired(speaker: Speaker, filter: string): boolean;
  /** `body`: the payload, JSON; empty: none. `id`: the same when a command comes a second time, where the dialect has a place for it. */
  methodRequest(
    speaker: Speaker,
    method: string,
    rid: string,
    body: Buffer,
    responseTimeoutSecs?: number,
    id?: string,
  ): Publication;
  /** Null: nothing is said, the PUBACK is the answer. `body`: JSON; with an error one that has an `errorCode`. */
  twinAnswer(speaker: Speaker, status: number, rid: string, version: number | null, body: Buffer): Publication | null;
  /** `body`: JSON, as {@link desiredAs} says; with `$version` in it. */
  desiredPatch(speaker: Speaker, version: number, body: Buffer): Publication;
  /** A cloud-to-device message, or one that another child sent. `mqtt5`: properties travel as such, not in the topic. */
  commandMessage(speaker: Speaker, message: ToChild, mqtt5: boolean): Publication;
  inputMessage(speaker: Speaker, input: string, message: ToChild, mqtt5: boolean): Publication;
  /** The answer to what {@link said} gave as `invoke`; `body`: the payload, JSON; empty: none. Null where a dialect cannot invoke. */
  invokeAnswer(speaker: Speaker, invoked: InvokeSaid, status: number, body: Buffer): Publication | null;
}
