import type { EventSaid, ToChild } from '../dialects/child-dialect.ts';
import type { Client } from './gatekeeper.ts';

/** What the hub asks of the rest of the gateway for the clients that it has let in. `gateway.ts` connects it. */
export interface Services {
  /**
   * Resolves when the message is durable: its PUBACK may leave. Takes its place in order at the call. Rejects with
   * `{reason: 'rejected'}` when there is no room, and with anything else when it will never be taken.
   */
  event(client: Client, event: EventSaid): Promise<void>;
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
}
