import type { EventSaid, LowerEventSaid, LowerWordSaid, ToChild } from '../dialects/child-dialect.ts';
import type { Client } from './gatekeeper.ts';

/** What the hub asks for the gateways below us that it has let in. */
export interface Below {
  /** Whether a client speaks for this gateway: it is that one itself, or the one through which that one is reached. */
  owns(child: string, gateway: string): boolean;
  /** A client wants to hear what is for this gateway. The first who asks has it from then on; false: another one has. */
  claim(child: string, gateway: string): boolean;
  /** As {@link Services.event}; one that was taken before resolves when that one is durable. */
  event(said: LowerEventSaid): Promise<void>;
  /** Resolves when it has gone up, will go, or need not. Rejects as {@link Services.event} while there is no room for it. */
  word(said: LowerWordSaid): Promise<void>;
  /** It has begun a connection. */
  came(child: string): void;
  /** It has subscribed: what is kept for it on these topics is said. */
  subscribed(child: string, filter: string): void;
}

/** What the hub asks of the rest of the gateway for the clients that it has let in. `gateway.ts` connects it. */
export interface Services {
  /**
   * Resolves when the message is durable: its PUBACK may leave. Takes its place in order at the call. Rejects with
   * `{reason: 'rejected'}` when there is no room, and with anything else when it will never be taken.
   */
  event(client: Client, event: EventSaid): Promise<void>;
  /** A message was turned away unseen, since it is larger than any may be. */
  tooLarge(): void;
  /** Whether what {@link event} rejects for want of room has room again. */
  hasRoom(): boolean;
  twinGet(client: Client): Promise<{ readonly desired: object; readonly reported: object }>;
  /** Resolves when it is durable. */
  twinPatch(
    client: Client,
    body: Buffer,
  ): Promise<
    { readonly version: number } | { readonly status: number; readonly errorCode: number; readonly message: string }
  >;
  /** Never rejects: statuses as `commands/` has them. */
  invoke(
    client: Client,
    child: string,
    module: string | null,
    method: string,
    body: Buffer,
    /** How long the client waits; null: it does not say. */
    responseTimeoutSecs: number | null,
  ): Promise<{ readonly status: number; readonly payload: Buffer }>;
  /** Resolves when it is durable. */
  send(client: Client, child: string, message: ToChild): Promise<void>;
  present(client: Client, connected: boolean): void;
  /** Left out: no gateways are let in as such. */
  readonly below?: Below | undefined;
}
